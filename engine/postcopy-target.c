/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy at the target. */
#include "engine/postcopy-target.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/short-slice.h"
#include "engine/fault-service.h"
#include "engine/postcopy-memo.h"
#include "engine/postcopy-recover.h"
#include "engine/ram-place.h"
#include "engine/received.h"
#include "engine/request-sender.h"
#include "engine/return-path.h"
#include "engine/target.h"
#include "engine/urgent-channel.h"

/* The stream ended, and pages on the urgent channel have still to arrive. */
#define LAST_PAGES_MS 30000

enum state {
	STATE_ADVISED = 1,
	STATE_DISCARDING,
	STATE_LISTENING,
	STATE_RUNNING,
	STATE_COMPLETE,
};

struct postcopy_target {
	enum state state;
	bool counts;			/* `discarded` is how many pages are missing; a successor does not know */
	uint64_t discarded;
	struct fault_service *faults;
	struct placement placement;
	struct placer placer;		/* of the main connection */
	struct request_sender requests;
	bool reopened;			/* this connection is not the first: whoever waits has to ask over it, too */
	struct urgent_channel *urgent;	/* NULL: requested pages come on the main connection */
	int interrupt_fd;		/* epoll: what ends reading, beside the connection's own end */
};

static bool vmm_is_gone(const struct target *t)
{
	return t->m->vmm_fd >= 0 && fd_wait(t->m->vmm_fd, POLLIN, -1, 0) > 0;
}

static bool expects_urgent(const struct target *t)
{
	return migration_has_capability(t->m, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);
}

/* ---- ADVISE, DISCARD ---- */

static int check_advice(struct target *t, uint64_t page_sizes, uint64_t page_size)
{
	uint64_t ours = 0;

	if (t->postcopy)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_ADVISE comes twice");
	if (!migration_has_capability(t->m, MIGRATION_CAPABILITY_POSTCOPY_RAM))
		return in_fail(t->in, -EINVAL, "the source announces post-copy, and capability postcopy-ram is off here: turn it "
			       "on on both sides, or on neither");
	if (t->hello.peer == PEER_NONE || t->receiver.mapped || t->receiver.listed)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_ADVISE %s", t->receiver.listed ? "after the block list" :
			       "without a return path");
	for (size_t i = 0; i < t->ram.n_blocks; i++)
		ours |= t->ram.blocks[i].page_size;
	if (page_sizes != ours || page_size != WIRE_PAGE_SIZE)
		return in_fail(t->in, -EINVAL, "command POSTCOPY_ADVISE: page sizes 0x%" PRIx64 " of 0x%" PRIx64 " at the source, "
			       "0x%" PRIx64 " of 0x%x here: with post-copy both guests' memory must be in the same pages",
			       page_sizes, page_size, ours, WIRE_PAGE_SIZE);
	return in_error(t->in);
}

static int prepare(struct target *t)
{
	t->postcopy = calloc(1, sizeof(*t->postcopy));
	if (!t->postcopy)
		return merr_set_errno(&t->err, -ENOMEM, "post-copy");
	t->postcopy->state = STATE_ADVISED;
	t->postcopy->interrupt_fd = -1;
	t->postcopy->placement.complete_fd = -1;
	request_sender_init(&t->postcopy->requests);
	return 0;
}

int postcopy_target_advised(struct target *t, uint64_t page_sizes, uint64_t page_size)
{
	int r;

	if (check_advice(t, page_sizes, page_size) < 0)
		return in_error(t->in);
	r = prepare(t);
	if (r < 0)
		return r;
	r = guest_received_maps(&t->guest, &t->ram, &t->err);
	if (r < 0)
		return r;
	received_set_all(&t->ram);
	t->postcopy->counts = true;
	t->receiver.page_sizes = true;
	if (expects_urgent(t))
		urgent_channel_expect(t);
	FAULT_POINT("postcopy.advice-received");
	return 0;
}

bool postcopy_target_awaits_urgent(const struct target *t)
{
	return t->postcopy && t->postcopy->state < STATE_LISTENING && expects_urgent(t);
}

int postcopy_target_advise(struct target *t, uint16_t len)
{
	uint64_t page_sizes, page_size;

	if (!in_error(t->in) && len == 0)
		return in_fail(t->in, -EOPNOTSUPP, "command POSTCOPY_ADVISE: post-copy of dirty bitmaps, which this side does "
			       "not have");
	if (command_expect(t->in, WIRE_CMD_POSTCOPY_ADVISE, len, 16) < 0)
		return in_error(t->in);
	page_sizes = in_be64(t->in);
	page_size = in_be64(t->in);
	return in_error(t->in) ? in_error(t->in) : postcopy_target_advised(t, page_sizes, page_size);
}

