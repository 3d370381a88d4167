/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control connection: library <-> daemon, for as long as both live. Connects (attach_path) with
 * a back-off, or listens (listen_path) and accepts one daemon at a time; says HELLO either way,
 * with what the last attachment was, so that a new daemon knows where the guest stands. Losing it
 * touches no migration. Service thread.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "guest/dispatch.h"
#include "guest/unix-socket.h"

#define BACKOFF_MIN_NS (10 * NS_PER_MS)
#define BACKOFF_MAX_NS NS_PER_SEC
#define DOOR_RESTS_NS  (100 * NS_PER_MS)
/* A daemon that accepts but does not answer HELLO is taken for none. */
#define HELLO_DEADLINE_NS (10 * NS_PER_SEC)
/* What a daemon may propose; a shorter lease would resume guests under a busy worker's feet. */
#define LEASE_MIN_MS 1000U
#define LEASE_MAX_MS 600000U

#if defined(__x86_64__)
#define ARCH_NAME "x86_64"
#elif defined(__aarch64__)
#define ARCH_NAME "aarch64"
#else
#error "libmigd-guest does not know this architecture"
#endif

/* ---- requests ---- */

static int handle_pause(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_pause req;

	if (CALL_DECODE(c, pause, &req, err) < 0)
		return -EBADMSG;
	if (g->control.pause.pending)
		return merr_set(err, -EBUSY, "PAUSE: another one is under way");
	if (gate_reasons(&g->gate) & GATE_AWAY) { /* "do not start on activation" */
		gate_close(&g->gate, GATE_USER);
		return 0;
	}
	pause_begin(g, &g->control.pause, GATE_USER, c->msg->seq, req.deadline_ms);
	c->later = true;
	return 0;
}

static int handle_resume(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;
	struct merr why = MERR_INIT;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (decision_get(&g->decision) == HANDOVER_RELEASED)
		return merr_set(
			err, -EINPROGRESS,
			"RESUME: the guest was released to the target: resolve the handover first");
	if (gate_reasons(&g->gate) & GATE_DEAD)
		return merr_set(err, -EBADFD, "RESUME: the guest %s and cannot go on",
				gate_reasons(&g->gate) & GATE_PANICKED ? "crashed"
								       : "powered itself off");
	(void)merr_set(&why, -ECANCELED, "PAUSE: a RESUME came before the vCPUs stopped");
	if (g->control.pause.pending)
		pause_cancel(g, &g->control.pause, &why);
	else
		pause_lift(g, GATE_USER);
	return 0;
}

static int handle_mig_open(struct migd_guest *g, struct call *c, struct merr *err)
{
	enum { SOURCE = 1, TARGET = 2 };
	static const uint32_t states[] = {
		[SOURCE] = IN(RUNNING) | IN(RELEASED) | IN(RETIRED),
		[TARGET] = IN(EMPTY) | IN(LOADED) | IN(RUNNING) | IN(DISCARDED),
	};
	enum handover_state state = decision_get(&g->decision);
	struct attach_mig_open req;
	int r;

	if (CALL_DECODE(c, mig_open, &req, err) < 0)
		return -EBADMSG;
	if (req.role != SOURCE && req.role != TARGET)
		return merr_set(err, -EPROTO, "MIG_OPEN: field 'role': %u", req.role);
	if (c->msg->n_fds != 1)
		return merr_set(err, -EPROTO, "MIG_OPEN: %zu descriptors, 1 expected",
				c->msg->n_fds);
	if (g->mig.conn)
		return merr_set(err, -EBUSY, "MIG_OPEN: a migration of this guest is under way");
	if (!(states[req.role] & 1U << state))
		return merr_set(err, -EBADFD, "MIG_OPEN: no %s in handover state '%s'",
				req.role == SOURCE ? "source" : "target",
				handover_state_name(state));
	FAULT_POINT("library.opening");
	r = migration_open(g, conn_msg_take_fd(c->msg, 0), err);
	if (r < 0)
		return r;
	g->mig.opened_as_target = req.role == TARGET;
	/* The daemon listens by now: the old side may connect. */
	if (req.role == TARGET && g->cpr)
		cpr_answer(g->cpr, NULL);
	return 0;
}

static int request(struct migd_guest *g, struct call *c, enum migd_guest_event what,
		   struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (!g->hooks.request)
		return merr_set(err, -EOPNOTSUPP, "this VMM does not take requests");
	g->hooks.request(g->opaque, what);
	return 0;
}

static int handle_request_reset(struct migd_guest *g, struct call *c, struct merr *err)
{
	return request(g, c, MIGD_GUEST_EVENT_RESET, err);
}

static int handle_request_shutdown(struct migd_guest *g, struct call *c, struct merr *err)
{
	return request(g, c, MIGD_GUEST_EVENT_SHUTDOWN, err);
}

