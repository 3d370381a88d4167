/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device state by description: a VMM says in tables what its devices' structs hold, and libmigd-guest
 * saves, loads and self-describes them in QEMU's VMState encoding (big-endian, no padding, no tags).
 * Plain C99 and C++; include through <migd/guest.h>.
 */
#ifndef MIGD_VMSTATE_H
#define MIGD_VMSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one element of a field is in memory, and so on the wire. */
enum migd_vmstate_kind {
	MIGD_VMS_END = 0,	/* ends a table */
	MIGD_VMS_BOOL,		/* bool; 1 byte */
	MIGD_VMS_U8,
	MIGD_VMS_U16,
	MIGD_VMS_U32,
	MIGD_VMS_U64,
	MIGD_VMS_S8,
	MIGD_VMS_S16,
	MIGD_VMS_S32,
	MIGD_VMS_S64,
	MIGD_VMS_U8_EQUAL,	/* the target must hold the same value, or the load fails */
	MIGD_VMS_U16_EQUAL,
	MIGD_VMS_U32_EQUAL,
	MIGD_VMS_U64_EQUAL,
	MIGD_VMS_BUFFER,	/* size raw bytes */
	MIGD_VMS_UNUSED,	/* size zero bytes on the wire, nothing in memory */
	MIGD_VMS_STRUCT,	/* nested description `vmsd`; size is the C struct's */
};

/* Where the number of elements of an array comes from. */
enum migd_vmstate_flags {
	MIGD_VMS_VARRAY_U8 = 1 << 0,	/* count is read from a uint8_t at count_offset ... */
	MIGD_VMS_VARRAY_U16 = 1 << 1,
	MIGD_VMS_VARRAY_U32 = 1 << 2,	/* ... and may be at most `count` */
	MIGD_VMS_POINTER = 1 << 3,	/* the struct holds a pointer to the elements */
	MIGD_VMS_MUST_EXIST = 1 << 4,	/* no bytes; load fails unless exists() says true */
};

struct migd_vmstate;

/* One field of a description. Use the MIGD_VMS_* macros, which check types as they compile. */
struct migd_vmstate_field {
	const char *name;
	size_t offset;			/* in the struct */
	size_t size;			/* bytes of one element in memory */
	size_t count;			/* elements; the bound of a counted array */
	size_t count_offset;		/* where a counted array's count is */
	uint32_t kind;			/* enum migd_vmstate_kind */
	uint32_t flags;			/* enum migd_vmstate_flags */
	uint32_t version;		/* first version of the description that has the field; 0 = all */
	const struct migd_vmstate *vmsd;	/* of a STRUCT */
	/* NULL: present as `version` says. Else it alone decides. Service thread; pure. */
	bool (*exists)(void *opaque, uint32_t version);
};

/*
 * A description. Static, constant, and alive as long as a guest that uses it. Hooks run on the
 * service thread with the vCPUs parked; they return 0 or a negative errno, which fails the save or
 * load. pre_save may set derived fields; post_load must check what it got (the bytes are a peer's) and
 * may not do anything the guest can see: that waits for the activate hook.
 */
struct migd_vmstate {
	const char *name;
	uint32_t version;		/* written; a greater one is refused on load */
	uint32_t minimum_version;	/* a smaller one is refused on load */
	const struct migd_vmstate_field *fields;	/* ended by MIGD_VMS_END */
	/* NULL-ended, or NULL; each one's name begins with this one's name and "/". */
	const struct migd_vmstate *const *subsections;
	bool (*needed)(void *opaque);	/* NULL: always. False: the section is not sent */
	int (*pre_save)(void *opaque);
	void (*post_save)(void *opaque);	/* also after a failed save */
	int (*pre_load)(void *opaque);
	int (*post_load)(void *opaque, uint32_t version);
};

/* offsetof(), and a compile error unless the member has type T. */
#ifdef __cplusplus
#define MIGD_VMS_OFFSET(S, m, T) offsetof(S, m)
#define MIGD_VMS_ARRAY_OFFSET(S, m, T, n) offsetof(S, m)
#else
#define MIGD_VMS_OFFSET(S, m, T) (offsetof(S, m) + 0 * sizeof(&((S *)0)->m == (T *)0))
#define MIGD_VMS_ARRAY_OFFSET(S, m, T, n) (offsetof(S, m) + 0 * sizeof(&((S *)0)->m == (T(*)[n])0))
#endif

