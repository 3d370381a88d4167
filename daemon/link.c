/* SPDX-License-Identifier: Apache-2.0 */
/* The worker link: messages of a migration's worker, and those to it. */
#include "daemon/link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "attach/conn.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/adopt.h"
#include "daemon/daemon.h"
#include "daemon/decisions.h"
#include "daemon/greet.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/peer.h"
#include "daemon/preflight.h"
#include "daemon/publish.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/rendezvous.h"
#include "daemon/settle.h"
#include "daemon/tls.h"
#include "daemon/worker.h"
#include "engine/link.h"
#include "schema/events.h"

/*
 * A worker that wants a connection again and again gets the first at once, then ever more slowly.
 */
#define BACKOFF_FIRST_MS 100U
#define BACKOFF_MAX_MS   5000U

/* Of the link's buffer, of which the system gives 200 KiB: anybody can connect, and a worker that is not told the rest is killed. */
#define ARRIVALS_UNREAD_MAX (64 * 1024)

/* ---- to the worker ---- */

static void tell_worker(struct migration *m, enum link_type type, json_t *body, const int *fds,
			size_t n_fds)
{
	struct conn *c = m->worker ? worker_conn(m->worker) : NULL;
	int r;

	if (!c)
		return;
	r = link_send(c, type, body, fds, n_fds);
	/* -EPIPE: it is gone, and its exit is about to be noticed. */
	if (r == -EAGAIN)
		worker_kill(m->worker, "it did not read what the daemon sent");
	else if (r < 0 && r != -EPIPE)
		log_err("cannot send to a worker mig=%s message=%d: %s", m->id, type, strerror(-r));
}

static int capabilities_on(const struct guest *g, struct worker_start *s)
{
	s->capabilities = calloc(MIGRATION_CAPABILITY__MAX, sizeof(*s->capabilities));
	if (!s->capabilities)
		return -ENOMEM;
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (g->capabilities[i])
			s->capabilities[s->n_capabilities++] = (enum migration_capability)i;
	return 0;
}

static int describe_start(const struct migration *m, json_t **ret)
{
	struct worker_start s = {
		.version = LINK_VERSION,
		.direction = m->direction,
		.mode = m->mode,
		.preflight_only = m->preflight_only,
		.has_return_path = true,
		.return_path = m->return_path,
		.has_publish = true,
		.publish = m->publishes,
		.has_allow_weak_handover = true,
		.allow_weak_handover = m->allow_weak_handover,
		.has_share = true,
		.share = m->share.bps,
		.has_tls = true,
		.tls = m->tls != NULL,
		.has_redial = true,
		.redial = m->direction == WORKER_DIRECTION_OUTGOING && addr_is_network(&m->addr),
		.has_strategy = true,
		.strategy = m->strategy,
		.has_deadline = true,
		.deadline = m->deadline_ms,
		.has_lazy = true,
		.lazy = m->lazy,
	};
	char uuid[2 * ATTACH_ID_LEN + 1];
	int r;

	s.id = strdup(m->id);
	s.guest = strdup(m->guest->name);
	s.handover_id = strdup(m->handover_id);
	s.peer = strdup(m->uri);
	handover_id_format(m->guest->uuid, uuid);
	if (rendezvous_name(m)) {
		s.has_shared_name = true;
		s.shared_name = strdup(rendezvous_name(m));
	}
	if (strspn(uuid, "0") < strlen(uuid)) {
		s.has_uuid = true;
		s.uuid = strdup(uuid);
	}
	r = capabilities_on(m->guest, &s);
	if (r == 0)
		r = migration_parameters_copy(&s.parameters, &m->guest->parameters);
	s.parameters.mode = m->mig_mode;
	if (r == 0 && s.id && s.guest && s.handover_id && s.peer)
		*ret = worker_start_to_json(&s);
	worker_start_done(&s);
	return *ret ? 0 : -ENOMEM;
}

/* Readable once the VMM is gone, at once if it is; -1: that cannot be told. */
static int vmm_watch(const struct guest *g)
{
	int fd = process_lives(g->pid, g->pid_start_time) ? pidfd_open(g->pid, 0) : -1;

	if (fd >= 0 || process_lives(g->pid, g->pid_start_time))
		return fd;
	fd = wake_new();
	if (fd >= 0)
		wake_raise(fd);
	return fd;
}

