/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outgoing side: opening, passes over RAM while the guest runs, switchover, and one way out for every failure.
 *
 * Until RELEASE (engine/switchover.c) nothing here is final: whatever fails, the library is told to abort and the guest
 * goes on as if nothing had happened; if the library cannot be told, it sees its channel close and does the same.
 */
#include "engine/source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <migd/guest.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/cpr.h"
#include "engine/multifd-gather.h"
#include "engine/page-server.h"
#include "engine/postcopy-source.h"
#include "engine/postcopy-recover.h"
#include "engine/postcopy-succeed.h"
#include "engine/preflight.h"
#include "engine/ram-handler.h"
#include "engine/ram-settings.h"
#include "engine/timer.h"
#include "engine/snapshot.h"
#include "engine/switchover-ack.h"
#include "engine/wait-unplug.h"

/* Between two looks at events and, while the guest is paused, heartbeats. */
#define TICK_NS (200 * NS_PER_MS)

/* A peer that closes a channel says why on the main one, if it can; for so long that is waited for. */
#define LAST_WORDS_NS NS_PER_SEC

int source_tick(void *opaque)
{
	struct source *s = opaque;
	uint64_t now = clock_now_ns();
	int r;

	source_stats_tick(s);
	if (now - s->last_tick_ns < TICK_NS)
		return 0;
	s->last_tick_ns = now;
	while (s->peer != PEER_NONE && in_ready(s->in)) {
		r = source_take_input(s);
		if (r < 0)
			return r;
	}
	r = guest_link_poll(&s->guest, &s->err);
	if (r == 0 && s->guest_paused)
		r = guest_heartbeat(&s->guest, &s->err);
	return r;
}

int source_sync(struct source *s)
{
	int r;

	r = handlers_pending(&s->handlers, true, &s->left_bytes, &s->err);
	if (r < 0)
		return r;
	source_stats_synced(s);
	source_stats_tell_pass(s);
	return source_throttle_synced(s);
}

int source_open_stream(struct source *s)
{
	struct configuration c = migration_configuration(s->m);
	struct opening o = { .handover_id = s->m->handover_id,
			     .guest = s->m->start.guest,
			     .configuration = &c,
			     .offers = migration_offers(s->m, s->m->start.has_redial && s->m->start.redial) };
	int r;

	r = opening_send(s->out, migration_has_return_path(s->m) ? s->in : NULL, &o, &s->err);
	s->peer = o.peer;
	s->features = o.features;
	s->switchover_acked |= o.switchover_acked;
	return r;
}

/*
 * A QEMU says whether it has the guest; without a return path nobody does. A regular file does not run it either way, and
 * what runs nowhere else can be stopped here.
 */
