/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's control connection: messages in, requests out, each with its deadline. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach/codec.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/guest-socket.h"
#include "daemon/migration.h"
#include "daemon/supervisor.h"
#include "daemon/timer.h"
#include "daemon/worker.h"
#include "schema/events.h"

struct guest_request {
	TAILQ_ENTRY(guest_request) entry;
	struct guest *guest;
	uint16_t type;
	uint32_t seq;
	struct event *deadline;
	guest_reply_fn fn; /* NULL: nobody waits any more */
	void *opaque;
};

/* ---- requests ---- */

static void request_end(struct guest_request *r, struct rcur *body, const struct merr *err)
{
	TAILQ_REMOVE(&r->guest->requests, r, entry);
	if (r->fn)
		r->fn(r->opaque, body, err);
	event_free(r->deadline);
	free(r);
}

static void on_deadline(evutil_socket_t fd, short what, void *opaque)
{
	struct guest_request *r = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	(void)merr_set(&err, -ETIMEDOUT,
		       "The VMM of guest '%s' did not answer %s in time; see its log, and whether "
		       "it hangs",
		       r->guest->name, attach_type_name(r->type));
	request_end(r, NULL, &err);
}

static int send_request(struct guest *g, uint16_t type, const void *body, size_t len,
			const int *fds, size_t n_fds, uint32_t *ret_seq, struct merr *err)
{
	int r;

	if (!guest_attached(g))
		return merr_set(
			err, -ENOTCONN,
			"The VMM of guest '%s' is not attached; it attaches again by itself if it "
			"still runs",
			g->name);
	r = conn_send(g->conn, type, body, len, fds, n_fds, ret_seq);
	if (r < 0)
		return merr_set_errno(err, r, "cannot send %s to the VMM of guest '%s'",
				      attach_type_name(type), g->name);
	return 0;
}

int guest_request(struct guest *g, uint16_t type, const void *body, size_t len, const int *fds,
		  size_t n_fds, unsigned int timeout_ms, guest_reply_fn fn, void *opaque,
		  struct merr *err)
{
	_cleanup_free_ struct guest_request *req = calloc(1, sizeof(*req));
	int r;

	if (!req)
		return merr_set(err, -ENOMEM, "out of memory");
	req->guest = g;
	req->type = type;
	req->fn = fn;
	req->opaque = opaque;
	req->deadline = timer_start(g->daemon->base, timeout_ms, on_deadline, req);
	if (!req->deadline)
		return merr_set(err, -ENOMEM, "out of memory");
	r = send_request(g, type, body, len, fds, n_fds, &req->seq, err);
	if (r < 0) {
		event_free(req->deadline);
		return r;
	}
	TAILQ_INSERT_TAIL(&g->requests, req, entry);
	TAKE_PTR(req);
	return 0;
}

void guest_forget_requests(struct guest *g, const void *opaque)
{
	struct guest_request *r;

	TAILQ_FOREACH(r, &g->requests, entry)
	if (r->opaque == opaque)
		r->fn = NULL;
}

/* An error reply's text is the VMM's: keep it printable. */
static void reply_error(const struct guest_request *r, struct conn_msg *m, struct merr *err)
{
	char text[MERR_MSG_MAX / 2];
	size_t len = m->body.left < sizeof(text) - 1 ? m->body.left : sizeof(text) - 1;

	if (len)
		memcpy(text, m->body.p, len);
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	(void)merr_set(err, attach_error_to_errno(m->error), "The VMM of guest '%s' refused %s: %s",
		       r->guest->name, attach_type_name(r->type), len ? text : "no reason given");
}

/* A late reply, to a request whose deadline passed, finds nobody and is dropped. */
static void on_reply(struct guest *g, struct conn_msg *m)
{
	struct merr err = MERR_INIT;
	struct guest_request *r;

	TAILQ_FOREACH(r, &g->requests, entry)
	if (r->seq == m->reply_to && r->type == m->type)
		break;
	if (!r)
		return;
	if (m->error)
		reply_error(r, m, &err);
	request_end(r, &m->body, m->error ? &err : NULL);
}

/* ---- messages ---- */

static void on_message(struct guest *g, struct conn_msg *m, struct merr *err)
{
	struct merr unknown = MERR_INIT;

	if (m->reply_to) {
		on_reply(g, m);
	} else if (m->type == ATTACH_EVENT) {
		(void)guest_on_event(g, m, err);
	} else if (m->type == ATTACH_HEARTBEAT) {
		(void)conn_reply(g->conn, m, NULL, 0, NULL, 0);
	} else {
		(void)merr_set(&unknown, -EOPNOTSUPP, "%s is not for the daemon",
			       attach_type_name(m->type));
		(void)conn_reply_error(g->conn, m, &unknown);
	}
}

