/* SPDX-License-Identifier: Apache-2.0 */
/* Saving by description: the bytes (WIRE.md 2) and the JSON that explains them (WIRE.md 1.4), in one walk. */
#include "guest/vmstate-walk.h"

#include <errno.h>
#include <inttypes.h>

struct save {
	struct buf *bytes;
	struct buf *json;	/* NULL: nothing is described */
	struct merr *err;
};

static int save_body(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque,
		     const struct vms_path *path);

void vmstate_json_str(struct buf *json, const char *text)
{
	buf_u8(json, '"');
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_u8(json, '\\');
		if ((unsigned char)*p < ' ')
			buf_printf(json, "\\u%04x", (unsigned char)*p);
		else
			buf_u8(json, (uint8_t)*p);
	}
	buf_u8(json, '"');
}

static void json_separate(struct buf *json)
{
	if (!json->error && json->data[json->len - 1] != '[')
		buf_add_str(json, ", ");
}

/*
 * May an array of F be described by its first element and a length? Not if an element's layout can vary: by a
 * presence test, a subsection, or a count of its own somewhere below.
 */
static bool can_compress(const struct migd_vmstate_field *f)
{
	const struct migd_vmstate_field *below;

	if (f->exists)
		return false;
	if (f->kind != MIGD_VMS_STRUCT)
		return true;
	if (f->vmsd->subsections && f->vmsd->subsections[0])
		return false;
	for (below = f->vmsd->fields; below->kind != MIGD_VMS_END; below++)
		if (below->flags & VMS_VARRAY_FLAGS || !can_compress(below))
			return false;
	return true;
}

/* A name that repeats inside a description gets the number of the repetition: "unused[0]", "unused[1]". */
static void json_field_name(struct buf *json, const struct migd_vmstate *d,
			    const struct migd_vmstate_field *f)
{
	unsigned int same = 0, before = 0;

	for (const struct migd_vmstate_field *g = d->fields; g->kind != MIGD_VMS_END; g++) {
		if (strcmp(g->name, f->name) != 0)
			continue;
		same++;
		before += g < f;
	}
	buf_add_str(json, "\"name\": ");
	vmstate_json_str(json, f->name);
	if (same > 1 && !json->error) {
		json->len--;	/* the closing quote */
		buf_printf(json, "[%u]\"", before);
	}
}

static void json_field_start(struct buf *json, const struct migd_vmstate *d,
			     const struct migd_vmstate_field *f, size_t n, size_t index)
{
	json_separate(json);
	buf_u8(json, '{');
	json_field_name(json, d, f);
	if (n > 1 && can_compress(f))
		buf_printf(json, ", \"array_len\": %zu", n);
	else if (n > 1)
		buf_printf(json, ", \"index\": %zu", index);
	buf_printf(json, ", \"type\": \"%s\"", vms_kind(f->kind)->type);
	if (f->kind == MIGD_VMS_STRUCT)
		buf_add_str(json, ", \"struct\": {");
}

static void json_field_end(struct buf *json, const struct migd_vmstate_field *f, size_t size)
{
	buf_printf(json, "%s, \"size\": %zu}", f->kind == MIGD_VMS_STRUCT ? "}" : "", size);
}

static int save_element(const struct save *s, const struct migd_vmstate_field *f, uint8_t *at,
			const struct vms_path *path)
{
	uint8_t *room;

	switch (f->kind) {
	case MIGD_VMS_STRUCT:
		return save_body(s, f->vmsd, at, path);
	case MIGD_VMS_BUFFER:
		buf_add(s->bytes, at, f->size);
		break;
	case MIGD_VMS_UNUSED:
		room = buf_room(s->bytes, f->size);
		if (room)
			memset(room, 0, f->size);
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

static int save_field(const struct save *s, const struct migd_vmstate *d,
		      const struct migd_vmstate_field *f, uint8_t *opaque, const struct vms_path *up)
{
	struct vms_path path = { .up = up, .name = f->name };
	struct save elem = *s;
	struct vms_array a;
	const char *why;
	size_t before;
	int r;

	r = vms_field_array(f, opaque, &a, &why);
	if (r < 0)
		return vms_fail(&path, VMS_NO_OFFSET, s->err, r, "%s", why);
	path.is_array = a.n > 1;
	for (size_t i = 0; i < a.n; i++) {
		if (i && can_compress(f))
			elem.json = NULL;
		if (elem.json)
			json_field_start(elem.json, d, f, a.n, i);
		path.index = i;
		before = s->bytes->len;
		r = save_element(&elem, f, a.base + i * f->size, &path);
		if (r < 0)
			return r;
		if (elem.json)
			json_field_end(elem.json, f, s->bytes->len - before);
	}
	return 0;
}

static int save_fields(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque,
		       const struct vms_path *path)
{
	int r;

	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++) {
		if (f->flags & MIGD_VMS_MUST_EXIST) {
			struct vms_path at = { .up = path, .name = f->name };

			if (!f->exists(opaque, d->version))
				return vms_fail(&at, VMS_NO_OFFSET, s->err, -EINVAL,
						"the device's state is not valid");
			continue;
		}
		if (!vms_field_present(f, opaque, d->version))
			continue;
		r = save_field(s, d, f, opaque, path);
		if (r < 0)
			return r;
	}
	return 0;
}

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
		r = save_body(s, sub, opaque, &path);
		if (r < 0)
			return r;
		if (s->json)
			buf_u8(s->json, '}');
	}
	if (any)
		buf_u8(s->json, ']');
	return 0;
}

/* Hooks as WIRE.md 2.3 has them: post_save runs once pre_save succeeded, also after a field failed. */
static int save_body(const struct save *s, const struct migd_vmstate *d, uint8_t *opaque,
		     const struct vms_path *path)
{
	int r;

	if (d->pre_save) {
		r = d->pre_save(opaque);
		if (r < 0)
			return vms_fail(path, VMS_NO_OFFSET, s->err, r,
					"pre_save of '%s' failed: %s", d->name, strerror(-r));
	}
	if (s->json) {
		buf_add_str(s->json, "\"vmsd_name\": ");
		vmstate_json_str(s->json, d->name);
		buf_printf(s->json, ", \"version\": %" PRIu32 ", \"fields\": [", d->version);
	}
	r = save_fields(s, d, opaque, path);
	if (r == 0) {
		if (s->json)
			buf_u8(s->json, ']');
		r = save_subsections(s, d, opaque, path);
	}
	if (d->post_save)
		d->post_save(opaque);
	return r;
}

int vmstate_save(const struct migd_vmstate *d, void *opaque, struct buf *bytes, struct buf *json,
		 struct merr *err)
{
	struct save s = { .bytes = bytes, .json = json, .err = err };
	int r = save_body(&s, d, opaque, NULL);

	if (r == 0)
		r = bytes->error ? bytes->error : json ? json->error : 0;
	if (r < 0 && !merr_is_set(err))
		return merr_set_errno(err, r, "the saved state does not fit into memory");
	return r;
}
