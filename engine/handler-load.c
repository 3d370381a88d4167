/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the handler that a section is for, and loading it. Hostile input: everything around a body is checked here. */
#include "engine/handler.h"

#include <errno.h>

int section_head_read(struct in *in, uint8_t type, struct section_head *ret)
{
	*ret = (struct section_head){ .type = (enum wire_section)type, .id = in_be32(in) };
	if (type != WIRE_SECTION_START && type != WIRE_SECTION_FULL)
		return in_error(in);
	if (in_error(in) || in_str8(in, "section idstr", ret->idstr) < 0)
		return in_error(in);
	ret->instance = in_be32(in);
	ret->version = in_be32(in);
	return in_error(in);
}

int section_footer_check(struct in *in, const char *idstr, uint32_t id)
{
	uint8_t type = in_u8(in);
	uint32_t got = in_be32(in);

	if (!in_error(in) && (type != WIRE_FOOTER || got != id))
		return in_fail(in, -EBADMSG, "section '%s': its footer is missing or another's (0x%02x, "
			       "id %u instead of %u)", idstr, type, got, id);
	return in_error(in);
}

static struct handler *by_section_id(struct handlers *hs, uint32_t id)
{
	for (size_t i = 0; i < hs->n; i++)
		if (hs->list[i].announced && hs->list[i].section_id == id)
			return &hs->list[i];
	return NULL;
}

static bool is_live(const struct handler *h)
{
	return h->ops->load_setup || h->ops->iterate;
}

static int announce(struct handlers *hs, struct handler *h, struct in *in, const struct section_head *head)
{
	struct handler *same = by_section_id(hs, head->id);

	if (h->announced)
		return in_fail(in, -EBADMSG, "section '%s' instance %u starts twice", head->idstr,
			       head->instance);
	if (same)
		return in_fail(in, -EBADMSG, "section '%s': field 'section id': %u is '%s' already",
			       head->idstr, head->id, same->idstr);
	if (head->version > h->version || head->version < h->minimum_version)
		return in_fail(in, -EBADMSG, "section '%s': field 'version': %u (%u to %u can be loaded)",
			       head->idstr, head->version, h->minimum_version, h->version);
	if ((head->type == WIRE_SECTION_START) != is_live(h))
		return in_fail(in, -EBADMSG, "section '%s': field 'type': 0x%02x is not what it is sent as",
			       head->idstr, head->type);
	h->section_id = head->id;
	h->loaded_version = head->version;
	h->announced = true;
	return 0;
}

static int load_body(struct handler *h, struct in *in, enum wire_section type)
{
	int r = 0;

	if (type == WIRE_SECTION_START)
		r = h->ops->load_setup ? h->ops->load_setup(h->opaque, in, h->loaded_version) : 0;
	else if (h->ops->load)
		r = h->ops->load(h->opaque, in, type, h->loaded_version);
	if (r < 0)
		return r;
	h->begun = true;
	h->ended = type == WIRE_SECTION_END || type == WIRE_SECTION_FULL;
	r = section_footer_check(in, h->idstr, h->section_id);
	return r < 0 ? r : 1;
}

int handlers_load(struct handlers *hs, struct in *in, const struct section_head *head)
{
	bool is_new = head->type == WIRE_SECTION_START || head->type == WIRE_SECTION_FULL;
	struct handler *h;
	int r;

	h = is_new ? handlers_find(hs, head->idstr, head->instance) : by_section_id(hs, head->id);
	if (!h && is_new)
		return 0;
	if (!h)
		return in_fail(in, -EBADMSG, "field 'section id': %u was never announced", head->id);
	if (!is_new && h->ended)
		return in_fail(in, -EBADMSG, "section '%s': a part of it after its end", h->idstr);
	if (is_new) {
		r = announce(hs, h, in, head);
		if (r < 0)
			return r;
	}
	return load_body(h, in, head->type);
}

bool handlers_load_anew(struct handlers *hs)
{
	bool all = true;

	for (struct handler *h = hs->list; h < hs->list + hs->n; h++)
		all &= h->begun || !is_live(h);
	for (struct handler *h = hs->list; h < hs->list + hs->n && !all; h++)
		h->announced = h->begun = false;
	return all;
}

int handlers_load_done(struct handlers *hs, struct in *in, bool in_postcopy)
{
	int r;

	for (struct handler *h = hs->list; h < hs->list + hs->n; h++) {
		if (in_postcopy && h->ops->postcopy)
			continue;
		r = h->ops->load_done ? h->ops->load_done(h->opaque, in, h->announced) : 0;
		if (r < 0)
			return r;
		if (h->announced && !h->ended)
			return in_fail(in, -EBADMSG, "section '%s' has no end", h->idstr);
	}
	return in_error(in);
}
