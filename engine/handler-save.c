/* SPDX-License-Identifier: Apache-2.0 */
/* Walking the handlers on the source. */
#include "engine/handler.h"

#include <errno.h>
#include <string.h>

/* Whole states are small; a live handler is for what is not. */
#define FULL_BODY_MAX (16U * 1024 * 1024)

static bool is_live(const struct handler *h)
{
	return h->ops->iterate != NULL;
}

/* A broken stream gets no text here: the caller may know the peer's last words. */
static int explain(const struct handler *h, int r, const char *what, struct out *out, struct merr *err)
{
	if (r >= 0 || merr_is_set(err) || (out && out_error(out)))
		return r;
	return merr_set_errno(err, r, "section '%s': %s", h->idstr, what);
}

void section_head_put(struct buf *b, const struct section_head *head)
{
	size_t len = strlen(head->idstr);

	buf_u8(b, (uint8_t)head->type);
	buf_be32(b, head->id);
	buf_u8(b, (uint8_t)len);
	buf_add(b, head->idstr, len);
	buf_be32(b, head->instance);
	buf_be32(b, head->version);
}

void section_begin(struct out *out, const struct handler *h, enum wire_section type)
{
	out_u8(out, (uint8_t)type);
	out_be32(out, h->section_id);
	if (type != WIRE_SECTION_START)
		return;
	out_str8(out, h->idstr);
	out_be32(out, h->instance);
	out_be32(out, h->version);
}

void section_end(struct out *out, const struct handler *h)
{
	out_u8(out, WIRE_FOOTER);
	out_be32(out, h->section_id);
}

int handlers_setup(struct handlers *hs, struct out *out, struct merr *err)
{
	int r;

	for (struct handler *h = hs->list; h < hs->list + hs->n; h++) {
		if (!is_live(h))
			continue;
		section_begin(out, h, WIRE_SECTION_START);
		r = h->ops->setup ? h->ops->setup(h->opaque, out, err) : 0;
		if (r < 0)
			return explain(h, r, "setting up", out, err);
		section_end(out, h);
	}
	return out_flush(out);
}

int handlers_pending(struct handlers *hs, bool exact, uint64_t *ret_bytes, struct merr *err)
{
	int (*look)(void *, uint64_t *, struct merr *);
	uint64_t bytes;
	int r;

	*ret_bytes = 0;
	for (struct handler *h = hs->list; h < hs->list + hs->n; h++) {
		look = exact && h->ops->pending_exact ? h->ops->pending_exact : h->ops->pending_estimate;
		if (!look)
			continue;
		bytes = 0;
		r = look(h->opaque, &bytes, err);
		if (r < 0)
			return explain(h, r, "what is left to send", NULL, err);
		*ret_bytes += bytes;
	}
	return 0;
}

/* One PART; 1: the handler has sent all it had. */
static int turn(struct handler *h, struct out *out, struct merr *err)
{
	int done, r;

	section_begin(out, h, WIRE_SECTION_PART);
	done = h->ops->iterate(h->opaque, out, err);
	if (done < 0)
		return explain(h, done, "sending", out, err);
	section_end(out, h);
	r = out_flush(out);
	return r < 0 ? r : done;
}

int handlers_iterate(struct handlers *hs, struct out *out, int (*between)(void *), void *opaque,
		     struct merr *err)
{
	bool done[HANDLERS_MAX] = { false }, more;
	int r;

	do {
		more = false;
		for (size_t i = 0; i < hs->n; i++) {
			if (done[i] || !is_live(&hs->list[i]))
				continue;
			r = turn(&hs->list[i], out, err);
			if (r < 0)
				return r;
			done[i] = r > 0;
			more |= r == 0;
			r = between ? between(opaque) : 0;
			if (r < 0)
				return r;
		}
	} while (more);
	return 0;
}

int handlers_complete(struct handlers *hs, struct out *out, bool postcopy, struct merr *err)
{
	int r;

	for (struct handler *h = hs->list; h < hs->list + hs->n; h++) {
		if (!is_live(h) || h->ended || (postcopy && h->ops->postcopy))
			continue;
		section_begin(out, h, WIRE_SECTION_END);
		r = h->ops->complete ? h->ops->complete(h->opaque, out, err) : 0;
		if (r < 0)
			return explain(h, r, "sending the rest", out, err);
		section_end(out, h);
		h->ended = true;
		r = out_flush(out);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An entry of the description's "devices" (WIRE.md 1.4). */
static void describe(struct buf *devices, const struct handler *h, size_t body_len)
{
	if (devices->len > 0)
		buf_add_str(devices, ", ");
	buf_printf(devices, "{\"name\": \"%s\", \"instance_id\": %u, ", h->idstr, h->instance);
	if (h->ops->vmsd)
		buf_add_str(devices, h->ops->vmsd);
	else
		buf_printf(devices, "\"size\": %zu, \"fields\": [{\"name\": \"data\", \"size\": %zu, "
			   "\"type\": \"buffer\"}]", body_len, body_len);
	buf_add_str(devices, "}");
}

static int save_full(const struct handler *h, struct buf *sections, struct buf *devices, struct merr *err)
{
	struct section_head head = { .type = WIRE_SECTION_FULL,
				     .id = h->section_id,
				     .instance = h->instance,
				     .version = h->version };
	struct buf body = { .max = FULL_BODY_MAX };
	int r;

	memcpy(head.idstr, h->idstr, strlen(h->idstr) + 1);
	r = h->ops->save(h->opaque, &body, err);
	if (r == 0)
		r = body.error;
	if (r == 0) {
		section_head_put(sections, &head);
		buf_add(sections, body.data, body.len);
		buf_u8(sections, WIRE_FOOTER);
		buf_be32(sections, h->section_id);
		if (devices)
			describe(devices, h, body.len);
	}
	buf_done(&body);
	return explain(h, r, "saving", NULL, err);
}

int handlers_save(struct handlers *hs, struct buf *sections, struct buf *devices, struct merr *err)
{
	int r;

	for (struct handler *h = hs->list; h < hs->list + hs->n; h++) {
		if (!h->ops->save)
			continue;
		r = save_full(h, sections, devices, err);
		if (r < 0)
			return r;
	}
	r = sections->error ? sections->error : devices ? devices->error : 0;
	return r < 0 ? merr_set_errno(err, r, "saving the engine's sections") : 0;
}

bool handlers_unplug_pending(struct handlers *hs)
{
	for (struct handler *h = hs->list; h < hs->list + hs->n; h++)
		if (h->ops->unplug_pending && h->ops->unplug_pending(h->opaque))
			return true;
	return false;
}
