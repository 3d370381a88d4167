/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The migration channel: library <-> worker, for one migration. Its end, a malformed message, and
 * in PAUSED a silence longer than the lease, roll back what can be rolled back. Service thread.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

/* Without a word from the VMM or the daemon. */
#define LEASE_DEFAULT_MS 10000U

/*
 * The messages a worker may send, and the handover states in which each is legal (replays
 * included).
 */
static const struct call_row rows[] = {
	{ ATTACH_RAM_TABLE, IN_ANY, handle_ram_table },
	{ ATTACH_CONFIG_GET, IN(RUNNING) | IN(PRECOPY) | IN(PAUSED), handle_config_get },
	{ ATTACH_CONFIG_CHECK, IN(EMPTY) | IN(INCOMING), handle_config_check },
	{ ATTACH_HANDOVER_BEGIN, IN(RUNNING) | IN(PRECOPY) | IN(EMPTY) | IN(INCOMING),
	  handle_handover_begin },
	{ ATTACH_DIRTY_START, IN(PRECOPY), handle_dirty_start },
	{ ATTACH_DIRTY_SYNC, IN(PRECOPY) | IN(PAUSED), handle_dirty_sync },
	{ ATTACH_DIRTY_CLEAR, IN(PRECOPY) | IN(PAUSED), handle_dirty_clear },
	{ ATTACH_DIRTY_STOP, IN(RUNNING) | IN(PRECOPY) | IN(PAUSED) | IN(RELEASED),
	  handle_dirty_stop },
	{ ATTACH_MIG_PAUSE, IN(PRECOPY), handle_mig_pause },
	{ ATTACH_MIG_ABORT,
	  IN(RUNNING) | IN(PRECOPY) | IN(PAUSED) | IN(RELEASED) | IN(INCOMING) | IN(LOADED) |
		  IN(DISCARDED),
	  handle_mig_abort },
	{ ATTACH_STATE_SAVE, IN(PAUSED), handle_state_save },
	{ ATTACH_STATE_LOAD, IN(INCOMING), handle_state_load },
	{ ATTACH_STATE_FEED, IN(INCOMING), handle_state_feed },
	{ ATTACH_STATE_FEED_END, IN(INCOMING), handle_state_feed_end },
	{ ATTACH_HANDOVER_LOADED, IN(INCOMING) | IN(LOADED), handle_handover_loaded },
	{ ATTACH_RELEASE, IN(PAUSED) | IN(RELEASED), handle_release },
	{ ATTACH_ACTIVATE, IN(LOADED) | IN(RUNNING), handle_activate },
	{ ATTACH_RETIRE, IN(RELEASED) | IN(RETIRED), handle_retire },
	{ ATTACH_RECLAIM, IN(RELEASED) | IN(RUNNING), handle_reclaim },
	{ ATTACH_THROTTLE, IN(PRECOPY) | IN(PAUSED), handle_throttle },
	{ ATTACH_LIVE_TABLE, IN_ANY, handle_live_table },
	{ ATTACH_LIVE_SETUP, IN(PRECOPY), handle_live_setup },
	{ ATTACH_LIVE_PENDING, IN(PRECOPY) | IN(PAUSED), handle_live_pending },
	{ ATTACH_LIVE_READ, IN(PRECOPY) | IN(PAUSED), handle_live_read },
	{ ATTACH_LIVE_LOAD, IN(INCOMING), handle_live_load },
	{ ATTACH_LIVE_STATE, IN(PRECOPY) | IN(PAUSED) | IN(INCOMING), handle_live_state },
	{ ATTACH_MIG_DIRTY_LIMIT, IN(PRECOPY) | IN(PAUSED), handle_mig_dirty_limit },
	{ ATTACH_MIG_DIRTY_LIMIT_STATS, IN(PRECOPY) | IN(PAUSED), handle_mig_dirty_limit_stats },
	{ ATTACH_HINT_START, IN(PRECOPY), handle_hint_start },
	{ ATTACH_RAM_POISON, IN(PRECOPY) | IN(PAUSED), handle_ram_poison },
	{ ATTACH_RAM_POISON_SET, IN(INCOMING), handle_ram_poison_set },
	{ ATTACH_CPR_EXEC, IN(RUNNING) | IN(PRECOPY) | IN(RELEASED), handle_cpr_exec },
	{ ATTACH_UFFD_OPEN, IN(PRECOPY) | IN(INCOMING) | IN(LOADED) | IN(RUNNING), handle_uffd_open },
	{ ATTACH_RECEIVED_MAPS, IN(INCOMING) | IN(LOADED) | IN(RUNNING), handle_received_maps },
	{ ATTACH_UFFD_END, IN(INCOMING) | IN(LOADED) | IN(RUNNING), handle_uffd_end },
	{ ATTACH_MEMO_SET, IN_ANY, handle_memo_set },
	{ ATTACH_MEMO_GET, IN_ANY, handle_memo_get },
	{ ATTACH_QUERY, IN_ANY, handle_query },
	{ ATTACH_HEARTBEAT, IN_ANY, handle_heartbeat },
};

int channel_check(int fd, const char *message, struct merr *err)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || type != SOCK_SEQPACKET ||
	    domain != AF_UNIX)
		return merr_set(err, -EPROTO,
				"%s: the descriptor is no AF_UNIX SOCK_SEQPACKET socket", message);
	return 0;
}

int migration_open(struct migd_guest *g, int fd, struct merr *err)
{
	int r = channel_check(fd, "MIG_OPEN", err);

	if (r < 0) {
		close_fd(fd);
		return r;
	}
	g->mig.conn = conn_new(fd);
	if (!g->mig.conn)
		return merr_set(err, -ENOMEM, "MIG_OPEN: no memory for the channel");
	g->mig.last_heard_ns = clock_now_ns();
	return 0;
}

void migration_drop(struct migd_guest *g, const char *why)
{
	struct conn *conn = TAKE_PTR(g->mig.conn);

	if (!conn)
		return;
	handover_roll_back(g, why);
	g->mig.feed = state_feed_free(g->mig.feed);
	live_close_area(g);
	(void)conn_free(conn);
}

void migration_readable(struct migd_guest *g)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_recv(g->mig.conn, &m, &err);

	if (r == 0)
		return;
	if (r > 0) {
		/* We ask nothing on this channel, so that a reply has no request. */
		r = m.reply_to ? merr_set(&err, -EBADMSG, "a reply to nothing")
			       : dispatch(g, g->mig.conn, &m, rows, ARRAY_SIZE(rows), &err);
		conn_msg_done(&m);
		/*
		 * Only now: the VMM's hooks may have taken longer than the lease, and that was not the
		 * worker's silence.
		 */
		g->mig.last_heard_ns = clock_now_ns();
	}
	if (r < 0) {
		(void)merr_prefix(&err, "migration channel");
		migration_drop(g, merr_msg(&err));
	}
}

static uint64_t lease_ns(const struct migd_guest *g)
{
	unsigned int ms = g->lease_ms ? g->lease_ms : g->control.lease_ms;

	return (ms ? ms : LEASE_DEFAULT_MS) * NS_PER_MS;
}

uint64_t migration_deadline(const struct migd_guest *g)
{
	if (!g->mig.conn || decision_get(&g->decision) != HANDOVER_PAUSED)
		return DEADLINE_NONE;
	return g->mig.last_heard_ns + lease_ns(g);
}

void migration_tick(struct migd_guest *g, uint64_t now_ns)
{
	if (now_ns >= migration_deadline(g))
		migration_drop(g, "the worker was silent for longer than the lease");
}
