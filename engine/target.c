/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The incoming side.
 *
 *     listen > opening > CONFIG checked > RAM, package > LOADED > COMMIT > ACTIVE > SETTLED
 *
 * A connection that does not get through the opening is dropped and the listener goes on: only one that was
 * recognised as a migd's migration, or whose TLS proved whose it is, can fail the migration. What follows LOADED
 * is engine/target-settle.c's.
 */
#include "engine/target.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/budget.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/multifd-gather.h"
#include "engine/postcopy-recover.h"
#include "engine/postcopy-succeed.h"
#include "engine/preflight.h"
#include "engine/ram-handler.h"
#include "engine/ram-settings.h"
#include "engine/return-path.h"
#include "engine/switchover-ack.h"
#include "engine/timer.h"
#include "engine/turn.h"

/* After an error was sent: so long the source's bytes are still taken, so that it reads the error and no reset. */
#define DRAIN_MS 2000

/* So many connections that were refused are logged, and told to the daemon, in a second. */
#define REFUSALS_PER_SECOND 32U

uint64_t target_lap_us(struct target *t)
{
	uint64_t now = clock_now_ns(), us = t->mark_ns ? (now - t->mark_ns) / NS_PER_US : 0;

	t->mark_ns = now;
	return us;
}

void target_disconnect(struct target *t)
{
	postcopy_target_disconnected(t);
	t->in = in_free(t->in);
	t->chan = chan_free(t->chan);
}

/* Readable while any of FDS (-1: none) is; -1: out of descriptors. */
static int watch(const int *fds, size_t n)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int all = epoll_create1(EPOLL_CLOEXEC);

	for (size_t i = 0; all >= 0 && i < n; i++)
		if (fds[i] >= 0)
			(void)epoll_ctl(all, EPOLL_CTL_ADD, fds[i], &ev);
	return all;
}

void target_note_refusal(void *target, struct merr *why)
{
	struct target *t = target;
	/* The reception that is just being made has the one connection there is. */
	bool more = t->reception && reception_open(t->reception);

	t->refusal = *why;
	if (more)
		(void)merr_prefix(why, "a connection was refused, still listening");
	/* Connections without end are not reports without end: a daemon that does not get to reading them all is taken for gone. */
	if (more && !budget_take(&t->told, REFUSALS_PER_SECOND, REFUSALS_PER_SECOND, clock_now_ns()))
		return;
	log_warning("%s guest=\"%s\"", merr_msg(why), t->m->start.guest);
	if (!t->begun && more)
		report_error(t->m, MIGRATION_STATUS_SETUP, why);
}

void target_refuse(struct target *t, struct chan *chan, struct merr *why)
{
	target_note_refusal(t, why);
	if (migration_has_return_path(t->m))
		rp_send_error(chan, why);
}

/*
 * A source that has proved who it is left without a byte: it found something wrong with this side, such as the name in its
 * certificate, and there is nobody else to wait for. With parallel channels the others may still be on their way.
 */
static bool source_gave_up(const struct target *t, const struct chan *chan, const struct in *in, int r)
{
	return !t->begun && (r == -ENODATA || r == -ECONNRESET) && in_offset(in) == 0 && chan_peer_is_known(chan) &&
	       !migration_has_capability(t->m, MIGRATION_CAPABILITY_MULTIFD);
}

int target_open(struct target *t, int cancel_fd, struct target_connection *ret, struct merr *why)
{
	struct chan *chan = reception_take(t->reception, ARRIVAL_MAIN);
	struct in *in = chan ? in_new(chan, t->m->stats, why) : NULL;
	bool goes_on = reception_open(t->reception);
	int r = -EAGAIN;

	if (in) {
		chan_set_cancel(chan, cancel_fd);
		r = opening_receive(in, chan, migration_has_return_path(t->m), migration_offers(t->m, goes_on), &ret->hello);
		if (r < 0 && source_gave_up(t, chan, in, r)) {
			(void)merr_prefix(why, "the source accepts no connection to this side; its error says why");
			goes_on = false;
		}
		if (r < 0 && r != -ECANCELED && goes_on)
			target_refuse(t, chan, why);
	}
	if (r < 0) {
		(void)in_free(in);
		(void)chan_free(chan);
		return r == -ECANCELED || !goes_on ? r : -EAGAIN;
	}
	ret->chan = chan;
	ret->in = in;
	return 0;
}

void target_use(struct target *t, const struct target_connection *c)
{
	target_disconnect(t);
	merr_clear(&t->err);
	in_set_err(c->in, &t->err);
	t->chan = c->chan;
	t->in = c->in;
	t->hello = c->hello;
	migration_note_source(t->m, chan_fd(c->chan));
}

