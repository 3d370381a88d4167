/* SPDX-License-Identifier: Apache-2.0 */
/* Loading one element of a field, kind by kind (WIRE.md 2.1), as far as the bytes go. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "guest/vmstate-load.h"

void vms_element_done(struct vms_frame *fr)
{
	fr->index++;
	fr->at.index = fr->index;
	fr->done = 0;
}

/* NULL, or what is wrong with a value that is checked against OURS. */
static int check_scalar(struct vms_loader *l, const struct vms_kind *kind, uint32_t which, uint64_t theirs, uint64_t ours)
{
	if (kind->equal && theirs != ours && kind->is_signed)
		return vms_loader_fail(l, -EINVAL,
			    "must be equal on both sides, but is %" PRId32 " at the source and %" PRId32 " here",
			    (int32_t)theirs, (int32_t)ours);
	if (kind->equal && theirs != ours)
		return vms_loader_fail(l, -EINVAL,
			    "must be equal on both sides, but is %" PRIu64 " at the source and %" PRIu64 " here",
			    theirs, ours);
	if (which == MIGD_VMS_S32_LE && ((int32_t)theirs < 0 || (int32_t)theirs > (int32_t)ours))
		return vms_loader_fail(l, -EINVAL, "is %" PRId32 " at the source, 0 to %" PRId32 " expected here",
			    (int32_t)theirs, (int32_t)ours);
	return 0;
}

static int load_scalar(struct vms_loader *l, struct vms_frame *fr, uint8_t *at)
{
	const struct migd_vmstate_field *f = fr->field;
	const struct vms_kind *kind = vms_kind(f->kind);
	uint64_t theirs;
	int r;

	if (l->in->left < f->size)
		return vms_loader_short_of(l, f->size);
	theirs = vms_read_be(l->in->p, f->size);
	r = check_scalar(l, kind, f->kind, theirs, vms_get(at, f->size));
	if (r < 0)
		return r;
	if (!kind->equal)
		vms_put(at, f->kind == MIGD_VMS_BOOL ? theirs != 0 : theirs, f->size);
	vms_loader_advance(l, f->size);
	vms_element_done(fr);
	return 0;
}

/* LEN raw bytes, as they come; AT NULL: to nowhere. */
static int load_raw(struct vms_loader *l, struct vms_frame *fr, uint8_t *at, size_t len)
{
	size_t left = len - fr->done;
	size_t n = min_u64(left, l->in->left);

	if (l->final && n < left)
		return vms_loader_short_of(l, left);
	if (at && n)
		memcpy(at + fr->done, l->in->p, n);
	vms_loader_advance(l, n);
	fr->done += n;
	if (n < left)
		return vms_loader_short_of(l, 1);
	vms_element_done(fr);
	return 0;
}

static int load_bits(struct vms_loader *l, struct vms_frame *fr, uint8_t *at, size_t n_bits)
{
	for (; fr->done * 64 < n_bits; fr->done++) {
		if (l->in->left < 8)
			return vms_loader_short_of(l, 8);
		vms_put(at + fr->done * 8, vms_bitmap_word(load_be64(l->in->p), fr->done, n_bits), 8);
		vms_loader_advance(l, 8);
	}
	vms_element_done(fr);
	return 0;
}

/* The byte of a pointer that is NULL here: the source must have the same. */
static int load_null(struct vms_loader *l, struct vms_frame *fr)
{
	if (!l->in->left)
		return vms_loader_short_of(l, 1);
	if (*l->in->p != VMS_NULL)
		return vms_loader_fail(l, -EINVAL, "there is nothing here (NULL), but something at the source");
	vms_loader_advance(l, 1);
	vms_element_done(fr);
	return 0;
}

static int load_tmp(struct vms_loader *l, struct vms_frame *fr)
{
	const struct migd_vmstate_field *f = fr->field;
	void *tmp = vms_tmp_new(f, fr->opaque);
	int r;

	if (!tmp)
		return vms_loader_fail(l, -ENOMEM, "no memory for the temporary struct");
	r = vms_loader_push(l, f->vmsd, tmp, f->vmsd->version);
	if (r < 0)
		free(tmp);
	else
		l->frames[l->depth - 1].owned = tmp;
	return r;
}

/* The next element of a queue, or its end. An element is linked in before it is loaded, so that it is never lost. */
static int load_queue(struct vms_loader *l, struct vms_frame *fr, uint8_t *head)
{
	const struct migd_vmstate_field *f = fr->field;
	uint8_t mark, *elem;

	fr->at.is_array = true;
	fr->at.index = fr->done;
	if (!fr->done && vms_queue_first(f->queue, head))
		return vms_loader_fail(l, -EINVAL, "the queue is not empty here: pre_load must empty it");
	if (!l->in->left)
		return vms_loader_short_of(l, 1);
	mark = *l->in->p;
	if (mark != VMS_QUEUE_END && mark != VMS_QUEUE_ELEMENT)
		return vms_loader_fail(l, -EPROTO, "0x%02x where an element (1) or the end (0) must come", mark);
	if (mark == VMS_QUEUE_ELEMENT && fr->done == f->count)
		return vms_loader_fail(l, -EPROTO, "more elements than the description's bound");
	vms_loader_advance(l, 1);
	if (mark == VMS_QUEUE_END) {
		vms_element_done(fr);
		return 0;
	}
	elem = vms_queue_append(f->queue, head, fr->tail, fr->opaque);
	if (!elem)
		return vms_loader_fail(l, -ENOMEM, "no memory for another element");
	fr->tail = elem;
	fr->done++;
	return vms_loader_push(l, f->vmsd, elem, f->vmsd->version);
}

int vms_load_element(struct vms_loader *l, struct vms_frame *fr)
{
	const struct migd_vmstate_field *f = fr->field;
	uint8_t *at = vms_element(f, &fr->array, fr->index);

	if (!at && f->flags & MIGD_VMS_POINTERS)
		return load_null(l, fr);
	switch (f->kind) {
	case MIGD_VMS_STRUCT:
	case MIGD_VMS_VSTRUCT:
		return vms_loader_push(l, f->vmsd, at, vms_nested_version(f));
	case MIGD_VMS_TMP:
		return load_tmp(l, fr);
	case MIGD_VMS_QUEUE:
		return load_queue(l, fr, at);
	case MIGD_VMS_BUFFER:
		return load_raw(l, fr, at, f->size);
	case MIGD_VMS_VBUFFER:
		return load_raw(l, fr, at, fr->array.units);
	case MIGD_VMS_BITMAP:
		return load_bits(l, fr, at, fr->array.units);
	case MIGD_VMS_UNUSED:
		return load_raw(l, fr, NULL, f->size);
	default:
		return load_scalar(l, fr, at);
	}
}