static int check_weak_handover(struct source *s)
{
	struct attach_query_reply state;
	struct stat st;
	int r;

	/* Of a snapshot the guest itself is not given away. */
	if (s->peer != PEER_NONE || snapshot_is_on(s->m) || (s->m->start.has_allow_weak_handover && s->m->start.allow_weak_handover))
		return 0;
	if (fstat(chan_fd(s->chan), &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	r = guest_query(&s->guest, &state, &s->err);
	if (r < 0 || state.run_state != MIGD_GUEST_RS_RUNNING)
		return r;
	return merr_set(&s->err, -EPERM, "the guest runs, and nobody at the other end would say whether it arrived: it "
			"could be lost, or run twice. Stop it first, or allow that with migrate's "
			"allow-weak-handover");
}

static int open_guest(struct source *s)
{
	struct stats_page *st = s->m->stats;
	int r;

	r = guest_link_init(&s->guest, s->m->guest_fd, s->m->cancel_fd);
	s->m->guest_fd = -1;
	if (r < 0)
		return merr_set_errno(&s->err, r, "migration channel");
	memcpy(s->guest.id, s->m->handover_id, sizeof(s->guest.id));
	r = guest_ram_table(&s->guest, &s->ram, &s->err);
	if (r < 0)
		return r;
	FAULT_POINT("attach.memory-taken");
	if (migration_has_capability(s->m, MIGRATION_CAPABILITY_X_IGNORE_SHARED))
		ram_ignore_shared(&s->ram);
	r = ram_source_init(&s->ram);
	if (r < 0)
		return merr_set_errno(&s->err, r, "bitmaps");
	stats_set(st, page_size_bytes, WIRE_PAGE_SIZE);
	stats_set(st, total_bytes, s->ram.total_bytes - s->ram.ignored_bytes);
	stats_set(st, remaining_bytes, s->ram.total_bytes - s->ram.ignored_bytes);
	return 0;
}

/* In mid-pass. A ram_tick_fn. */
static int pass_tick(void *opaque)
{
	struct source *s = opaque;
	int r = source_tick(s);

	if (r == 0)
		r = source_strategy_tick(s);
	/* Post-copy sends the rest; but once the guest is stopped it is decided that there is none. */
	if (!s->guest_paused && postcopy_is_wanted(s))
		ram_source_end_pass(s->sender);
	return r < 0 ? r : source_throttle_tick(s);
}

/* What the stream consists of, but for the library's sections. */
static int register_handlers(struct source *s)
{
	int r;

	s->sender = ram_source_new(&s->ram, s->out, &s->guest, s->m->stats,
				   s->features & HELLO_FEATURE_RUNS);
	if (!s->sender)
		return merr_set_errno(&s->err, -ENOMEM, "sender");
	ram_source_on_tick(s->sender, pass_tick, s);
	r = ram_source_register(&s->handlers, s->sender, &s->err);
	if (r == 0)
		r = ram_settings_source(s, &s->err);
	if (r == 0 && s->peer != PEER_MIGD)
		r = timer_register(&s->handlers, &s->err);
	if (r == 0)
		r = live_open(&s->live, &s->guest, &s->err);
	if (r == 0)
		r = live_source_register(&s->handlers, &s->live, &s->err);
	return r < 0 ? r : globalstate_register(&s->handlers, &s->run_state, &s->err);
}

const struct dialect *source_dialect(const struct source *s)
{
	return dialect_of(s->peer, &s->m->start.parameters);
}

/* Before the first byte on the main one: a destination may wait for all of them (WIRE.md 5.1). */
static int open_channels(struct source *s)
{
	if (!multifd_is_on(s->m) || s->m->start.preflight_only)
		return 0;
	s->multifd = multifd_connect(s->m, &s->err);
	return s->multifd ? 0 : s->err.code;
}

void source_close_channels(struct source *s)
{
	s->multifd = multifd_source_free(s->multifd);
}

static bool tracks_dirty_pages(const struct source *s)
{
	return !cpr_keeps_memory(s) && !snapshot_is_on(s->m);
}

/* What there is to send. */
static int first_look(struct source *s)
{
	if (cpr_keeps_memory(s))
		return cpr_send_ram(s);
	return tracks_dirty_pages(s) ? source_sync(s) : 0;
}

/* 1: it was to compare only. */
static int setup(struct source *s)
{
	int r;

	r = postcopy_check(s);
	if (r == 0)
		r = open_guest(s);
	if (r < 0)
		return r;
	r = source_connect(s, s->m->stream_fd, s->m->cancel_fd);
	s->m->stream_fd = -1;
	if (r == 0)
		r = open_channels(s);
	if (r < 0)
		return r;
	r = source_open_stream(s);
	if (r < 0)
		return r;
	FAULT_POINT("stream.opened");
	source_listen(s);
	r = s->peer == PEER_MIGD ? preflight_source(s) : preflight_impossible(s);
	if (r == 0 && s->peer != PEER_MIGD)
		r = check_weak_handover(s);
	if (r == 0)
		r = postcopy_advise(s);
	if (r != 0)
		return r;
	r = guest_begin(&s->guest, &s->err);
	if (r < 0)
		return r;
	report_handover(s->m, HANDOVER_PRECOPY, false);
	source_stats_begin(s);
	FAULT_POINT("attach.begun");
	r = register_handlers(s);
	if (r == 0)
		r = cpr_check(s);
	if (r == 0 && snapshot_is_on(s->m))
		r = snapshot_check(s);
	if (r == 0 && tracks_dirty_pages(s))
		r = guest_dirty_start(&s->guest, &s->ram, &s->err);
	FAULT_POINT("attach.dirty-logging");
	if (r == 0)
		r = live_begin(&s->live, &s->err);
	if (r == 0)
		r = source_resume_prepare(s);
	if (r == 0)
		r = handlers_setup(&s->handlers, s->out, &s->err);
	FAULT_POINT("stream.setup-sent");
	return r < 0 ? r : first_look(s);
}

/* One pass over what is dirty, then a sync. */
static int pass(struct source *s)
{
	uint64_t start_ns = clock_now_ns(), start_bytes = source_stats_bytes(s), bytes, ns;
	int r;

	source_strategy_pass_begins(s);
	source_stats_ram_begin(s);
	r = handlers_iterate(&s->handlers, s->out, source_tick, s, &s->err);
	FAULT_POINT("stream.pass-sent");
	source_stats_ram_end(s);
	if (r == 0)
		r = source_drain(s, 0);
	if (r < 0)
		return r;
	/* Of a whole pass, with the wait for its last byte to arrive: what the decision to stop counts on. */
	FAULT_POINT("stream.pass-arrived");
	bytes = source_stats_bytes(s) - start_bytes;
	ns = clock_now_ns() - start_ns;
	if (ns > 0 && bytes > 0)
		s->bandwidth_bps = bytes * NS_PER_SEC / ns;
	r = source_tick(s);
	return r < 0 ? r : source_sync(s);
}

static bool converged(struct source *s)
{
	uint64_t given = atomic_load(&s->m->switchover_bps);
	uint64_t later_bytes = postcopy_is_wanted(s) ? ram_todo_pages(&s->ram) * WIRE_PAGE_SIZE : 0;
	struct convergence_input in = {
		.left_bytes = s->left_bytes - min_u64(later_bytes, s->left_bytes),
		.bandwidth_bps = given ? given : s->bandwidth_bps,
		.limit_us = atomic_load(&s->m->downtime_limit_ms) * 1000,
	};
	uint64_t expected_us = convergence_expected_us(&in);

	if (expected_us != UINT64_MAX)
		stats_set(s->m->stats, expected_downtime_ms, (expected_us + 999) / 1000);
	return convergence_switch(&s->convergence, &in);
}

/* After a pass: 1: the guest is to be stopped now; 0: another pass; -errno. Post-copy leaves most for later. */
static int is_enough(struct source *s)
{
	int r = 0;

	if (!postcopy_is_wanted(s))
		r = source_strategy_after_pass(s, converged(s));
	return r == 0 && postcopy_is_wanted(s) ? converged(s) : r;
}

static int precopy(struct source *s)
{
	int r;

	do {
		r = pass(s);
		if (r == 0)
			r = is_enough(s);
		if (r > 0)
			r = switchover_ack_wait(s);
		if (r < 0)
			r = source_resume(s, r);
	} while (r == 0);
	if (r > 0 && !postcopy_is_wanted(s))
		source_decided(s, MIGRATION_DECISION_KIND_SWITCHOVER, s->strategy.reason);
	return r < 0 ? r : 0;
}

static enum source_end migrate(struct source *s)
{
	uint64_t start_ns = clock_now_ns();
	int r;

	r = setup(s);
	if (r != 0)
		return r < 0 ? SOURCE_REVOKED : SOURCE_COMPARED;
	r = wait_unplug(s);
	if (r < 0)
		return SOURCE_REVOKED;
	stats_set(s->m->stats, setup_took_ms, (clock_now_ns() - start_ns) / NS_PER_MS);
	report_status(s->m, MIGRATION_STATUS_ACTIVE);
	if (snapshot_is_on(s->m))
		return snapshot_take(s);
	/* Without passes: make sure that the destination took what came before the guest is stopped. */
	r = cpr_has_no_passes(s) ? source_drain(s, 0) : precopy(s);
	if (r < 0)
		return SOURCE_REVOKED;
	return postcopy_is_wanted(s) ? source_postcopy(s) : source_switchover(s);
}

/* If it was a channel that failed, that is the reason, whatever came of it; and the peer's last words are better still. */
static void channel_failed(struct source *s)
{
	uint64_t deadline_ns = clock_now_ns() + LAST_WORDS_NS;
	struct merr why = MERR_INIT;

	if (!s->multifd || s->err.code == -EREMOTEIO || !multifd_source_why(s->multifd, &why))
		return;
	merr_clear(&s->err);
	while (s->in && s->peer != PEER_NONE && !merr_is_set(&s->err) &&
	       (in_ready(s->in) || fd_wait(chan_fd(s->chan), POLLIN, s->m->cancel_fd, deadline_ns) > 0))
		if (source_take_input(s) != 0)
			break;
	if (s->err.code != -EREMOTEIO)
		s->err = why;
}

/* Before RELEASE: the library takes the guest back, whatever state it was in. */
static void take_back(struct source *s)
{
	struct merr ignored = MERR_INIT;
	enum migration_status status = MIGRATION_STATUS_FAILED;

	guest_link_no_cancel(&s->guest);
	if (s->out && out_error(s->out))
		(void)source_stream_failed(s, out_error(s->out));
	channel_failed(s);
	source_close_channels(s);
	/* If it cannot be told, it sees the channel close and does the same. */
	if (s->guest.conn && guest_abort(&s->guest, NULL, &ignored) == 0)
		report_handover(s->m, HANDOVER_RUNNING, false);
	if (fd_wait(s->m->cancel_fd, POLLIN, -1, 0) > 0) {
		merr_clear(&s->err);
		(void)merr_set(&s->err, -ECANCELED, "cancelled by migrate_cancel");
		status = MIGRATION_STATUS_CANCELLED;
	} else {
		(void)merr_prefix(&s->err, "migration to '%s'", s->m->start.peer);
	}
	report_error(s->m, status, &s->err);
	/* The library has its guest back, and may begin another migration. */
	guest_link_done(&s->guest);
	/* It said itself that it failed. */
	if (s->err.code == -EREMOTEIO)
		return;
	/* A target that waits for COMMIT is told, as is one that waits for another connection. */
	if (s->stream_ended)
		source_tell_abort(s);
	else if (s->resumes)
		source_tell_given_up(s);
}

static void finish(struct source *s, enum source_end end)
{
	source_throttle_ended(s);
	if (end != SOURCE_REVOKED)
		source_close_channels(s);
	switch (end) {
	case SOURCE_REVOKED:
		take_back(s);
		break;
	case SOURCE_RETIRED:
		report_handover(s->m, HANDOVER_RETIRED, false);
		stats_set(s->m->stats, remaining_bytes, 0);
		stats_set(s->m->stats, dirty_pages_rate, 0);
		report_status(s->m, MIGRATION_STATUS_COMPLETED);
		break;
	case SOURCE_RECLAIMED:
		report_handover(s->m, HANDOVER_RUNNING, false);
		report_error(s->m, MIGRATION_STATUS_FAILED, &s->err);
		break;
	case SOURCE_COMPARED:
		report_status(s->m, MIGRATION_STATUS_NONE);
		break;
	case SOURCE_STAYS:
		stats_set(s->m->stats, remaining_bytes, 0);
		report_status(s->m, MIGRATION_STATUS_COMPLETED);
		break;
	case SOURCE_LOST:
		report_error(s->m, MIGRATION_STATUS_FAILED, &s->err);
		break;
	}
	source_tell_last_word(s);
	report_done(s->m, end == SOURCE_REVOKED || end == SOURCE_RECLAIMED || end == SOURCE_COMPARED ||
				  end == SOURCE_STAYS);
}

static void source_done(struct source *s)
{
	handlers_done(&s->handlers);
	live_close(&s->live);
	s->server = page_server_free(s->server);
	s->out = out_free(s->out);
	s->in = in_free(s->in);
	s->chan = chan_free(s->chan);
	guest_link_done(&s->guest);
	ram_done(&s->ram);
}

static enum source_end settle_only(struct source *s)
{
	int r;

	r = guest_link_init(&s->guest, s->m->guest_fd, -1);
	s->m->guest_fd = -1;
	if (r < 0) {
		(void)merr_set_errno(&s->err, r, "migration channel");
		return SOURCE_LOST;
	}
	memcpy(s->guest.id, s->m->handover_id, sizeof(s->guest.id));
	/* Nobody could be asked, nor needs to: the guest was given away when the stream was whole. Another program may yet run it. */
	if (!migration_has_return_path(s->m) && !cpr_is_exec(s))
		return source_retire(s);
	r = postcopy_succeed_source(s);
	if (r < 0)
		return SOURCE_LOST;
	return r > 0 ? postcopy_recover(s, false) : source_settle(s);
}

void source_run(struct migration *m)
{
	struct source s = { .m = m, .doubt_status = MIGRATION_STATUS_DEVICE };

	(void)pthread_setname_np(pthread_self(), "mig/src/main");
	stats_set(m->stats, main_thread_id, gettid());
	if (m->start.mode == WORKER_MODE_ABORT)
		source_abort_only(&s);
	else if (m->start.mode == WORKER_MODE_SETTLE)
		finish(&s, settle_only(&s));
	else
		finish(&s, migrate(&s));
	source_done(&s);
	stats_set(m->stats, main_thread_id, 0);
}
