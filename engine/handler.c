/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of section handlers: who is there, and in what order. */
#include "engine/handler.h"

#include <errno.h>
#include <string.h>

#define FIRST_ID 1U

static bool answers_to(const struct handler *h, const char *idstr, uint32_t instance)
{
	return strcmp(h->idstr, idstr) == 0 &&
	       (h->instance == instance || (h->alias != HANDLER_NO_ALIAS && h->alias == instance));
}

struct handler *handlers_find(struct handlers *hs, const char *idstr, uint32_t instance)
{
	for (size_t i = 0; i < hs->n; i++)
		if (answers_to(&hs->list[i], idstr, instance))
			return &hs->list[i];
	return NULL;
}

static int check_new(struct handlers *hs, const struct handler *h, struct merr *err)
{
	size_t len = strlen(h->idstr);

	if (len == 0 || len > WIRE_NAME_MAX || h->minimum_version > h->version)
		return merr_set(err, -EINVAL, "section '%s': name of %zu bytes (1 to %u), versions %u to %u",
				h->idstr, len, WIRE_NAME_MAX, h->minimum_version, h->version);
	if (handlers_find(hs, h->idstr, h->instance) ||
	    (h->alias != HANDLER_NO_ALIAS && handlers_find(hs, h->idstr, h->alias)))
		return merr_set(err, -EEXIST, "section '%s' instance %u is registered already", h->idstr,
				h->instance);
	if (hs->n == HANDLERS_MAX)
		return merr_set(err, -ENOSPC, "section '%s': more than %u handlers", h->idstr, HANDLERS_MAX);
	return 0;
}

int handlers_add(struct handlers *hs, const struct handler *h, struct merr *err)
{
	size_t at = hs->n;
	int r;

	r = check_new(hs, h, err);
	if (r < 0)
		return r;
	while (at > 0 && hs->list[at - 1].priority < h->priority)
		at--;
	memmove(hs->list + at + 1, hs->list + at, (hs->n - at) * sizeof(*h));
	hs->list[at] = *h;
	hs->list[at].section_id = FIRST_ID + hs->next_id++;
	hs->list[at].announced = hs->list[at].ended = false;
	hs->n++;
	return 0;
}

void handlers_done(struct handlers *hs)
{
	for (size_t i = hs->n; i > 0; i--)
		if (hs->list[i - 1].ops->cleanup)
			hs->list[i - 1].ops->cleanup(hs->list[i - 1].opaque);
	*hs = (struct handlers){ 0 };
}

uint32_t handlers_free_id(const struct handlers *hs)
{
	return FIRST_ID + hs->next_id;
}
