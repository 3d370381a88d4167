/* SPDX-License-Identifier: Apache-2.0 */
/* What saving, loading and checking a description have in common: kinds, presence, counts, paths. */
#ifndef MIGD_GUEST_VMSTATE_WALK_H
#define MIGD_GUEST_VMSTATE_WALK_H

#include <stdarg.h>

#include "guest/vmstate.h"

#define VMS_VARRAY_FLAGS (MIGD_VMS_VARRAY_U8 | MIGD_VMS_VARRAY_U16 | MIGD_VMS_VARRAY_U32)

/* The marker byte in front of a subsection (WIRE.md 2.4). */
#define VMS_SUBSECTION 0x05

/* A kind of field: its name in the self-description and, if that is fixed, its size in memory and on the wire. */
struct vms_kind {
	const char *type;
	size_t size;		/* bytes, in memory and on the wire; 0: the field says */
	bool is_signed;
	bool equal;		/* compared with the local value instead of stored */
};

/* NULL: there is no such kind. */
const struct vms_kind *vms_kind(uint32_t kind);

/* A number of SIZE bytes (1, 2, 4, 8) on the wire, and in a struct at any alignment; vmstate-value.c. */
uint64_t vms_read_be(const uint8_t *p, size_t size);
void vms_add_be(struct buf *bytes, uint64_t v, size_t size);
uint64_t vms_get(const uint8_t *at, size_t size);
void vms_put(uint8_t *at, uint64_t v, size_t size);

bool vms_field_present(const struct migd_vmstate_field *f, void *opaque, uint32_t version);

/* Where the walk is: a chain on the C stack, innermost first. */
struct vms_path {
	const struct vms_path *up;
	const char *name;
	size_t index;
	bool is_array;
};

/*
 * Record a failure at PATH (NULL: the description as a whole): "field 'a.b[2]': TEXT", or with an OFFSET other than
 * VMS_NO_OFFSET "offset 81: field 'a.b[2]': TEXT". Keeps an error that ERR already has. Returns CODE.
 */
#define VMS_NO_OFFSET UINT64_MAX
int vms_fail(const struct vms_path *path, uint64_t offset, struct merr *err, int code, const char *fmt,
	     ...) __attribute__((format(printf, 5, 6)));
int vms_failv(const struct vms_path *path, uint64_t offset, struct merr *err, int code, const char *fmt,
	      va_list ap) __attribute__((format(printf, 5, 0)));

/* An array that F describes in a struct, as it is now. */
struct vms_array {
	uint8_t *base;
	size_t n;
};

/* -EINVAL with *ret_why set: a count over its bound, or a NULL pointer to something. */
int vms_field_array(const struct migd_vmstate_field *f, void *opaque, struct vms_array *ret,
		    const char **ret_why);

#endif
