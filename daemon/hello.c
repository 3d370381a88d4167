/* SPDX-License-Identifier: Apache-2.0 */
/* VMMs at the door: accepting, HELLO, and who may come in. */
#include "daemon/hello.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/daemon.h"
#include "daemon/evacuation.h"
#include "daemon/expected.h"
#include "daemon/guest.h"
#include "daemon/listen.h"
#include "daemon/migration.h"
#include "daemon/preflight.h"
#include "daemon/registry.h"
#include "daemon/settings-store.h"
#include "daemon/timer.h"
#include "qmp/server.h"

#define HELLO_TIMEOUT_MS 5000U
/* Connections that have not said HELLO yet; a VMM's takes a fraction of a millisecond. */
#define VISITORS_MAX   128
#define LOCKED_OUT_MAX 64
/* Without a descriptor for the next one. */
#define ACCEPT_PAUSE_MS 200U
/* For the library: how long a silent worker keeps a paused guest. */
#define LEASE_MS        10000
#define ATTACH_FEATURES 0 /* none are defined yet */
#define RUN_STATE_MAX   9 /* the last of enum migd_guest_run_state */
#define VCPUS_MAX       1024

struct visitor {
	TAILQ_ENTRY(visitor) entry;
	struct door *door;
	struct conn *conn;
	struct event *readable;
	struct event *deadline;
	char id[ATTACH_STR_MAX + 1]; /* guest-attach: the name it gets; else "" */
	char *path;                  /* guest-attach: where the VMM listens; else NULL */
	struct qmp_call *call;       /* guest-attach: waits for the outcome, unless a former daemon did */
};

struct locked_out {
	char name[ATTACH_STR_MAX + 1];
	int pid;
};

struct door {
	struct daemon *daemon;
	char *path; /* to be removed; NULL: the socket was passed */
	int fd;
	struct event *acceptable;
	struct event *pause; /* no descriptor was free: not accepting for a while; else NULL */
	TAILQ_HEAD(, visitor) visitors;
	size_t n_visitors;
	struct locked_out locked_out[LOCKED_OUT_MAX]; /* a ring; pid 0: free */
	size_t next_locked_out;
};

/* ---- visitors ---- */

static struct visitor *visitor_free(struct visitor *v)
{
	TAILQ_REMOVE(&v->door->visitors, v, entry);
	v->door->n_visitors--;
	(void)timer_free(v->readable);
	(void)timer_free(v->deadline);
	(void)conn_free(v->conn);
	free(v->path);
	free(v);
	return NULL;
}

static void tell_refused(const struct visitor *v, const struct merr *err)
{
	int pid = 0;
	unsigned int uid = 0, gid;

	(void)conn_peer(v->conn, &pid, &uid, &gid);
	log_event(LOG_EVENT_VMM_REFUSED, LOG_NOTICE, "a VMM was not attached pid=%d uid=%u: %s", pid, uid, merr_msg(err));
}

/* Send it away. ERR goes to the log, and to whoever asked for it by guest-attach. */
static void dismiss(struct visitor *v, const struct merr *err)
{
	struct qmp_call *call = v->call;

	/* Without a connection it was a guest for a moment, and its end is told already. */
	if (v->conn)
		tell_refused(v, err);
	(void)visitor_free(v);
	if (call)
		qmp_fail(call, err);
}

static void on_deadline(evutil_socket_t fd, short what, void *opaque)
{
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	(void)merr_set(&err, -ETIMEDOUT, "it connected and did not say HELLO within %u s",
		       HELLO_TIMEOUT_MS / 1000);
	dismiss(opaque, &err);
}

/* ---- HELLO ---- */

static bool is_name(const char *name)
{
	if (!name[0])
		return false;
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			return false;
	return true;
}