static int discard_range(struct target *t, struct ram_file *b)
{
	uint64_t start = in_be64(t->in), len = in_be64(t->in);

	if (in_error(t->in))
		return in_error(t->in);
	if (len == 0 || start % b->page_size || len % b->page_size || !range_ok(start, len, b->len))
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_RAM_DISCARD: %" PRIu64 " bytes at 0x%" PRIx64 " are no whole pages "
			       "of %" PRIu64 " bytes inside block '%s' of %" PRIu64 " bytes", len, start, b->page_size,
			       b->name, b->len);
	t->postcopy->discarded += received_discard(b, start / WIRE_PAGE_SIZE, len / WIRE_PAGE_SIZE);
	return 0;
}

int postcopy_target_discard(struct target *t, uint16_t len)
{
	struct postcopy_target *pc = t->postcopy;
	struct ram_file *b;
	uint8_t version;
	char name[256];
	size_t ranges;
	int r = 0;

	if (!pc || pc->state > STATE_DISCARDING || !t->receiver.listed)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_RAM_DISCARD out of turn");
	pc->state = STATE_DISCARDING;
	version = in_u8(t->in);
	if (in_str8(t->in, "RAM block name", name) < 0)
		return in_error(t->in);
	b = ram_find(&t->ram, name);
	if (version != 0 || !b || b->ignored || in_u8(t->in) != 0)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_RAM_DISCARD: version %u, block '%s'", version, name);
	ranges = len < 3 + strlen(name) ? 0 : (len - 3 - strlen(name)) / 16;
	if (ranges == 0 || len != 3 + strlen(name) + 16 * ranges)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_RAM_DISCARD: length %u", len);
	while (r == 0 && ranges-- > 0)
		r = discard_range(t, b);
	FAULT_POINT("postcopy.missing-received");
	return r;
}

int postcopy_target_unused(struct target *t)
{
	if (!t->postcopy)
		return 0;
	if (t->postcopy->state == STATE_DISCARDING)
		return in_fail(t->in, -EBADMSG, "the stream ended, and pages that it took back did not come");
	return guest_uffd_end(&t->guest, &t->err);
}

/* ---- LISTEN ---- */

static void want(void *opaque, const struct ram_file *b, uint64_t page, uint64_t n)
{
	struct postcopy_target *pc = opaque;

	request_sender_ask(&pc->requests, b, page, n);
}

static const struct fault_ops ops = { .want = want };

static int start_service(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	struct guest_uffd uffd = { .fd = -1 };
	uint64_t missing;
	int r;

	r = guest_uffd_open(&t->guest, ATTACH_UFFD_POSTCOPY, t->m->userfaultfd, &uffd, &t->err);
	FAULT_POINT("postcopy.memory-registered");
	if (r < 0)
		return r;
	pc->faults = fault_service_new(&t->ram, &uffd, t->m->stats, &ops, pc, &t->err);
	if (!pc->faults)
		return t->err.code;
	/* The guest is stopped: nothing that takes longer the more memory it has. */
	missing = pc->counts ? pc->discarded : received_count_missing(&t->ram);
	r = placement_init(&pc->placement, &t->ram, missing, pc->faults, t->m->stats);
	return r < 0 ? merr_set_errno(&t->err, r, "bitmaps of pages to come") : 0;
}

