/* SPDX-License-Identifier: Apache-2.0 */
/* What saving, loading and checking a description have in common: kinds, presence, counts, elements, paths. */
#ifndef MIGD_GUEST_VMSTATE_WALK_H
#define MIGD_GUEST_VMSTATE_WALK_H

#include <stdarg.h>

#include "guest/vmstate.h"

#define VMS_VARRAY_FLAGS                                                                           \
	(MIGD_VMS_VARRAY_U8 | MIGD_VMS_VARRAY_U16 | MIGD_VMS_VARRAY_U32 | MIGD_VMS_VARRAY_S32)

/* Bytes of WIRE.md 2: in front of a subsection, for a NULL pointer, around a queue's elements. */
#define VMS_SUBSECTION 0x05
#define VMS_NULL 0x30
#define VMS_QUEUE_ELEMENT 1
#define VMS_QUEUE_END 0

/* A kind of field: its name in the self-description and, if that is fixed, its size in memory and on the wire. */
struct vms_kind {
	const char *type;
	size_t size;		/* bytes, in memory and on the wire; 0: the field says */
	bool is_signed;
	bool equal;		/* compared with the local value instead of stored */
	bool nested;		/* has a description of its own (vmsd) */
	uint32_t flags;		/* that a field of the kind may have, besides MUST_EXIST */
};

/* NULL: there is no such kind. */
const struct vms_kind *vms_kind(uint32_t kind);

/* A number of SIZE bytes (1, 2, 4, 8) on the wire, and in a struct at any alignment; vmstate-value.c. */
uint64_t vms_read_be(const uint8_t *p, size_t size);
void vms_add_be(struct buf *bytes, uint64_t v, size_t size);
uint64_t vms_get(const uint8_t *at, size_t size);
void vms_put(uint8_t *at, uint64_t v, size_t size);
/* The low BITS of word I of a bitmap of N_BITS, all others zero. */
uint64_t vms_bitmap_word(uint64_t word, size_t i, size_t n_bits);

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

/* The elements that F describes in a struct, as they are now. */
struct vms_array {
	uint8_t *base;
	size_t n;		/* elements */
	size_t stride;		/* bytes from one to the next */
	size_t units;		/* bytes of a VBUFFER, bits of a BITMAP: they are one element */
};

/* -EINVAL with *ret_why set: a count over its bound, or a NULL pointer to something. */
int vms_field_array(const struct migd_vmstate_field *f, void *opaque, struct vms_array *ret,
		    const char **ret_why);

/* Element I; NULL if it is a pointer that is. */
uint8_t *vms_element(const struct migd_vmstate_field *f, const struct vms_array *a, size_t i);

/* The version that nested structs of F have: no version is on the wire (WIRE.md 2.1). */
uint32_t vms_nested_version(const struct migd_vmstate_field *f);

/* A struct of a TMP for OPAQUE, to be freed. NULL: no memory. */
void *vms_tmp_new(const struct migd_vmstate_field *f, void *opaque);

/* Linked lists; vmstate-queue.c. HEAD is the queue's head, an ELEM of it. */
uint8_t *vms_queue_first(const struct migd_vmstate_queue *q, const uint8_t *head);
uint8_t *vms_queue_next(const struct migd_vmstate_queue *q, const uint8_t *elem);
/* A new element for OPAQUE behind TAIL (NULL: the queue is empty); NULL: it cannot be had. */
uint8_t *vms_queue_append(const struct migd_vmstate_queue *q, uint8_t *head, uint8_t *tail, void *opaque);

/* Room for a hook's words. `struct vms_hook_error e = VMS_HOOK_ERROR(e);`, then hook(..., &e.face). */
struct vms_hook_error {
	struct migd_vmstate_error face;
	char text[400];
};
#define VMS_HOOK_ERROR(e) { .face = { .text = (e).text, .size = sizeof((e).text) } }
/* A hook's failure as our own: codes that mean something else here, and positive ones, become -EIO. */
int vms_hook_code(int r);
/* What the hook wrote, or else what its code says. */
const char *vms_hook_text(const struct vms_hook_error *e, int r);

#endif