static int check_hello(const struct attach_hello *h, struct merr *err)
{
	if (h->proto_min > ATTACH_VERSION || h->proto_max < ATTACH_VERSION)
		return merr_set(err, -EOPNOTSUPP,
				"HELLO: the VMM speaks attach protocol %u to %u, this migd %u; use "
				"versions of "
				"libmigd-guest and migd that go together",
				h->proto_min, h->proto_max, ATTACH_VERSION);
	if (!is_name(h->name))
		return merr_set(err, -EBADMSG,
				"HELLO: field 'name': expected 1 to %u printable bytes",
				ATTACH_STR_MAX);
	if (h->role != 1 && h->role != 2)
		return merr_set(err, -EBADMSG,
				"HELLO: field 'role': %u is neither running (1) nor incoming (2)",
				h->role);
	if (h->run_state == 0 || h->run_state > RUN_STATE_MAX)
		return merr_set(err, -EBADMSG, "HELLO: field 'run_state': %u is no run state",
				h->run_state);
	if (h->handover_state == HANDOVER_INVALID || h->handover_state >= HANDOVER_N_STATES)
		return merr_set(err, -EBADMSG,
				"HELLO: field 'handover_state': %u is no handover state",
				h->handover_state);
	/* None: a guest of nothing but memory. */
	if (h->n_vcpus > VCPUS_MAX)
		return merr_set(err, -EBADMSG, "HELLO: field 'n_vcpus': %u, expected 0 to %u",
				h->n_vcpus, VCPUS_MAX);
	return 0;
}

static bool is_locked_out(const struct door *door, const char *name, int pid)
{
	for (size_t i = 0; i < LOCKED_OUT_MAX; i++)
		if (door->locked_out[i].pid == pid && strcmp(door->locked_out[i].name, name) == 0)
			return true;
	return false;
}

/* Who is G, of the same name, to a VMM that says HELLO? */
static int check_namesake(struct guest *g, const struct attach_hello *h, int pid, struct merr *err)
{
	if (!guest_attached(g)) {
		if (h->prev_epoch == 0 && migration_running(g->migration))
			return merr_set(err, -EBUSY,
					"a migration of a former guest '%s' is not settled yet; "
					"wait for it, see "
					"query-migrate, or use another name",
					g->name);
		return 0;
	}
	if (h->prev_epoch == g->epoch && pid == g->pid) {
		guest_disconnect(g, "its VMM attaches anew");
		return 0;
	}
	return merr_set(err, -EEXIST,
			"a guest named '%s' is attached already, by the VMM with pid %d; names "
			"must be unique on "
			"a host",
			g->name, g->pid);
}

/* A fresh VMM does not inherit what its namesake left. */
static void reset_record(struct guest *g)
{
	migration_install(g, NULL);
	preflight_forget(g);
	migration_parameters_done(&g->parameters);
	migration_parameters_defaults(&g->parameters);
	memset(g->capabilities, 0, sizeof(g->capabilities));
	settings_forget(g);
}

static int find_place(struct visitor *v, const struct attach_hello *h, struct guest **ret,
		      struct merr *err)
{
	struct registry *r = v->door->daemon->registry;
	const char *name = v->id[0] ? v->id : h->name;
	int pid = (int)h->pid, res;
	unsigned int uid, gid;

	(void)conn_peer(v->conn, &pid, &uid, &gid);
	if (!v->call && is_locked_out(v->door, name, pid))
		return merr_set(
			err, -EPERM,
			"guest '%s' was detached by an operator; guest-attach lets it in again",
			name);
	*ret = registry_find(r, name);
	res = *ret ? check_namesake(*ret, h, pid, err) : registry_add(r, name, ret, err);
	if (res == 0 && h->prev_epoch == 0)
		reset_record(*ret);
	/* It was attached to a daemon before this one. */
	if (res == 0 && h->prev_epoch != 0 && (*ret)->epoch == 0)
		settings_load(*ret, pid);
	return res;
}

/* How G's VMM came in is how the next daemon finds it. */
static void note_path(struct guest *g, struct visitor *v)
{
	bool had = g->attach_path;

	free(g->attach_path);
	g->attach_path = TAKE_PTR(v->path);
	if (had || g->attach_path)
		settings_save(g);
}

static int answer_hello(struct guest *g, const struct conn_msg *m, struct merr *err)
{
	struct attach_hello_reply reply = {
		.version = ATTACH_VERSION,
		.features = ATTACH_FEATURES,
		.epoch = g->epoch,
		.lease_ms = LEASE_MS,
	};
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	int r = attach_hello_reply_encode(&w, &reply);

	if (r == 0)
		r = conn_reply(g->conn, m, bytes, w.len, NULL, 0);
	return r < 0 ? merr_set_errno(err, r, "cannot answer HELLO") : 0;
}