static int interrupt_by(struct target *t, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (fd < 0 || epoll_ctl(t->postcopy->interrupt_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return 0;
	return merr_set_errno(&t->err, -errno, "post-copy");
}

static int watch_interrupts(struct target *t)
{
	int r;

	t->postcopy->interrupt_fd = epoll_create1(EPOLL_CLOEXEC);
	r = interrupt_by(t, t->m->vmm_fd);
	if (r == 0)
		r = interrupt_by(t, t->m->pause_fd);
	return r < 0 ? r : interrupt_by(t, fault_service_failed_fd(t->postcopy->faults));
}

static int open_urgent(struct target *t)
{
	if (!expects_urgent(t))
		return 0;
	t->postcopy->urgent = urgent_channel_await(t, &t->postcopy->placement);
	return t->postcopy->urgent ? interrupt_by(t, urgent_channel_failed_fd(t->postcopy->urgent)) : t->err.code;
}

/* The target's connection is what pages come by. */
static void connected(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;

	if (t->receiver.in != t->in)
		t->receiver.last = NULL;
	t->receiver.in = t->in;
	placer_init(&pc->placer, &pc->placement, t->in);
	t->receiver.placer = &pc->placer;
	request_sender_use(&pc->requests, t->chan);
	chan_watch_peer(t->chan, POSTCOPY_SILENCE_MS);
}

static int leave_memo(struct target *t)
{
	const struct postcopy_memo memo = {
		.peer = t->hello.peer,
		.features = t->hello.features,
		.ram_section = handlers_find(&t->handlers, WIRE_RAM_IDSTR, 0)->section_id,
	};

	return postcopy_memo_set(&t->guest, &memo, &t->err);
}

int postcopy_target_listen(struct target *t, uint16_t len)
{
	struct postcopy_target *pc = t->postcopy;
	int r;

	if (command_expect(t->in, WIRE_CMD_POSTCOPY_LISTEN, len, 0) < 0)
		return in_error(t->in);
	if (!pc || pc->state > STATE_DISCARDING || !t->receiver.listed)
		return in_fail(t->in, -EBADMSG, "command POSTCOPY_LISTEN out of turn");
	r = target_end_channels(t);
	if (r == 0)
		r = leave_memo(t);
	if (r == 0)
		r = start_service(t);
	if (r == 0)
		r = watch_interrupts(t);
	if (r == 0)
		r = open_urgent(t);
	if (r < 0)
		return r;
	connected(t);
	pc->state = STATE_LISTENING;
	/* Whoever waited before there was somebody to ask. */
	fault_service_ask_again(pc->faults);
	report_status(t->m, MIGRATION_STATUS_POSTCOPY_DEVICE);
	FAULT_POINT("postcopy.listening");
	return 0;
}

bool postcopy_target_listens(const struct target *t)
{
	return t->postcopy && t->postcopy->state >= STATE_LISTENING;
}

bool postcopy_target_runs(const struct target *t)
{
	return t->postcopy && t->postcopy->state == STATE_RUNNING;
}

/* ---- the guest runs ---- */

void postcopy_target_started(struct target *t)
{
	t->postcopy->state = STATE_RUNNING;
	/* The background is not to keep the guest's vCPUs, and those who serve them, from a CPU for long. */
	short_slice();
	FAULT_POINT("postcopy.started");
	report_status(t->m, MIGRATION_STATUS_POSTCOPY_ACTIVE);
}

/* Behind the stream's end. */
static int await_last_pages(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	uint64_t deadline_ns = clock_now_ns() + LAST_PAGES_MS * NS_PER_MS;
	const struct ram_file *b = NULL;
	uint64_t page = 0;

	if (pc->urgent && atomic_load(&pc->placement.missing))
		(void)fd_wait(pc->placement.complete_fd, POLLIN, urgent_channel_ended_fd(pc->urgent), deadline_ns);
	if (!received_find_missing(&t->ram, &b, &page))
		return 0;
	(void)urgent_channel_why(pc->urgent, &t->err);
	return merr_set(&t->err, -ENODATA, "the source says that it sent everything, and %" PRIu64 " pages are missing, the first "
			"of block '%s' at 0x%" PRIx64, atomic_load(&pc->placement.missing), b->name,
			page * WIRE_PAGE_SIZE);
}

static int complete(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	int r = handlers_load_done(&t->handlers, t->in, false);

	if (r == 0)
		r = await_last_pages(t);
	FAULT_POINT("postcopy.all-here");
	if (r == 0)
		r = guest_uffd_end(&t->guest, &t->err);
	FAULT_POINT("postcopy.memory-let-go");
	if (r < 0)
		return r;
	/* Left behind it does no harm: without the userfaultfd it is over. */
	(void)postcopy_memo_clear(&t->guest, NULL);
	pc->urgent = urgent_channel_free(pc->urgent);
	t->receiver.placer = NULL;
	pc->faults = fault_service_free(pc->faults);
	pc->state = STATE_COMPLETE;
	/* Whatever becomes of the VMM from here on: the source is done. */
	chan_set_cancel(t->chan, -1);
	(void)rp_send_be32(t->chan, WIRE_RP_SHUT, 0);
	report_status(t->m, MIGRATION_STATUS_COMPLETED);
	return 0;
}

int postcopy_target_succeed(struct target *t)
{
	int r = prepare(t);

	fault_survive();
	if (r == 0)
		r = start_service(t);
	if (r == -EBADFD)
		postcopy_target_done(t);
	if (r == 0)
		r = watch_interrupts(t);
	if (r < 0)
		return r;
	t->postcopy->state = STATE_RUNNING;
	return 1;
}

void postcopy_target_lost(struct target *t)
{
	struct merr why = MERR_INIT;

	(void)merr_set(&why, -ESRCH, "the guest's VMM ended, with %" PRIu64 " pages still to come",
		       atomic_load(&t->postcopy->placement.missing));
	report_error(t->m, MIGRATION_STATUS_FAILED, &why);
	request_sender_use(&t->postcopy->requests, NULL);
	t->err = why;
	if (t->chan && t->hello.peer == PEER_MIGD) {
		chan_set_cancel(t->chan, -1);
		target_say_goodbye(t);
	}
}

/* What ended reading, when it was not the connection's own end. */
static void explain(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	struct merr why = MERR_INIT;

	if (fd_wait(t->m->pause_fd, POLLIN, -1, 0) > 0)
		(void)merr_set(&why, -ECANCELED, "paused by migrate-pause at the destination: migrate with resume, at the source, "
			       "goes on");
	else if (!urgent_channel_why(pc->urgent, &why))
		(void)fault_service_failure(pc->faults, &why);
	wake_drain(t->m->pause_fd);
	if (merr_is_set(&why))
		t->err = why;
	if (!merr_is_set(&t->err))
		(void)merr_set(&t->err, -ECONNRESET, "the connection to the source was lost");
}

/* What is here is shown nevertheless. */
void postcopy_target_pause(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;

	explain(t);
	log_warning("post-copy is paused, %" PRIu64 " pages are missing: %s guest=\"%s\"", atomic_load(&pc->placement.missing),
		    merr_msg(&t->err), t->m->start.guest);
	request_sender_use(&pc->requests, NULL);
	/* It would try again at once, and nothing would be better. */
	report_error(t->m, MIGRATION_STATUS_POSTCOPY_PAUSED, &t->err);
	FAULT_POINT("postcopy.paused-there");
	if (t->chan && t->hello.peer == PEER_MIGD && !chan_is_lost(t->err.code)) {
		chan_set_cancel(t->chan, -1);
		target_say_goodbye(t);
	}
	merr_clear(&t->err);
}

int postcopy_target_reopen(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	struct handler *ram = handlers_find(&t->handlers, WIRE_RAM_IDSTR, 0);

	/* It may have ended when the last page had not come by the urgent channel yet. */
	ram->ended = false;
	t->receiver.runs = t->hello.features & HELLO_FEATURE_RUNS;
	fault_service_recover(pc->faults);
	pc->reopened = true;
	return open_urgent(t);
}

int postcopy_target_serve(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;
	int r = 0;

	connected(t);
	chan_set_cancel(t->chan, pc->interrupt_fd);
	/* A source that sends little is not a lost one; a lost one is noticed by the system. */
	in_timeout(t->in, 0);
	/* Unless it broke while the guest was made to run. */
	if (!in_error(t->in))
		merr_clear(&t->err);
	if (pc->reopened)
		fault_service_ask_again(pc->faults);
	while (r == 0)
		r = target_receive_one(t);
	if (r > 0)
		r = complete(t);
	if (r == 0) {
		chan_set_cancel(t->chan, -1);
		return 0;
	}
	return vmm_is_gone(t) ? -ESRCH : r;
}

/* ---- connections, and the end ---- */

void postcopy_target_disconnected(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;

	if (!pc || pc->state < STATE_LISTENING || pc->state == STATE_COMPLETE)
		return;
	request_sender_use(&pc->requests, NULL);
	placer_reset(&pc->placer);
	pc->urgent = urgent_channel_free(pc->urgent);
	t->receiver.in = NULL;
}

void postcopy_target_let_go(struct target *t)
{
	if (t->postcopy && t->postcopy->faults && t->postcopy->state < STATE_RUNNING)
		fault_service_give_up(t->postcopy->faults);
}

void postcopy_target_done(struct target *t)
{
	struct postcopy_target *pc = t->postcopy;

	if (!pc)
		return;
	t->receiver.placer = NULL;
	pc->urgent = urgent_channel_free(pc->urgent);
	pc->faults = fault_service_free(pc->faults);
	placement_done(&pc->placement);
	(void)close_fd(pc->interrupt_fd);
	request_sender_done(&pc->requests);
	free(pc);
	t->postcopy = NULL;
}
