/* SPDX-License-Identifier: Apache-2.0 */
/* Which guest a connection to a shared port is for. */
#include "daemon/rendezvous.h"

#include <errno.h>
#include <string.h>

#include "attach/handover.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/listeners.h"
#include "daemon/migration.h"
#include "daemon/registry.h"

const char *rendezvous_name(const struct migration *m)
{
	if (m->direction != WORKER_DIRECTION_INCOMING || m->addr.type != ADDR_SHARED)
		return NULL;
	return m->addr.guest[0] ? m->addr.guest : m->guest->name;
}

/* Its worker reads what comes. */
static bool is_there(const struct migration *m)
{
	return m->worker && !migration_settled(m);
}

/* No source has begun yet: its handover id is not known. */
bool rendezvous_is_fresh(const struct migration *m)
{
	return migration_running(m) && strspn(m->handover_id, "0") == strlen(m->handover_id);
}

/* What the migrations under a name come to. */
struct search {
	const char *name;
	char handover_id[ID_TEXT_LEN];
	struct migration *exact; /* the one with this id */
	struct migration *fresh;
	bool known; /* there is a guest of this name, or one that waits under it */
};

static void consider(struct search *s, struct migration *m)
{
	const char *name = m ? rendezvous_name(m) : NULL;

	if (!name || strcmp(name, s->name) != 0)
		return;
	s->known = true;
	if (!is_there(m))
		return;
	if (strcmp(m->handover_id, s->handover_id) == 0)
		s->exact = m;
	else if (rendezvous_is_fresh(m))
		s->fresh = m;
}

static void search(struct search *s, const struct daemon *d)
{
	struct migration *m;
	struct guest *g;

	TAILQ_FOREACH(g, &d->registry->guests, entry) {
		s->known |= strcmp(g->name, s->name) == 0;
		consider(s, g->migration);
		TAILQ_FOREACH(m, &g->lingering, entry)
			consider(s, m);
	}
}

int rendezvous_check(const struct daemon *d, const char *name, struct merr *err)
{
	struct search s = { .name = name };

	if (!listeners_any(d->listeners))
		return merr_set(err, -EINVAL,
				"This migd has no shared port at which a guest could be received; open one with "
				"host-listen, or give the guest a port of its own, e.g. tcp:HOST:PORT");
	search(&s, d);
	if (s.fresh)
		return merr_set(err, -EBUSY,
				"Guest '%s' waits at the shared port under the name '%s' already; give this one "
				"another, by shared:NAME and, at the source, guest=NAME",
				s.fresh->guest->name, name);
	return 0;
}

/* What was taken over is not decided yet, and its worker knows. */
static bool fits(const struct daemon *d, const struct migration *m, const struct greeting *g, enum host_refusal *ret_why)
{
	bool needs_tls = d->host.tls_required || m->tls, refuses_tls = m->tls_decided && !m->tls;

	if (needs_tls && !g->tls)
		*ret_why = HOST_REFUSAL_NOT_ENCRYPTED;
	else if (refuses_tls && g->tls)
		*ret_why = HOST_REFUSAL_NO_CREDENTIALS;
	else
		return true;
	return false;
}

struct migration *rendezvous_find(const struct daemon *d, const struct greeting *g, enum host_refusal *ret_why)
{
	struct search s = { .name = g->guest };
	struct migration *m;

	handover_id_format(g->handover_id, s.handover_id);
	search(&s, d);
	m = s.exact ?: s.fresh;
	if (!m)
		*ret_why = s.known ? HOST_REFUSAL_NOT_WAITING : HOST_REFUSAL_NO_SUCH_GUEST;
	return m && fits(d, m, g, ret_why) ? m : NULL;
}

bool rendezvous_waits(const struct daemon *d, const char *name)
{
	struct search s = { .name = name };

	search(&s, d);
	return s.fresh;
}
