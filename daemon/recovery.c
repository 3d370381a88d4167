/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy whose connection broke: the operator's commands. */
#include "daemon/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/dial.h"
#include "daemon/fdstore.h"
#include "daemon/greet.h"
#include "daemon/guest.h"
#include "daemon/incoming.h"
#include "daemon/journal.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/peer.h"
#include "daemon/record.h"
#include "daemon/stream.h"
#include "qmp/server.h"

/* Of a lazy restore there is no other side. */
static int check_has_peer(const struct migration *m, struct merr *err)
{
	if (!m->lazy)
		return 0;
	return merr_set(err, -EINVAL,
			"The memory of guest '%s' is read from '%s': there is no connection. What cannot be read is tried again "
			"every second, and the restore goes on by itself",
			m->guest->name, m->uri);
}

int recovery_pause(struct guest *g, struct merr *err)
{
	struct migration *m = g->migration;

	if (!m || (m->status != MIGRATION_STATUS_POSTCOPY_ACTIVE && m->status != MIGRATION_STATUS_POSTCOPY_RECOVER))
		return merr_set(err, -EINVAL,
				"migrate-pause works only during postcopy-active or postcopy-recover; the migration of "
				"guest '%s' is in state '%s'",
				g->name, migration_status_str(m ? m->status : MIGRATION_STATUS_NONE));
	if (check_has_peer(m, err) < 0)
		return -EINVAL;
	link_pause(m);
	return 0;
}

static bool is_paused(const struct migration *m, enum worker_direction direction)
{
	return m && m->direction == direction && m->status == MIGRATION_STATUS_POSTCOPY_PAUSED;
}

/* Without one there is nobody to give a connection to; a new one reconnects by itself. */
static int check_worker(const struct migration *m, struct merr *err)
{
	if (m->worker && !m->adopting)
		return 0;
	return merr_set(err, -EAGAIN,
			"The worker of the migration of guest '%s' is being replaced, and its successor reconnects by "
			"itself; if it does not, try again",
			m->guest->name);
}

/* Answers come back the same way. */
static int check_address(const struct migration *m, const struct addr *addr, struct merr *err)
{
	if (addr_is_network(addr) || addr->type == ADDR_FD)
		return 0;
	return merr_set(err, -EINVAL,
			"Post-copy of guest '%s' can be recovered over a connection only: use tcp:HOST:PORT, unix:PATH, "
			"vsock:CID:PORT or fd:NAME",
			m->guest->name);
}

/* ---- the source ---- */

static int resume_failed(struct migration *m, const struct merr *err)
{
	log_warning("post-copy is still paused: %s guest='%s' mig=%s", merr_msg(err), m->guest->name, m->id);
	merr_clear(&m->error);
	migration_note_error(m, merr_msg(err));
	(void)migration_set_status(m, MIGRATION_STATUS_POSTCOPY_PAUSED);
	return err->code;
}

static void on_connected(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;
	struct merr own = MERR_INIT;

	m->recovery_dial = NULL;
	if (fd >= 0 && greet(m, false, fd, &own) < 0) {
		fd = close_fd(fd);
		err = &own;
	}
	if (fd < 0) {
		(void)resume_failed(m, err);
		return;
	}
	record_peer_of(m, fd);
	link_recover(m, fd);
	close_fd(fd);
}

