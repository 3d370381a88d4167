/* SPDX-License-Identifier: Apache-2.0 */
/* What an outgoing migration decided by itself. */
#include "daemon/decisions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/record.h"
#include "engine/link.h"
#include "schema/events.h"

/* D is taken over; the oldest go. */
static int keep(struct migration *m, struct migration_decision *d)
{
	struct migration_decision *list;

	if (!m->decisions)
		m->decisions = calloc(LINK_DECISIONS_MAX, sizeof(*m->decisions));
	list = m->decisions;
	if (!list)
		return -ENOMEM;
	if (m->n_decisions == LINK_DECISIONS_MAX) {
		migration_decision_done(&list[0]);
		m->n_decisions--;
		memmove(&list[0], &list[1], m->n_decisions * sizeof(list[0]));
	}
	list[m->n_decisions++] = *d;
	*d = (struct migration_decision){ 0 };
	return 0;
}

int decisions_on_message(struct migration *m, json_t *body, struct merr *err)
{
	const struct guest *g = m->guest;
	struct migration_decision d;
	int r = migration_decision_from_json(body, &d, err);

	if (r < 0)
		return merr_prefix(err, "worker link: DECISION");
	log_notice("migration decided: %s: %s guest='%s' mig=%s pass=%llu", migration_decision_kind_str(d.decision),
		   d.reason, g->name, m->id, (unsigned long long)d.pass);
	event_migration_decision(g->daemon->qmp, g->name, &d);
	record_decision(m, &d);
	r = keep(m, &d);
	migration_decision_done(&d);
	return r < 0 ? merr_set(err, r, "out of memory") : 0;
}

void decisions_adopt(struct migration *m, struct worker_adopt *a)
{
	decisions_forget(m);
	for (size_t i = 0; a->has_decisions && i < a->n_decisions; i++)
		if (keep(m, &a->decisions[i]) < 0)
			return;
}

void decisions_forget(struct migration *m)
{
	for (size_t i = 0; i < m->n_decisions; i++)
		migration_decision_done(&m->decisions[i]);
	free(m->decisions);
	m->decisions = NULL;
	m->n_decisions = 0;
}

int decisions_info(const struct migration *m, struct migration_info *ret)
{
	if (m->n_decisions == 0)
		return 0;
	ret->decisions = calloc(m->n_decisions, sizeof(*ret->decisions));
	if (!ret->decisions)
		return -ENOMEM;
	ret->has_decisions = true;
	for (; ret->n_decisions < m->n_decisions; ret->n_decisions++)
		if (migration_decision_copy(&ret->decisions[ret->n_decisions], &m->decisions[ret->n_decisions]) < 0)
			return -ENOMEM;
	return 0;
}