/* V becomes the connection of a guest. V has no conn any more then, nor if the guest's VMM left before it was answered. */
static int admit(struct visitor *v, struct conn_msg *m, struct merr *err)
{
	struct attach_hello h;
	struct guest *g = NULL;
	int r;

	if (m->type != ATTACH_HELLO || m->reply_to)
		return merr_set(err, -EBADMSG, "its first message is %s, not HELLO",
				attach_type_name(m->type));
	r = attach_hello_decode(&m->body, &h, err);
	if (r == 0)
		r = check_hello(&h, err);
	if (r == 0 && m->n_fds != 1)
		r = merr_set(err, -EBADMSG, "HELLO: %zu descriptors, expected the decision page's",
			     m->n_fds);
	if (r == 0)
		r = find_place(v, &h, &g, err);
	if (r < 0 || !g)
		return r;
	v->readable = timer_free(v->readable);
	r = guest_connect(g, v->conn, &h, conn_msg_take_fd(m, 0), err);
	if (r == 0) {
		v->conn = NULL;
		r = answer_hello(g, m, err);
		FAULT_POINT("attach.hello-answered");
		if (r < 0)
			guest_disconnect(g, "the VMM did not take the answer to HELLO");
	}
	if (r < 0) {
		guest_review(g);
		return r;
	}
	note_path(g, v);
	migration_guest_changed(g);
	expected_attached(v->door->daemon, g);
	evacuation_review(v->door->daemon);
	return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	struct visitor *v = opaque;
	struct qmp_call *call = v->call;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	(void)fd;
	(void)what;
	r = conn_recv(v->conn, &m, &err);
	if (r == 0)
		return;
	if (r > 0) {
		r = admit(v, &m, &err);
		if (r < 0 && v->conn)
			(void)conn_reply_error(v->conn, &m, &err);
		conn_msg_done(&m);
	}
	if (r < 0) {
		dismiss(v, &err);
		return;
	}
	(void)visitor_free(v);
	if (call)
		qmp_return(call, NULL);
}

/* FD is taken over. CALL is answered also if this fails. */
static void welcome(struct door *door, int fd, const char *id, const char *path, struct qmp_call *call)
{
	struct event_base *base = door->daemon->base;
	struct visitor *v = calloc(1, sizeof(*v));
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!v) {
		close_fd(fd);
		if (call)
			qmp_fail(call, &err);
		return;
	}
	v->door = door;
	v->call = call;
	(void)snprintf(v->id, sizeof(v->id), "%s", id);
	v->path = path ? strdup(path) : NULL;
	TAILQ_INSERT_TAIL(&door->visitors, v, entry);
	door->n_visitors++;
	v->conn = conn_new(fd);
	if (v->conn)
		v->readable =
			event_new(base, conn_fd(v->conn), EV_READ | EV_PERSIST, on_readable, v);
	v->deadline = timer_start(base, HELLO_TIMEOUT_MS, on_deadline, v);
	if (v->readable && v->deadline && (!path || v->path) && event_add(v->readable, NULL) == 0)
		return;
	(void)visitor_free(v);
	if (call)
		qmp_fail(call, &err);
}

/* ---- the door ---- */

static void on_pause_end(evutil_socket_t fd, short what, void *opaque)
{
	struct door *door = opaque;

	(void)fd;
	(void)what;
	door->pause = timer_free(door->pause);
	(void)event_add(door->acceptable, NULL);
}

/* The VMM goes on waiting, and would be reported again at once. */
static void pause_accepting(struct door *door)
{
	door->pause = timer_start(door->daemon->base, ACCEPT_PAUSE_MS, on_pause_end, door);
	if (door->pause)
		(void)event_del(door->acceptable);
}

