/* SPDX-License-Identifier: Apache-2.0 */
/* Loading by description: a peer's bytes (WIRE.md 2) into our structs, nothing taken on trust. */
#include "guest/vmstate-load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static struct vms_frame *top(struct vms_loader *l)
{
	return &l->frames[l->depth - 1];
}

/* An error at what the innermost frame does. */
static int fail(struct vms_loader *l, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct vms_loader *l, int code, const char *fmt, ...)
{
	const struct vms_path *path = NULL;
	va_list ap;

	for (unsigned int i = 0; i < l->depth; i++) {
		if (!l->frames[i].at.name)
			continue;
		l->frames[i].at.up = path;
		path = &l->frames[i].at;
	}
	va_start(ap, fmt);
	code = vms_failv(path, l->offset, l->err, code, fmt, ap);
	va_end(ap);
	return code;
}

static const uint8_t *advance(struct vms_loader *l, size_t n)
{
	l->offset += n;
	return rcur_bytes(l->in, n);
}

/* There is less than LEN: more may come, or not. */
static int short_of(struct vms_loader *l, size_t len)
{
	if (l->final)
		return fail(l, -EPROTO, "the data ends here: %zu bytes are needed, %zu are left", len,
			    l->in->left);
	l->needs = len;
	return -EAGAIN;
}

static int push(struct vms_loader *l, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version)
{
	if (l->depth == VMSTATE_DEPTH_MAX)
		return fail(l, -EINVAL, "descriptions are nested deeper than %d", VMSTATE_DEPTH_MAX);
	l->frames[l->depth++] = (struct vms_frame){
		.desc = d, .opaque = opaque, .version = version, .phase = VMS_ENTER };
	return 0;
}

/* ---- elements ---- */

static void element_done(struct vms_frame *fr)
{
	fr->index++;
	fr->at.index = fr->index;
	fr->done = 0;
}