/* From now on it is there that the target is looked for. */
static int note_address(struct migration *m, const char *uri, const struct addr *addr, struct merr *err)
{
	char *copy = strdup(uri), *peer = strdup(uri);

	if (!copy || !peer) {
		free(copy);
		free(peer);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	free(m->uri);
	free(m->peer);
	m->uri = copy;
	m->peer = peer;
	m->addr = *addr;
	return journal_write(m, err);
}

/* A descriptor is good for one connection, and says nothing about the next. */
static int resume_over_fd(struct migration *m, struct qmp_call *call, const struct addr *addr, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	int r = stream_take_socket(m, addr->text, call, &fd, err);

	if (r < 0)
		return resume_failed(m, err);
	link_recover(m, fd);
	return 0;
}

int recovery_resume(struct guest *g, struct qmp_call *call, const char *uri, const struct addr *addr, struct merr *err)
{
	struct migration *m = g->migration;
	int r;

	if (!is_paused(m, WORKER_DIRECTION_OUTGOING))
		return merr_set(err, -EINVAL,
				"Cannot resume: there is no paused post-copy migration of guest '%s' (status %s)", g->name,
				migration_status_str(m ? m->status : MIGRATION_STATUS_NONE));
	r = check_address(m, addr, err);
	if (r == 0)
		r = check_worker(m, err);
	if (r < 0)
		return r;
	record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate, resume, to '%s'", uri);
	(void)migration_set_status(m, MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP);
	if (addr->type == ADDR_FD)
		return resume_over_fd(m, call, addr, err);
	r = note_address(m, uri, addr, err);
	if (r == 0 && !(m->recovery_dial = peer_dial(m, 0, on_connected)))
		r = merr_set(err, -ENOMEM, "out of memory");
	return r < 0 ? resume_failed(m, err) : 0;
}

/* ---- the target ---- */

static void answer(struct migration *m, const struct merr *err)
{
	struct qmp_call *call = TAKE_PTR(m->recovery_call);

	if (err)
		qmp_fail(call, err);
	else
		qmp_return(call, NULL);
}

static void on_listening(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;
	struct merr own = MERR_INIT;

	m->recovery_dial = NULL;
	if (fd >= 0 && (!is_paused(m, WORKER_DIRECTION_INCOMING) || !m->worker)) {
		(void)merr_set(&own, -EINVAL, "The migration of guest '%s' is not paused any more (status %s)",
			       m->guest->name, migration_status_str(m->status));
		fd = close_fd(fd);
		err = &own;
	}
	if (fd >= 0) {
		incoming_forget_address(m);
		close_fd(m->listen_fd);
		fdstore_drop("listen", m->id);
		m->listen_fd = fd;
		incoming_note_address(m);
		link_recover(m, fd);
		if (journal_write(m, &own) < 0)
			log_err("%s guest='%s' mig=%s", merr_msg(&own), m->guest->name, m->id);
	}
	answer(m, fd >= 0 ? NULL : err);
}

/* Connected, or listening. */
static int listen_on_fd(struct migration *m, struct qmp_call *call, const struct addr *addr, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	int r = stream_take_socket(m, addr->text, call, &fd, err);

	if (r == 0)
		link_recover(m, fd);
	return r;
}

/* It is listened there already; a second socket would be refused. */
static bool listens_at(const struct migration *m, const struct addr *addr)
{
	char is[ADDR_FORMATTED_MAX], wanted[ADDR_FORMATTED_MAX];

	return m->listen_fd >= 0 && m->has_listen_addr && m->listen_addr.type == addr->type &&
	       strcmp(addr_endpoint(&m->listen_addr, is, sizeof(is)), addr_endpoint(addr, wanted, sizeof(wanted))) == 0;
}

static int check_listen(const struct guest *g, const struct addr *addr, struct merr *err)
{
	const struct migration *m = g->migration;
	int r;

	if (!is_paused(m, WORKER_DIRECTION_INCOMING))
		return merr_set(err, -EINVAL,
				"migrate-recover works only while post-copy is paused; the migration of guest '%s' is in "
				"state '%s'",
				g->name, migration_status_str(m ? m->status : MIGRATION_STATUS_NONE));
	r = check_has_peer(m, err);
	if (r == 0)
		r = check_address(m, addr, err);
	if (r == 0)
		r = check_worker(m, err);
	if (r == 0 && m->recovery_call)
		r = merr_set(err, -EBUSY, "Another migrate-recover of guest '%s' is under way", g->name);
	return r;
}

void recovery_listen(struct guest *g, const struct addr *addr, struct qmp_call *call)
{
	struct migration *m = g->migration;
	struct merr err = MERR_INIT;
	int r = check_listen(g, addr, &err);

	if (r == 0)
		record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate-recover");
	if (r == 0 && addr->type == ADDR_FD)
		r = listen_on_fd(m, call, addr, &err);
	else if (r == 0 && !listens_at(m, addr)) {
		m->recovery_dial = dial_listen(g->daemon->base, addr, on_listening, m);
		if (m->recovery_dial) {
			m->recovery_call = call;
			return;
		}
		r = merr_set(&err, -ENOMEM, "out of memory");
	}
	qmp_answer(call, r, &err);
}

void recovery_abandon(struct migration *m)
{
	struct merr err = MERR_INIT;

	m->recovery_dial = dial_cancel(m->recovery_dial);
	if (!m->recovery_call)
		return;
	(void)merr_set(&err, -ECANCELED, "The migration of guest '%s' is over, or its worker is gone", m->guest->name);
	answer(m, &err);
}
