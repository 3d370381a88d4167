/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading by description as a machine that can stop anywhere: a body carries no length, so whoever reads the stream feeds
 * what has come, and the machine says how far the body went, or that it must see more.
 *
 * It keeps what C's stack would keep in a recursive loader: a frame for each description that is being loaded, outermost
 * first. No byte is kept: what cannot be judged yet (half a number, a subsection's header) stays with the caller.
 */
#ifndef MIGD_GUEST_VMSTATE_LOAD_H
#define MIGD_GUEST_VMSTATE_LOAD_H

#include "guest/vmstate-walk.h"

/* The most bytes that the machine may want to see at once: a subsection's header with the longest name (WIRE.md 2.4). */
#define VMS_LOOKAHEAD_MAX (1 + 1 + UINT8_MAX + 4)

enum vms_phase {
	VMS_ENTER = 1,		/* version, pre_load */
	VMS_FIELDS,
	VMS_SUBSECTIONS,
	VMS_LEAVE,		/* post_load */
};

/* One description on the way into one struct. */
struct vms_frame {
	const struct migd_vmstate *desc;
	uint8_t *opaque;
	uint32_t version;	/* that the bytes were written with */
	enum vms_phase phase;
	const struct migd_vmstate_field *field;
	bool in_field;		/* `array` holds */
	struct vms_array array;
	size_t index;		/* of the element at hand */
	size_t done;		/* its bytes, words or, of a queue, elements that were loaded */
	uint8_t *tail;		/* of a queue: the last element */
	uint64_t seen;		/* subsections, a bit each */
	void *owned;		/* OPAQUE, if it is a temporary struct; freed with the frame */
	struct vms_path at;	/* what this frame is doing; no name: the description as a whole */
};

struct vms_loader {
	struct vms_frame frames[VMSTATE_DEPTH_MAX];
	unsigned int depth;	/* frames in use; 0: all is loaded */
	uint64_t offset;	/* of the next byte, for people */
	size_t needs;		/* bytes it must see to go on; after -EAGAIN */
	/* Of the call under way. */
	struct rcur *in;
	bool final;
	struct merr *err;
};

/* Begin to load a body written with VERSION into OPAQUE; its first byte is at OFFSET. D was checked. */
void vms_loader_begin(struct vms_loader *l, const struct migd_vmstate *d, void *opaque, uint32_t version,
		      uint64_t offset);

/*
 * Go on with the bytes of IN and leave it behind what was taken. 0: the body is complete, what is left in IN is not its.
 * -EAGAIN: call again with what is left and more, at least l->needs bytes in all (at most VMS_LOOKAHEAD_MAX). Never with
 * FINAL: then nothing comes after these bytes. Other codes as vmstate_load().
 */
int vms_loader_feed(struct vms_loader *l, struct rcur *in, bool final, struct merr *err);

/*
 * What the loader's two files share. Fail at what the innermost frame does; move on by N bytes, which are there; say
 * that there is less than LEN, and more may come or not; go into a nested struct.
 */
int vms_loader_fail(struct vms_loader *l, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void vms_loader_advance(struct vms_loader *l, size_t n);
int vms_loader_short_of(struct vms_loader *l, size_t len);
int vms_loader_push(struct vms_loader *l, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version);
/* The element at hand of the field at hand; and on to the next. */
int vms_load_element(struct vms_loader *l, struct vms_frame *fr);
void vms_element_done(struct vms_frame *fr);

/* Drop a load, also one that did not end with 0. A loader of zeros is fine, too. */
void vms_loader_done(struct vms_loader *l);

#endif