/* NULL, or what is wrong with a value that is checked against OURS. */
static int check_scalar(struct vms_loader *l, const struct vms_kind *kind, uint32_t which, uint64_t theirs, uint64_t ours)
{
	if (kind->equal && theirs != ours && kind->is_signed)
		return fail(l, -EINVAL,
			    "must be equal on both sides, but is %" PRId32 " at the source and %" PRId32 " here",
			    (int32_t)theirs, (int32_t)ours);
	if (kind->equal && theirs != ours)
		return fail(l, -EINVAL,
			    "must be equal on both sides, but is %" PRIu64 " at the source and %" PRIu64 " here",
			    theirs, ours);
	if (which == MIGD_VMS_S32_LE && ((int32_t)theirs < 0 || (int32_t)theirs > (int32_t)ours))
		return fail(l, -EINVAL, "is %" PRId32 " at the source, 0 to %" PRId32 " expected here",
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
		return short_of(l, f->size);
	theirs = vms_read_be(l->in->p, f->size);
	r = check_scalar(l, kind, f->kind, theirs, vms_get(at, f->size));
	if (r < 0)
		return r;
	if (!kind->equal)
		vms_put(at, f->kind == MIGD_VMS_BOOL ? theirs != 0 : theirs, f->size);
	(void)advance(l, f->size);
	element_done(fr);
	return 0;
}

/* LEN raw bytes, as they come; AT NULL: to nowhere. */
static int load_raw(struct vms_loader *l, struct vms_frame *fr, uint8_t *at, size_t len)
{
	size_t left = len - fr->done;
	size_t n = min_u64(left, l->in->left);

	if (l->final && n < left)
		return short_of(l, left);
	if (at && n)
		memcpy(at + fr->done, l->in->p, n);
	(void)advance(l, n);
	fr->done += n;
	if (n < left)
		return short_of(l, 1);
	element_done(fr);
	return 0;
}

static int load_bits(struct vms_loader *l, struct vms_frame *fr, uint8_t *at, size_t n_bits)
{
	for (; fr->done * 64 < n_bits; fr->done++) {
		if (l->in->left < 8)
			return short_of(l, 8);
		vms_put(at + fr->done * 8, vms_bitmap_word(load_be64(l->in->p), fr->done, n_bits), 8);
		(void)advance(l, 8);
	}
	element_done(fr);
	return 0;
}

/* The byte of a pointer that is NULL here: the source must have the same. */
static int load_null(struct vms_loader *l, struct vms_frame *fr)
{
	if (!l->in->left)
		return short_of(l, 1);
	if (*l->in->p != VMS_NULL)
		return fail(l, -EINVAL, "there is nothing here (NULL), but something at the source");
	(void)advance(l, 1);
	element_done(fr);
	return 0;
}

static int load_tmp(struct vms_loader *l, struct vms_frame *fr)
{
	const struct migd_vmstate_field *f = fr->field;
	void *tmp = vms_tmp_new(f, fr->opaque);
	int r;

	if (!tmp)
		return fail(l, -ENOMEM, "no memory for the temporary struct");
	r = push(l, f->vmsd, tmp, f->vmsd->version);
	if (r < 0)
		free(tmp);
	else
		top(l)->owned = tmp;
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
		return fail(l, -EINVAL, "the queue is not empty here: pre_load must empty it");
	if (!l->in->left)
		return short_of(l, 1);
	mark = *l->in->p;
	if (mark != VMS_QUEUE_END && mark != VMS_QUEUE_ELEMENT)
		return fail(l, -EPROTO, "0x%02x where an element (1) or the end (0) must come", mark);
	if (mark == VMS_QUEUE_ELEMENT && fr->done == f->count)
		return fail(l, -EPROTO, "more elements than the description's bound");
	(void)advance(l, 1);
	if (mark == VMS_QUEUE_END) {
		element_done(fr);
		return 0;
	}
	elem = vms_queue_append(f->queue, head, fr->tail, fr->opaque);
	if (!elem)
		return fail(l, -ENOMEM, "no memory for another element");
	fr->tail = elem;
	fr->done++;
	return push(l, f->vmsd, elem, f->vmsd->version);
}

static int load_element(struct vms_loader *l, struct vms_frame *fr)
{
	const struct migd_vmstate_field *f = fr->field;
	uint8_t *at = vms_element(f, &fr->array, fr->index);

	if (!at && f->flags & MIGD_VMS_POINTERS)
		return load_null(l, fr);
	switch (f->kind) {
	case MIGD_VMS_STRUCT:
	case MIGD_VMS_VSTRUCT:
		return push(l, f->vmsd, at, vms_nested_version(f));
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

/* ---- fields ---- */

static void next_field(struct vms_frame *fr)
{
	fr->field++;
	fr->in_field = false;
	fr->at = (struct vms_path){ 0 };
}

static int begin_field(struct vms_loader *l, struct vms_frame *fr)
{
	const struct migd_vmstate_field *f = fr->field;
	const char *why;

	fr->at = (struct vms_path){ .name = f->name };
	if (f->flags & MIGD_VMS_MUST_EXIST) {
		if (!f->exists(fr->opaque, fr->version))
			return fail(l, -EINVAL, "the values before it are not valid together");
		next_field(fr);
		return 0;
	}
	if (!vms_field_present(f, fr->opaque, fr->version)) {
		next_field(fr);
		return 0;
	}
	if (vms_field_array(f, fr->opaque, &fr->array, &why) < 0)
		return fail(l, -EPROTO, "%s", why);
	fr->at.is_array = fr->array.n > 1;
	fr->in_field = true;
	fr->index = fr->done = 0;
	fr->tail = NULL;
	return 0;
}

static int step_fields(struct vms_loader *l, struct vms_frame *fr)
{
	if (fr->in_field && fr->index < fr->array.n)
		return load_element(l, fr);
	if (fr->in_field)
		next_field(fr);
	if (fr->field->kind != MIGD_VMS_END)
		return begin_field(l, fr);
	fr->at = (struct vms_path){ 0 };
	fr->phase = VMS_SUBSECTIONS;
	return 0;
}

/* ---- subsections ---- */

/*
 * Does a subsection of D come next: a marker, and a name that begins with D's and is longer? Anything else is left for the
 * enclosing description (WIRE.md 2.4). -EAGAIN if that cannot be said yet.
 */
static int peek_subsection(struct vms_loader *l, const struct migd_vmstate *d)
{
	const uint8_t *p = l->in->p;
	size_t left = l->in->left, parent = strlen(d->name);

	if (left && p[0] != VMS_SUBSECTION)
		return false;
	if (left > 1 && p[1] <= parent)
		return false;
	if (left > 2 && memcmp(p + 2, d->name, min_u64(left - 2, parent)) != 0)
		return false;
	l->needs = left < 2 ? left + 1 : 2U + p[1];
	if (left >= 2 && left >= l->needs)
		return true;
	return l->final ? false : -EAGAIN;
}

/* The printable form of the next subsection's name. */
static void subsection_name(const uint8_t *name, size_t len, char *ret)
{
	for (size_t i = 0; i < len; i++)
		ret[i] = name[i] >= ' ' && name[i] < 0x7f ? (char)name[i] : '?';
	ret[len] = '\0';
}

static int find_subsection(const struct migd_vmstate *d, const char *name)
{
	for (int i = 0; d->subsections && d->subsections[i]; i++)
		if (strcmp(d->subsections[i]->name, name) == 0)
			return i;
	return -ENOENT;
}

static int begin_subsection(struct vms_loader *l, struct vms_frame *fr)
{
	size_t len = l->in->p[1];
	char name[UINT8_MAX + 1];
	uint32_t version;
	int i;

	subsection_name(l->in->p + 2, len, name);
	i = find_subsection(fr->desc, name);
	if (i < 0)
		return fail(l, -EINVAL,
			    "subsection '%s' is not known here: the target is older", name);
	if (fr->seen & 1ULL << i)
		return fail(l, -EPROTO, "subsection '%s' comes twice", name);
	fr->at = (struct vms_path){ .name = fr->desc->subsections[i]->name };
	if (l->in->left < 2 + len + 4) {
		if (l->final)
			return fail(l, -EPROTO, "the data ends in a subsection's header");
		return short_of(l, 2 + len + 4);
	}
	fr->seen |= 1ULL << i;
	version = load_be32(l->in->p + 2 + len);
	(void)advance(l, 2 + len + 4);
	return push(l, fr->desc->subsections[i], fr->opaque, version);
}

static int step_subsections(struct vms_loader *l, struct vms_frame *fr)
{
	int r;

	fr->at = (struct vms_path){ 0 };
	r = peek_subsection(l, fr->desc);
	if (r == 0)
		fr->phase = VMS_LEAVE;
	return r <= 0 ? r : begin_subsection(l, fr);
}

/* ---- descriptions ---- */

static int check_version(struct vms_loader *l, const struct vms_frame *fr)
{
	const struct migd_vmstate *d = fr->desc;

	if (fr->version > d->version)
		return fail(l, -EINVAL,
			    "'%s' has version %" PRIu32 " at the source, this side knows up to %" PRIu32
			    ": the target must be at least as new as the source",
			    d->name, fr->version, d->version);
	if (fr->version < d->minimum_version)
		return fail(l, -EINVAL,
			    "'%s' has version %" PRIu32 " at the source, this side needs at least %" PRIu32,
			    d->name, fr->version, d->minimum_version);
	return 0;
}

static int run_pre_load(struct vms_loader *l, const struct vms_frame *fr)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	int r = fr->desc->pre_load ? vms_hook_code(fr->desc->pre_load(fr->opaque, &e.face)) : 0;

	return r < 0 ? fail(l, r, "pre_load of '%s' failed: %s", fr->desc->name, vms_hook_text(&e, r)) : 0;
}

static int run_post_load(struct vms_loader *l, const struct vms_frame *fr)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	int r = fr->desc->post_load ? vms_hook_code(fr->desc->post_load(fr->opaque, fr->version, &e.face)) : 0;

	return r < 0 ? fail(l, r, "post_load of '%s' refused what it got: %s", fr->desc->name, vms_hook_text(&e, r))
		     : 0;
}

static int enter(struct vms_loader *l, struct vms_frame *fr)
{
	int r = check_version(l, fr);

	if (r == 0)
		r = run_pre_load(l, fr);
	fr->phase = VMS_FIELDS;
	fr->field = fr->desc->fields;
	return r;
}

static void pop(struct vms_loader *l)
{
	free(top(l)->owned);
	l->depth--;
}

static int leave(struct vms_loader *l, struct vms_frame *fr)
{
	struct vms_frame *parent;
	int r = run_post_load(l, fr);

	if (r < 0)
		return r;
	pop(l);
	if (!l->depth)
		return 0;
	parent = top(l);
	if (parent->phase == VMS_FIELDS && parent->field->kind != MIGD_VMS_QUEUE)
		element_done(parent);
	return 0;
}

static int step(struct vms_loader *l)
{
	struct vms_frame *fr = top(l);

	switch (fr->phase) {
	case VMS_ENTER:
		return enter(l, fr);
	case VMS_FIELDS:
		return step_fields(l, fr);
	case VMS_SUBSECTIONS:
		return step_subsections(l, fr);
	default:
		return leave(l, fr);
	}
}

void vms_loader_begin(struct vms_loader *l, const struct migd_vmstate *d, void *opaque, uint32_t version,
		      uint64_t offset)
{
	l->depth = 0;
	l->offset = offset;
	(void)push(l, d, opaque, version);
}

int vms_loader_feed(struct vms_loader *l, struct rcur *in, bool final, struct merr *err)
{
	int r = 0;

	l->in = in;
	l->final = final;
	l->err = err;
	while (r == 0 && l->depth)
		r = step(l);
	l->in = NULL;
	l->err = NULL;
	return r;
}

void vms_loader_done(struct vms_loader *l)
{
	while (l->depth)
		pop(l);
}

int vmstate_load(const struct migd_vmstate *d, void *opaque, uint32_t version, struct rcur *in,
		 const uint8_t *origin, struct merr *err)
{
	struct vms_loader l;
	int r;

	vms_loader_begin(&l, d, opaque, version, (uint64_t)(in->p - origin));
	r = vms_loader_feed(&l, in, true, err);
	vms_loader_done(&l);
	return r;
}
