/* SPDX-License-Identifier: Apache-2.0 */
/* What saving, loading and checking a description have in common: kinds, presence, counts, paths. */
#include "guest/vmstate-walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"

#define PATH_TEXT_MAX 400

/* Type names are QEMU's (WIRE.md 1.4): its check of an equal uint64 is called "int64 equal". */
static const struct vms_kind kinds[] = {
	[MIGD_VMS_BOOL] = { "bool", sizeof(bool), false, false },
	[MIGD_VMS_U8] = { "uint8", 1, false, false },
	[MIGD_VMS_U16] = { "uint16", 2, false, false },
	[MIGD_VMS_U32] = { "uint32", 4, false, false },
	[MIGD_VMS_U64] = { "uint64", 8, false, false },
	[MIGD_VMS_S8] = { "int8", 1, true, false },
	[MIGD_VMS_S16] = { "int16", 2, true, false },
	[MIGD_VMS_S32] = { "int32", 4, true, false },
	[MIGD_VMS_S64] = { "int64", 8, true, false },
	[MIGD_VMS_U8_EQUAL] = { "uint8 equal", 1, false, true },
	[MIGD_VMS_U16_EQUAL] = { "uint16 equal", 2, false, true },
	[MIGD_VMS_U32_EQUAL] = { "uint32 equal", 4, false, true },
	[MIGD_VMS_U64_EQUAL] = { "int64 equal", 8, false, true },
	[MIGD_VMS_BUFFER] = { "buffer", 0, false, false },
	[MIGD_VMS_UNUSED] = { "unused_buffer", 0, false, false },
	[MIGD_VMS_STRUCT] = { "struct", 0, false, false },
};
_Static_assert(sizeof(bool) == 1, "a bool is one byte, in memory as on the wire");

const struct vms_kind *vms_kind(uint32_t kind)
{
	if (kind >= ARRAY_SIZE(kinds) || !kinds[kind].type)
		return NULL;
	return &kinds[kind];
}

bool vms_field_present(const struct migd_vmstate_field *f, void *opaque, uint32_t version)
{
	if (f->exists)
		return f->exists(opaque, version);
	return f->version <= version;
}

static size_t field_count(const struct migd_vmstate_field *f, const uint8_t *opaque)
{
	const uint8_t *at = opaque + f->count_offset;

	switch (f->flags & VMS_VARRAY_FLAGS) {
	case MIGD_VMS_VARRAY_U8:
		return vms_get(at, 1);
	case MIGD_VMS_VARRAY_U16:
		return vms_get(at, 2);
	case MIGD_VMS_VARRAY_U32:
		return vms_get(at, 4);
	default:
		return f->count;
	}
}

int vms_field_array(const struct migd_vmstate_field *f, void *opaque, struct vms_array *ret,
		    const char **ret_why)
{
	uint8_t *base = (uint8_t *)opaque + f->offset;
	size_t n = field_count(f, opaque);

	if (n > f->count) {
		*ret_why = "its count is over the description's bound";
		return -EINVAL;
	}
	if (f->flags & MIGD_VMS_POINTER) {
		void *elements;

		memcpy(&elements, base, sizeof(elements));
		base = elements;
		if (!base && n) {
			*ret_why = "its pointer is NULL";
			return -EINVAL;
		}
	}
	*ret = (struct vms_array){ .base = base, .n = n };
	return 0;
}

/* Outermost first; a text that does not fit is cut. */
static void path_format(const struct vms_path *path, char *text, size_t cap, size_t *len)
{
	int n;

	if (path->up)
		path_format(path->up, text, cap, len);
	n = snprintf(text + *len, cap - *len, "%s%s", *len ? "." : "", path->name);
	*len = min_u64(*len + (size_t)n, cap - 1);
	if (path->is_array) {
		n = snprintf(text + *len, cap - *len, "[%zu]", path->index);
		*len = min_u64(*len + (size_t)n, cap - 1);
	}
}

int vms_failv(const struct vms_path *path, uint64_t offset, struct merr *err, int code, const char *fmt,
	      va_list ap)
{
	char text[PATH_TEXT_MAX];
	size_t len = 0;

	if (merr_is_set(err))
		return code;
	code = merr_setv(err, code, fmt, ap);
	if (path) {
		path_format(path, text, sizeof(text), &len);
		(void)merr_prefix(err, "field '%s'", text);
	}
	if (offset != VMS_NO_OFFSET)
		(void)merr_prefix(err, "offset %" PRIu64, offset);
	return code;
}

int vms_fail(const struct vms_path *path, uint64_t offset, struct merr *err, int code, const char *fmt,
	     ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = vms_failv(path, offset, err, code, fmt, ap);
	va_end(ap);
	return code;
}
