/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate-incoming`: from an address to a worker that listens. */
#include "daemon/incoming.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/dial.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/rendezvous.h"
#include "daemon/start.h"
#include "daemon/stream.h"
#include "daemon/tls.h"
#include "daemon/userfaultfd.h"
#include "transport/sock.h"

/* QMP.md 2.1; a guest that nothing has reached yet can be armed again after a failure. */
int incoming_check(const struct guest *g, struct merr *err)
{
	const struct migration *m = g->migration;
	uint8_t phase = guest_handover(g, NULL);

	if (m && (migration_running(m) || m->status == MIGRATION_STATUS_NONE))
		return merr_set(
			err, -EBUSY,
			"The incoming migration of guest '%s' has already been started (status %s)",
			g->name, migration_status_str(m->status));
	if (!guest_attached(g))
		return merr_set(
			err, -ENOTCONN,
			"The VMM of guest '%s' is not attached: nothing can receive the guest",
			g->name);
	if (g->role != 2 || guest_run_state(g) != RUN_STATE_INMIGRATE)
		return merr_set(err, -EINVAL,
				"The VMM of guest '%s' does not wait for a migration (it is %s); "
				"start one that "
				"does, e.g. migd-vmm --incoming",
				g->name, run_state_str(guest_run_state(g)));
	if (phase != HANDOVER_PHASE_EMPTY)
		return merr_set(err, -EBUSY,
				"Guest '%s' has received something already (handover %s) and "
				"cannot start anew; "
				"start a fresh VMM for the next attempt",
				g->name, handover_phase_str(phase));
	return 0;
}

int incoming_check_lazy(const struct guest *g, const struct addr *addr, struct merr *err)
{
	if (addr->type != ADDR_FILE)
		return merr_set(err, -EINVAL,
				"'lazy' is for files: only there can a page be read when it is needed; restore from "
				"file:PATH, or let the source switch to post-copy");
	if (!g->capabilities[MIGRATION_CAPABILITY_MAPPED_RAM])
		return merr_set(err, -EINVAL,
				"'lazy' needs capability 'mapped-ram', and a file that was saved with it: in any other "
				"no page has a place of its own");
	return userfaultfd_check(USERFAULTFD_POSTCOPY, err);
}

/* Nothing happened yet: the guest is as before. */
static void drop(struct migration *m)
{
	struct guest *g = m->guest;

	g->migration = NULL;
	(void)migration_free(m);
	guest_review(g);
}

static void on_started(struct migration *m, const struct merr *err)
{
	incoming_fn fn = TAKE_PTR(m->on_armed);
	void *opaque = m->on_armed_opaque;

	m->call = NULL;
	if (err)
		drop(m);
	else
		(void)migration_set_status(m, MIGRATION_STATUS_SETUP);
	fn(opaque, err);
}

void incoming_note_address(struct migration *m)
{
	char text[ADDR_FORMATTED_MAX];

	m->has_listen_addr = m->listen_fd >= 0 && sock_local_addr(m->listen_fd, &m->listen_addr) == 0;
	if (m->has_listen_addr)
		log_info("listening for a guest guest='%s' mig=%s address='%s'", m->guest->name,
			 m->id, addr_format(&m->listen_addr, text, sizeof(text)));
}

void incoming_forget_address(struct migration *m)
{
	/* What a client passed is the client's. */
	if (m->has_listen_addr && m->addr.type != ADDR_FD)
		sock_remove(&m->listen_addr);
	m->has_listen_addr = false;
}

static void on_listening(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;

	m->dial = NULL;
	if (fd < 0) {
		start_failed(m, err);
		return;
	}
	m->listen_fd = fd;
	incoming_note_address(m);
	start_worker(m);
}

/* A stream that is there at once; or none at all: connections come from the shared ports. */
static void start_local(struct migration *m)
{
	struct merr err = MERR_INIT;

	if ((m->addr.type != ADDR_SHARED && stream_open(m, m->call, &err) < 0) || tls_prepare(m, &err) < 0) {
		start_failed(m, &err);
		return;
	}
	incoming_note_address(m);
	start_worker(m);
}

static int prepare(struct guest *g, const char *uri, const struct addr *addr, struct migration **ret, struct merr *err)
{
	struct daemon *d = g->daemon;
	int r = addr->type == ADDR_SHARED ? rendezvous_check(d, addr->guest[0] ? addr->guest : g->name, err) : 0;

	if (r == 0)
		r = migration_new(g, WORKER_DIRECTION_INCOMING, uri, addr, ret, err);
	if (r != 0 || !addr_is_network(addr))
		return r;
	r = tls_prepare(*ret, err);
	if (r == 0) {
		(*ret)->dial = dial_listen(d->base, addr, on_listening, *ret);
		r = (*ret)->dial ? 0 : merr_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0)
		*ret = migration_free(*ret);
	return r;
}

void incoming_start(struct guest *g, const char *uri, const struct addr *addr, bool exit_on_error, bool lazy,
		    struct qmp_call *call, incoming_fn fn, void *opaque)
{
	struct merr err = MERR_INIT;
	struct migration *m = NULL;

	if (prepare(g, uri, addr, &m, &err) != 0) {
		fn(opaque, &err);
		return;
	}
	m->exit_on_error = exit_on_error;
	m->lazy = lazy;
	m->on_started = on_started;
	m->call = call;
	m->on_armed = fn;
	m->on_armed_opaque = opaque;
	migration_install(g, m);
	if (!addr_is_network(&m->addr))
		start_local(m);
}
