/* SPDX-License-Identifier: Apache-2.0 */
/* The self-description of saved state (WIRE.md 1.4). */
#include "guest/vmstate-json.h"

#include <inttypes.h>

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

static void separate(struct buf *json)
{
	if (!json->error && json->data[json->len - 1] != '[')
		buf_add_str(json, ", ");
}

static bool description_varies(const struct migd_vmstate *d)
{
	if (d->subsections && d->subsections[0])
		return true;
	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++)
		if (f->flags & (VMS_VARRAY_FLAGS | MIGD_VMS_POINTERS) || f->kind == MIGD_VMS_QUEUE ||
		    !vms_can_compress(f))
			return true;
	return false;
}

bool vms_can_compress(const struct migd_vmstate_field *f)
{
	if (f->exists)
		return false;
	return !vms_kind(f->kind)->nested || !description_varies(f->vmsd);
}

void vms_json_description(struct buf *json, const struct migd_vmstate *d, uint32_t version)
{
	buf_add_str(json, "\"vmsd_name\": ");
	vmstate_json_str(json, d->name);
	buf_printf(json, ", \"version\": %" PRIu32 ", \"fields\": [", version);
}

/* A name that repeats inside a description gets the number of the repetition: "unused[0]", "unused[1]". */
static void field_name(struct buf *json, const struct migd_vmstate *d, const struct migd_vmstate_field *f)
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

/* Queues are one opaque field: their elements repeat, which the format has no words for. */
static bool has_struct(const struct vms_json_element *e)
{
	return !e->is_null && vms_kind(e->field->kind)->nested && e->field->kind != MIGD_VMS_QUEUE;
}

static const char *type_name(const struct vms_json_element *e)
{
	const struct migd_vmstate_queue *q = e->field->queue;

	if (e->is_null)
		return "nullptr";
	if (e->field->kind == MIGD_VMS_QUEUE &&
	    (q->links == MIGD_VMS_LINKS_SINGLE || q->links == MIGD_VMS_LINKS_LIST))
		return "qlist";
	return vms_kind(e->field->kind)->type;
}

void vms_json_begin(struct buf *json, const struct vms_json_element *e)
{
	bool one_for_all = e->is_null || vms_can_compress(e->field);

	separate(json);
	buf_u8(json, '{');
	field_name(json, e->desc, e->field);
	if (one_for_all && e->run > 1)
		buf_printf(json, ", \"array_len\": %zu", e->run);
	else if (!one_for_all && e->n > 1)
		buf_printf(json, ", \"index\": %zu", e->index);
	buf_printf(json, ", \"type\": \"%s\"", type_name(e));
	if (has_struct(e))
		buf_add_str(json, ", \"struct\": {");
}

void vms_json_end(struct buf *json, const struct vms_json_element *e, size_t size)
{
	buf_printf(json, "%s, \"size\": %zu}", has_struct(e) ? "}" : "", size);
}
