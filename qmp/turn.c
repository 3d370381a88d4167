/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's turn: what it does next, and whether it reads on.
 *
 * Without oob, the next request is looked at once the one before is answered; what is sent
 * meanwhile waits in the socket. With oob, up to QMP_MAX_QUEUED in-band requests are taken in while
 * one runs, so that an out-of-band one behind them is seen, and run at once. One in-band request a
 * turn: many sessions are served round-robin. QMP.md 1.6.
 */
#include "qmp/internal.h"

static size_t unsent(const struct qmp_session *s)
{
	return s->out.len - s->out_at;
}

static bool may_look(const struct qmp_session *s)
{
	if (s->fd < 0 || unsent(s) > QMP_PAUSE_OUT_BYTES)
		return false;
	return s->oob ? s->n_queued < QMP_MAX_QUEUED : !s->running && !s->n_queued;
}

/* A request's descriptors: those that came with it or, as it is the first to look, before it. */
static void claim_fds(struct qmp_session *s, struct qmp_call *call)
{
	call->fds = s->unclaimed;
	s->unclaimed.n = 0;
	fd_queue_claim(&s->fds, s->position, &call->fds);
}

/* Takes over REQUEST. */
static void take_request(struct qmp_session *s, json_t *request, const struct merr *err)
{
	struct qmp_call *call = qmp_call_new(s, request, err);

	if (!call) {
		qmp_session_close(s);
		return;
	}
	claim_fds(s, call);
	if (call->oob) {
		qmp_call_run(call);
		return;
	}
	TAILQ_INSERT_TAIL(&s->queue, call, entry);
	s->n_queued++;
}

static void look_at_input(struct qmp_session *s)
{
	enum qmp_parser_result result;
	struct merr err;
	json_t *value;
	size_t used;

	while (may_look(s) && s->in_at < s->in_len) {
		err = (struct merr)MERR_INIT;
		value = NULL;
		result = qmp_parser_feed(&s->parser, s->in + s->in_at, s->in_len - s->in_at, &used,
					 &value, &err);
		s->in_at += used;
		s->position += used;
		if (result != QMP_PARSER_MORE)
			take_request(s, value, &err);
	}
}

static void run_one(struct qmp_session *s)
{
	struct qmp_call *call = TAILQ_FIRST(&s->queue);

	if (s->fd < 0 || s->running || !call)
		return;
	TAILQ_REMOVE(&s->queue, call, entry);
	s->n_queued--;
	qmp_call_run(call);
}

static bool is_idle(const struct qmp_session *s)
{
	return !s->running && !s->n_queued && !s->n_oob;
}

/* Everything that came was answered, and nothing more can come. */
static void finish(struct qmp_session *s)
{
	if (unsent(s) > 0)
		s->closing = true;	/* once it is sent */
	else
		qmp_session_close(s);
}

static void settle(struct qmp_session *s)
{
	bool has_input = s->in_at < s->in_len;

	if (may_look(s) && !has_input && !s->eof)
		(void)event_add(s->readable, NULL);
	else
		(void)event_del(s->readable);
	if ((may_look(s) && has_input) || (!s->running && s->n_queued > 0))
		qmp_session_wake(s);
	else if (s->eof && !has_input && is_idle(s))
		finish(s);
}

void qmp_session_take_turn(struct qmp_session *s)
{
	if (s->fd < 0)
		return;
	s->refs++;
	look_at_input(s);
	run_one(s);
	if (s->fd >= 0)
		settle(s);
	qmp_session_unref(s);
}
