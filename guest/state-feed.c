/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a guest's state section by section, from bytes that come in pieces (WIRE.md 1.2: bodies carry no length). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "guest/arch.h"
#include "guest/device-ops.h"
#include "guest/owner.h"
#include "guest/state.h"
#include "guest/vmstate-load.h"

/* What a device that loads itself may hold: each piece that comes short has it try again from the first byte. */
#define HELD_MAX (4 * MIB)

struct state_feed {
	struct arch_state *arch;
	struct arrivals arrivals;
	size_t n_sections;	/* begun so far */
	bool in_section;
	struct owner owner;	/* of the section at hand */
	uint32_t version;
	uint64_t offset;	/* where its body begins */
	struct vms_loader loader;
	/* Of an owner that loads itself: all of the body that came, and how much of it there must be to try again. */
	struct buf held;
	size_t wanted;
};

int state_feed_new(struct arch_state *a, const struct guest_tables *t, struct state_feed **ret, struct merr *err)
{
	struct state_feed *f;
	int r = owner_check_migratable(t, err);

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f || arrivals_init(&f->arrivals, a, t) < 0) {
		free(f);
		return merr_set_errno(err, -ENOMEM, "loading the guest's state");
	}
	f->arch = a;
	arch_load_begin(a);
	*ret = f;
	return 0;
}

struct state_feed *state_feed_free(struct state_feed *f)
{
	if (f) {
		vms_loader_done(&f->loader);
		buf_done(&f->held);
		arrivals_done(&f->arrivals);
		free(f);
	}
	return NULL;
}

int state_feed_begin(struct state_feed *f, const char *name, uint32_t instance, uint32_t version,
		     uint64_t offset, struct merr *err)
{
	int r;

	if (f->in_section)
		return merr_set(err, -EPROTO,
				"section '%s' instance %" PRIu32 " begins at offset %" PRIu64 " within section '%s'",
				name, instance, offset, f->owner.name);
	r = arrivals_take(&f->arrivals, name, instance, version, offset, &f->owner, err);
	if (r < 0)
		return r;
	f->version = version;
	f->offset = offset;
	f->held.len = f->wanted = 0;
	f->held.max = HELD_MAX;
	vms_loader_begin(&f->loader, f->owner.desc, f->owner.opaque, version, offset);
	f->in_section = true;
	f->n_sections++;
	return 0;
}

/* Bytes are kept until the device has loaded itself from all of them: nobody knows before where its section ends. */
static int feed_ops(struct state_feed *f, struct rcur *in, size_t *ret_needs, struct merr *err)
{
	size_t before = f->held.len, used;
	struct rcur all;
	int r;

	if (in->left)
		buf_add(&f->held, in->p, in->left);
	if (f->held.error)
		return merr_set(err, f->held.error, "offset %" PRIu64 ": more than %llu bytes in one section",
				f->offset, HELD_MAX);
	all = rcur_of(f->held.data, f->held.len);
	r = f->held.len < f->wanted ? -EAGAIN :
		device_ops_load(f->owner.device, f->version, &all, f->offset, false, &f->wanted, err);
	if (r == -EAGAIN) {
		(void)rcur_bytes(in, in->left);
		*ret_needs = min_u64(f->wanted - f->held.len, VMS_LOOKAHEAD_MAX);
		return r;
	}
	used = f->held.len - all.left;
	if (r == 0 && used < before)
		return merr_set(err, -EIO, "offset %" PRIu64 ": load read %zu bytes, but wanted more before", f->offset,
				used);
	if (r == 0)
		(void)rcur_bytes(in, used - before);
	return r;
}

int state_feed_bytes(struct state_feed *f, struct rcur *in, size_t *ret_needs, struct merr *err)
{
	int r;

	if (!f->in_section)
		return merr_set(err, -EPROTO, "bytes of a section that is complete, or was never begun");
	if (owner_has_ops(&f->owner)) {
		r = feed_ops(f, in, ret_needs, err);
	} else {
		r = vms_loader_feed(&f->loader, in, false, err);
		*ret_needs = f->loader.needs;
	}
	if (r == 0)
		f->in_section = false;
	else if (r != -EAGAIN)
		(void)merr_prefix(err, "section '%s' instance %" PRIu32, f->owner.name, f->owner.instance);
	return r;
}

int state_feed_end(struct state_feed *f, bool ram_only, struct merr *err)
{
	int r;

	if (f->in_section)
		return merr_set(err, -EPROTO, "section '%s' instance %" PRIu32 ": the stream ends within it",
				f->owner.name, f->owner.instance);
	if (ram_only && f->n_sections == 0)
		return 0;
	r = arrivals_check_complete(&f->arrivals, err);
	return r < 0 ? r : arch_load_apply(f->arch, err);
}
