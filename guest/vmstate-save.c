/* SPDX-License-Identifier: Apache-2.0 */
/* Saving by description: the bytes (WIRE.md 2) and the JSON that explains them (WIRE.md 1.4), in one walk. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "guest/vmstate-json.h"

struct save {
	struct buf *bytes;
	struct buf *json;	/* NULL: nothing is described */
	struct merr *err;
};

static int save_body(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version,
		     const struct vms_path *path);

static int fail(const struct save *s, const struct vms_path *path, int code, const char *text)
{
	return vms_fail(path, VMS_NO_OFFSET, s->err, code, "%s", text);
}

/* ---- elements ---- */

static void save_bits(struct buf *bytes, const uint8_t *at, size_t n_bits)
{
	for (size_t i = 0; i * 64 < n_bits; i++)
		buf_be64(bytes, vms_bitmap_word(vms_get(at + i * 8, 8), i, n_bits));
}

static void save_zeros(struct buf *bytes, size_t n)
{
	uint8_t *room = buf_room(bytes, n);

	if (room)
		memset(room, 0, n);
}

static int save_tmp(const struct save *s, const struct migd_vmstate_field *f, uint8_t *opaque,
		    const struct vms_path *path)
{
	_cleanup_free_ uint8_t *tmp = vms_tmp_new(f, opaque);

	if (!tmp)
		return fail(s, path, -ENOMEM, "no memory for the temporary struct");
	return save_body(s, f->vmsd, tmp, f->vmsd->version, path);
}

static int save_queue(const struct save *s, const struct migd_vmstate_field *f, uint8_t *head,
		      struct vms_path *path)
{
	struct save inside = { .bytes = s->bytes, .err = s->err };
	uint8_t *elem = vms_queue_first(f->queue, head);
	int r = 0;

	path->is_array = true;
	for (path->index = 0; r == 0 && elem; path->index++) {
		if (path->index == f->count)
			return fail(s, path, -EINVAL, "more elements than the description's bound, or a loop");
		buf_u8(s->bytes, VMS_QUEUE_ELEMENT);
		r = save_body(&inside, f->vmsd, elem, f->vmsd->version, path);
		elem = vms_queue_next(f->queue, elem);
	}
	buf_u8(s->bytes, VMS_QUEUE_END);
	return r;
}

/* Of the element at AT of F in OPAQUE, UNITS long. */
static int save_element(const struct save *s, const struct migd_vmstate_field *f, uint8_t *opaque, uint8_t *at,
			size_t units, struct vms_path *path)
{
	switch (f->kind) {
	case MIGD_VMS_STRUCT:
	case MIGD_VMS_VSTRUCT:
		return save_body(s, f->vmsd, at, vms_nested_version(f), path);
	case MIGD_VMS_TMP:
		return save_tmp(s, f, opaque, path);
	case MIGD_VMS_QUEUE:
		return save_queue(s, f, at, path);
	case MIGD_VMS_BUFFER:
		buf_add(s->bytes, at, f->size);
		break;
	case MIGD_VMS_VBUFFER:
		if (units)
			buf_add(s->bytes, at, units);
		break;
	case MIGD_VMS_BITMAP:
		save_bits(s->bytes, at, units);
		break;
	case MIGD_VMS_UNUSED:
		save_zeros(s->bytes, f->size);
		break;
	case MIGD_VMS_BOOL:
		buf_u8(s->bytes, *at != 0);
		break;
	default:
		vms_add_be(s->bytes, vms_get(at, f->size), f->size);
		break;
	}
	return 0;
}

/* ---- fields ---- */

/* How many elements from I on are alike in being NULL or not. */
static size_t run_length(const struct migd_vmstate_field *f, const struct vms_array *a, size_t i)
{
	bool is_null = !vms_element(f, a, i);
	size_t end = i + 1;

	while (end < a->n && !vms_element(f, a, end) == is_null)
		end++;
	return end - i;
}

/* Elements from FIRST on that one entry of the description stands for, or may; saved alike. */
static int save_run(const struct save *s, struct vms_json_element *e, uint8_t *opaque, const struct vms_array *a,
		    struct vms_path *path)
{
	const struct migd_vmstate_field *f = e->field;
	bool once = e->is_null || vms_can_compress(f);
	struct save elem = *s;
	int r = 0;

