/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/orders.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/credentials.h"
#include "engine/report.h"

static int take_parameters(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_parameters p;
	int r;

	(void)msg;
	r = worker_parameters_from_json(body, &p, err);
	if (r < 0)
		return r;
	migration_apply(m, &p.parameters);
	worker_parameters_done(&p);
	return 0;
}

static int take_share(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_share s;
	int r;

	(void)msg;
	r = worker_share_from_json(body, &s, err);
	if (r < 0)
		return r;
	migration_apply_share(m, s.max_bandwidth);
	worker_share_done(&s);
	return 0;
}

static int take_admitted(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_admit admit;
	int r;

	(void)msg;
	r = worker_admit_from_json(body, &admit, err);
	if (r < 0)
		return r;
	atomic_store(&m->admitted, admit.ticket);
	wake_raise(m->answer_fd);
	worker_admit_done(&admit);
	return 0;
}

static int take_connection(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
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
	migration_answer_connect(m, merr_is_set(&why) ? -1 : conn_msg_take_fd(msg, 0), &why);
	worker_connection_done(&answer);
	return 0;
}

static int take_arrival(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	int fd = conn_msg_take_fd(msg, 0);

	(void)body;
	if (fd < 0)
		return merr_set(err, -EBADMSG, "worker link: ARRIVAL without a connection");
	migration_arrive(m, fd);
	return 0;
}

static int take_published(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
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
	migration_answer_publish(m, &why);
	worker_published_done(&answer);
	return 0;
}

static int take_tls(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)body;
	if (!m->credentials)
		return merr_set(err, -EBADMSG, "worker link: TLS for a migration without");
	return credentials_receive(m, msg, err);
}

static int take_signed(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_signed answer;
	int r = worker_signed_from_json(body, &answer, err);

	(void)msg;
	if (r < 0)
		return r;
	if (m->credentials)
		credentials_signed(m->credentials, &answer);
	worker_signed_done(&answer);
	return 0;
}

static int take_authorized(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_authorized answer;
	int r = worker_authorized_from_json(body, &answer, err);

	(void)msg;
	if (r < 0)
		return r;
	if (m->credentials)
		credentials_authorized(m->credentials, &answer);
	worker_authorized_done(&answer);
	return 0;
}

static int take_resolve(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_resolve word;
	int r;

	(void)msg;
	r = worker_resolve_from_json(body, &word, err);
	if (r < 0)
		return r;
	migration_resolve(m, word.outcome == RESOLVE_OUTCOME_RUN ? RESOLVE_RUN : RESOLVE_DISCARD);
	worker_resolve_done(&word);
	return 0;
}

static int take_cancel(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	wake_raise(m->cancel_fd);
	return 0;
}

static int take_continue(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	atomic_store(&m->may_continue, true);
	wake_raise(m->answer_fd);
	return 0;
}

static int take_start_postcopy(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	atomic_store(&m->start_postcopy, true);
	return 0;
}

static int take_pause(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	wake_raise(m->pause_fd);
	return 0;
}

static int take_recover(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	int fd = conn_msg_take_fd(msg, 0);

	(void)body;
	if (fd < 0)
		return merr_set(err, -EBADMSG, "worker link: RECOVER without a socket");
	migration_recover(m, fd);
	return 0;
}

static int take_finished(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	(void)msg;
	(void)body;
	(void)err;
	(void)m;
	FAULT_POINT("link.finished-received");
	return 1;
}

static const struct {
	enum link_type type;
	int (*take)(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err);
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

int orders_take(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	json_t *body;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].type != msg->type)
			continue;
		r = link_body(msg, &body, err);
		if (r < 0)
			return r;
		r = handlers[i].take(m, msg, body, err);
		json_decref(body);
		return r;
	}
	return merr_set(err, -EBADMSG, "worker link: message %u is unknown", msg->type);
}