int target_accept(struct target *t, int cancel_fd)
{
	struct target_connection c;
	struct merr why = MERR_INIT;
	int r = target_open(t, cancel_fd, &c, &why);

	if (r == 0)
		target_use(t, &c);
	else if (r != -EAGAIN)
		(void)merr_copy(&t->err, &why);
	return r;
}

/* What the stream may consist of, but for the library's sections. */
static int register_handlers(struct target *t)
{
	int r;

	t->receiver = (struct ram_target){ .ram = &t->ram,
					   .in = t->in,
					   .multifd = t->multifd,
					   .runs = t->hello.features & HELLO_FEATURE_RUNS };
	if (t->hello.features & HELLO_FEATURE_POISON)
		t->receiver.guest = &t->guest;
	if (t->hello.features & HELLO_FEATURE_RESUME)
		t->receiver.marks = t->chan;
	t->run_state = (struct globalstate){ .live = true, .required = t->hello.peer == PEER_MIGD };
	r = ram_settings_target(t);
	if (r == 0)
		r = ram_target_register(&t->handlers, &t->receiver, &t->err);
	if (r == 0)
		r = live_open(&t->live, &t->guest, &t->err);
	if (r == 0)
		r = live_target_register(&t->handlers, &t->live, t->hello.peer == PEER_MIGD, &t->err);
	if (r == 0)
		r = globalstate_register(&t->handlers, &t->run_state, &t->err);
	return r < 0 ? r : timer_register(&t->handlers, &t->err);
}

/* From here on the guest in the library is this migration's; before, another may still come. */
static int begin(struct target *t)
{
	int r = 0;

	/* A source that is no migd has no handover: the library's own still needs a name. */
	if (t->hello.peer != PEER_MIGD)
		r = handover_id_parse(t->m->start.id, t->hello.handover_id);
	if (r < 0)
		return merr_set_errno(&t->err, r, "the migration's id");
	memcpy(t->guest.id, t->hello.handover_id, sizeof(t->guest.id));
	r = guest_begin(&t->guest, &t->err);
	if (r < 0)
		return r;
	FAULT_POINT("attach.begun-there");
	t->begun = true;
	pthread_mutex_lock(&t->m->lock);
	memcpy(t->m->handover_id, t->guest.id, sizeof(t->m->handover_id));
	pthread_mutex_unlock(&t->m->lock);
	report_handover(t->m, HANDOVER_INCOMING, false);
	if (migration_has_capability(t->m, MIGRATION_CAPABILITY_X_IGNORE_SHARED))
		ram_ignore_shared(&t->ram);
	r = ram_target_init(&t->ram);
	if (r < 0)
		return merr_set_errno(&t->err, r, "bitmaps");
	r = register_handlers(t);
	if (r == 0)
		r = ram_target_clear(&t->ram, &t->err);
	/* A QEMU says so in its opening, when nobody was asked yet. */
	if (r == 0 && t->hello.advised)
		r = postcopy_target_advised(t, t->hello.page_sizes, t->hello.page_size);
	return r;
}

/* From here on pages come. A channel's failure is to be noticed whatever is waited for. */
static int start_channels(struct target *t)
{
	if (!t->multifd)
		return 0;
	chan_set_cancel(t->chan, multifd_target_cancel_fd(t->multifd));
	in_on_silence(t->in, multifd_target_progressed, t->multifd);
	return multifd_target_start(t->multifd, &t->err);
}

int target_end_channels(struct target *t)
{
	int r = t->multifd ? multifd_target_end(t->multifd) : 0;

	if (t->multifd) {
		multifd_target_stop(t->multifd);
		chan_set_cancel(t->chan, t->m->cancel_fd);
	}
	return r;
}

int target_await_arrival(struct target *t, uint64_t deadline_ns)
{
	const int fds[] = { t->m->cancel_fd, conn_fd(t->guest.conn) };
	_cleanup_close_ int awake = watch(fds, ARRAY_SIZE(fds));

	for (;;) {
		reception_work(t->reception);
		if (fd_wait(t->m->cancel_fd, POLLIN, -1, 0) > 0)
			return merr_set(&t->err, -ECANCELED, "cancelled");
		/* What else woke us: an event of the guest's, or its VMM's end. */
		if (guest_link_poll(&t->guest, &t->err) < 0)
			return t->err.code;
		if (!reception_hopeful(t->reception) && merr_is_set(&t->refusal))
			return merr_copy(&t->err, &t->refusal);
		if (reception_count(t->reception, ARRIVAL_MAIN) > 0)
			return 0;
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		(void)fd_wait(reception_fd(t->reception), POLLIN, awake,
			      min_u64(deadline_ns, reception_deadline(t->reception)));
	}
}

