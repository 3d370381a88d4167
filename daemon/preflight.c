/* SPDX-License-Identifier: Apache-2.0 */
/* What the comparison of a migration's two sides gave. */
#include "daemon/preflight.h"

#include <errno.h>

#include "attach/proto.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "schema/events.h"

static void log_result(const struct migration *m, const struct migration_preflight *p)
{
	log_info("preflight: %s, %zu mismatches guest='%s' mig=%s peer='%s'",
		 preflight_result_str(p->result), p->n_mismatches + p->omitted, m->guest->name,
		 m->id, m->uri);
	for (size_t i = 0; i < p->n_mismatches; i++)
		log_info("preflight: %s: '%s' at the source, '%s' at the destination: %s mig=%s",
			 p->mismatches[i].subject, p->mismatches[i].source, p->mismatches[i].target,
			 p->mismatches[i].advice, m->id);
}

int preflight_on_message(struct migration *m, json_t *body, struct merr *err)
{
	struct guest *g = m->guest;
	struct migration_preflight p;
	int r = migration_preflight_from_json(body, &p, err);

	if (r < 0)
		return merr_prefix(err, "worker link: PREFLIGHT");
	if (p.n_mismatches > ATTACH_MISMATCHES_MAX ||
	    (p.n_mismatches > 0) != (p.result == PREFLIGHT_RESULT_FAIL)) {
		r = merr_set(err, -EBADMSG, "worker link: PREFLIGHT: '%s' with %zu mismatches",
			     preflight_result_str(p.result), p.n_mismatches);
		migration_preflight_done(&p);
		return r;
	}
	preflight_forget(g);
	g->preflight = p;
	g->has_preflight = true;
	log_result(m, &p);
	event_migration_preflight(g->daemon->qmp, g->name, &g->preflight);
	return 0;
}

void preflight_conclude(struct guest *g)
{
	migration_install(g, NULL);
	guest_review(g);
}

void preflight_forget(struct guest *g)
{
	if (g->has_preflight)
		migration_preflight_done(&g->preflight);
	g->has_preflight = false;
}

int preflight_info(const struct guest *g, struct migration_info *ret)
{
	int r;

	if (!g->has_preflight)
		return 0;
	r = migration_preflight_copy(&ret->preflight, &g->preflight);
	ret->has_preflight = r == 0;
	return r;
}
