/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: reports to the daemon, settings and answers from it. The daemon may go away at any time: the
 * migration goes on, reports wait, and the next daemon connects to the socket in the state directory, where it is told
 * everything from the start (ADOPT).
 */
#include "engine/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/credentials.h"
#include "engine/report.h"

/* START comes at once. */
#define START_TIMEOUT_MS 10000

/* A worker that is done keeps its outcome for a daemon so long; after that nobody will ask. */
#define ORPHAN_NS (24 * 3600 * NS_PER_SEC)

struct control {
	struct migration *m;
	struct conn *link;	/* NULL: no daemon */
	bool sent_done;
	bool finished;		/* the daemon has the outcome */
};

static bool is_dev_null(int fd)
{
	/* An absent descriptor is /dev/null's. */
	struct stat st;

	return fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int take_fds(struct migration *m, struct conn_msg *msg)
{
	int fds[LINK_START_N_FDS];

	if (msg->n_fds != LINK_START_N_FDS)
		return -EBADMSG;
	for (size_t i = 0; i < LINK_START_N_FDS; i++) {
		fds[i] = conn_msg_take_fd(msg, i);
		if (is_dev_null(fds[i]))
			fds[i] = close_fd(fds[i]);
	}
	m->guest_fd = fds[LINK_START_FD_GUEST];
	m->stats_fd = fds[LINK_START_FD_STATS];
	m->adopt_fd = fds[LINK_START_FD_ADOPT];
	m->decision_fd = fds[LINK_START_FD_DECISION];
	m->stream_fd = fds[LINK_START_FD_STREAM];
	m->direct_fd = fds[LINK_START_FD_DIRECT];
	m->vmm_fd = fds[LINK_START_FD_VMM];
	m->userfaultfd = fds[LINK_START_FD_USERFAULTFD];
	return m->guest_fd < 0 || m->stats_fd < 0 ? -EBADMSG : 0;
}

static int apply_start(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	json_t *body;
	int r;

	r = link_body(msg, &body, err);
	if (r < 0)
		return r;
	r = worker_start_from_json(body, &m->start, err);
	json_decref(body);
	if (r < 0)
		return r;
	if (m->start.version != LINK_VERSION)
		return merr_set(err, -EPROTONOSUPPORT, "worker link version %u instead of %u",
				m->start.version, LINK_VERSION);
	r = handover_id_parse(m->start.handover_id, m->handover_id);
	if (r < 0)
		return merr_set(err, r, "handover id '%s'", m->start.handover_id);
	r = take_fds(m, msg);
	if (r < 0)
		return merr_set(err, r, "START with %zu descriptors", msg->n_fds);
	r = stats_page_open(m->stats_fd, &m->stats);
	if (r < 0)
		return merr_set_errno(err, r, "statistics page");
	migration_apply(m, &m->start.parameters);
	if (m->start.has_share)
		migration_apply_share(m, m->start.share);
	m->rate.waited_us = &m->stats->limited_us;
	return 0;
}

/* Credentials that are no good end no migration that has others; without any, each handshake fails and says why. */
static int apply_tls(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	struct merr why = MERR_INIT;
	struct worker_tls bundle;
	int r;

	r = link_receive_tls(msg, &bundle, err);
	if (r < 0)
		return r;
	if (credentials_replace(m->credentials, &bundle, &why) < 0)
		log_warning("TLS credentials that cannot be used: %s mig=%s", merr_msg(&why), m->start.id);
	worker_tls_done(&bundle);
	return 0;
}

/* Wait for a message of TYPE, which APPLY takes; called NAME. */
static int expect(struct conn *link, struct migration *m, enum link_type type, const char *name,
		  int (*apply)(struct migration *m, struct conn_msg *msg, struct merr *err), struct merr *err)
{
	uint64_t deadline_ns = clock_now_ns() + START_TIMEOUT_MS * NS_PER_MS;
	struct conn_msg msg;
	int r;

	do {
		r = fd_wait(conn_fd(link), POLLIN, -1, deadline_ns);
		if (r < 0)
			return merr_set_errno(err, r, "waiting for %s", name);
		r = conn_recv(link, &msg, err);
	} while (r == 0);
	if (r < 0)
		return merr_set_errno(err, r, "waiting for %s", name);
	r = msg.type == type ? apply(m, &msg, err) :
			       merr_set(err, -EBADMSG, "message %u instead of %s", msg.type, name);
	conn_msg_done(&msg);
	return r;
}

int control_start(struct conn *link, struct migration *m, struct merr *err)
{
	int r = expect(link, m, LINK_START, "START", apply_start, err);

	FAULT_POINT("link.start-received");
	if (r < 0 || !m->start.has_tls || !m->start.tls)
		return r;
	m->credentials = credentials_new(m);
	if (!m->credentials)
		return merr_set_errno(err, -ENOMEM, "TLS");
	return expect(link, m, LINK_TLS, "TLS", apply_tls, err);
}

static void lose_daemon(struct control *c, const char *why)
{
	log_info("the daemon is gone, going on without it: %s mig=%s", why, c->m->start.id);
	c->link = conn_free(c->link);
}

/* The schema's view of a report. Strings borrow R and BUF. */
static void describe(const struct migration *m, struct report *r, struct worker_state *ret,
		     char id[2 * ATTACH_ID_LEN + 1])
{
	*ret = (struct worker_state){ .status = r->status };
	if (merr_is_set(&r->error)) {
		ret->has_error_desc = true;
		ret->error_desc = r->error.msg;
	}
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

static json_t *body_of(struct control *c, struct report *r)
{
	char id[2 * ATTACH_ID_LEN + 1];
	struct worker_outcome outcome = { .guest_runs_here = c->m->guest_runs_here };
	struct worker_pass pass = pass_describe(&r->pass);
	struct worker_admit admit = { .ticket = (uint32_t)r->number };
	struct migration_decision decision = decision_describe(&r->decision);
	struct worker_reconnect again = { .attempt = r->number, .error = r->error.msg };
	struct worker_state state;

	describe(c->m, r, &state, id);
	outcome.state = state;
	switch (r->type) {
	case LINK_PASS:
		return worker_pass_to_json(&pass);
	case LINK_ADMIT:
		return worker_admit_to_json(&admit);
	case LINK_RECONNECT:
		return worker_reconnect_to_json(&again);
	case LINK_PREFLIGHT:
		return describe_preflight(c->m);
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

static int publish_fd(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	return m->publish_fd;
}

/* The question that a handshake has just now, if it has one. */
static void send_question(struct control *c)
{
	enum link_type type;
	json_t *body = c->m->credentials ? credentials_question(c->m->credentials, &type) : NULL;

	if (body && c->link && link_send(c->link, type, body, NULL, 0) < 0)
		lose_daemon(c, "it does not read");
	json_decref(body);
}

static void send_report(struct control *c, struct report *r)
{
	int fd = r->type == LINK_PUBLISH ? publish_fd(c->m) : -1, res;
	json_t *body;

	if (!c->link)
		return;
	body = body_of(c, r);
	res = link_send(c->link, r->type, body, &fd, fd >= 0 ? 1 : 0);
	json_decref(body);
	if (res < 0)
		lose_daemon(c, "it does not read");
}

static void send_reports(struct control *c)
{
	struct report *r;

	wake_drain(c->m->report_fd);
	while ((r = report_take(c->m))) {
		if (r->type == LINK_DONE)
			c->sent_done = true;
		if (r->type == LINK_SIGN)
			send_question(c);
		else
			send_report(c, r);
		free(r);
	}
}

static bool has_preflight(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	return m->preflight != NULL;
}

/* The state as it is now, as a report. */
static void snapshot(struct migration *m, struct report *ret)
{
	LOCK_SCOPE(&m->lock);

	*ret = (struct report){ .type = m->done ? LINK_DONE : LINK_STATE,
				.status = m->status,
				.error = m->error,
				.has_handover = m->has_handover,
				.handover = m->handover,
				.in_doubt = m->in_doubt };
	memcpy(ret->handover_id, m->handover_id, sizeof(ret->handover_id));
	memcpy(ret->connected, m->connected, sizeof(ret->connected));
}

/* ADOPT with the decisions and passes so far, which the lock guards. */
static json_t *describe_adopt(struct migration *m, const struct worker_adopt *rest)
{
	LOCK_SCOPE(&m->lock);
	struct worker_adopt adopt = *rest;
	struct migration_decision list[LINK_DECISIONS_MAX];
	struct worker_pass passes[LINK_PASSES_MAX];

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

/* Tell a new daemon everything. */
static void introduce(struct control *c)
{
	struct worker_adopt adopt = { .start = c->m->start };
	char id[2 * ATTACH_ID_LEN + 1];
	uint32_t ticket = atomic_load(&c->m->ticket);
	struct report now;
	json_t *body;
	int r;

	snapshot(c->m, &now);
	describe(c->m, &now, &adopt.state, id);
	adopt.done = now.type == LINK_DONE;
	adopt.start.has_share = true;
	adopt.start.share = atomic_load(&c->m->rate.share_bps);
	FAULT_POINT("link.adopt-sending");
	body = describe_adopt(c->m, &adopt);
	r = link_send(c->link, LINK_ADOPT, body, &c->m->stats_fd, 1);
	json_decref(body);
	if (r < 0) {
		lose_daemon(c, "it does not read");
		return;
	}
	now.type = LINK_PREFLIGHT;
	if (has_preflight(c->m))
		send_report(c, &now);
	send_question(c);
	now.type = LINK_DONE;
	if (ticket)
		send_report(c, &(struct report){ .type = LINK_ADMIT, .number = ticket });
	if (adopt.done)
		send_report(c, &now);
	else if (atomic_load(&c->m->wants_connection))
		(void)link_send(c->link, LINK_CONNECT, NULL, NULL, 0);
	else if (atomic_load(&c->m->wants_publish))
		send_report(c, &(struct report){ .type = LINK_PUBLISH });
}

static void adopt(struct control *c)
{
	int fd = accept4(c->m->adopt_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (c->link)
		lose_daemon(c, "another one came");
	/* To nobody: the new one is told how things stand, and nothing before. */
	send_reports(c);
	c->link = conn_new(fd);
	if (c->link)
		introduce(c);
}

static int take_parameters(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_parameters p;
	int r;

	(void)msg;
	r = worker_parameters_from_json(body, &p, err);
	if (r < 0)
		return r;
	migration_apply(c->m, &p.parameters);
	worker_parameters_done(&p);
	return 0;
}

static int take_share(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_share s;
	int r;

	(void)msg;
	r = worker_share_from_json(body, &s, err);
	if (r < 0)
		return r;
	migration_apply_share(c->m, s.max_bandwidth);
	worker_share_done(&s);
	return 0;
}

static int take_admitted(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_admit admit;
	int r;

	(void)msg;
	r = worker_admit_from_json(body, &admit, err);
	if (r < 0)
		return r;
	atomic_store(&c->m->admitted, admit.ticket);
	wake_raise(c->m->answer_fd);
	worker_admit_done(&admit);
	return 0;
}

static int take_connection(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct merr why = MERR_INIT;
	struct worker_connection answer;
	int r;

	r = worker_connection_from_json(body, &answer, err);
	if (r < 0)
		return r;
	if (answer.has_error)
		(void)merr_set(&why, answer.has_refused && answer.refused ? -ECONNREFUSED : -EHOSTUNREACH, "%s",
			       answer.error);
	else if (msg->n_fds == 0)
		(void)merr_set(&why, -EBADMSG, "the daemon sent no connection");
	migration_answer_connect(c->m, merr_is_set(&why) ? -1 : conn_msg_take_fd(msg, 0), &why);
	worker_connection_done(&answer);
	return 0;
}

static int take_arrival(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	int fd = conn_msg_take_fd(msg, 0);

	(void)body;
	if (fd < 0)
		return merr_set(err, -EBADMSG, "worker link: ARRIVAL without a connection");
	migration_arrive(c->m, fd);
	return 0;
}

static int take_published(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_published answer;
	struct merr why = MERR_INIT;
	int r;

	(void)msg;
	r = worker_published_from_json(body, &answer, err);
	if (r < 0)
		return r;
	if (answer.has_error)
		(void)merr_set(&why, -EIO, "%s", answer.error);
	migration_answer_publish(c->m, &why);
	worker_published_done(&answer);
	return 0;
}

static int take_tls(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)body;
	if (!c->m->credentials)
		return merr_set(err, -EBADMSG, "worker link: TLS for a migration without");
	return apply_tls(c->m, msg, err);
}

static int take_signed(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_signed answer;
	int r = worker_signed_from_json(body, &answer, err);

	(void)msg;
	if (r < 0)
		return r;
	if (c->m->credentials)
		credentials_signed(c->m->credentials, &answer);
	worker_signed_done(&answer);
	return 0;
}

static int take_authorized(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_authorized answer;
	int r = worker_authorized_from_json(body, &answer, err);

	(void)msg;
	if (r < 0)
		return r;
	if (c->m->credentials)
		credentials_authorized(c->m->credentials, &answer);
	worker_authorized_done(&answer);
	return 0;
}

static int take_resolve(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_resolve word;
	int r;

	(void)msg;
	r = worker_resolve_from_json(body, &word, err);
	if (r < 0)
		return r;
	migration_resolve(c->m, word.outcome == RESOLVE_OUTCOME_RUN ? RESOLVE_RUN : RESOLVE_DISCARD);
	worker_resolve_done(&word);
	return 0;
}

static int take_cancel(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	wake_raise(c->m->cancel_fd);
	return 0;
}

static int take_continue(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	atomic_store(&c->m->may_continue, true);
	wake_raise(c->m->answer_fd);
	return 0;
}

static int take_start_postcopy(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	atomic_store(&c->m->start_postcopy, true);
	return 0;
}

static int take_pause(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	wake_raise(c->m->pause_fd);
	return 0;
}

static int take_recover(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	int fd = conn_msg_take_fd(msg, 0);

	(void)body;
	if (fd < 0)
		return merr_set(err, -EBADMSG, "worker link: RECOVER without a socket");
	migration_recover(c->m, fd);
	return 0;
}

static int take_finished(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	FAULT_POINT("link.finished-received");
	c->finished = true;
	return 0;
}

static const struct {
	enum link_type type;
	int (*take)(struct control *c, struct conn_msg *msg, json_t *body, struct merr *err);
} handlers[] = {
	{ LINK_PARAMETERS, take_parameters }, { LINK_CANCEL, take_cancel },
	{ LINK_CONTINUE, take_continue },     { LINK_CONNECTION, take_connection },
	{ LINK_RESOLVE, take_resolve },	      { LINK_FINISHED, take_finished },
	{ LINK_PUBLISHED, take_published },   { LINK_SHARE, take_share },
	{ LINK_TLS, take_tls },		      { LINK_SIGNED, take_signed },
	{ LINK_AUTHORIZED, take_authorized }, { LINK_ADMITTED, take_admitted },
	{ LINK_ARRIVAL, take_arrival },	      { LINK_START_POSTCOPY, take_start_postcopy },
	{ LINK_PAUSE, take_pause },	      { LINK_RECOVER, take_recover },
};

static int handle(struct control *c, struct conn_msg *msg, struct merr *err)
{
	json_t *body;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].type != msg->type)
			continue;
		r = link_body(msg, &body, err);
		if (r < 0)
			return r;
		r = handlers[i].take(c, msg, body, err);
		json_decref(body);
		return r;
	}
	return merr_set(err, -EBADMSG, "worker link: message %u is unknown", msg->type);
}

static void serve_link(struct control *c)
{
	struct merr err = MERR_INIT;
	struct conn_msg msg;
	int r;

	while (c->link && (r = conn_recv(c->link, &msg, &err)) != 0) {
		if (r > 0) {
			r = handle(c, &msg, &err);
			conn_msg_done(&msg);
		}
		if (r < 0)
			lose_daemon(c, merr_is_set(&err) ? merr_msg(&err) : "the link is closed");
	}
}

void control_run(struct migration *m, struct conn *link)
{
	struct control c = { .m = m, .link = link };
	uint64_t deadline_ns = DEADLINE_NONE;

	while (!(c.finished && c.sent_done)) {
		struct pollfd p[] = {
			{ .fd = m->report_fd, .events = POLLIN },
			{ .fd = c.link ? conn_fd(c.link) : -1, .events = POLLIN },
			{ .fd = m->adopt_fd, .events = POLLIN },
		};

		if (c.sent_done && !c.link && deadline_ns == DEADLINE_NONE)
			deadline_ns = clock_now_ns() + ORPHAN_NS;
		if (poll(p, ARRAY_SIZE(p), clock_poll_ms(deadline_ns)) < 0)
			continue;
		if (clock_now_ns() >= deadline_ns)
			break;
		if (p[0].revents)
			send_reports(&c);
		if (p[1].revents)
			serve_link(&c);
		if (p[2].revents)
			adopt(&c);
		/* Without a socket to be found at, an orphan that is done has no one to wait for. */
		if (c.sent_done && !c.link && m->adopt_fd < 0)
			break;
	}
	(void)conn_free(c.link);
}