/* The source's first connection. */
static int await_source(struct target *t)
{
	int r;

	do {
		r = target_await_arrival(t, DEADLINE_NONE);
		if (r == 0)
			r = target_accept(t, t->m->cancel_fd);
	} while (r == -EAGAIN);
	return r;
}

void target_say_goodbye(struct target *t)
{
	uint64_t deadline_ns = clock_now_ns() + DRAIN_MS * NS_PER_MS;
	uint8_t scratch[4096];

	if (!t->chan)
		return;
	if (t->hello.peer == PEER_MIGD)
		rp_send_error(t->chan, &t->err);
	else if (t->hello.peer == PEER_QEMU)
		(void)rp_send_be32(t->chan, WIRE_RP_SHUT, 1);
	chan_shutdown_write(t->chan);
	while (clock_now_ns() < deadline_ns &&
	       chan_read(t->chan, scratch, sizeof(scratch), deadline_ns) > 0)
		;
}

/* A source that only compares: the next one may still come, whatever became of it. */
static int answer_preflight(struct target *t, struct preflight *p)
{
	int r = preflight_target(t, p);

	if (r == -ECANCELED)
		return r;
	if (r < 0) {
		log_warning("a preflight was refused: %s guest=\"%s\"", merr_msg(&t->err), t->m->start.guest);
		target_say_goodbye(t);
	}
	target_disconnect(t);
	if (reception_open(t->reception))
		return 0;
	return merr_set(&t->err, -ENOTCONN, "the source only compared, and there is no other connection to wait for");
}

/*
 * A source that still is about a handover of before, which ended here: the one that is waited for may yet come. It is told
 * so, which is no answer to what it asks: what became of that is not known here. 1: wait again.
 */
static int turn_away_stale(struct target *t)
{
	struct merr why = t->err;

	rp_send_error(t->chan, &why);
	target_disconnect(t);
	merr_clear(&t->err);
	target_note_refusal(t, &why);
	return 1;
}

/* A source that wants to migrate. */
static int await_migration(struct target *t, struct preflight *p)
{
	int r;

	do {
		r = await_source(t);
		if (r == 0)
			r = preflight_receive(t, p);
		if (r == 0)
			r = p->only ? answer_preflight(t, p) : turn_await(t);
		else if (r == -ESTALE && reception_open(t->reception))
			r = turn_away_stale(t);
	} while (r > 0 || (r == 0 && p->only));
	return r;
}

/* What the source says about its guest fits the one here. */
static int check_guest(struct target *t, struct preflight *p)
{
	struct configuration ours = migration_configuration(t->m);

	if (!(t->hello.features & HELLO_FEATURE_PREFLIGHT) &&
	    configuration_check(t->in, &t->hello.configuration, &ours) < 0)
		return in_error(t->in);
	/* Only a migd describes its guest before it sends it. */
	return t->hello.peer == PEER_MIGD ? preflight_target(t, p) : 0;
}

/* All of it, over as many connections as it takes. */
static int receive_stream(struct target *t)
{
	int r;

	target_resume_prepare(t);
	do {
		r = target_receive_stream(t);
	} while (r < 0 && (r = target_resume(t, r)) == 0);
	/* From here on there are other reasons to be silent, and to come back. */
	in_on_silence(t->in, NULL, NULL);
	return r;
}

/* Up to LOADED. */
static int receive(struct target *t)
{
	struct preflight p;
	int r;

	r = await_migration(t, &p);
	/* Where sides differ in what they have on, no channel will come; that is told below. */
	if (r == 0 && !p.found.found)
		r = multifd_gather(t);
	if (r < 0)
		return r;
	FAULT_POINT("stream.source-came");
	report_status(t->m, MIGRATION_STATUS_ACTIVE);
	r = check_guest(t, &p);
	if (r == 0)
		r = begin(t);
	FAULT_POINT("stream.guest-fits");
	if (r == 0)
		r = switchover_ack_check(t);
	if (r == 0)
		r = start_channels(t);
	if (r == 0)
		r = receive_stream(t);
	if (r == 0 && !postcopy_target_listens(t))
		r = target_end_channels(t);
	if (r == 0)
		r = lazy_restore_check(t);
	if (r == 0)
		r = guest_loaded(&t->guest, !t->run_state.live, &t->err);
	if (r < 0)
		return r;
	FAULT_POINT("handover.loaded");
	report_handover(t->m, HANDOVER_LOADED, false);
	stats_set(t->m->stats, blackout_load_us, t->load_us);
	if (t->hello.peer != PEER_MIGD)
		return target_take_over(t);
	/* If this does not arrive, nothing is lost: the source goes on with its guest. */
	(void)rp_send_id_be64(t->chan, WIRE_RP_LOADED, t->guest.id, t->load_us);
	FAULT_POINT("handover.loaded-sent");
	return 0;
}

