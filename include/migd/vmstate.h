/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device state by description: a VMM says in tables what its devices' structs hold, and libmigd-guest
 * saves, loads and self-describes them in QEMU's VMState encoding (big-endian, no padding, no tags).
 * docs/vmstate.md is a tutorial. Plain C99 (with __typeof__) and C++11; include through <migd/guest.h>.
 *
 * The rows of a table are made with the macros of <migd/vmstate-fields.h>, which fail to compile where a
 * member is not what the row says. What no compiler can know is checked when the device is registered.
 */
#ifndef MIGD_VMSTATE_H
#define MIGD_VMSTATE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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
	MIGD_VMS_S32_EQUAL,
	MIGD_VMS_S32_LE,	/* 0 <= value <= the target's own value, or the load fails; stored */
	MIGD_VMS_DOUBLE,	/* double; its 64 bits */
	MIGD_VMS_TIMER,		/* uint64_t: expiry in ns, MIGD_VMS_TIMER_OFF: not armed */
	MIGD_VMS_VBUFFER,	/* as many raw bytes as the count says */
	MIGD_VMS_BITMAP,	/* as many bits as the count says in uint64_t words; bit 0 is the least of the first */
	MIGD_VMS_VSTRUCT,	/* a struct of the version `struct_version`, whatever its description's is */
	MIGD_VMS_TMP,		/* a struct that exists only while it is saved or loaded */
	MIGD_VMS_QUEUE,		/* a linked list of structs, `queue` */
};

#define MIGD_VMS_TIMER_OFF UINT64_MAX

/* Where elements are and where their number comes from. */
enum migd_vmstate_flags {
	MIGD_VMS_VARRAY_U8 = 1 << 0,	/* count is read from a uint8_t at count_offset ... */
	MIGD_VMS_VARRAY_U16 = 1 << 1,
	MIGD_VMS_VARRAY_U32 = 1 << 2,	/* ... and, times count_times, may be at most `count` */
	MIGD_VMS_POINTER = 1 << 3,	/* the struct holds a pointer to the elements */
	MIGD_VMS_MUST_EXIST = 1 << 4,	/* no bytes; load and save fail unless exists() says true */
	MIGD_VMS_VARRAY_S32 = 1 << 5,	/* a negative one is refused */
	/*
	 * Each element is a pointer. NULL is sent as the byte 0x30, a check and no flag: the target has NULL at the
	 * same places before it loads.
	 */
	MIGD_VMS_POINTERS = 1 << 6,
};

struct migd_vmstate;

/* How the elements of a queue are linked. */
enum migd_vmstate_links {
	MIGD_VMS_LINKS_SINGLE = 1,	/* next */
	MIGD_VMS_LINKS_DOUBLE = 2,	/* next, prev, head's last: pointers to elements */
	MIGD_VMS_LINKS_LIST = 3,	/* LIST of <sys/queue.h>: next, prev = address of the pointer to this */
	MIGD_VMS_LINKS_TAILQ = 4,	/* TAILQ: that, and the head's last = address of the last next */
};

/* Use MIGD_VMS_QUEUE_SINGLE() and its like, which check the members' types. */
struct migd_vmstate_queue {
	uint32_t links;		/* enum migd_vmstate_links */
	size_t elem_size;	/* bytes of an element in memory */
	size_t first;		/* offsets in the head ... */
	size_t last;
	size_t next;		/* ... and in an element */
	size_t prev;
	/*
	 * A new element for the struct OPAQUE that holds the queue; zeroed but for what its description does not
	 * load. NULL: calloc(). It is linked in before it is loaded, so that it is never lost; NULL fails the load.
	 */
	void *(*alloc)(void *opaque);
};

/* One field of a description: a row made by a macro of <migd/vmstate-fields.h>. */
struct migd_vmstate_field {
	const char *name;
	size_t offset;			/* in the struct */
	size_t size;			/* bytes of one element in memory */
	size_t count;			/* elements (bytes, bits); the bound of a counted array or queue */
	size_t count_offset;		/* where a counted array's count is */
	uint32_t kind;			/* enum migd_vmstate_kind */
	uint32_t flags;			/* enum migd_vmstate_flags */
	uint32_t version;		/* first version of the description that has the field; 0 = all */
	uint32_t count_times;		/* the count is to be multiplied by this; 0 = 1 */
	const struct migd_vmstate *vmsd;	/* of a STRUCT, VSTRUCT, TMP, QUEUE */
	/* NULL: present as `version` says. Else it alone decides. Service thread; pure. */
	bool (*exists)(void *opaque, uint32_t version);
	const struct migd_vmstate_queue *queue;
	uint32_t struct_version;	/* of a VSTRUCT */
	uint32_t reserved;		/* 0 */
};

/* Why a hook failed, for people. */
struct migd_vmstate_error {
	char *text;		/* `size` bytes, NUL-terminated; the library's */
	size_t size;
};

/* In a hook: `return migd_vmstate_fail(err, -EINVAL, "head %u is beyond the FIFO", head);` */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4), unused))
#endif
static inline int migd_vmstate_fail(struct migd_vmstate_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err && err->text)
		(void)vsnprintf(err->text, err->size, fmt, ap);
	va_end(ap);
	return code;
}

/*
 * A description. Static, constant, and alive as long as a guest that uses it. Hooks run on the
 * service thread with the vCPUs parked; they return 0 or a negative errno, which fails the save or
 * load, and may say why in ERR. Order: save: needed, pre_save, fields, subsections, post_save (once
 * pre_save succeeded, also after a failure). Load: pre_load, fields, subsections, post_load.
 *
 * pre_save may set derived fields; pre_load resets what an older source does not send; post_load must
 * check what it got (the bytes are a peer's) and may not do anything the guest can see: that waits for
 * the activate hook. A failed load does not run post_load; the guest is then discarded.
 */
struct migd_vmstate {
	const char *name;
	uint32_t version;		/* written; a greater one is refused on load */
	uint32_t minimum_version;	/* a smaller one is refused on load */
	const struct migd_vmstate_field *fields;	/* ended by MIGD_VMS_END */
	/* NULL-ended, or NULL; each one's name begins with this one's name and "/". */
	const struct migd_vmstate *const *subsections;
	bool (*needed)(void *opaque);	/* NULL: always. False: the section is not sent */
	int (*pre_save)(void *opaque, struct migd_vmstate_error *err);
	int (*post_save)(void *opaque, struct migd_vmstate_error *err);
	int (*pre_load)(void *opaque, struct migd_vmstate_error *err);
	int (*post_load)(void *opaque, uint32_t version, struct migd_vmstate_error *err);
	/* Not NULL: a guest with this device cannot be migrated, and this says why. Of a device's own description. */
	const char *unmigratable;
};

/* When a device is saved and loaded: higher first, then in order of registration. */
enum migd_vmstate_priority {
	MIGD_VMS_PRIORITY_DEFAULT = 0,	/* the same as 2 */
	MIGD_VMS_PRIORITY_LOW = 1,
	MIGD_VMS_PRIORITY_IOMMU = 3,	/* before the devices behind it */
	MIGD_VMS_PRIORITY_BUS = 4,	/* before the devices on it */
	MIGD_VMS_PRIORITY_MEMORY = 5,	/* what decides which memory is there */
	MIGD_VMS_PRIORITY_INTERRUPTS = 6,	/* interrupt controllers; what they depend on, above */
	MIGD_VMS_PRIORITY_ITS = 7,
	MIGD_VMS_PRIORITY_GIC = 8,
};

#ifdef __cplusplus
}
#endif

#include <migd/vmstate-fields.h>

#endif
