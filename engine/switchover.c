/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's switchover: from stopping the guest to knowing that it runs on the other side.
 *
 *     pause > save device state > last sync > last pages, package > LOADED          revocable
 *     RELEASE (the library gives the guest away)                                    point of no return
 *     COMMIT > ACTIVE > RETIRE > SETTLED                                            in doubt in between
 */
#include "engine/switchover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <migd/guest.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/cpr.h"

/* vCPUs park within microseconds; a VMM whose device code holds one longer than this fails the attempt. */
#define PAUSE_DEADLINE_MS 2000

/* After COMMIT: how long to wait on this connection before asking over a new one. */
#define ACTIVE_TIMEOUT_MS 10000

/* A copy buffer for device state on its way from the library's memfd to the stream. */
#define COPY_BYTES 65536

void blackout_done(struct blackout *b)
{
	b->state_fd = close_fd(b->state_fd);
	buf_done(&b->devices);
}

uint64_t blackout_lap_us(struct blackout *b)
{
	uint64_t now = clock_now_ns(), us = (now - b->mark_ns) / NS_PER_US;

	b->mark_ns = now;
	return us;
}

void blackout_over(struct source *s, struct blackout *b)
{
	uint64_t ns = b->mark_ns - b->start_ns;

	stats_set(s->m->stats, downtime_us, ns / NS_PER_US);
	stats_set(s->m->stats, downtime_ms, (ns + NS_PER_MS - 1) / NS_PER_MS);
}

int source_pause_guest(struct source *s, struct blackout *b)
{
	struct attach_mig_pause_reply rep;
	int r;

	/* Before anything can come of the switchover: if this worker dies in it, its successor has to know. */
	if (s->peer == PEER_MIGD) {
		report_peer_waits(s->m);
		migration_flush_reports(s->m);
	}
	b->start_ns = b->mark_ns = clock_now_ns();
	stats_set(s->m->stats, blackout_start_ns, b->start_ns);
	r = guest_pause(&s->guest, PAUSE_DEADLINE_MS, &rep, &s->err);
	if (r < 0)
		return r;
	FAULT_POINT("handover.paused");
	s->guest_paused = true;
	s->run_state.state = rep.run_state_before;
	stats_set(s->m->stats, blackout_pause_us, blackout_lap_us(b));
	report_handover(s->m, HANDOVER_PAUSED, false);
	return 0;
}

/* Capability pause-before-switchover: stopped, and waiting for migrate-continue. */
static int wait_for_continue(struct source *s, struct blackout *b)
{
	int r;

	if (!migration_has_capability(s->m, MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER))
		return 0;
	report_status(s->m, MIGRATION_STATUS_PRE_SWITCHOVER);
	while (!atomic_load(&s->m->may_continue)) {
		r = fd_wait(s->m->answer_fd, POLLIN, s->m->cancel_fd,
			    clock_now_ns() + NS_PER_SEC);
		wake_drain(s->m->answer_fd);
		if (r == -ECANCELED)
			return merr_set(&s->err, r, "cancelled");
		r = source_tick(s);
		if (r == 0)
			r = source_keep_alive(s);
		if (r < 0)
			return r;
	}
	stats_set(s->m->stats, blackout_hold_us, blackout_lap_us(b));
	return 0;
}

int switchover_pause(struct source *s, struct blackout *b)
{
	int r;

	r = source_pause_guest(s, b);
	if (r == 0)
		r = wait_for_continue(s, b);
	if (r < 0)
		return r;
	report_status(s->m, MIGRATION_STATUS_DEVICE);
	return 0;
}

int switchover_save(struct source *s, struct blackout *b)
{
	int r;

	r = guest_state_fetch(&s->guest, handlers_free_id(&s->handlers), &b->state, &b->state_fd,
			      &s->err);
	FAULT_POINT("attach.state-saved");
	if (r < 0)
		return r;
	stats_set(s->m->stats, blackout_save_us, blackout_lap_us(b));
	/* After the state: saving it may have written guest memory. */
	r = cpr_keeps_memory(s) ? 0 : source_sync(s);
	if (r < 0)
		return r;
	stats_set(s->m->stats, blackout_sync_us, blackout_lap_us(b));
	atomic_store(&s->m->rate.lifted, true);
	return 0;
}

void switchover_announce(struct source *s)
{
	if (source_dialect(s)->switchover_start)
		command_begin(s->out, WIRE_CMD_SWITCHOVER_START, 0);
}

int switchover_send_library_state(struct source *s, const struct blackout *b)
{
	_cleanup_free_ uint8_t *buf = malloc(COPY_BYTES);
	uint64_t at = 0, n;
	int r;

	if (!buf)
		return merr_set_errno(&s->err, -ENOMEM, "device state");
	for (; at < b->state.len; at += n) {
		n = b->state.len - at < COPY_BYTES ? b->state.len - at : COPY_BYTES;
		r = fd_pread_full(b->state_fd, buf, n, at);
		if (r < 0)
			return merr_set_errno(&s->err, r, "device state");
		out_ref(s->out, buf, n);
		r = out_flush(s->out);
		if (r < 0)
			return r;
	}
	return 0;
}

int switchover_send_package(struct source *s, const struct blackout *b, const struct buf *head, const struct buf *tail)
{
	struct buf own = { 0 };
	int r;

	buf_add(&own, head->data, head->len);
	r = handlers_save(&s->handlers, &own, NULL, &s->err);
	if (r == 0) {
		command_begin(s->out, WIRE_CMD_PACKAGED, 4);
		out_be32(s->out, (uint32_t)(own.len + b->state.len + tail->len));
		out_bytes(s->out, own.data, own.len);
		r = switchover_send_library_state(s, b);
	}
	buf_done(&own);
	out_bytes(s->out, tail->data, tail->len);
	return r;
}

