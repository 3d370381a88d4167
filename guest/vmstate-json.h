/* SPDX-License-Identifier: Apache-2.0 */
/* The self-description of saved state (WIRE.md 1.4): pieces of JSON, written as the walk that saves goes along. */
#ifndef MIGD_GUEST_VMSTATE_JSON_H
#define MIGD_GUEST_VMSTATE_JSON_H

#include "guest/vmstate-walk.h"

/*
 * May an array of F be described by its first element and a length? Not if an element's layout can vary: by a
 * presence test, a subsection, or a count of its own somewhere below.
 */
bool vms_can_compress(const struct migd_vmstate_field *f);

/* The keys of D as written with VERSION, up to where its fields follow. */
void vms_json_description(struct buf *json, const struct migd_vmstate *d, uint32_t version);

/* Element INDEX of N of field F of D. */
struct vms_json_element {
	const struct migd_vmstate *desc;
	const struct migd_vmstate_field *field;
	size_t n;
	size_t index;
	size_t run;	/* elements that this entry stands for, if they can be described by one */
	bool is_null;	/* a pointer that is NULL: one byte */
};
/* Begin and end an entry of "fields"; a struct's own keys come in between. SIZE: bytes of the element. */
void vms_json_begin(struct buf *json, const struct vms_json_element *e);
void vms_json_end(struct buf *json, const struct vms_json_element *e, size_t size);

#endif
