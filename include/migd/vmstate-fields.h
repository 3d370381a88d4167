/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a description's table. Each macro is one field of struct S, member m; the last row is
 * MIGD_VMS_FIELD_END.
 *
 *   TYPE   one of BOOL U8 U16 U32 U64 S8 S16 S32 S64, U8_EQUAL U16_EQUAL U32_EQUAL U64_EQUAL S32_EQUAL,
 *          S32_LE, DOUBLE, TIMER
 *   C, c   the type (U8, U16, U32 or S32) and the name of the member with an array's count. It must come
 *          before the array in the table, for a load takes the count that it has just loaded
 *   n      how many elements an array has, or may have: a count over it fails the load
 *   T, d   the type of a nested struct, and the address of its description
 *
 * _SINCE(..., v): present from version v of the description on. _IF(..., test): present iff
 * `bool test(void *opaque, uint32_t version)`, which sees the struct as loaded so far. _VARRAY: the first c
 * of at most n. _PTR: m is a pointer to the elements, which the VMM has allocated before the load. _PTRS: m is
 * an array of pointers, each of which may be NULL.
 *
 * A member whose type is not the row's is a compile error that names both (in C++ and strict C99: that
 * shows the row).
 */
#ifndef MIGD_VMSTATE_FIELDS_H
#define MIGD_VMSTATE_FIELDS_H

#include <migd/vmstate.h>

/* ---- what is checked as it compiles ---- */

/* MIGD_VMS_REQUIRE(ok, text): 0, or a compile error. MIGD_VMS_SAME(A, B): are they the same type? */
#ifdef __cplusplus
template <class A, class B> struct migd_vms_same {
	static const bool value = false;
};
template <class A> struct migd_vms_same<A, A> {
	static const bool value = true;
};
template <bool ok> struct migd_vms_require {
	static_assert(ok, "migd: the member is not as the row says");
	static const size_t zero = 0;
};
#define MIGD_VMS_REQUIRE(ok, text) (migd_vms_require<(ok)>::zero)
#define MIGD_VMS_SAME(A, B) (migd_vms_same<A, B>::value)
#define MIGD_VMS_IS_TEST(test) 1	/* C++ checks functions by itself */
#else
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define MIGD_VMS_REQUIRE(ok, text) (0 * sizeof(struct { _Static_assert(ok, "migd: " text); char c; }))
#else
#define MIGD_VMS_REQUIRE(ok, text) (0 * sizeof(struct { int migd_member_is_not_as_the_row_says : (ok) ? 1 : -1; }))
#endif
#define MIGD_VMS_SAME(A, B) __builtin_types_compatible_p(A, B)
#define MIGD_VMS_IS_TEST(test) MIGD_VMS_SAME(__typeof__(&test), bool (*)(void *, uint32_t))
#endif

