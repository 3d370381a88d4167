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

int vms_loader_fail(struct vms_loader *l, int code, const char *fmt, ...)
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

void vms_loader_advance(struct vms_loader *l, size_t n)
{
	l->offset += n;
	(void)rcur_bytes(l->in, n);
}

int vms_loader_short_of(struct vms_loader *l, size_t len)
{
	if (l->final)
		return vms_loader_fail(l, -EPROTO, "the data ends here: %zu bytes are needed, %zu are left", len,
			    l->in->left);
	l->needs = len;
	return -EAGAIN;
}

int vms_loader_push(struct vms_loader *l, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version)
{
	if (l->depth == VMSTATE_DEPTH_MAX)
		return vms_loader_fail(l, -EINVAL, "descriptions are nested deeper than %d", VMSTATE_DEPTH_MAX);
	l->frames[l->depth++] = (struct vms_frame){
		.desc = d, .opaque = opaque, .version = version, .phase = VMS_ENTER };
	return 0;
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
			return vms_loader_fail(l, -EINVAL, "the values before it are not valid together");
		next_field(fr);
		return 0;
	}
	if (!vms_field_present(f, fr->opaque, fr->version)) {
		next_field(fr);
		return 0;
	}
	if (vms_field_array(f, fr->opaque, &fr->array, &why) < 0)
		return vms_loader_fail(l, -EPROTO, "%s", why);
	fr->at.is_array = fr->array.n > 1;
	fr->in_field = true;
	fr->index = fr->done = 0;
	fr->tail = NULL;
	return 0;
}

static int step_fields(struct vms_loader *l, struct vms_frame *fr)
{
	if (fr->in_field && fr->index < fr->array.n)
		return vms_load_element(l, fr);
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
		return vms_loader_fail(l, -EINVAL,
			    "subsection '%s' is not known here: the target is older", name);
	if (fr->seen & 1ULL << i)
		return vms_loader_fail(l, -EPROTO, "subsection '%s' comes twice", name);
	fr->at = (struct vms_path){ .name = fr->desc->subsections[i]->name };
	if (l->in->left < 2 + len + 4) {
		if (l->final)
			return vms_loader_fail(l, -EPROTO, "the data ends in a subsection's header");
		return vms_loader_short_of(l, 2 + len + 4);
	}
	fr->seen |= 1ULL << i;
	version = load_be32(l->in->p + 2 + len);
	vms_loader_advance(l, 2 + len + 4);
	return vms_loader_push(l, fr->desc->subsections[i], fr->opaque, version);
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
		return vms_loader_fail(l, -EINVAL,
			    "'%s' has version %" PRIu32 " at the source, this side knows up to %" PRIu32
			    ": the target must be at least as new as the source",
			    d->name, fr->version, d->version);
	if (fr->version < d->minimum_version)
		return vms_loader_fail(l, -EINVAL,
			    "'%s' has version %" PRIu32 " at the source, this side needs at least %" PRIu32,
			    d->name, fr->version, d->minimum_version);
	return 0;
}

static int run_pre_load(struct vms_loader *l, const struct vms_frame *fr)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	int r = fr->desc->pre_load ? vms_hook_code(fr->desc->pre_load(fr->opaque, &e.face)) : 0;

	return r < 0 ? vms_loader_fail(l, r, "pre_load of '%s' failed: %s", fr->desc->name, vms_hook_text(&e, r)) : 0;
}

static int run_post_load(struct vms_loader *l, const struct vms_frame *fr)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	int r = fr->desc->post_load ? vms_hook_code(fr->desc->post_load(fr->opaque, fr->version, &e.face)) : 0;

	return r < 0 ? vms_loader_fail(l, r, "post_load of '%s' refused what it got: %s", fr->desc->name, vms_hook_text(&e, r))
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
		vms_element_done(parent);
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
	(void)vms_loader_push(l, d, opaque, version);
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