static void on_acceptable(evutil_socket_t listener, short what, void *opaque)
{
	struct door *door = opaque;
	int fd = fd_accept(listener);

	(void)what;
	if (fd == -EAGAIN)
		return;
	if (fd < 0) {
		log_err("cannot accept a VMM: %s", strerror(-fd));
		pause_accepting(door);
		return;
	}
	if (door->n_visitors >= VISITORS_MAX) {
		log_warning("refusing a VMM: %d others have connected and not said HELLO yet",
			    VISITORS_MAX);
		close_fd(fd);
		return;
	}
	welcome(door, fd, "", NULL, NULL);
}

static int listen_at(struct door *door, const struct config_attach *c, struct merr *err)
{
	int r = listen_unix(c->socket, SOCK_SEQPACKET, c->socket_mode, c->socket_group, &door->fd, err);

	if (r < 0)
		return r;
	door->path = strdup(c->socket);
	return door->path ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

int door_open(struct daemon *d, int fd, struct door **ret, struct merr *err)
{
	struct door *door = calloc(1, sizeof(*door));
	int r = 0;

	if (!door) {
		close_fd(fd);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	TAILQ_INIT(&door->visitors);
	door->daemon = d;
	door->fd = fd;
	if (fd < 0)
		r = listen_at(door, &d->config.attach, err);
	if (r == 0) {
		door->acceptable = event_new(d->base, door->fd, EV_READ | EV_PERSIST, on_acceptable, door);
		if (!door->acceptable || event_add(door->acceptable, NULL) < 0)
			r = merr_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0) {
		(void)door_close(door);
		return r;
	}
	*ret = door;
	return 0;
}

const char *door_path(const struct door *door)
{
	return door->path;
}

struct door *door_close(struct door *door)
{
	struct merr err = MERR_INIT;

	if (!door)
		return NULL;
	(void)merr_set(&err, -ECANCELED, "migd is ending");
	while (!TAILQ_EMPTY(&door->visitors))
		dismiss(TAILQ_FIRST(&door->visitors), &err);
	(void)timer_free(door->pause);
	(void)timer_free(door->acceptable);
	close_fd(door->fd);
	if (door->path)
		(void)unlink(door->path);
	free(door->path);
	free(door);
	return NULL;
}

static int connect_to(const char *path, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a socket");
	if (strlen(path) >= sizeof(sun.sun_path))
		return merr_set(err, -ENAMETOOLONG,
				"Parameter 'path' expects a path of at most %zu bytes",
				sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return merr_set_errno(err, -errno,
				      "Failed to connect to '%s': is it the socket that a VMM "
				      "listens on for migd?",
				      path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void let_in(struct door *door, const char *name)
{
	for (size_t i = 0; i < LOCKED_OUT_MAX; i++)
		if (strcmp(door->locked_out[i].name, name) == 0)
			door->locked_out[i].pid = 0;
}

void door_reach_out(struct door *door, const char *id, const char *path, struct qmp_call *call)
{
	struct merr err = MERR_INIT;
	const struct guest *g = registry_find(door->daemon->registry, id);
	int fd = -1;

	if (strlen(id) > ATTACH_STR_MAX || !is_name(id))
		(void)merr_set(&err, -EINVAL,
			       "Parameter 'id' expects a name of 1 to %u printable bytes",
			       ATTACH_STR_MAX);
	else if (g && guest_attached(g))
		(void)merr_set(&err, -EEXIST,
			       "A guest named '%s' is attached already, by the VMM with pid %d", id,
			       g->pid);
	else
		(void)connect_to(path, &fd, &err);
	if (merr_is_set(&err)) {
		qmp_fail(call, &err);
		return;
	}
	let_in(door, id);
	welcome(door, fd, id, path, call);
}

void door_reach_out_again(struct door *door, const char *id, const char *path)
{
	struct merr err = MERR_INIT;
	int fd = -1;

	if (connect_to(path, &fd, &err) < 0)
		log_warning("a guest that was attached to a former migd is not any more; use guest-attach "
			    "guest='%s': %s", id, merr_msg(&err));
	else
		welcome(door, fd, id, path, NULL);
}

void door_lock_out(struct door *door, const char *name, int pid)
{
	struct locked_out *l = &door->locked_out[door->next_locked_out++ % LOCKED_OUT_MAX];

	(void)snprintf(l->name, sizeof(l->name), "%s", name);
	l->pid = pid;
}
