/* SPDX-License-Identifier: Apache-2.0 */
/* migd_guest_vmstate_*(): a description without a guest, for the tests of those who write devices. */
#include <errno.h>

#include "guest/internal.h"
#include "guest/vmstate.h"

int migd_guest_vmstate_check(const struct migd_vmstate *desc)
{
	struct merr err = MERR_INIT;
	int r = vmstate_check(desc, &err);

	return r < 0 ? guest_fail(&err) : 0;
}

int migd_guest_vmstate_save(const struct migd_vmstate *desc, void *opaque, void *buf, size_t size, size_t *ret_len)
{
	struct merr err = MERR_INIT;
	struct buf out = { 0 };
	int r = vmstate_check(desc, &err);

	if (r == 0)
		r = vmstate_save(desc, opaque, &out, NULL, &err);
	if (r == 0) {
		*ret_len = out.len;
		if (out.len > size)
			r = merr_set(&err, -ENOSPC, "'%s' has %zu bytes, there is room for %zu", desc->name, out.len, size);
		else if (out.len)
			memcpy(buf, out.data, out.len);
	}
	buf_done(&out);
	return r < 0 ? guest_fail(&err) : 0;
}

int migd_guest_vmstate_load(const struct migd_vmstate *desc, void *opaque, uint32_t version, const void *data,
			    size_t len)
{
	struct rcur in = rcur_of(data, len);
	struct merr err = MERR_INIT;
	int r = vmstate_check(desc, &err);

	if (r == 0)
		r = vmstate_load(desc, opaque, version, &in, data, &err);
	if (r == 0 && in.left)
		r = merr_set(&err, -EPROTO, "offset %zu: %zu bytes are left: the source's fields are not ours",
			     len - in.left, in.left);
	return r < 0 ? guest_fail(&err) : 0;
}