#define MIGD_VMS_SCALAR(S, m, T, K, v) \
	{ #m, MIGD_VMS_OFFSET(S, m, T), sizeof(T), 1, 0, K, 0, v, NULL, NULL }
#define MIGD_VMS_FIXED_ARRAY(S, m, T, n, K, v) \
	{ #m, MIGD_VMS_ARRAY_OFFSET(S, m, T, n), sizeof(T), n, 0, K, 0, v, NULL, NULL }

#define MIGD_VMS_FIELD_BOOL(S, m) MIGD_VMS_SCALAR(S, m, bool, MIGD_VMS_BOOL, 0)
#define MIGD_VMS_FIELD_U8(S, m) MIGD_VMS_SCALAR(S, m, uint8_t, MIGD_VMS_U8, 0)
#define MIGD_VMS_FIELD_U16(S, m) MIGD_VMS_SCALAR(S, m, uint16_t, MIGD_VMS_U16, 0)
#define MIGD_VMS_FIELD_U32(S, m) MIGD_VMS_SCALAR(S, m, uint32_t, MIGD_VMS_U32, 0)
#define MIGD_VMS_FIELD_U64(S, m) MIGD_VMS_SCALAR(S, m, uint64_t, MIGD_VMS_U64, 0)
#define MIGD_VMS_FIELD_S8(S, m) MIGD_VMS_SCALAR(S, m, int8_t, MIGD_VMS_S8, 0)
#define MIGD_VMS_FIELD_S16(S, m) MIGD_VMS_SCALAR(S, m, int16_t, MIGD_VMS_S16, 0)
#define MIGD_VMS_FIELD_S32(S, m) MIGD_VMS_SCALAR(S, m, int32_t, MIGD_VMS_S32, 0)
#define MIGD_VMS_FIELD_S64(S, m) MIGD_VMS_SCALAR(S, m, int64_t, MIGD_VMS_S64, 0)
#define MIGD_VMS_FIELD_U8_EQUAL(S, m) MIGD_VMS_SCALAR(S, m, uint8_t, MIGD_VMS_U8_EQUAL, 0)
#define MIGD_VMS_FIELD_U16_EQUAL(S, m) MIGD_VMS_SCALAR(S, m, uint16_t, MIGD_VMS_U16_EQUAL, 0)
#define MIGD_VMS_FIELD_U32_EQUAL(S, m) MIGD_VMS_SCALAR(S, m, uint32_t, MIGD_VMS_U32_EQUAL, 0)
#define MIGD_VMS_FIELD_U64_EQUAL(S, m) MIGD_VMS_SCALAR(S, m, uint64_t, MIGD_VMS_U64_EQUAL, 0)
#define MIGD_VMS_FIELD_U8_ARRAY(S, m, n) MIGD_VMS_FIXED_ARRAY(S, m, uint8_t, n, MIGD_VMS_U8, 0)
#define MIGD_VMS_FIELD_U16_ARRAY(S, m, n) MIGD_VMS_FIXED_ARRAY(S, m, uint16_t, n, MIGD_VMS_U16, 0)
#define MIGD_VMS_FIELD_U32_ARRAY(S, m, n) MIGD_VMS_FIXED_ARRAY(S, m, uint32_t, n, MIGD_VMS_U32, 0)
#define MIGD_VMS_FIELD_U64_ARRAY(S, m, n) MIGD_VMS_FIXED_ARRAY(S, m, uint64_t, n, MIGD_VMS_U64, 0)
/* The member as raw bytes, whatever its type. */
#define MIGD_VMS_FIELD_BUFFER(S, m) \
	{ #m, offsetof(S, m), sizeof(((S *)0)->m), 1, 0, MIGD_VMS_BUFFER, 0, 0, NULL, NULL }
/* A nested struct, or n of them. */
#define MIGD_VMS_FIELD_STRUCT(S, m, T, d) \
	{ #m, MIGD_VMS_OFFSET(S, m, T), sizeof(T), 1, 0, MIGD_VMS_STRUCT, 0, 0, d, NULL }
#define MIGD_VMS_FIELD_STRUCT_ARRAY(S, m, T, n, d) \
	{ #m, MIGD_VMS_ARRAY_OFFSET(S, m, T, n), sizeof(T), n, 0, MIGD_VMS_STRUCT, 0, 0, d, NULL }
/* The first c (a uint32_t member) of at most n elements of the array m. */
#define MIGD_VMS_FIELD_STRUCT_VARRAY(S, m, T, n, c, d)                                       \
	{ #m, MIGD_VMS_ARRAY_OFFSET(S, m, T, n), sizeof(T), n, MIGD_VMS_OFFSET(S, c, uint32_t), \
	  MIGD_VMS_STRUCT, MIGD_VMS_VARRAY_U32, 0, d, NULL }
#define MIGD_VMS_FIELD_U8_VARRAY(S, m, n, c)                                                       \
	{ #m, MIGD_VMS_ARRAY_OFFSET(S, m, uint8_t, n), 1, n, MIGD_VMS_OFFSET(S, c, uint32_t),      \
	  MIGD_VMS_U8, MIGD_VMS_VARRAY_U32, 0, NULL, NULL }
#define MIGD_VMS_FIELD_UNUSED(n) { "unused", 0, n, 1, 0, MIGD_VMS_UNUSED, 0, 0, NULL, NULL }
#define MIGD_VMS_FIELD_END { NULL, 0, 0, 0, 0, MIGD_VMS_END, 0, 0, NULL, NULL }

#ifdef __cplusplus
}
#endif

#endif
