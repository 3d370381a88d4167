/* SPDX-License-Identifier: Apache-2.0 */
/* What saving, loading and checking a description have in common: kinds, presence, counts, paths. */
#include "guest/vmstate-walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define PATH_TEXT_MAX 400

#define ARRAY_FLAGS (VMS_VARRAY_FLAGS | MIGD_VMS_POINTER | MIGD_VMS_POINTERS)
#define LENGTH_FLAGS (VMS_VARRAY_FLAGS | MIGD_VMS_POINTER)
#define NUMBER(name, bytes, ...) { .type = name, .size = bytes, .flags = ARRAY_FLAGS, __VA_ARGS__ }

/* Type names are QEMU's (WIRE.md 1.4): its check of an equal uint64 is called "int64 equal". */
static const struct vms_kind kinds[] = {
	[MIGD_VMS_BOOL] = NUMBER("bool", sizeof(bool)),
	[MIGD_VMS_U8] = NUMBER("uint8", 1),
	[MIGD_VMS_U16] = NUMBER("uint16", 2),
	[MIGD_VMS_U32] = NUMBER("uint32", 4),
	[MIGD_VMS_U64] = NUMBER("uint64", 8),
	[MIGD_VMS_S8] = NUMBER("int8", 1, .is_signed = true),
	[MIGD_VMS_S16] = NUMBER("int16", 2, .is_signed = true),
	[MIGD_VMS_S32] = NUMBER("int32", 4, .is_signed = true),
	[MIGD_VMS_S64] = NUMBER("int64", 8, .is_signed = true),
	[MIGD_VMS_U8_EQUAL] = NUMBER("uint8 equal", 1, .equal = true),
	[MIGD_VMS_U16_EQUAL] = NUMBER("uint16 equal", 2, .equal = true),
	[MIGD_VMS_U32_EQUAL] = NUMBER("uint32 equal", 4, .equal = true),
	[MIGD_VMS_U64_EQUAL] = NUMBER("int64 equal", 8, .equal = true),
	[MIGD_VMS_S32_EQUAL] = NUMBER("int32 equal", 4, .equal = true, .is_signed = true),
	[MIGD_VMS_S32_LE] = NUMBER("int32 le", 4, .is_signed = true),
	[MIGD_VMS_DOUBLE] = NUMBER("CPU_Double_U", 8),
	[MIGD_VMS_TIMER] = NUMBER("timer", 8),
	[MIGD_VMS_BUFFER] = { .type = "buffer", .flags = ARRAY_FLAGS },
	[MIGD_VMS_VBUFFER] = { .type = "buffer", .size = 1, .flags = LENGTH_FLAGS },
	[MIGD_VMS_BITMAP] = { .type = "bitmap", .size = 8, .flags = LENGTH_FLAGS },
	[MIGD_VMS_UNUSED] = { .type = "unused_buffer" },
	[MIGD_VMS_STRUCT] = { .type = "struct", .nested = true, .flags = ARRAY_FLAGS },
	[MIGD_VMS_VSTRUCT] = { .type = "vstruct", .nested = true },
	[MIGD_VMS_TMP] = { .type = "tmp", .nested = true },
	[MIGD_VMS_QUEUE] = { .type = "qtailq", .nested = true },
};
_Static_assert(sizeof(bool) == 1, "a bool is one byte, in memory as on the wire");
_Static_assert(sizeof(double) == 8, "a double is 64 bits, in memory as on the wire");

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

/* How many elements, bytes or bits; NULL, or what is wrong with the count. */
static const char *field_count(const struct migd_vmstate_field *f, const uint8_t *opaque, size_t *ret)
{
	static const struct {
		uint32_t flag;
		size_t size;
	} widths[] = { { MIGD_VMS_VARRAY_U8, 1 }, { MIGD_VMS_VARRAY_U16, 2 }, { MIGD_VMS_VARRAY_U32, 4 },
		       { MIGD_VMS_VARRAY_S32, 4 } };
	uint64_t n = f->count;

	for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
		if (f->flags & widths[i].flag)
			n = vms_get(opaque + f->count_offset, widths[i].size);
	if (f->flags & MIGD_VMS_VARRAY_S32 && n > INT32_MAX)
		return "its count is negative";
	if (f->count_times && !mul_ok(n, f->count_times, &n))
		return "its count is over the description's bound";
	if (n > f->count)
		return "its count is over the description's bound";
	*ret = n;
	return NULL;
}

int vms_field_array(const struct migd_vmstate_field *f, void *opaque, struct vms_array *ret,
		    const char **ret_why)
{
	uint8_t *base = (uint8_t *)opaque + f->offset;
	size_t n;

	*ret_why = field_count(f, opaque, &n);
	if (*ret_why)
		return -EINVAL;
	if (f->flags & MIGD_VMS_POINTER) {
		void *elements;

		memcpy(&elements, base, sizeof(elements));
		base = elements;
		if (!base && n) {
			*ret_why = "its pointer is NULL";
			return -EINVAL;
		}
	}
	*ret = (struct vms_array){ .base = base, .n = n, .stride = f->size, .units = n };
	if (f->flags & MIGD_VMS_POINTERS)
		ret->stride = sizeof(void *);
	if (f->kind == MIGD_VMS_VBUFFER || f->kind == MIGD_VMS_BITMAP || f->kind == MIGD_VMS_QUEUE)
		ret->n = 1;
	return 0;
}

uint8_t *vms_element(const struct migd_vmstate_field *f, const struct vms_array *a, size_t i)
{
	uint8_t *at = a->base ? a->base + i * a->stride : NULL;
	void *elem;

	if (!(f->flags & MIGD_VMS_POINTERS) || !at)
		return at;
	memcpy(&elem, at, sizeof(elem));
	return elem;
}

uint32_t vms_nested_version(const struct migd_vmstate_field *f)
{
	return f->kind == MIGD_VMS_VSTRUCT ? f->struct_version : f->vmsd->version;
}

void *vms_tmp_new(const struct migd_vmstate_field *f, void *opaque)
{
	void *tmp = calloc(1, f->size);

	if (tmp)
		memcpy(tmp, &opaque, sizeof(opaque));	/* its first member, `parent` */
	return tmp;
}

int vms_hook_code(int r)
{
	return r > 0 || r == -EAGAIN ? -EIO : r;
}

const char *vms_hook_text(const struct vms_hook_error *e, int r)
{
	return e->text[0] ? e->text : strerror(-r);
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