int link_start(struct migration *m, int adopt_fd, struct merr *err)
{
	_cleanup_close_ int vmm_fd = vmm_watch(m->guest);
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Whoever runs the VMM may not be allowed to; where we are not either, its library has to manage. */
	_cleanup_close_ int userfaultfd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	_cleanup_json_ json_t *body = NULL;
	int fds[LINK_START_N_FDS] = {
		[LINK_START_FD_GUEST] = m->library_fd,
		[LINK_START_FD_STATS] = m->stats_fd,
		[LINK_START_FD_ADOPT] = adopt_fd,
		[LINK_START_FD_DECISION] = m->guest->decision_fd,
		[LINK_START_FD_STREAM] = m->listen_fd >= 0 ? m->listen_fd : m->stream_fd,
		[LINK_START_FD_DIRECT] = m->direct_fd,
		[LINK_START_FD_VMM] = vmm_fd,
		[LINK_START_FD_USERFAULTFD] = userfaultfd,
	};
	int r;

	if (null_fd < 0)
		return merr_set_errno(err, -errno, "cannot open '/dev/null'");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] < 0)
			fds[i] = null_fd;
	r = describe_start(m, &body);
	if (r == 0)
		r = link_send(worker_conn(m->worker), LINK_START, body, fds, ARRAY_SIZE(fds));
	FAULT_POINT("link.start-sent");
	if (r < 0)
		return merr_set_errno(err, r, "cannot tell a worker what to do");
	r = tls_send(m, err);
	if (r == 0 && m->start_postcopy && m->mode == WORKER_MODE_FRESH)
		link_start_postcopy(m);
	return r;
}

void link_parameters(struct migration *m)
{
	struct worker_parameters p = { .parameters = m->guest->parameters };
	_cleanup_json_ json_t *body = worker_parameters_to_json(&p);

	if (body)
		tell_worker(m, LINK_PARAMETERS, body, NULL, 0);
}

void link_share(struct migration *m)
{
	struct worker_share s = { .max_bandwidth = m->share.bps };
	_cleanup_json_ json_t *body = worker_share_to_json(&s);

	if (body)
		tell_worker(m, LINK_SHARE, body, NULL, 0);
}

void link_admitted(struct migration *m)
{
	struct worker_admit a = { .ticket = m->ticket };
	_cleanup_json_ json_t *body = worker_admit_to_json(&a);

	if (body)
		tell_worker(m, LINK_ADMITTED, body, NULL, 0);
}

void link_cancel(struct migration *m)
{
	tell_worker(m, LINK_CANCEL, NULL, NULL, 0);
}

void link_continue(struct migration *m)
{
	tell_worker(m, LINK_CONTINUE, NULL, NULL, 0);
}

void link_start_postcopy(struct migration *m)
{
	m->start_postcopy = true;
	tell_worker(m, LINK_START_POSTCOPY, NULL, NULL, 0);
}

void link_pause(struct migration *m)
{
	tell_worker(m, LINK_PAUSE, NULL, NULL, 0);
}

void link_recover(struct migration *m, int fd)
{
	tell_worker(m, LINK_RECOVER, NULL, &fd, 1);
}

void link_published(struct migration *m, const struct merr *err)
{
	struct worker_published w = { .has_error = err != NULL };
	_cleanup_json_ json_t *body = NULL;

	w.error = err ? (char *)(uintptr_t)merr_msg(err) : NULL;
	body = worker_published_to_json(&w);
	if (body)
		tell_worker(m, LINK_PUBLISHED, body, NULL, 0);
}

int link_arrival(struct migration *m, int fd)
{
	struct conn *c = m->worker ? worker_conn(m->worker) : NULL;
	int unread = 0;

	if (!c)
		return -ENOTCONN;
	if (ioctl(conn_fd(c), SIOCOUTQ, &unread) < 0 || unread > ARRIVALS_UNREAD_MAX)
		return -EAGAIN;
	return link_send(c, LINK_ARRIVAL, NULL, &fd, 1);
}

