/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that save and load themselves: what their callbacks write to and read from. */
#include "guest/device-ops.h"

#include <errno.h>
#include <inttypes.h>

#include "guest/vmstate-walk.h"

struct migd_guest_writer {
	struct buf *out;
};

struct migd_guest_reader {
	struct rcur in;
	size_t read;	/* bytes so far */
	size_t wanted;	/* bytes in all that a read that failed would have needed; 0: none failed */
};

void migd_guest_write(struct migd_guest_writer *w, const void *data, size_t len)
{
	if (len)
		buf_add(w->out, data, len);
}

static bool is_size(size_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

void migd_guest_write_be(struct migd_guest_writer *w, uint64_t value, size_t size)
{
	if (is_size(size))
		vms_add_be(w->out, value, size);
	else
		w->out->error = -EINVAL;
}

/* LEN bytes in place, or NULL. A failure stays. */
static const uint8_t *take(struct migd_guest_reader *r, size_t len)
{
	if (r->wanted)
		return NULL;
	if (r->in.left < len) {
		r->wanted = len <= SIZE_MAX / 2 ? r->read + len : SIZE_MAX / 2;
		return NULL;
	}
	r->read += len;
	return rcur_bytes(&r->in, len);
}

int migd_guest_read(struct migd_guest_reader *r, void *ret, size_t len)
{
	const uint8_t *p = take(r, len);

	if (!p)
		return -EAGAIN;
	if (len)
		memcpy(ret, p, len);
	return 0;
}

int migd_guest_read_be(struct migd_guest_reader *r, uint64_t *ret, size_t size)
{
	const uint8_t *p;

	if (!is_size(size))
		return -EINVAL;
	p = take(r, size);
	if (!p)
		return -EAGAIN;
	*ret = vms_read_be(p, size);
	return 0;
}

int device_ops_save(const struct guest_device *d, struct buf *out, struct merr *err)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	struct migd_guest_writer w = { .out = out };
	int r = vms_hook_code(d->ops->save(d->opaque, &w, &e.face));

	if (r < 0)
		return merr_set(err, r, "save failed: %s", vms_hook_text(&e, r));
	return out->error ? merr_set_errno(err, out->error, "what was written is no state") : 0;
}

static int check_version(const struct migd_guest_device_ops *ops, uint32_t version, uint64_t offset, struct merr *err)
{
	if (version > ops->version)
		return merr_set(err, -EINVAL,
				"offset %" PRIu64 ": version %" PRIu32 " at the source, this side knows up to %" PRIu32
				": the target must be at least as new as the source",
				offset, version, ops->version);
	if (version < ops->minimum_version)
		return merr_set(err, -EINVAL,
				"offset %" PRIu64 ": version %" PRIu32 " at the source, this side needs at least %" PRIu32,
				offset, version, ops->minimum_version);
	return 0;
}

int device_ops_load(const struct guest_device *d, uint32_t version, struct rcur *in, uint64_t offset, bool final,
		    size_t *ret_wanted, struct merr *err)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	struct migd_guest_reader reader = { .in = *in };
	int r = check_version(d->ops, version, offset, err);

	if (r < 0)
		return r;
	r = vms_hook_code(d->ops->load(d->opaque, &reader, version, &e.face));
	if (reader.wanted && final)
		return merr_set(err, -EPROTO,
				"offset %" PRIu64 ": the data ends here: %zu bytes are needed, %zu are left",
				offset + reader.read, reader.wanted - reader.read, reader.in.left);
	if (reader.wanted) {
		*ret_wanted = reader.wanted;
		return -EAGAIN;
	}
	if (r < 0)
		return merr_set(err, r, "offset %" PRIu64 ": load refused what it got: %s", offset + reader.read,
				vms_hook_text(&e, r));
	*in = reader.in;
	return 0;
}