static void drain(struct guest *g)
{
	const struct conn *conn = g->conn;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	/* A handler may disconnect the guest, and another connection may be there since. */
	while (g->conn && g->conn == conn) {
		r = conn_recv(g->conn, &m, &err);
		if (r == 0)
			return;
		if (r > 0) {
			on_message(g, &m, &err);
			conn_msg_done(&m);
			if (!merr_is_set(&err))
				continue;
			r = err.code;
		}
		if (r != -ENOTCONN)
			log_err("dropping a VMM that breaks the attach protocol guest='%s' pid=%d: "
				"%s",
				g->name, g->pid, merr_msg(&err));
		if (g->conn == conn)
			guest_disconnect(g, r == -ENOTCONN
						    ? "the VMM closed its connection, or ended"
						    : "the VMM broke the attach protocol");
		return;
	}
}

void guest_drain(struct guest *g)
{
	struct log_scope scope;

	/* A handler may come here again, by what a worker has to say: the rest is handled in its turn. */
	if (g->draining)
		return;
	g->draining = true;
	guest_log_scope(&scope, g);
	drain(g);
	log_scope_leave(&scope);
	g->draining = false;
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	guest_drain(opaque);
}

/* ---- coming and going ---- */

static void note_hello(struct guest *g, const struct attach_hello *hello)
{
	unsigned int uid, gid;

	memcpy(g->uuid, hello->uuid, sizeof(g->uuid));
	g->role = hello->role;
	g->run_state = hello->run_state;
	g->handover_state = hello->handover_state;
	memcpy(g->handover_id, hello->handover_id, sizeof(g->handover_id));
	g->n_vcpus = hello->n_vcpus;
	g->has_dirty_ring = hello->features & ATTACH_FEATURE_DIRTY_RING;
	g->ram_bytes = hello->ram_bytes;
	g->epoch = hello->prev_epoch + 1;
	g->stopped_told = guest_run_state(g) != RUN_STATE_RUNNING &&
			  guest_run_state(g) != RUN_STATE_SUSPENDED;
	if (conn_peer(g->conn, &g->pid, &uid, &gid) < 0)
		g->pid = (int)hello->pid;
	g->pid_start_time = process_start_time(g->pid);
	conn_set_epoch(g->conn, g->epoch);
}

int guest_take_decision(struct guest *g, int fd, struct merr *err)
{
	const struct decision_page *page;
	int r = decision_map(fd, &page);

	if (r < 0) {
		close_fd(fd);
		return merr_set_errno(err, r, "its descriptor is no decision page");
	}
	if (g->decision)
		decision_unmap(g->decision);
	close_fd(g->decision_fd);
	g->decision = page;
	g->decision_fd = fd;
	return 0;
}

static int watch(struct guest *g, struct conn *conn)
{
	struct event *e =
		event_new(g->daemon->base, conn_fd(conn), EV_READ | EV_PERSIST, on_readable, g);

	if (!e || event_add(e, NULL) < 0) {
		(void)timer_free(e);
		return -ENOMEM;
	}
	g->readable = e;
	g->conn = conn;
	return 0;
}

int guest_connect(struct guest *g, struct conn *conn, const struct attach_hello *hello,
		  int decision_fd, struct merr *err)
{
	_log_scope_ struct log_scope scope;
	char uuid[UUID_TEXT_LEN];
	int r;

	guest_log_scope(&scope, g);
	r = guest_take_decision(g, decision_fd, err);
	if (r < 0)
		return merr_prefix(err, "HELLO");
	r = watch(g, conn);
	if (r < 0)
		return merr_set(err, r, "out of memory");
	note_hello(g, hello);
	guest_forget_blockers(g);
	guest_review(g);
	uuid_format(g->uuid, uuid);
	log_event(LOG_EVENT_GUEST_ATTACHED, LOG_INFO,
		  "guest attached guest='%s' pid=%d uuid=%s role=%s state=%s handover=%s epoch=%u",
		 g->name, g->pid, uuid, g->role == 2 ? "incoming" : "running",
		 run_state_str(guest_run_state(g)), handover_state_name(g->handover_state),
		 g->epoch);
	supervisor_changed(g->daemon->supervisor);
	guest_sockets_open(g);
	event_guest_attached(g->daemon->qmp, g->name, uuid,
			     g->role == 2 ? GUEST_ROLE_INCOMING : GUEST_ROLE_RUNNING);
	return 0;
}

void guest_disconnect(struct guest *g, const char *reason)
{
	_log_scope_ struct log_scope scope;
	struct merr err = MERR_INIT;

	guest_log_scope(&scope, g);
	if (g->readable)
		event_free(g->readable);
	g->readable = NULL;
	if (g->conn)
		g->conn = conn_free(g->conn);
	(void)merr_set(&err, -ENOTCONN, "The VMM of guest '%s' is gone", g->name);
	while (!TAILQ_EMPTY(&g->requests))
		request_end(TAILQ_FIRST(&g->requests), NULL, &err);
	if (!reason)
		return;
	log_event(LOG_EVENT_GUEST_DETACHED, LOG_INFO, "guest detached guest='%s' pid=%d: %s", g->name, g->pid, reason);
	supervisor_changed(g->daemon->supervisor);
	event_guest_detached(g->daemon->qmp, g->name, reason);
	guest_sockets_hang_up(g);
	migration_guest_changed(g);
	guest_review(g);
}