void link_resolve(struct migration *m, enum resolve_outcome outcome)
{
	struct worker_resolve w = { .outcome = outcome };
	_cleanup_json_ json_t *body = worker_resolve_to_json(&w);

	if (body)
		tell_worker(m, LINK_RESOLVE, body, NULL, 0);
}

/* ---- connections ---- */

/* FD, or ERR. */
static void answer_connection(struct migration *m, int fd, const struct merr *err)
{
	_cleanup_json_ json_t *body = json_object();
	/* A Unix socket's path that is not there has nobody behind it. */
	bool refused = fd < 0 && (err->code == -ECONNREFUSED || err->code == -ENOENT);

	if (!body || (fd < 0 && json_object_set_new(body, "error", json_string(merr_msg(err))) < 0) ||
	    json_object_set_new(body, "refused", json_boolean(refused)) < 0)
		return;
	m->dial_answered_ns = clock_now_ns();
	tell_worker(m, LINK_CONNECTION, body, &fd, fd >= 0 ? 1 : 0);
}

static void on_dialled(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;
	struct merr own = MERR_INIT;

	m->dial = NULL;
	if (fd >= 0 && greet(m, false, fd, &own) < 0) {
		fd = close_fd(fd);
		err = &own;
	}
	if (fd >= 0)
		record_peer_of(m, fd);
	if (fd >= 0)
		m->dial_failures = 0;
	else
		m->dial_failures++;
	log_debug("connection for a worker mig=%s peer='%s': %s", m->id, m->uri,
		  fd >= 0 ? "there" : merr_msg(err));
	answer_connection(m, fd, err);
	close_fd(fd);
}

/* How long M's worker still has to wait: counted from the last answer, for it may have waited by itself. */
static unsigned int backoff_ms(const struct migration *m)
{
	uint64_t waited_ms = (clock_now_ns() - m->dial_answered_ns) / NS_PER_MS;
	unsigned int ms = BACKOFF_FIRST_MS;

	if (m->dial_failures == 0)
		return 0;
	for (unsigned int n = m->dial_failures; n > 1 && ms < BACKOFF_MAX_MS; n--)
		ms *= 2;
	ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
	return waited_ms < ms ? ms - (unsigned int)waited_ms : 0;
}

static int on_connect(struct migration *m, struct merr *err)
{
	struct merr why = MERR_INIT;

	if (m->direction != WORKER_DIRECTION_OUTGOING)
		return merr_set(err, -EBADMSG, "worker link: CONNECT from an incoming migration");
	FAULT_POINT("link.connect-received");
	if (m->dial)
		return 0; /* one answer is on its way */
	if (!addr_is_network(&m->addr))
		(void)merr_set(&why, -ECONNREFUSED, "'%s' is no address that can be connected to again", m->uri);
	else if (!(m->dial = peer_dial(m, backoff_ms(m), on_dialled)))
		(void)merr_set(&why, -ENOMEM, "out of memory");
	if (!m->dial)
		answer_connection(m, -1, &why);
	return 0;
}

/* ---- from the worker ---- */

/*
 * A status that says nothing new: sent before the worker saw a cancel; or by a successor, which
 * begins at `setup` while the migration does not; or by the worker of a migration that is over.
 */
static bool is_stale(const struct migration *m, enum migration_status status)
{
	bool ended = status == MIGRATION_STATUS_COMPLETED || status == MIGRATION_STATUS_FAILED ||
		     status == MIGRATION_STATUS_CANCELLED;

	if (!migration_takes_status(m, status))
		return true;
	if (ended)
		return false;
	/* On the source, `postcopy-active` is past what a cancel can take back. */
	if (m->status == MIGRATION_STATUS_CANCELLING)
		return status != MIGRATION_STATUS_POSTCOPY_ACTIVE && status != MIGRATION_STATUS_POSTCOPY_PAUSED;
	return m->mode == WORKER_MODE_SETTLE && !migration_is_postcopy(status);
}

/*
 * The worker's latest word; but why it was cancelled is known better here, and success has no
 * reason.
 */