/* Has member m of S the type T? Where it is, and a compile error if it has another type. */
#define MIGD_VMS_IS(S, m, T) MIGD_VMS_SAME(__typeof__(((S *)0)->m), __typeof__(T))
#define MIGD_VMS_OFFSET(S, m, T) MIGD_VMS_OFFSET_OF(S, m, T)
#define MIGD_VMS_OFFSET_OF(S, m, T) \
	(offsetof(S, m) + MIGD_VMS_REQUIRE(MIGD_VMS_IS(S, m, T), #m " of " #S " is not of type " #T))
#define MIGD_VMS_ARRAY_OFFSET(S, m, T, n) MIGD_VMS_ARRAY_OFFSET_OF(S, m, T, n)
#define MIGD_VMS_ARRAY_OFFSET_OF(S, m, T, n) \
	(offsetof(S, m) + MIGD_VMS_REQUIRE(MIGD_VMS_IS(S, m, T[n]), #m " of " #S " is not an array of " #n " " #T))
#define MIGD_VMS_TEST(test) \
	MIGD_VMS_REQUIRE(MIGD_VMS_IS_TEST(test), #test " is not a bool (void *opaque, uint32_t version)")
#define MIGD_VMS_SINCE(v) MIGD_VMS_REQUIRE((v) > 0, "a field exists since version 1 or a later one")

#define MIGD_VMS_T_BOOL bool
#define MIGD_VMS_T_U8 uint8_t
#define MIGD_VMS_T_U16 uint16_t
#define MIGD_VMS_T_U32 uint32_t
#define MIGD_VMS_T_U64 uint64_t
#define MIGD_VMS_T_S8 int8_t
#define MIGD_VMS_T_S16 int16_t
#define MIGD_VMS_T_S32 int32_t
#define MIGD_VMS_T_S64 int64_t
#define MIGD_VMS_T_U8_EQUAL uint8_t
#define MIGD_VMS_T_U16_EQUAL uint16_t
#define MIGD_VMS_T_U32_EQUAL uint32_t
#define MIGD_VMS_T_U64_EQUAL uint64_t
#define MIGD_VMS_T_S32_EQUAL int32_t
#define MIGD_VMS_T_S32_LE int32_t
#define MIGD_VMS_T_DOUBLE double
#define MIGD_VMS_T_TIMER uint64_t

/* Every row is one of these: as struct migd_vmstate_field has its members. */
#define MIGD_VMS_ROW(name, offset, size, n, count_offset, kind, flags, v, times, d, test, q, sv) \
	{ name, offset, size, n, count_offset, kind, flags, v, times, d, test, q, sv, 0 }
#define MIGD_VMS_PLAIN(name, offset, size, n, kind, flags, v, d, test) \
	MIGD_VMS_ROW(name, offset, size, n, 0, kind, flags, v, 0, d, test, NULL, 0)
#define MIGD_VMS_COUNTED(name, offset, size, n, S, C, c, times, kind, flags, d) \
	MIGD_VMS_ROW(name, offset, size, n, MIGD_VMS_OFFSET(S, c, MIGD_VMS_T_##C), kind, \
		     (flags) | MIGD_VMS_VARRAY_##C, 0, times, d, NULL, NULL, 0)

/* ---- numbers ---- */

#define MIGD_VMS_NUMBER(TYPE, S, m, v, test, ok) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, MIGD_VMS_T_##TYPE) + (ok), sizeof(MIGD_VMS_T_##TYPE), 1, \
		       MIGD_VMS_##TYPE, 0, v, NULL, test)
#define MIGD_VMS_FIELD(TYPE, S, m) MIGD_VMS_NUMBER(TYPE, S, m, 0, NULL, 0)
#define MIGD_VMS_FIELD_SINCE(TYPE, S, m, v) MIGD_VMS_NUMBER(TYPE, S, m, v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_IF(TYPE, S, m, test) MIGD_VMS_NUMBER(TYPE, S, m, 0, test, MIGD_VMS_TEST(test))

#define MIGD_VMS_NUMBERS(TYPE, S, m, n, v, test, ok) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_ARRAY_OFFSET(S, m, MIGD_VMS_T_##TYPE, n) + (ok), sizeof(MIGD_VMS_T_##TYPE), n, \
		       MIGD_VMS_##TYPE, 0, v, NULL, test)
#define MIGD_VMS_FIELD_ARRAY(TYPE, S, m, n) MIGD_VMS_NUMBERS(TYPE, S, m, n, 0, NULL, 0)
#define MIGD_VMS_FIELD_ARRAY_SINCE(TYPE, S, m, n, v) MIGD_VMS_NUMBERS(TYPE, S, m, n, v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_ARRAY_IF(TYPE, S, m, n, test) MIGD_VMS_NUMBERS(TYPE, S, m, n, 0, test, MIGD_VMS_TEST(test))

/* _TIMES: c times the constant k elements. */
#define MIGD_VMS_FIELD_VARRAY(TYPE, S, m, n, C, c) MIGD_VMS_FIELD_VARRAY_TIMES(TYPE, S, m, n, C, c, 1)
#define MIGD_VMS_FIELD_VARRAY_TIMES(TYPE, S, m, n, C, c, k) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_ARRAY_OFFSET(S, m, MIGD_VMS_T_##TYPE, n), sizeof(MIGD_VMS_T_##TYPE), n, S, C, c, k, \
			 MIGD_VMS_##TYPE, 0, NULL)

#define MIGD_VMS_FIELD_PTR_ARRAY(TYPE, S, m, n) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, MIGD_VMS_T_##TYPE *), sizeof(MIGD_VMS_T_##TYPE), n, MIGD_VMS_##TYPE, \
		       MIGD_VMS_POINTER, 0, NULL, NULL)
#define MIGD_VMS_FIELD_PTR_VARRAY(TYPE, S, m, n, C, c) MIGD_VMS_FIELD_PTR_VARRAY_TIMES(TYPE, S, m, n, C, c, 1)
#define MIGD_VMS_FIELD_PTR_VARRAY_TIMES(TYPE, S, m, n, C, c, k) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_OFFSET(S, m, MIGD_VMS_T_##TYPE *), sizeof(MIGD_VMS_T_##TYPE), n, S, C, c, k, \
			 MIGD_VMS_##TYPE, MIGD_VMS_POINTER, NULL)
/* One pointer, or n of them, that may be NULL (at the same places on both sides). */
#define MIGD_VMS_FIELD_NULLABLE(TYPE, S, m) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, MIGD_VMS_T_##TYPE *), sizeof(MIGD_VMS_T_##TYPE), 1, MIGD_VMS_##TYPE, \
		       MIGD_VMS_POINTERS, 0, NULL, NULL)
#define MIGD_VMS_FIELD_PTRS(TYPE, S, m, n) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_ARRAY_OFFSET(S, m, MIGD_VMS_T_##TYPE *, n), sizeof(MIGD_VMS_T_##TYPE), n, \
		       MIGD_VMS_##TYPE, MIGD_VMS_POINTERS, 0, NULL, NULL)

/* Short forms. */
#define MIGD_VMS_FIELD_BOOL(S, m) MIGD_VMS_FIELD(BOOL, S, m)
#define MIGD_VMS_FIELD_U8(S, m) MIGD_VMS_FIELD(U8, S, m)
#define MIGD_VMS_FIELD_U16(S, m) MIGD_VMS_FIELD(U16, S, m)
#define MIGD_VMS_FIELD_U32(S, m) MIGD_VMS_FIELD(U32, S, m)
#define MIGD_VMS_FIELD_U64(S, m) MIGD_VMS_FIELD(U64, S, m)
#define MIGD_VMS_FIELD_S8(S, m) MIGD_VMS_FIELD(S8, S, m)
#define MIGD_VMS_FIELD_S16(S, m) MIGD_VMS_FIELD(S16, S, m)
#define MIGD_VMS_FIELD_S32(S, m) MIGD_VMS_FIELD(S32, S, m)
#define MIGD_VMS_FIELD_S64(S, m) MIGD_VMS_FIELD(S64, S, m)
#define MIGD_VMS_FIELD_U8_EQUAL(S, m) MIGD_VMS_FIELD(U8_EQUAL, S, m)
#define MIGD_VMS_FIELD_U16_EQUAL(S, m) MIGD_VMS_FIELD(U16_EQUAL, S, m)
#define MIGD_VMS_FIELD_U32_EQUAL(S, m) MIGD_VMS_FIELD(U32_EQUAL, S, m)
#define MIGD_VMS_FIELD_U64_EQUAL(S, m) MIGD_VMS_FIELD(U64_EQUAL, S, m)
#define MIGD_VMS_FIELD_U8_ARRAY(S, m, n) MIGD_VMS_FIELD_ARRAY(U8, S, m, n)
#define MIGD_VMS_FIELD_U16_ARRAY(S, m, n) MIGD_VMS_FIELD_ARRAY(U16, S, m, n)
#define MIGD_VMS_FIELD_U32_ARRAY(S, m, n) MIGD_VMS_FIELD_ARRAY(U32, S, m, n)
#define MIGD_VMS_FIELD_U64_ARRAY(S, m, n) MIGD_VMS_FIELD_ARRAY(U64, S, m, n)
#define MIGD_VMS_FIELD_U8_VARRAY(S, m, n, c) MIGD_VMS_FIELD_VARRAY(U8, S, m, n, U32, c)

/* ---- bytes and bits ---- */

#define MIGD_VMS_BYTES(S, m, start, len, v, test, ok) \
	MIGD_VMS_PLAIN(#m, \
		       offsetof(S, m) + (start) + (ok) + \
			       MIGD_VMS_REQUIRE((start) + (len) <= sizeof(((S *)0)->m), \
						#m " of " #S " has not so many bytes"), \
		       len, 1, MIGD_VMS_BUFFER, 0, v, NULL, test)
/* The member as raw bytes, whatever its type: no byte order is taken care of. Or LEN of them from START. */
#define MIGD_VMS_FIELD_BUFFER(S, m) MIGD_VMS_BYTES(S, m, 0, sizeof(((S *)0)->m), 0, NULL, 0)
#define MIGD_VMS_FIELD_BUFFER_SINCE(S, m, v) MIGD_VMS_BYTES(S, m, 0, sizeof(((S *)0)->m), v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_BUFFER_IF(S, m, test) MIGD_VMS_BYTES(S, m, 0, sizeof(((S *)0)->m), 0, test, MIGD_VMS_TEST(test))
#define MIGD_VMS_FIELD_BUFFER_PART(S, m, start, len) MIGD_VMS_BYTES(S, m, start, len, 0, NULL, 0)
/* c bytes: of the array m; or, _PTR, of at most n that the uint8_t pointer m points to. _TIMES: c times k. */
#define MIGD_VMS_FIELD_VBUFFER(S, m, C, c) \
	MIGD_VMS_COUNTED(#m, offsetof(S, m), 1, sizeof(((S *)0)->m), S, C, c, 1, MIGD_VMS_VBUFFER, 0, NULL)
#define MIGD_VMS_FIELD_PTR_VBUFFER(S, m, n, C, c) MIGD_VMS_FIELD_PTR_VBUFFER_TIMES(S, m, n, C, c, 1)
#define MIGD_VMS_FIELD_PTR_VBUFFER_TIMES(S, m, n, C, c, k) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_OFFSET(S, m, uint8_t *), 1, n, S, C, c, k, MIGD_VMS_VBUFFER, MIGD_VMS_POINTER, NULL)
/* n bits of an array of uint64_t that is just large enough; or, _PTR, c of at most n bits that m points to. */
#define MIGD_VMS_FIELD_BITMAP(S, m, n) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_ARRAY_OFFSET(S, m, uint64_t, ((n) + 63) / 64), 8, n, MIGD_VMS_BITMAP, 0, 0, NULL, NULL)
#define MIGD_VMS_FIELD_PTR_BITMAP(S, m, n, C, c) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_OFFSET(S, m, uint64_t *), 8, n, S, C, c, 1, MIGD_VMS_BITMAP, MIGD_VMS_POINTER, NULL)
/* n bytes that mean nothing (any more, or yet): zeros. */
#define MIGD_VMS_NOTHING(n, v, test, ok) \
	MIGD_VMS_PLAIN("unused", (ok) + MIGD_VMS_REQUIRE((n) > 0, "unused bytes are at least one"), n, 1, MIGD_VMS_UNUSED, 0, \
		       v, NULL, test)
#define MIGD_VMS_FIELD_UNUSED(n) MIGD_VMS_NOTHING(n, 0, NULL, 0)
#define MIGD_VMS_FIELD_UNUSED_SINCE(n, v) MIGD_VMS_NOTHING(n, v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_UNUSED_IF(n, test) MIGD_VMS_NOTHING(n, 0, test, MIGD_VMS_TEST(test))

/* ---- structs ---- */

#define MIGD_VMS_NESTED(S, m, T, d, v, test, ok) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, T) + (ok), sizeof(T), 1, MIGD_VMS_STRUCT, 0, v, d, test)
#define MIGD_VMS_FIELD_STRUCT(S, m, T, d) MIGD_VMS_NESTED(S, m, T, d, 0, NULL, 0)
#define MIGD_VMS_FIELD_STRUCT_SINCE(S, m, T, d, v) MIGD_VMS_NESTED(S, m, T, d, v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_STRUCT_IF(S, m, T, d, test) MIGD_VMS_NESTED(S, m, T, d, 0, test, MIGD_VMS_TEST(test))
/* The struct as version SV of its description has it. */
#define MIGD_VMS_FIELD_VSTRUCT(S, m, T, d, sv) \
	MIGD_VMS_ROW(#m, MIGD_VMS_OFFSET(S, m, T), sizeof(T), 1, 0, MIGD_VMS_VSTRUCT, 0, 0, 0, d, NULL, NULL, sv)

#define MIGD_VMS_NESTEDS(S, m, T, n, d, v, test, ok) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_ARRAY_OFFSET(S, m, T, n) + (ok), sizeof(T), n, MIGD_VMS_STRUCT, 0, v, d, test)
#define MIGD_VMS_FIELD_STRUCT_ARRAY(S, m, T, n, d) MIGD_VMS_NESTEDS(S, m, T, n, d, 0, NULL, 0)
#define MIGD_VMS_FIELD_STRUCT_ARRAY_SINCE(S, m, T, n, d, v) MIGD_VMS_NESTEDS(S, m, T, n, d, v, NULL, MIGD_VMS_SINCE(v))
#define MIGD_VMS_FIELD_STRUCT_ARRAY_IF(S, m, T, n, d, test) MIGD_VMS_NESTEDS(S, m, T, n, d, 0, test, MIGD_VMS_TEST(test))
#define MIGD_VMS_FIELD_STRUCT_VARRAY(S, m, T, n, c, d) MIGD_VMS_FIELD_STRUCT_VARRAY_TIMES(S, m, T, n, U32, c, 1, d)
#define MIGD_VMS_FIELD_STRUCT_VARRAY_TIMES(S, m, T, n, C, c, k, d) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_ARRAY_OFFSET(S, m, T, n), sizeof(T), n, S, C, c, k, MIGD_VMS_STRUCT, 0, d)

#define MIGD_VMS_FIELD_STRUCT_PTR(S, m, T, d) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, T *), sizeof(T), 1, MIGD_VMS_STRUCT, MIGD_VMS_POINTER, 0, d, NULL)
#define MIGD_VMS_FIELD_STRUCT_PTR_VARRAY(S, m, T, n, C, c, d) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_OFFSET(S, m, T *), sizeof(T), n, S, C, c, 1, MIGD_VMS_STRUCT, MIGD_VMS_POINTER, d)
#define MIGD_VMS_FIELD_STRUCT_NULLABLE(S, m, T, d) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_OFFSET(S, m, T *), sizeof(T), 1, MIGD_VMS_STRUCT, MIGD_VMS_POINTERS, 0, d, NULL)
#define MIGD_VMS_FIELD_STRUCT_PTRS(S, m, T, n, d) \
	MIGD_VMS_PLAIN(#m, MIGD_VMS_ARRAY_OFFSET(S, m, T *, n), sizeof(T), n, MIGD_VMS_STRUCT, MIGD_VMS_POINTERS, 0, d, NULL)
#define MIGD_VMS_FIELD_STRUCT_PTRS_VARRAY(S, m, T, n, C, c, d) \
	MIGD_VMS_COUNTED(#m, MIGD_VMS_ARRAY_OFFSET(S, m, T *, n), sizeof(T), n, S, C, c, 1, MIGD_VMS_STRUCT, \
			 MIGD_VMS_POINTERS, d)

/*
 * A struct T that exists only while it is saved or loaded, for what has another shape on the wire than in S. Its first
 * member is `S *parent`, which is set; the rest is zero. d's pre_save fills it, its post_load takes it over into *parent.
 */
#define MIGD_VMS_FIELD_TMP(S, T, d) \
	MIGD_VMS_PLAIN("tmp", \
		       MIGD_VMS_REQUIRE(MIGD_VMS_IS(T, parent, S *) && offsetof(T, parent) == 0, \
					"the first member of " #T " is not " #S " *parent"), \
		       sizeof(T), 1, MIGD_VMS_TMP, 0, 0, d, NULL)

/* ---- queues ---- */

/* Layouts, for a static const struct migd_vmstate_queue: the head's type and members, the element's, and alloc. */
#define MIGD_VMS_QUEUE_SINGLE(H, first, E, next, alloc) \
	{ MIGD_VMS_LINKS_SINGLE, sizeof(E), MIGD_VMS_OFFSET(H, first, E *), 0, MIGD_VMS_OFFSET(E, next, E *), 0, alloc }
#define MIGD_VMS_QUEUE_DOUBLE(H, first, last, E, next, prev, alloc) \
	{ MIGD_VMS_LINKS_DOUBLE, sizeof(E), MIGD_VMS_OFFSET(H, first, E *), MIGD_VMS_OFFSET(H, last, E *), \
	  MIGD_VMS_OFFSET(E, next, E *), MIGD_VMS_OFFSET(E, prev, E *), alloc }
#define MIGD_VMS_QUEUE_LIST(H, first, E, next, prev, alloc) \
	{ MIGD_VMS_LINKS_LIST, sizeof(E), MIGD_VMS_OFFSET(H, first, E *), 0, MIGD_VMS_OFFSET(E, next, E *), \
	  MIGD_VMS_OFFSET(E, prev, E **), alloc }
#define MIGD_VMS_QUEUE_TAILQ(H, first, last, E, next, prev, alloc) \
	{ MIGD_VMS_LINKS_TAILQ, sizeof(E), MIGD_VMS_OFFSET(H, first, E *), MIGD_VMS_OFFSET(H, last, E **), \
	  MIGD_VMS_OFFSET(E, next, E *), MIGD_VMS_OFFSET(E, prev, E **), alloc }
/*
 * The queue whose head is m, of type H, laid out as *q says, with at most n elements, each described by d. It is empty when
 * a load begins: pre_load empties it.
 */
#define MIGD_VMS_FIELD_QUEUE(S, m, H, q, n, d) \
	MIGD_VMS_ROW(#m, MIGD_VMS_OFFSET(S, m, H), sizeof(H), n, 0, MIGD_VMS_QUEUE, 0, 0, 0, d, NULL, q, 0)

/* ---- rows without bytes ---- */

/* Load and save fail with TEXT's name unless test() says that what came before is valid. */
#define MIGD_VMS_FIELD_VALIDATE(text, test) \
	MIGD_VMS_PLAIN(text, MIGD_VMS_TEST(test), 0, 0, MIGD_VMS_U8, MIGD_VMS_MUST_EXIST, 0, NULL, test)
#define MIGD_VMS_FIELD_END MIGD_VMS_PLAIN(NULL, 0, 0, 0, MIGD_VMS_END, 0, 0, NULL, NULL)

#endif
