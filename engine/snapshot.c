/* SPDX-License-Identifier: Apache-2.0 */
/* Background snapshots. */
#include "engine/snapshot.h"

#include <errno.h>
#include <poll.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/ram-poison.h"
#include "engine/snapshot-memory.h"
#include "engine/stream-commit.h"

struct snapshot {
	struct source *source;
	struct snapshot_memory *memory;
	struct blackout blackout;
	struct buf own;			/* the engine's sections, as of the instant */
	bool guest_is_deaf;		/* there is no one any more to take events from */
};

bool snapshot_is_on(const struct migration *m)
{
	return m->start.direction == WORKER_DIRECTION_OUTGOING &&
	       migration_has_capability(m, MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT);
}

/* What is sent while the guest runs is not as it was at one instant. */
static int check_live_devices(struct source *s)
{
	const struct attach_live_device *d;

	for (size_t i = 0; i < s->live.n; i++) {
		d = &s->live.sections[i].device;
		if (d->flags & ATTACH_LIVE_SENT)
			return merr_set(&s->err, -EOPNOTSUPP,
					"device '%s' instance %u sends its state while the guest runs, and cannot be part of "
					"a background snapshot: turn the capability off, and save the guest the usual way",
					d->name, d->instance);
	}
	return 0;
}

int snapshot_check(struct source *s)
{
	struct ram_poison poison = { .guest = &s->guest };
	int r = check_live_devices(s);

	return r < 0 ? r : ram_poison_fetch(&poison, &s->ram, &s->err);
}

/* While memory is written out. Nothing that happens to the guest now matters to its image, its end neither. */
static int tick(void *opaque)
{
	struct snapshot *n = opaque;
	struct source *s = n->source;
	struct merr ignored = MERR_INIT;

	if (fd_wait(s->m->cancel_fd, POLLIN, -1, 0) > 0)
		return merr_set(&s->err, -ECANCELED, "cancelled");
	source_stats_tick(s);
	if (!n->guest_is_deaf && guest_link_poll(&s->guest, &ignored) < 0)
		n->guest_is_deaf = true;
	return 0;
}

/* ---- the instant ---- */

static int watch_memory(struct snapshot *n)
{
	struct source *s = n->source;
	struct guest_uffd uffd;
	int r;

	r = guest_uffd_open(&s->guest, ATTACH_UFFD_SNAPSHOT, s->m->userfaultfd, &uffd, &s->err);
	if (r < 0)
		return r;
	r = snapshot_memory_new(&s->ram, uffd.fd, s->m->stats, &n->memory, &s->err);
	if (r == 0)
		snapshot_memory_look(n->memory);
	FAULT_POINT("snapshot.watching");
	return r;
}

static int save_state(struct snapshot *n)
{
	struct source *s = n->source;
	struct blackout *b = &n->blackout;
	int r;

	r = guest_state_fetch(&s->guest, handlers_free_id(&s->handlers), &b->state, &b->state_fd, &s->err);
	return r < 0 ? r : handlers_save(&s->handlers, &n->own, &b->devices, &s->err);
}

/* The library took the guest back on its own (it heard nothing for too long): the guest wrote what was not protected yet. */
static int resume(struct source *s)
{
	enum handover_state state = HANDOVER_INVALID;
	int r = guest_abort(&s->guest, &state, &s->err);

	if (r == 0)
		r = guest_link_poll(&s->guest, &s->err);
	if (r == 0 && state != HANDOVER_RUNNING)
		r = merr_set(&s->err, -EBADFD, "the guest does not go on: its handover is in state '%s'",
			     handover_state_name(state));
	if (r < 0)
		return r;
	s->guest_paused = false;
	report_handover(s->m, HANDOVER_RUNNING, false);
	return 0;
}

static int freeze(struct snapshot *n)
{
	struct source *s = n->source;
	struct stats_page *st = s->m->stats;
	struct blackout *b = &n->blackout;
	int r;

	r = source_pause_guest(s, b);
	FAULT_POINT("snapshot.paused");
	if (r == 0)
		r = save_state(n);
	if (r < 0)
		return r;
	stats_set(st, blackout_save_us, blackout_lap_us(b));
	/* After the state: saving it may have written guest memory. */
	r = snapshot_memory_protect(n->memory, source_tick, s, &s->err);
	FAULT_POINT("snapshot.protected");
	if (r < 0)
		return r;
	stats_set(st, blackout_sync_us, blackout_lap_us(b));
	r = resume(s);
	FAULT_POINT("snapshot.resumed");
	if (r < 0)
		return r;
	stats_set(st, blackout_resume_us, blackout_lap_us(b));
	blackout_over(s, b);
	return 0;
}

/* ---- the image ---- */

static int send_copies(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data, struct merr *err)
{
	struct source *s = opaque;

	return ram_source_copies(s->sender, b, page, n, data, err);
}

static int send_zeros(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	struct source *s = opaque;

	return ram_source_zeros(s->sender, b, page, n, err);
}

/* The body of RAM's END. A ram_feed_fn. */
static int feed(void *opaque, struct merr *err)
{
	struct snapshot *n = opaque;
	const struct snapshot_sink sink = { .copies = send_copies, .zeros = send_zeros, .opaque = n->source };

	return snapshot_memory_save(n->memory, &sink, err);
}

static int send_memory(struct snapshot *n)
{
	struct source *s = n->source;
	int r;

	s->stats.tells_remaining = true;
	ram_source_on_tick(s->sender, tick, n);
	ram_source_use_feed(s->sender, feed, n);
	source_stats_ram_begin(s);
	r = handlers_complete(&s->handlers, s->out, false, &s->err);
	source_stats_ram_end(s);
	return r;
}

static int send_state(struct snapshot *n)
{
	struct source *s = n->source;
	int r;

	out_bytes(s->out, n->own.data, n->own.len);
	r = out_flush(s->out);
	if (r == 0)
		r = switchover_send_library_state(s, &n->blackout);
	return r;
}

static int commit(struct snapshot *n)
{
	struct source *s = n->source;
	int r = tick(n);

	if (r == 0)
		r = source_send_end(s, &n->blackout);
	return r < 0 ? r : stream_commit(s->m, s->chan, tick, n, &s->err);
}

enum source_end snapshot_take(struct source *s)
{
	struct snapshot n = { .source = s, .blackout = { .state_fd = -1 } };
	int r;

	/* What this kernel or this VMM cannot do shows before the guest stops. */
	r = watch_memory(&n);
	if (r == 0)
		r = freeze(&n);
	if (r == 0)
		r = send_memory(&n);
	FAULT_POINT("snapshot.memory-sent");
	/* Whatever became of it, the guest waits no more: before anything is asked of its library, which may be who waits. */
	n.memory = snapshot_memory_free(n.memory);
	if (r == 0)
		r = send_state(&n);
	FAULT_POINT("snapshot.state-sent");
	if (r == 0)
		r = commit(&n);
	(void)close_fd(n.blackout.state_fd);
	buf_done(&n.blackout.devices);
	buf_done(&n.own);
	return r < 0 ? SOURCE_REVOKED : SOURCE_STAYS;
}
