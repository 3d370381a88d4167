/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's record: made, kept as long as it is needed, freed. */
#include "daemon/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/handover.h"
#include "base/fd.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/announce.h"
#include "daemon/daemon.h"
#include "daemon/guest-socket.h"
#include "daemon/migration.h"
#include "daemon/preflight.h"
#include "daemon/registry.h"
#include "daemon/settings-store.h"

/* How long the outcome of a migration can be asked for once the VMM has gone. */
#define RECORD_KEPT_SEC 600

void guest_log_scope(struct log_scope *s, const struct guest *g)
{
	log_scope_enter(s);
	log_scope_add(s, "MIGD_GUEST", g->name);
}

static bool is_needed(const struct guest *g)
{
	return guest_attached(g) || !TAILQ_EMPTY(&g->lingering) ||
	       (g->migration && !migration_settled(g->migration));
}

static void on_expiry(evutil_socket_t fd, short what, void *opaque)
{
	struct guest *g = opaque;

	(void)fd;
	(void)what;
	if (is_needed(g))
		return;
	log_debug("forgetting the record of a guest without VMM guest='%s'", g->name);
	settings_forget(g);
	registry_remove(g->daemon->registry, g);
}

struct guest *guest_new(struct daemon *d, const char *name)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->daemon = d;
	g->decision_fd = -1;
	TAILQ_INIT(&g->requests);
	TAILQ_INIT(&g->lingering);
	TAILQ_INIT(&g->announcers);
	TAILQ_INIT(&g->sockets);
	(void)snprintf(g->name, sizeof(g->name), "%s", name);
	migration_parameters_defaults(&g->parameters);
	g->expiry = evtimer_new(d->base, on_expiry, g);
	return g->expiry ? g : guest_free(g);
}

struct guest *guest_free(struct guest *g)
{
	struct migration *m;

	if (!g)
		return NULL;
	g->migration = migration_free(g->migration);
	while ((m = TAILQ_FIRST(&g->lingering))) {
		TAILQ_REMOVE(&g->lingering, m, entry);
		(void)migration_free(m);
	}
	guest_disconnect(g, NULL);
	announce_end(g);
	guest_sockets_close(g);
	if (g->expiry)
		event_free(g->expiry);
	if (g->decision)
		decision_unmap(g->decision);
	close_fd(g->decision_fd);
	migration_parameters_done(&g->parameters);
	preflight_forget(g);
	guest_forget_blockers(g);
	free(g->attach_path);
	free(g);
	return NULL;
}

void guest_review(struct guest *g)
{
	struct timeval after = { 0 };

	if (is_needed(g)) {
		(void)event_del(g->expiry);
		return;
	}
	if (g->migration)
		after.tv_sec = RECORD_KEPT_SEC;
	(void)evtimer_add(g->expiry, &after);
}