static int handle_request_wakeup(struct migd_guest *g, struct call *c, struct merr *err)
{
	return request(g, c, MIGD_GUEST_EVENT_WAKEUP, err);
}

#define IN_GONE (IN(RETIRED) | IN(DISCARDED))

static const struct call_row rows[] = {
	{ ATTACH_PAUSE, ~IN_GONE, handle_pause },
	{ ATTACH_RESUME, ~IN_GONE, handle_resume },
	{ ATTACH_MIG_OPEN, IN_ANY, handle_mig_open },
	{ ATTACH_CPR_OFFER, IN(RUNNING), handle_cpr_offer },
	{ ATTACH_RESOLVE, IN(RELEASED) | IN(LOADED) | IN(RUNNING) | IN(RETIRED) | IN(DISCARDED),
	  handle_resolve },
	{ ATTACH_REQUEST_RESET, ~IN_GONE, handle_request_reset },
	{ ATTACH_REQUEST_SHUTDOWN, ~IN_GONE, handle_request_shutdown },
	{ ATTACH_ANNOUNCE, IN(RUNNING) | IN(PRECOPY), handle_announce },
	{ ATTACH_REQUEST_WAKEUP, ~IN_GONE, handle_request_wakeup },
	{ ATTACH_DISCARD, IN(EMPTY) | IN(INCOMING) | IN(DISCARDED), handle_discard },
	{ ATTACH_DIRTY_RATE, IN(RUNNING) | IN(PRECOPY), handle_dirty_rate },
	{ ATTACH_DIRTY_LIMIT, IN(RUNNING) | IN(PRECOPY), handle_dirty_limit },
	{ ATTACH_DIRTY_QUERY, IN_ANY, handle_dirty_query },
	{ ATTACH_QUERY, IN_ANY, handle_query },
	{ ATTACH_HEARTBEAT, IN_ANY, handle_heartbeat },
};

/* ---- HELLO ---- */

static uint64_t ram_bytes(const struct guest_tables *t)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->n_blocks; i++)
		sum += t->blocks[i].len;
	return sum;
}

static int send_hello(struct migd_guest *g)
{
	struct attach_hello h = {
		.proto_min = ATTACH_VERSION,
		.proto_max = ATTACH_VERSION,
		.features = g->dirty.engine == DIRTY_RING ? ATTACH_FEATURE_DIRTY_RING : 0,
		.arch = ARCH_NAME,
		.role = (uint8_t)g->role,
		.run_state = (uint8_t)run_state_of(g),
		.handover_state = (uint8_t)decision_get(&g->decision),
		.page_size = DIRTY_PAGE_SIZE,
		.n_vcpus = (uint32_t)g->tables.n_vcpus,
		.ram_bytes = ram_bytes(&g->tables),
		.prev_epoch = g->control.epoch,
		.pid = (uint32_t)getpid(),
	};
	struct wcur w = wcur_of(g->body, ATTACH_BODY_MAX);
	int r;

	memcpy(h.name, g->name, sizeof(h.name));
	memcpy(h.uuid, g->uuid, sizeof(h.uuid));
	memcpy(h.handover_id, g->decision.page->handover_id, sizeof(h.handover_id));
	r = attach_hello_encode(&w, &h);
	if (r < 0)
		return r;
	g->control.hello_deadline_ns = clock_now_ns() + HELLO_DEADLINE_NS;
	return conn_send(g->control.conn, ATTACH_HELLO, w.p, w.len, &g->decision.fd, 1,
			 &g->control.hello_seq);
}

/* Why the guest stays, for who looks before migrating it. */
static void tell_blockers(struct migd_guest *g)
{
	char text[2 * ATTACH_STR_MAX + 256]; /* the event takes the first ATTACH_STR_MAX */
	const struct guest_device *d;

	for (size_t i = 0; i < g->tables.n_devices; i++) {
		d = &g->tables.devices[i];
		if (!d->unmigratable)
			continue;
		(void)snprintf(text, sizeof(text), "device '%s' instance %u cannot be migrated: %s",
			       d->name, d->instance, d->unmigratable);
		events_send(g, ATTACH_EVENT_BLOCKED, d->instance, text);
	}
}

