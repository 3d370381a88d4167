/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's turn: what it does next, and whether it reads on.
 *
 * Without oob, the next request is looked at once the one before is answered; what is sent
 * meanwhile waits in the socket. With oob, up to QMP_MAX_QUEUED in-band requests are taken in while
 * one runs, so that an out-of-band one behind them is seen, and run at once. One in-band request a
 * turn: many sessions are served round-robin. QMP.md 1.6.
 *
 * What a turn says is sent at its end, unless another turn of the session is due: then the two may
 * go together.
 */
#include <stdlib.h>
#include <string.h>

#include "qmp/internal.h"

/* In one go; then the loop looks after others than QMP's clients. */
#define TURNS_AT_ONCE 8
/* Out-of-band requests of one turn. */
#define OOB_AT_ONCE 8
/* A client that sent too many commands is not looked at again before this, ns. */
#define REST_MIN_NS NS_PER_MS

/* How long the rate of commands keeps the session from being looked at, ns. */
static uint64_t must_rest_ns(const struct qmp_session *s)
{
	unsigned int rate = s->server->options.limits.rate;

	return rate ? rate_wait_ns(&s->rate, rate, clock_now_ns()) : 0;
}

static bool has_room(const struct qmp_session *s)
{
	if (s->fd < 0 || qmp_session_unsent(s) > QMP_PAUSE_OUT_BYTES)
		return false;
	return s->oob ? s->n_queued < QMP_MAX_QUEUED && s->queued_bytes <= QMP_MAX_QUEUED_BYTES
		      : !s->running && !s->n_queued;
}

static bool may_look(const struct qmp_session *s)
{
	return has_room(s) && must_rest_ns(s) == 0;
}

static bool has_input(const struct qmp_session *s)
{
	return s->in_at < s->in_len;
}

/* ---- input ---- */

void qmp_session_forget_input(struct qmp_session *s)
{
	free(s->kept);
	s->kept = NULL;
	s->in = NULL;
	s->in_at = s->in_len = 0;
}

/* The server's buffer is the next session's. */
static void keep_input(struct qmp_session *s)
{
	if (!has_input(s)) {
		qmp_session_forget_input(s);
		return;
	}
	if (s->kept)
		return;
	s->in_len -= s->in_at;
	s->kept = malloc(s->in_len);
	if (!s->kept) {
		qmp_session_close(s);
		return;
	}
	memcpy(s->kept, s->in + s->in_at, s->in_len);
	s->in = s->kept;
	s->in_at = 0;
}

/* A request's descriptors: those that came with it or, as it is the first to look, before it. */
static void claim_fds(struct qmp_session *s, struct qmp_call *call)
{
	call->fds = s->unclaimed;
	s->unclaimed.n = 0;
	fd_queue_claim(&s->fds, s->position, &call->fds);
}

/* Takes over REQUEST. */
static void take_request(struct qmp_session *s, json_t *request, const struct merr *err, unsigned int *n_oob)
{
	struct qmp_call *call = qmp_call_new(s, request, err);

	if (!call) {
		qmp_session_close(s);
		return;
	}
	if (s->server->options.limits.rate)
		rate_take(&s->rate, s->server->options.limits.rate, clock_now_ns());
	claim_fds(s, call);
	call->bytes = (size_t)(s->position - s->value_at);
	s->value_at = s->position;
	s->queued_bytes += call->bytes;
	if (call->oob) {
		++*n_oob;
		qmp_call_run(call);
		return;
	}
	TAILQ_INSERT_TAIL(&s->queue, call, entry);
	s->n_queued++;
}

static void look_at_input(struct qmp_session *s)
{
	enum qmp_parser_result result;
	unsigned int n_oob = 0;
	struct merr err;
	json_t *value;
	size_t used;

	while (has_input(s) && n_oob < OOB_AT_ONCE && may_look(s)) {
		err = (struct merr)MERR_INIT;
		value = NULL;
		result = qmp_parser_feed(&s->parser, s->in + s->in_at, s->in_len - s->in_at, &used,
					 &value, &err);
		s->in_at += used;
		s->position += used;
		if (result != QMP_PARSER_MORE)
			take_request(s, value, &err, &n_oob);
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
	if (qmp_session_unsent(s) > 0)
		s->closing = true;	/* once it is sent */
	else
		qmp_session_close(s);
}

/* What is left of its turn's output goes to the kernel, unless more is about to be added to it. */
static void send_some(struct qmp_session *s, bool more_comes)
{
	size_t n = qmp_session_unsent(s);

	if (n > 0 && !s->blocked && (!more_comes || n >= QMP_FLUSH_BYTES))
		qmp_session_flush(s);
}

static bool has_more_to_do(const struct qmp_session *s)
{
	return (has_input(s) && may_look(s)) || (!s->running && s->n_queued > 0);
}

static void rest(struct qmp_session *s, uint64_t ns)
{
	const uint64_t us = (ns > REST_MIN_NS ? ns : REST_MIN_NS) / NS_PER_US;
	const struct timeval after = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };

	(void)evtimer_add(s->rested, &after);
}

/* Whether it reads on, and what makes it go on. */
static void settle(struct qmp_session *s)
{
	uint64_t rest_ns;

	send_some(s, has_more_to_do(s));
	if (s->fd < 0)
		return;
	rest_ns = must_rest_ns(s);
	if (has_room(s) && rest_ns == 0 && !has_input(s) && !s->eof)
		(void)event_add(s->readable, NULL);
	else
		(void)event_del(s->readable);
	if (has_room(s) && rest_ns > 0)
		rest(s, rest_ns);
	if (has_more_to_do(s))
		qmp_session_wake(s);
	else if (s->eof && !has_input(s) && is_idle(s))
		finish(s);
}

void qmp_session_take_turn(struct qmp_session *s)
{
	if (s->fd < 0)
		return;
	s->refs++;
	s->in_turn = true;
	look_at_input(s);
	run_one(s);
	s->in_turn = false;
	if (s->fd >= 0)
		keep_input(s);
	if (s->fd >= 0 && qmp_session_holds_too_much(s))
		qmp_session_drop(s, "clients hold too much memory, and it more than its share");
	if (s->fd >= 0)
		settle(s);
	qmp_session_unref(s);
}

/* ---- turns ---- */

/*
 * In the loop's next round, after a look at all descriptors. What is made active at once, from within an event, would be run
 * before that, as long as there is any.
 */
static void go_on_soon(struct qmp_server *s)
{
	static const struct timeval now = { 0 };

	(void)evtimer_add(s->turns, &now);
}

void qmp_session_wake(struct qmp_session *s)
{
	/* Its turn looks at everything when it ends. */
	if (s->fd < 0 || s->ready || s->in_turn)
		return;
	if (TAILQ_EMPTY(&s->server->ready))
		go_on_soon(s->server);
	TAILQ_INSERT_TAIL(&s->server->ready, s, ready_entry);
	s->ready = true;
}

void qmp_server_take_turns(struct qmp_server *server)
{
	struct qmp_session *s;
	unsigned int i;

	for (i = 0; i < TURNS_AT_ONCE && (s = TAILQ_FIRST(&server->ready)); i++) {
		TAILQ_REMOVE(&server->ready, s, ready_entry);
		s->ready = false;
		qmp_session_take_turn(s);
	}
	if (!TAILQ_EMPTY(&server->ready))
		go_on_soon(server);
}
