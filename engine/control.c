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
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/credentials.h"
#include "engine/orders.h"
#include "engine/report.h"

/* A worker that is done keeps its outcome for a daemon so long; after that nobody will ask. */
#define ORPHAN_NS (24 * 3600 * NS_PER_SEC)

/* Without descriptors: before a daemon that waits is looked for again. */
#define DOOR_RESTS_NS (100 * NS_PER_MS)

/* For tests: as if this thread did not get to run. */
#define LATE_MS 20

struct control {
	struct migration *m;
	struct conn *link;	/* NULL: no daemon */
	bool sent_done;
	bool finished;		/* the daemon has the outcome */
	uint64_t rests_until_ns; /* the socket in the state directory */
};

static void lose_daemon(struct control *c, const char *why)
{
	log_info("the daemon is gone, going on without it: %s mig=%s", why, c->m->start.id);
	c->link = conn_free(c->link);
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
	if (fault_is_on("reports-late"))
		(void)poll(NULL, 0, LATE_MS);
	body = report_to_json(c->m, r);
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
		migration_note_told(c->m);
	}
}

static bool has_preflight(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	return m->preflight != NULL;
}

/* Tell a new daemon everything. */
static void introduce(struct control *c)
{
	uint32_t ticket = atomic_load(&c->m->ticket);
	struct report now;
	json_t *body;
	bool done;
	int r;

	report_now(c->m, &now);
	done = now.type == LINK_DONE;
	FAULT_POINT("link.adopt-sending");
	body = report_adopt_to_json(c->m, &now);
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
	if (done)
		send_report(c, &now);
	else if (atomic_load(&c->m->wants_connection))
		(void)link_send(c->link, LINK_CONNECT, NULL, NULL, 0);
	else if (atomic_load(&c->m->wants_publish))
		send_report(c, &(struct report){ .type = LINK_PUBLISH });
}

static void adopt(struct control *c)
{
	int fd = fd_accept(c->m->adopt_fd);

	if (fd < 0 && fd != -EAGAIN)
		c->rests_until_ns = clock_now_ns() + DOOR_RESTS_NS;
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

static void serve_link(struct control *c)
{
	struct merr err = MERR_INIT;
	struct conn_msg msg;
	int r;

	while (c->link && (r = conn_recv(c->link, &msg, &err)) != 0) {
		if (r > 0) {
			r = orders_take(c->m, &msg, &err);
			conn_msg_done(&msg);
			c->finished |= r > 0;
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
		bool rests = clock_now_ns() < c.rests_until_ns;
		struct pollfd p[] = {
			{ .fd = m->report_fd, .events = POLLIN },
			{ .fd = c.link ? conn_fd(c.link) : -1, .events = POLLIN },
			{ .fd = rests ? -1 : m->adopt_fd, .events = POLLIN },
		};

		if (c.sent_done && !c.link && deadline_ns == DEADLINE_NONE)
			deadline_ns = clock_now_ns() + ORPHAN_NS;
		if (poll(p, ARRAY_SIZE(p), clock_poll_ms(rests ? min_u64(deadline_ns, c.rests_until_ns) : deadline_ns)) < 0)
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