	for (size_t k = 0; r == 0 && k < e->run; k++, e->index++) {
		size_t before = s->bytes->len;

		elem.json = k && once ? NULL : s->json;
		path->index = e->index;
		if (elem.json)
			vms_json_begin(elem.json, e);
		if (e->is_null)
			buf_u8(s->bytes, VMS_NULL);
		else
			r = save_element(&elem, f, opaque, vms_element(f, a, e->index), a->units, path);
		if (r == 0 && elem.json)
			vms_json_end(elem.json, e, s->bytes->len - before);
	}
	return r;
}

static int save_field(const struct save *s, const struct migd_vmstate *d,
		      const struct migd_vmstate_field *f, uint8_t *opaque, const struct vms_path *up)
{
	struct vms_json_element e = { .desc = d, .field = f };
	struct vms_path path = { .up = up, .name = f->name };
	struct vms_array a;
	const char *why;
	int r;

	r = vms_field_array(f, opaque, &a, &why);
	if (r < 0)
		return fail(s, &path, r, why);
	path.is_array = a.n > 1;
	e.n = a.n;
	while (r == 0 && e.index < a.n) {
		bool pointers = f->flags & MIGD_VMS_POINTERS;

		e.run = pointers ? run_length(f, &a, e.index) : a.n;
		e.is_null = pointers && !vms_element(f, &a, e.index);
		r = save_run(s, &e, opaque, &a, &path);
	}
	return r;
}

static int save_fields(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version,
		       const struct vms_path *path)
{
	int r;

	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++) {
		if (f->flags & MIGD_VMS_MUST_EXIST) {
			struct vms_path at = { .up = path, .name = f->name };

			if (!f->exists(opaque, version))
				return fail(s, &at, -EINVAL, "the device's state is not valid");
			continue;
		}
		if (!vms_field_present(f, opaque, version))
			continue;
		r = save_field(s, d, f, opaque, path);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- descriptions ---- */

static int save_subsections(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque,
			    const struct vms_path *up)
{
	bool any = false;
	int r;

	for (size_t i = 0; d->subsections && d->subsections[i]; i++) {
		const struct migd_vmstate *sub = d->subsections[i];
		struct vms_path path = { .up = up, .name = sub->name };

		if (sub->needed && !sub->needed(opaque))
			continue;
		if (s->json) {
			buf_add_str(s->json, any ? ", {" : ", \"subsections\": [{");
			any = true;
		}
		buf_u8(s->bytes, VMS_SUBSECTION);
		buf_u8(s->bytes, (uint8_t)strlen(sub->name));
		buf_add_str(s->bytes, sub->name);
		buf_be32(s->bytes, sub->version);
		r = save_body(s, sub, opaque, sub->version, &path);
		if (r < 0)
			return r;
		if (s->json)
			buf_u8(s->json, '}');
	}
	if (any)
		buf_u8(s->json, ']');
	return 0;
}

/* HOOK, one of D's, by its NAME. */
static int run_hook(const struct save *s, const struct migd_vmstate *d, const char *name,
		    int (*hook)(void *opaque, struct migd_vmstate_error *err), void *opaque, const struct vms_path *path)
{
	struct vms_hook_error e = VMS_HOOK_ERROR(e);
	int r = hook ? vms_hook_code(hook(opaque, &e.face)) : 0;

	if (r < 0)
		return vms_fail(path, VMS_NO_OFFSET, s->err, r, "%s of '%s' failed: %s", name, d->name,
				vms_hook_text(&e, r));
	return 0;
}

/* Hooks as WIRE.md 2.3 has them: post_save runs once pre_save succeeded, also after a field failed. */
static int save_body(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque, uint32_t version,
		     const struct vms_path *path)
{
	int r = run_hook(s, d, "pre_save", d->pre_save, opaque, path), r_post;

	if (r < 0)
		return r;
	if (s->json)
		vms_json_description(s->json, d, version);
	r = save_fields(s, d, opaque, version, path);
	if (r == 0) {
		if (s->json)
			buf_u8(s->json, ']');
		r = save_subsections(s, d, opaque, path);
	}
	r_post = run_hook(s, d, "post_save", d->post_save, opaque, path);
	return r < 0 ? r : r_post;
}

int vmstate_save(const struct migd_vmstate *d, void *opaque, struct buf *bytes, struct buf *json,
		 struct merr *err)
{
	struct save s = { .bytes = bytes, .json = json, .err = err };
	int r = save_body(&s, d, opaque, d->version, NULL);

	if (r == 0)
		r = bytes->error ? bytes->error : json ? json->error : 0;
	if (r < 0 && !merr_is_set(err))
		return merr_set_errno(err, r, "the saved state does not fit into memory");
	return r;
}