static void apply_error(struct migration *m, const struct worker_state *s)
{
	if (s->status == MIGRATION_STATUS_COMPLETED)
		merr_clear(&m->error);
	if (!s->has_error_desc || s->status == MIGRATION_STATUS_COMPLETED || m->error_is_final ||
	    !migration_takes_status(m, s->status))
		return;
	merr_clear(&m->error);
	migration_note_error(m, s->error_desc);
}

static int check_handover(const struct worker_state *s, struct merr *err)
{
	uint8_t id[ATTACH_ID_LEN];

	if (s->has_handover && handover_id_parse(s->handover.id, id) < 0)
		return merr_set(err, -EBADMSG,
				"worker link: STATE: field 'handover.id' is no handover id");
	return 0;
}

int link_apply_state(struct migration *m, const struct worker_state *s, struct merr *err)
{
	enum migration_status status = s->status;
	int r = check_handover(s, err);

	if (r < 0)
		return r;
	/* What the VMM said before (STOP) is told before (device). */
	guest_drain(m->guest);
	apply_error(m, s);
	if (s->has_connected)
		record_peer(m, s->connected);
	if (s->has_handover)
		migration_set_handover(m, s->handover.id, s->handover.state, s->handover.peer,
				       s->handover.in_doubt);
	if (s->has_peer_waits && s->peer_waits)
		migration_note_peer_waits(m, true);
	if (is_stale(m, status))
		return 0;
	/* A cancel, or yank, that came too late has no say in what follows. */
	if (m->error_is_final && migration_is_postcopy(status) && status != MIGRATION_STATUS_POSTCOPY_DEVICE) {
		merr_clear(&m->error);
		m->error_is_final = false;
	}
	/* To a target's worker, a cancel is a failure like others. */
	if (m->status == MIGRATION_STATUS_CANCELLING && status == MIGRATION_STATUS_FAILED &&
	    m->direction == WORKER_DIRECTION_INCOMING)
		status = MIGRATION_STATUS_CANCELLED;
	/* It was told to end by something else than migrate_cancel. */
	if (m->status != MIGRATION_STATUS_CANCELLING && status == MIGRATION_STATUS_CANCELLED)
		status = MIGRATION_STATUS_FAILED;
	if (m->mode == WORKER_MODE_SETTLE && migration_is_postcopy(status))
		migration_enter_postcopy(m);
	if (migration_set_status(m, status) < 0)
		return merr_set(err, -EBADMSG, "worker link: STATE: %s cannot follow %s",
				migration_status_str(status), migration_status_str(m->status));
	return 0;
}

void link_catch_up(struct migration *m)
{
	while (m && m->worker && m->status == MIGRATION_STATUS_SETUP && worker_take(m->worker))
		;
}

static int on_state(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_state s;
	int r = worker_state_from_json(body, &s, err);

	if (r < 0)
		return merr_prefix(err, "worker link: STATE");
	FAULT_POINT("link.state-received");
	r = link_apply_state(m, &s, err);
	worker_state_done(&s);
	return r;
}

static int on_pass(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_pass p;
	int r = worker_pass_from_json(body, &p, err);

	if (r < 0)
		return merr_prefix(err, "worker link: PASS");
	if (m->guest->capabilities[MIGRATION_CAPABILITY_EVENTS])
		event_migration_pass(m->guest->daemon->qmp, m->guest->name, (int64_t)p.pass);
	record_pass(m, &p);
	worker_pass_done(&p);
	return 0;
}

static int on_reconnect(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_reconnect r;

	if (worker_reconnect_from_json(body, &r, err) < 0)
		return merr_prefix(err, "worker link: RECONNECT");
	if (r.attempt)
		record_event(m, RECORD_EVENT_KIND_RECONNECT, "attempt %llu: %s", (unsigned long long)r.attempt, r.error);
	else
		record_event(m, RECORD_EVENT_KIND_RECONNECT, "waiting for the source: %s", r.error);
	event_migration_reconnect(m->guest->daemon->qmp, m->guest->name, (int64_t)r.attempt, r.error);
	worker_reconnect_done(&r);
	return 0;
}

