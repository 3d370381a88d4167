/* SPDX-License-Identifier: Apache-2.0 */
/* From a migration to a worker that carries it out. */
#include "daemon/start.h"

#include <errno.h>
#include <sys/socket.h>

#include "attach/codec.h"
#include "attach/handover.h"
#include "attach/proto.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/journal.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/shares.h"
#include "daemon/state-dir.h"
#include "daemon/timer.h"
#include "daemon/tls.h"
#include "daemon/worker.h"
#include "engine/link.h"

/* The library answers MIG_OPEN from its service thread, which does nothing that takes longer. */
#define MIG_OPEN_TIMEOUT_MS 10000U

static void finish(struct migration *m, const struct merr *err)
{
	void (*fn)(struct migration * m, const struct merr *err) = TAKE_PTR(m->on_started);

	m->library_fd = close_fd(m->library_fd);
	if (!m->lazy || m->reopened) {
		m->stream_fd = close_fd(m->stream_fd);
		m->direct_fd = close_fd(m->direct_fd);
	}
	fn(m, err);
}

void start_failed(struct migration *m, const struct merr *err)
{
	finish(m, err);
}

static int spawn(struct migration *m, struct merr *err)
{
	struct daemon *d = m->guest->daemon;
	const struct worker_place place = { d->cgroups, &d->config.workers, m->id };
	_cleanup_close_ int adopt_fd = -1;
	int r;

	r = tls_prepare(m, err);
	if (r == 0)
		r = state_dir_worker_socket(d->state, m->id, &adopt_fd, err);
	if (r < 0)
		return r;
	r = worker_spawn(d->base, d->exe_fd, WORKER_ARGV0, &place, &link_handler, m, &m->worker, err);
	if (r < 0)
		return r;
	FAULT_POINT("link.worker-spawned");
	/* Before START: from then on there is something that another daemon would have to know. */
	r = journal_write(m, err);
	FAULT_POINT("link.journal-written");
	if (r == 0) {
		shares_join(m);
		r = link_start(m, adopt_fd, err);
	}
	if (r < 0) {
		worker_kill(m->worker, NULL);
		m->worker = worker_dismiss(m->worker);
	}
	return r;
}

static void on_opened(void *opaque, struct rcur *body, const struct merr *err)
{
	struct migration *m = opaque;
	struct merr own = MERR_INIT;

	(void)body;
	FAULT_POINT("attach.channel-taken");
	if (!err && spawn(m, &own) < 0)
		err = &own;
	if (err)
		state_dir_forget(m->guest->daemon->state, m->id);
	else
		log_debug("worker started guest='%s' mig=%s pid=%d", m->guest->name, m->id,
			  worker_pid(m->worker));
	finish(m, err);
}

static int send_mig_open(struct migration *m, struct merr *err)
{
	struct attach_mig_open body = { .role = m->direction == WORKER_DIRECTION_OUTGOING ? 1 : 2 };
	_cleanup_close_ int theirs = -1;
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	int pair[2], r;

	r = handover_id_parse(m->id, body.migration_id);
	if (r == 0)
		r = attach_mig_open_encode(&w, &body);
	if (r < 0)
		return merr_set_errno(err, r, "MIG_OPEN");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return merr_set_errno(err, -errno, "cannot make a migration channel");
	m->library_fd = pair[0];
	theirs = pair[1];
	FAULT_POINT("attach.channel-made");
	return guest_request(m->guest, ATTACH_MIG_OPEN, bytes, w.len, &theirs, 1,
			     MIG_OPEN_TIMEOUT_MS, on_opened, m, err);
}

/* A failure to send is reported from the loop, as every other. */
static void on_not_sent(evutil_socket_t fd, short what, void *opaque)
{
	struct migration *m = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	m->timer = timer_free(m->timer);
	(void)merr_set(&err, -ENOTCONN,
		       "The VMM of guest '%s' cannot be reached for a migration; see its log",
		       m->guest->name);
	finish(m, &err);
}

/* It has nothing to do with the VMM, whose guest may be about to migrate again. */
static void on_alone(evutil_socket_t fd, short what, void *opaque)
{
	struct migration *m = opaque;

	(void)fd;
	(void)what;
	m->timer = timer_free(m->timer);
	on_opened(m, NULL, NULL);
}

void start_worker(struct migration *m)
{
	struct merr err = MERR_INIT;

	if (m->mode == WORKER_MODE_ABORT) {
		m->timer = timer_free(m->timer);
		m->timer = timer_start(m->guest->daemon->base, 0, on_alone, m);
		return;
	}
	if (send_mig_open(m, &err) == 0)
		return;
	log_err("%s guest='%s' mig=%s", merr_msg(&err), m->guest->name, m->id);
	m->timer = timer_free(m->timer);
	m->timer = timer_start(m->guest->daemon->base, 0, on_not_sent, m);
}