static void fail(struct target *t)
{
	enum migration_status status = MIGRATION_STATUS_FAILED;
	struct merr ignored = MERR_INIT;

	guest_link_no_cancel(&t->guest);
	if (t->multifd) {
		multifd_target_stop(t->multifd);
		(void)multifd_target_why(t->multifd, &t->err);
	}
	postcopy_target_let_go(t);
	lazy_restore_let_go(t);
	if (t->begun && guest_abort(&t->guest, NULL, &ignored) == 0)
		report_handover(t->m, HANDOVER_DISCARDED, false);
	if (fd_wait(t->m->cancel_fd, POLLIN, -1, 0) > 0) {
		merr_clear(&t->err);
		(void)merr_set(&t->err, -ECANCELED, "cancelled by migrate_cancel");
		status = MIGRATION_STATUS_CANCELLED;
	}
	report_error(t->m, status, &t->err);
	if (t->chan)
		chan_set_cancel(t->chan, -1);
	target_say_goodbye(t);
}

/* Whether the source may believe that the guest was loaded here: nothing but the connection is wrong, and all was on its way. */
static bool source_may_ask(const struct target *t)
{
	return t->begun && t->hello.peer == PEER_MIGD && t->in && in_is_lost(t->in) && t->mark_ns != 0 &&
	       reception_open(t->reception) && fd_wait(t->m->cancel_fd, POLLIN, -1, 0) < 0;
}

static int open_guest(struct target *t)
{
	int r;

	r = guest_link_init(&t->guest, t->m->guest_fd, t->m->cancel_fd);
	t->m->guest_fd = -1;
	if (r < 0)
		return merr_set_errno(&t->err, r, "migration channel");
	memcpy(t->guest.id, t->m->handover_id, sizeof(t->guest.id));
	t->begun = t->m->start.mode == WORKER_MODE_SETTLE;
	if (t->begun)
		return 0;
	r = guest_ram_table(&t->guest, &t->ram, &t->err);
	FAULT_POINT("attach.memory-taken-there");
	stats_set(t->m->stats, total_bytes, t->ram.total_bytes);
	stats_set(t->m->stats, page_size_bytes, WIRE_PAGE_SIZE);
	return r;
}

static void target_done(struct target *t)
{
	postcopy_target_done(t);
	lazy_restore_done(t);
	handlers_done(&t->handlers);
	t->receiver.mapped = mapped_reader_free(t->receiver.mapped);
	live_close(&t->live);
	t->multifd = multifd_target_free(t->multifd);
	target_resume_done(t);
	target_disconnect(t);
	t->reception = reception_free(t->reception);
	guest_link_done(&t->guest);
	ram_done(&t->ram);
}

static bool is_lazy(const struct migration *m)
{
	return m->start.has_lazy && m->start.lazy;
}

/* The guest runs; if its worker was lost in post-copy, that goes on. */
static void succeed(struct target *t)
{
	int r = postcopy_succeed_target(t);

	if (r < 0 && fd_wait(t->m->vmm_fd, POLLIN, -1, 0) < 0) {
		/* The guest needs somebody: the daemon starts another one. */
		log_err("cannot go on with post-copy: %s guest=\"%s\"", merr_msg(&t->err), t->m->start.guest);
		exit(EXIT_FAILURE);
	}
	merr_clear(&t->err);
	if (r == 0)
		report_status(t->m, MIGRATION_STATUS_COMPLETED);
	else if (r > 0 && t->hello.peer != PEER_MIGD && postcopy_target_finish(t) < 0)
		postcopy_target_lost(t);
}

void target_run(struct migration *m)
{
	struct target t = { .m = m };
	bool fresh = m->start.mode == WORKER_MODE_FRESH, runs, asked;
	int r;

	if (m->start.mode == WORKER_MODE_ABORT) {
		target_abort_only(&t);
		target_done(&t);
		return;
	}
	r = open_guest(&t);
	if (r == 0 && (fresh || !is_lazy(m))) {
		t.reception = reception_new(m, target_note_refusal, &t);
		if (!t.reception)
			r = merr_set_errno(&t.err, -ENOMEM, "the connections of a migration");
	}
	runs = !fresh && decision_runs(m->decision_fd, t.guest.id);
	if (r == 0 && fresh)
		r = receive(&t);
	else if (r == 0 && runs && !is_lazy(m))
		succeed(&t);
	asked = r < 0 && source_may_ask(&t);
	if (r < 0)
		fail(&t);
	if (asked)
		target_settle_discarded(&t);
	else if (r < 0)
		runs = false;
	else if (!fresh && is_lazy(m))
		runs = lazy_restore_succeed(&t);
	else if (t.hello.peer == PEER_MIGD)
		runs = target_settle(&t, runs);
	else
		runs = true;
	report_done(m, runs);
	target_done(&t);
}