/* A successor's outcome may be known by where the guest runs alone. */
static void end_by_outcome(struct migration *m, bool runs_here)
{
	bool moved = runs_here == (m->direction == WORKER_DIRECTION_INCOMING);

	if (!migration_running(m))
		return;
	if (moved)
		merr_clear(&m->error);
	else
		migration_note_error(m, "the guest did not move");
	(void)migration_set_status(m, moved ? MIGRATION_STATUS_COMPLETED : MIGRATION_STATUS_FAILED);
}

/* Its last word. FINISHED lets it end; nothing that comes after matters. */
static int on_done(struct migration *m, json_t *body, struct merr *err)
{
	struct guest *g = m->guest;
	struct worker_outcome o;
	bool compared;
	int r = worker_outcome_from_json(body, &o, err);

	if (r < 0)
		return merr_prefix(err, "worker link: DONE");
	FAULT_POINT("link.done-received");
	r = link_apply_state(m, &o.state, err);
	if (r == 0) {
		end_by_outcome(m, o.guest_runs_here);
		log_debug("migration is over guest='%s' mig=%s guest-runs-here=%d", m->guest->name,
			  m->id, o.guest_runs_here);
		/* The worker lets go of it then. */
		if (m->record && !migration_running(m))
			history_save(m->guest->daemon->history, m);
		migration_note_peer_waits(m, false);
		tell_worker(m, LINK_FINISHED, NULL, NULL, 0);
		compared = m == g->migration && m->preflight_only && m->status == MIGRATION_STATUS_NONE;
		settle_dismiss_worker(m);
		if (compared)
			preflight_conclude(g);
	}
	worker_outcome_done(&o);
	return r;
}

/* One that was cancelled meanwhile has no use for an answer. */
static int on_admit(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_admit a;
	int r;

	if (m->direction != WORKER_DIRECTION_INCOMING)
		return merr_set(err, -EBADMSG, "worker link: ADMIT from an outgoing migration");
	r = worker_admit_from_json(body, &a, err);
	if (r < 0)
		return merr_prefix(err, "worker link: ADMIT");
	if (m->status == MIGRATION_STATUS_SETUP)
		queue_ask(m, a.ticket);
	worker_admit_done(&a);
	return 0;
}

static int on_connect_message(struct migration *m, json_t *body, struct merr *err)
{
	(void)body;
	return on_connect(m, err);
}

static const struct message {
	uint16_t type;
	int (*handle)(struct migration *m, json_t *body, struct merr *err);
} messages[] = {
	{ LINK_STATE, on_state },
	{ LINK_PASS, on_pass },
	{ LINK_RECONNECT, on_reconnect },
	{ LINK_PREFLIGHT, preflight_on_message },
	{ LINK_CONNECT, on_connect_message },
	{ LINK_SIGN, tls_on_sign },
	{ LINK_AUTHORIZE, tls_on_authorize },
	{ LINK_ADMIT, on_admit },
	{ LINK_DECISION, decisions_on_message },
	{ LINK_DONE, on_done },
};

static int on_message(void *opaque, struct conn_msg *msg, struct merr *err)
{
	struct migration *m = opaque;
	_cleanup_json_ json_t *body = NULL;
	_log_scope_ struct log_scope scope;
	int r;

	migration_log_scope(&scope, m);
	r = link_body(msg, &body, err);
	if (r < 0)
		return r;
	if (msg->type == LINK_ADOPT)
		return adopt_on_message(m, msg, body, err);
	if (msg->type == LINK_PUBLISH && !m->adopting)
		return publish_on_message(m, msg, err);
	for (size_t i = 0; i < ARRAY_SIZE(messages) && !m->adopting; i++)
		if (messages[i].type == msg->type)
			return messages[i].handle(m, body, err);
	return merr_set(err, -EBADMSG, "worker link: message %u is not expected", msg->type);
}

static void on_worker_exit(void *opaque, const char *how)
{
	_log_scope_ struct log_scope scope;
	struct migration *m = opaque;

	migration_log_scope(&scope, m);
	metrics_worker_died(m->guest->daemon);
	settle_worker_exited(m, how);
}

const struct worker_handler link_handler = { on_message, on_worker_exit };