static int take_hello_reply(struct migd_guest *g, struct conn_msg *m, struct merr *err)
{
	struct attach_hello_reply rep;
	int r;

	if (m->type != ATTACH_HELLO || m->reply_to != g->control.hello_seq)
		return merr_set(err, -EBADMSG, "%s came before the reply to HELLO",
				attach_type_name(m->type));
	if (m->error)
		return merr_set(
			err, attach_error_to_errno(m->error), "the daemon refused the guest: %.*s",
			(int)(m->body.left < 256 ? m->body.left : 256), (const char *)m->body.p);
	r = attach_hello_reply_decode(&m->body, &rep, err);
	if (r < 0)
		return r;
	if (rep.version != ATTACH_VERSION || rep.features)
		return merr_set(err, -EPROTO,
				"HELLO: the daemon chose version %u, features 0x%llx: not offered",
				rep.version, (unsigned long long)rep.features);
	g->control.epoch = rep.epoch;
	g->control.attached = true;
	g->control.backoff_ns = BACKOFF_MIN_NS;
	g->control.lease_ms =
		rep.lease_ms >= LEASE_MIN_MS && rep.lease_ms <= LEASE_MAX_MS ? rep.lease_ms : 0;
	conn_set_epoch(g->control.conn, rep.epoch);
	guest_log(g, 6, "attached to the daemon: epoch=%u", rep.epoch);
	tell_blockers(g);
	return 0;
}

/* ---- the connection ---- */

static void retry_later(struct control *c)
{
	c->retry_ns = clock_now_ns() + c->backoff_ns;
	c->backoff_ns = min_u64(2 * c->backoff_ns, BACKOFF_MAX_NS);
}

void control_drop(struct migd_guest *g, const char *why)
{
	struct control *c = &g->control;

	if (c->conn && why)
		guest_log(g, c->attached ? 5 : 7, "detached from the daemon: %s", why);
	c->conn = conn_free(c->conn);
	c->attached = false;
	c->pause.seq = 0; /* the guest stays paused; nobody to tell */
	retry_later(c);
}

/* FD is connected: introduce the guest. */
static void begin(struct migd_guest *g, int fd)
{
	g->control.conn = conn_new(fd);
	if (!g->control.conn || send_hello(g) < 0)
		control_drop(g, "HELLO could not be sent");
}

int control_init(struct migd_guest *g, struct merr *err)
{
	g->control.backoff_ns = BACKOFF_MIN_NS;
	g->control.retry_ns = 0;
	if (g->listen_path)
		return unix_listen(g->listen_path, &g->control.listen_fd, err);
	return unix_path_check(g->attach_path, err);
}

void control_done(struct migd_guest *g)
{
	g->control.conn = conn_free(g->control.conn);
	if (g->control.listen_fd >= 0)
		(void)unlink(g->listen_path);
	g->control.listen_fd = close_fd(g->control.listen_fd);
}

void control_acceptable(struct migd_guest *g)
{
	int fd = fd_accept(g->control.listen_fd);

	/* Without descriptors the daemon still waits there. */
	if (fd < 0 && fd != -EAGAIN)
		g->control.rests_until_ns = clock_now_ns() + DOOR_RESTS_NS;
	if (fd < 0)
		return;
	if (g->control.conn) /* one daemon at a time */
		close_fd(fd);
	else
		begin(g, fd);
}

int control_listen_fd(const struct migd_guest *g)
{
	return g->control.rests_until_ns ? -1 : g->control.listen_fd;
}

uint64_t control_listen_deadline(const struct migd_guest *g)
{
	return g->control.rests_until_ns ? g->control.rests_until_ns : DEADLINE_NONE;
}

void control_listen_tick(struct migd_guest *g, uint64_t now_ns)
{
	if (now_ns >= control_listen_deadline(g))
		g->control.rests_until_ns = 0;
}

uint64_t control_deadline(const struct migd_guest *g)
{
	const struct control *c = &g->control;

	if (c->conn)
		return c->attached ? DEADLINE_NONE : c->hello_deadline_ns;
	return g->attach_path ? c->retry_ns : DEADLINE_NONE;
}

void control_tick(struct migd_guest *g, uint64_t now_ns)
{
	int fd;

	if (now_ns < control_deadline(g))
		return;
	if (g->control.conn) {
		control_drop(g, "no reply to HELLO");
		return;
	}
	fd = unix_connect(g->attach_path);
	if (fd < 0)
		retry_later(&g->control);
	else
		begin(g, fd);
}

static int take_message(struct migd_guest *g, struct conn_msg *m, struct merr *err)
{
	if (!g->control.attached)
		return take_hello_reply(g, m, err);
	if (m->reply_to)
		return merr_set(err, -EBADMSG, "a reply to nothing");
	if (m->epoch && m->epoch != g->control.epoch) {
		struct merr why = MERR_INIT;

		(void)merr_set(&why, -ESTALE, "%s is of epoch %u, this is %u",
			       attach_type_name(m->type), m->epoch, g->control.epoch);
		return conn_reply_error(g->control.conn, m, &why);
	}
	return dispatch(g, g->control.conn, m, rows, ARRAY_SIZE(rows), err);
}

void control_readable(struct migd_guest *g)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_recv(g->control.conn, &m, &err);

	if (r == 0)
		return;
	if (r > 0) {
		r = take_message(g, &m, &err);
		conn_msg_done(&m);
	}
	if (r < 0)
		control_drop(g, merr_msg(&err));
}