/* The package, and the end of the stream's sections. */
static int send_state(struct source *s, const struct blackout *b)
{
	uint8_t eof = WIRE_EOF;
	const struct buf head = { 0 }, tail = { .data = &eof, .len = 1 };
	int r;

	r = switchover_send_package(s, b, &head, &tail);
	if (r < 0)
		return r;
	FAULT_POINT("stream.state-sent");
	out_u8(s->out, WIRE_EOF);
	r = out_flush(s->out);
	FAULT_POINT("stream.ended");
	s->stream_ended = r == 0;
	return r;
}

/* Everything that is still missing over there. */
static int send_rest(struct source *s, struct blackout *b)
{
	int r;

	switchover_announce(s);
	source_stats_ram_begin(s);
	r = handlers_complete(&s->handlers, s->out, false, &s->err);
	source_stats_ram_end(s);
	if (r < 0)
		return r;
	FAULT_POINT("stream.last-pass-sent");
	source_stats_last_pass_over(s);
	stats_set(s->m->stats, blackout_ram_us, blackout_lap_us(b));
	return s->peer == PEER_MIGD ? send_state(s, b) : source_send_state_alone(s, b);
}

/*
 * The target's answer TYPE, by which it tells how long it was at work: so much of the time since the last lap is *RET_WORK_US,
 * the rest was on the way.
 */
static int await_word(struct source *s, struct blackout *b, uint16_t type, uint64_t timeout_ms, uint64_t *ret_work_us,
		      uint64_t *ret_way_us)
{
	uint64_t total_us;
	struct rp_msg m;
	struct rcur c;
	int r;

	r = source_await(s, type, timeout_ms, &m);
	if (r == 0)
		r = rp_check_id(s->in, &m, s->m->handover_id);
	if (r < 0)
		return r;
	c = rcur_of(m.body + ATTACH_ID_LEN, m.len - ATTACH_ID_LEN);
	total_us = blackout_lap_us(b);
	*ret_work_us = min_u64(rcur_be64(&c), total_us);
	*ret_way_us = total_us - *ret_work_us;
	return 0;
}

int switchover_await_loaded(struct source *s, struct blackout *b)
{
	uint64_t load_us, way_us;
	int r;

	r = await_word(s, b, WIRE_RP_LOADED, LOADED_TIMEOUT_MS, &load_us, &way_us);
	if (r < 0)
		return r;
	FAULT_POINT("handover.loaded-received");
	stats_set(s->m->stats, blackout_load_us, load_us);
	stats_set(s->m->stats, blackout_transfer_us, way_us);
	return 0;
}

int switchover_release(struct source *s)
{
	int r;

	/* The last moment at which a cancel counts; RELEASE itself is not interrupted. */
	if (fd_wait(s->m->cancel_fd, POLLIN, -1, 0) > 0)
		return -ECANCELED;
	guest_link_no_cancel(&s->guest);
	chan_set_cancel(s->chan, -1);
	FAULT_POINT("handover.releasing");
	r = guest_release(&s->guest, &s->err);
	FAULT_POINT("handover.released");
	if (r == 0)
		report_handover(s->m, HANDOVER_RELEASED, false);
	return r == -ETIMEDOUT || r == -ENOTCONN ? 1 : r;
}

int switchover_await_active(struct source *s, struct blackout *b)
{
	uint64_t resume_us, way_us;
	int r;

	r = await_word(s, b, WIRE_RP_ACTIVE, ACTIVE_TIMEOUT_MS, &resume_us, &way_us);
	if (r < 0)
		return r;
	FAULT_POINT("handover.active-received");
	stats_set(s->m->stats, blackout_resume_us, resume_us);
	stats_set(s->m->stats, blackout_commit_us, way_us);
	blackout_over(s, b);
	return 0;
}

enum source_end switchover_in_doubt(struct source *s)
{
	struct merr why = s->err;

	merr_clear(&s->err);
	report_error(s->m, s->doubt_status, &why);
	return source_settle(s);
}

/* From the pause to LOADED: any failure is revocable. */
static int prepare(struct source *s, struct blackout *b)
{
	int r;

	r = switchover_pause(s, b);
	if (r == 0)
		r = switchover_save(s, b);
	if (r == 0)
		r = send_rest(s, b);
	if (r < 0)
		return r;
	return s->peer == PEER_MIGD ? switchover_await_loaded(s, b) : 0;
}

/* From LOADED on, between two migds. */
static enum source_end hand_over(struct source *s, struct blackout *b)
{
	int r = switchover_release(s);

	if (r < 0)
		return SOURCE_REVOKED;
	if (r > 0) {
		/* No COMMIT was sent, so the target does not run. */
		report_handover(s->m, HANDOVER_RELEASED, true);
		return source_settle(s);
	}
	source_command(s, WIRE_CMD_COMMIT);
	FAULT_POINT("handover.commit-sent");
	return switchover_await_active(s, b) == 0 ? source_retire(s) : switchover_in_doubt(s);
}

enum source_end source_switchover(struct source *s)
{
	struct blackout b = BLACKOUT_INIT;
	enum source_end end = SOURCE_REVOKED;

	if (prepare(s, &b) == 0)
		end = s->peer == PEER_MIGD ? hand_over(s, &b) : source_commit_alone(s, &b);
	blackout_done(&b);
	return end;
}
