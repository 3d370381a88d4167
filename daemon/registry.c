/* SPDX-License-Identifier: Apache-2.0 */
/* The guests of this daemon, by name. */
#include "daemon/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define NAMES_SHOWN_MAX 10

struct registry *registry_new(struct daemon *d)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->daemon = d;
	TAILQ_INIT(&r->guests);
	return r;
}

struct registry *registry_free(struct registry *r)
{
	if (!r)
		return NULL;
	while (!TAILQ_EMPTY(&r->guests))
		registry_remove(r, TAILQ_FIRST(&r->guests));
	free(r);
	return NULL;
}

struct guest *registry_find(const struct registry *r, const char *name)
{
	struct guest *g;

	TAILQ_FOREACH(g, &r->guests, entry)
	if (strcmp(g->name, name) == 0)
		return g;
	return NULL;
}

int registry_add(struct registry *r, const char *name, struct guest **ret, struct merr *err)
{
	struct guest *g;

	if (r->n_guests >= REGISTRY_GUESTS_MAX)
		return merr_set(err, -EBUSY, "%zu guests are registered, no more are taken",
				r->n_guests);
	g = guest_new(r->daemon, name);
	if (!g)
		return merr_set(err, -ENOMEM, "out of memory");
	TAILQ_INSERT_TAIL(&r->guests, g, entry);
	r->n_guests++;
	*ret = g;
	return 0;
}

void registry_remove(struct registry *r, struct guest *g)
{
	TAILQ_REMOVE(&r->guests, g, entry);
	r->n_guests--;
	(void)guest_free(g);
}

size_t registry_n_attached(const struct registry *r)
{
	const struct guest *g;
	size_t n = 0;

	TAILQ_FOREACH(g, &r->guests, entry)
	n += guest_attached(g);
	return n;
}

/* "'a', 'b' and 3 more" */
static void list_names(const struct registry *r, char *ret, size_t cap)
{
	const struct guest *g;
	size_t n = 0, len = 0;

	ret[0] = '\0';
	TAILQ_FOREACH(g, &r->guests, entry)
	{
		if (n == NAMES_SHOWN_MAX) {
			(void)snprintf(ret + len, cap - len, " and %zu more", r->n_guests - n);
			return;
		}
		len += (size_t)snprintf(ret + len, cap - len, "%s'%.40s'", n ? ", " : "", g->name);
		n++;
	}
}

static struct guest *only_guest(const struct registry *r, bool attached)
{
	struct guest *g, *found = NULL;

	TAILQ_FOREACH(g, &r->guests, entry)
	{
		if (attached && !guest_attached(g))
			continue;
		if (found)
			return NULL;
		found = g;
	}
	return found;
}

struct guest *registry_resolve(const struct registry *r, const char *name, struct merr *err)
{
	char names[NAMES_SHOWN_MAX * 48 + 32];
	struct guest *g;

	if (name)
		g = registry_find(r, name);
	else
		g = only_guest(r, true);
	if (!g && !name && registry_n_attached(r) == 0)
		g = only_guest(r, false);
	if (g)
		return g;
	list_names(r, names, sizeof(names));
	if (r->n_guests == 0)
		(void)merr_set_class(err, MERR_DEVICE_NOT_FOUND, -ENODEV,
			       "%s%s%sno guest is attached: start a VMM that attaches here, or use "
			       "guest-attach",
			       name ? "Guest '" : "", name ? name : "",
			       name ? "' not found: " : "");
	else if (name)
		(void)merr_set_class(err, MERR_DEVICE_NOT_FOUND, -ENODEV, "Guest '%s' not found; there are: %s", name,
				     names);
	else
		(void)merr_set_class(err, MERR_DEVICE_NOT_FOUND, -EINVAL,
			       "Parameter 'guest' is missing: it says which guest is meant, of: %s",
			       names);
	return NULL;
}
