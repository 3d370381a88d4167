/* SPDX-License-Identifier: Apache-2.0 */
/* Reports as the worker link has them. */
#include "engine/report.h"

#include <string.h>

#include "base/cleanup.h"

/* The schema's view of a report. Strings borrow R and ID. */
static void describe(const struct migration *m, struct report *r, struct worker_state *ret,
		     char id[2 * ATTACH_ID_LEN + 1])
{
	*ret = (struct worker_state){ .status = r->status };
	if (merr_is_set(&r->error)) {
		ret->has_error_desc = true;
		ret->error_desc = r->error.msg;
	}
	ret->has_peer_waits = ret->peer_waits = r->peer_waits;
	ret->has_connected = r->connected[0] != '\0';
	ret->connected = r->connected;
	if (!r->has_handover)
		return;
	handover_id_format(r->handover_id, id);
	ret->has_handover = true;
	ret->handover.id = id;
	(void)handover_phase_parse(handover_state_name(r->handover), &ret->handover.state);
	ret->handover.peer = m->start.peer;
	ret->handover.in_doubt = r->in_doubt;
}

/* Strings borrow M's list, which the lock guards. */
static json_t *describe_preflight(struct migration *m)
{
	LOCK_SCOPE(&m->lock);
	struct preflight_mismatch list[ATTACH_MISMATCHES_MAX];
	struct migration_preflight p = {
		.result = m->preflight->found ? PREFLIGHT_RESULT_FAIL : PREFLIGHT_RESULT_PASS,
		.mismatches = list,
		.n_mismatches = m->preflight->n,
		.omitted = m->preflight->found - m->preflight->n,
	};

	for (uint32_t i = 0; i < m->preflight->n; i++) {
		struct attach_mismatch *mm = &m->preflight->list[i];

		list[i] = (struct preflight_mismatch){
			.subject = mm->subject,
			.source = mm->source,
			.target = mm->target,
			.advice = mm->advice,
		};
	}
	return migration_preflight_to_json(&p);
}

void report_now(struct migration *m, struct report *ret)
{
	LOCK_SCOPE(&m->lock);

	*ret = report_of(m, m->done ? LINK_DONE : LINK_STATE);
}

json_t *report_to_json(struct migration *m, struct report *r)
{
	char id[2 * ATTACH_ID_LEN + 1];
	struct worker_outcome outcome = { .guest_runs_here = r->guest_runs_here };
	struct worker_pass pass = pass_describe(&r->pass);
	struct worker_admit admit = { .ticket = (uint32_t)r->number };
	struct migration_decision decision = decision_describe(&r->decision);
	struct worker_reconnect again = { .attempt = r->number, .error = r->error.msg };
	struct worker_state state;

	describe(m, r, &state, id);
	outcome.state = state;
	switch (r->type) {
	case LINK_PASS:
		return worker_pass_to_json(&pass);
	case LINK_ADMIT:
		return worker_admit_to_json(&admit);
	case LINK_RECONNECT:
		return worker_reconnect_to_json(&again);
	case LINK_PREFLIGHT:
		return describe_preflight(m);
	case LINK_DECISION:
		return migration_decision_to_json(&decision);
	case LINK_CONNECT:
	case LINK_PUBLISH:
		return json_object();
	case LINK_DONE:
		return worker_outcome_to_json(&outcome);
	default:
		return worker_state_to_json(&state);
	}
}

json_t *report_adopt_to_json(struct migration *m, struct report *now)
{
	LOCK_SCOPE(&m->lock);
	struct worker_adopt adopt = { .start = m->start, .done = now->type == LINK_DONE };
	struct migration_decision list[LINK_DECISIONS_MAX];
	struct worker_pass passes[LINK_PASSES_MAX];
	char id[2 * ATTACH_ID_LEN + 1];

	describe(m, now, &adopt.state, id);
	adopt.start.has_share = true;
	adopt.start.share = atomic_load(&m->rate.share_bps);
	for (uint32_t i = 0; i < m->decisions.n; i++)
		list[i] = decision_describe(&m->decisions.list[i]);
	for (uint32_t i = 0; i < m->passes.n; i++)
		passes[i] = pass_describe(&m->passes.list[i]);
	adopt.has_passes = true;
	adopt.passes = passes;
	adopt.n_passes = m->passes.n;
	adopt.has_decisions = true;
	adopt.decisions = list;
	adopt.n_decisions = m->decisions.n;
	return worker_adopt_to_json(&adopt);
}
