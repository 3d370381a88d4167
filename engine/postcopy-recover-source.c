/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy's source without a connection. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/page-server.h"
#include "engine/postcopy-recover.h"
#include "engine/postcopy-source.h"
#include "engine/reconnect.h"
#include "engine/recv-bitmap.h"

/* For each answer; none of them takes the target's library. */
#define ANSWER_TIMEOUT_MS 10000

/* What an attempt came to. */
enum result {
	RESULT_LOST = 1,   /* the connection is of no use, for the reason in the source's error */
	RESULT_COMPLETE,   /* the target has all */
	RESULT_NEVER,      /* it does not run the guest, and never will */
	RESULT_INCOMPLETE, /* it runs, and pages are missing */
};

struct recovery {
	struct source *s;
	struct reconnect plan;
	bool by_hand;	/* an operator brings the connection */
	bool runs;	/* the target is known to run the guest */
};

/* A connection was just lost. */
static struct reconnect new_plan(const struct source *s)
{
	uint64_t ms = atomic_load(&s->m->postcopy_reconnect_timeout_ms);

	return reconnect_plan(ms ? ms : UINT64_MAX, -1);
}

/* ---- pausing ---- */

/* True: an operator wants it, here or (it said so) at the target. */
static bool was_asked_for(struct source *s)
{
	bool asked = fd_wait(s->m->pause_fd, POLLIN, -1, 0) > 0;

	wake_drain(s->m->pause_fd);
	if (asked) {
		merr_clear(&s->err);
		(void)merr_set(&s->err, -ECANCELED, "paused by migrate-pause: migrate with resume goes on");
	}
	return asked || s->err.code == -EREMOTEIO;
}

static void explain(struct source *s)
{
	if (s->out && out_error(s->out))
		(void)source_stream_failed(s, out_error(s->out));
	if (!merr_is_set(&s->err))
		(void)merr_set(&s->err, -ECONNRESET, "the connection to the destination was lost");
}

/* The connection is of no use any more. */
static void pause_postcopy(struct recovery *r)
{
	struct source *s = r->s;

	explain(s);
	r->by_hand |= was_asked_for(s);
	s->server = page_server_free(s->server);
	source_disconnect(s);
	log_warning("post-copy is paused: %s guest=\"%s\"", merr_msg(&s->err), s->m->start.guest);
	report_handover(s->m, HANDOVER_RELEASED, true);
	report_error(s->m, MIGRATION_STATUS_POSTCOPY_PAUSED, &s->err);
	FAULT_POINT("postcopy.paused");
}

/* ---- a connection ---- */

static bool operator_decided(const struct recovery *r)
{
	return atomic_load(&r->s->m->resolve) != RESOLVE_NONE;
}

static int await_socket(struct recovery *r, int *ret_fd)
{
	struct migration *m = r->s->m;

	while ((*ret_fd = migration_take_recovery(m)) < 0) {
		if (operator_decided(r))
			return -ECANCELED;
		(void)fd_wait(m->answer_fd, POLLIN, -1, DEADLINE_NONE);
		wake_drain(m->answer_fd);
	}
	return 0;
}

static int connect_again(struct recovery *r)
{
	struct source *s = r->s;
	int fd, res;

	merr_clear(&s->err);
	res = r->by_hand ? await_socket(r, &fd) : migration_connect(s->m, -1, r->plan.deadline_ns, &fd, &s->err);
	if (res < 0)
		return res;
	report_status(s->m, MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP);
	res = source_connect(s, fd, s->m->pause_fd);
	if (res < 0)
		return res;
	report_status(s->m, MIGRATION_STATUS_POSTCOPY_RECOVER);
	FAULT_POINT("postcopy.reconnected");
	atomic_store(&s->m->rate.lifted, true);
	return s->peer == PEER_MIGD ? reconnect_open(s) : 0;
}

/* ---- what is missing ---- */

static enum result ask(struct source *s)
{
	struct rp_msg m;

	source_command(s, WIRE_CMD_ASK);
	FAULT_POINT("postcopy.recover-asked");
	in_timeout(s->in, ANSWER_TIMEOUT_MS);
	if (rp_read(s->in, &m) < 0)
		return RESULT_LOST;
	switch (m.type) {
	case WIRE_RP_INCOMPLETE:
	case WIRE_RP_ACTIVE:
	case WIRE_RP_NOT_ACTIVE:
		if (rp_check_id(s->in, &m, s->m->handover_id) < 0)
			return RESULT_LOST;
		return m.type == WIRE_RP_INCOMPLETE ? RESULT_INCOMPLETE :
		       m.type == WIRE_RP_ACTIVE ? RESULT_COMPLETE : RESULT_NEVER;
	default:
		(void)source_take_message(s, &m);
		return RESULT_LOST;
	}
}

static int take_bitmap(struct source *s, struct ram_file *b)
{
	size_t len = strlen(b->name);
	struct rp_msg m = { 0 };
	int r;

	command_begin(s->out, WIRE_CMD_RECV_BITMAP, (uint16_t)(1 + len));
	out_str8(s->out, b->name);
	r = out_flush(s->out);
	if (r == 0)
		r = source_await(s, WIRE_RP_RECV_BITMAP, ANSWER_TIMEOUT_MS, &m);
	if (r < 0)
		return r;
	if (m.len != 1 + len || m.body[0] != len || memcmp(m.body + 1, b->name, len) != 0)
		return in_fail(s->in, -EBADMSG, "return path: RECV_BITMAP of another block than '%s'", b->name);
	in_timeout(s->in, ANSWER_TIMEOUT_MS);
	return recv_bitmap_read(s->in, b);
}

/* One after the other: a target writes a bitmap before it reads on. */
static int take_bitmaps(struct source *s)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->ram.n_blocks; i++)
		r = take_bitmap(s, &s->ram.blocks[i]);
	return r;
}

static int open_server(struct source *s)
{
	struct handler *ram = handlers_find(&s->handlers, WIRE_RAM_IDSTR, 0);

	/* If the connection broke behind the last page, the section's end goes over the next one again. */
	ram->ended = false;
	ram_source_use(s->sender, s->out);
	s->server = page_server_new(s);
	if (!s->server)
		return s->err.code;
	page_server_released(s->server);
	return 0;
}

static int await_ack(struct source *s)
{
	struct rp_msg m;
	struct rcur c;
	int r = source_await(s, WIRE_RP_RESUME_ACK, ANSWER_TIMEOUT_MS, &m);

	if (r < 0)
		return r;
	c = rcur_of(m.body, m.len);
	if (rcur_be32(&c) != 1 || c.bad || c.left)
		return in_fail(s->in, -EBADMSG, "return path: RESUME_ACK of %u bytes, or not 1", m.len);
	return 0;
}

static int resume(struct source *s)
{
	int r = take_bitmaps(s);

	FAULT_POINT("postcopy.bitmaps-received");
	if (r == 0)
		r = open_server(s);
	if (r < 0)
		return r;
	out_on_input(s->out, source_take_input, s);
	command_begin(s->out, WIRE_CMD_POSTCOPY_RESUME, 0);
	r = out_flush(s->out);
	FAULT_POINT("postcopy.resume-sent");
	return r < 0 ? r : await_ack(s);
}

static enum result attempt(struct recovery *r)
{
	struct source *s = r->s;
	enum result res;
	int served;

	if (connect_again(r) < 0)
		return RESULT_LOST;
	res = s->peer == PEER_MIGD ? ask(s) : RESULT_INCOMPLETE;
	if (res != RESULT_INCOMPLETE)
		return res;
	r->runs = true;
	if (resume(s) < 0)
		return RESULT_LOST;
	log_info("post-copy goes on, %llu pages are missing guest=\"%s\"", (unsigned long long)ram_todo_pages(&s->ram),
		 s->m->start.guest);
	stats_add(s->m->stats, recoveries, 1);
	FAULT_POINT("postcopy.resumed");
	report_handover(s->m, HANDOVER_RELEASED, false);
	r->by_hand = s->peer != PEER_MIGD;
	served = postcopy_serve(s);
	r->plan = new_plan(s);
	return served < 0 ? RESULT_LOST : RESULT_COMPLETE;
}

/* ---- the operator's word ---- */

/* True: that is its end. */
static bool obey(struct recovery *r, enum source_end *ret)
{
	struct source *s = r->s;

	switch (atomic_exchange(&s->m->resolve, RESOLVE_NONE)) {
	case RESOLVE_DISCARD:
		*ret = source_retire(s);
		return true;
	case RESOLVE_RUN:
		if (!migration_has_capability(s->m, MIGRATION_CAPABILITY_RELEASE_RAM)) {
			*ret = source_reclaim(s, "an operator decided so by migrate-resolve, in the midst of post-copy");
			return true;
		}
		merr_clear(&s->err);
		(void)merr_set(&s->err, -ENODATA,
			       "the guest cannot run here any more, capability release-ram freed what was sent: migrate with resume "
			       "goes on, migrate-resolve with discard gives it up");
		log_warning("%s guest=\"%s\"", merr_msg(&s->err), s->m->start.guest);
		report_error(s->m, MIGRATION_STATUS_POSTCOPY_PAUSED, &s->err);
		return false;
	default:
		return false;
	}
}

/* Before the next attempt, unless it is an operator's. */
static void back_off(struct recovery *r)
{
	struct source *s = r->s;

	if (r->by_hand || operator_decided(r) || reconnect_pause(s, &r->plan) != -ETIMEDOUT)
		return;
	r->by_hand = true;
	(void)merr_prefix(&s->err, "connecting again was given up after %llu ms (postcopy-reconnect-timeout), migrate with resume goes "
			  "on", (unsigned long long)atomic_load(&s->m->postcopy_reconnect_timeout_ms));
}

enum source_end postcopy_recover(struct source *s, bool runs)
{
	struct recovery r = { .s = s, .plan = new_plan(s), .runs = runs };
	enum source_end end;

	r.by_hand = s->peer != PEER_MIGD || !s->m->start.redial;
	for (;;) {
		pause_postcopy(&r);
		if (obey(&r, &end)) {
			s->last_word = 0; /* the target runs the guest, or did: it waits for none */
			return end;
		}
		switch (attempt(&r)) {
		case RESULT_COMPLETE:
			return source_retire(s);
		case RESULT_NEVER:
			if (r.runs)
				(void)merr_set(&s->err, -EPROTO, "the destination ran the guest, and now says that it does not");
			else
				return source_reclaim(s, "the target does not run the guest");
			break;
		default:
			break;
		}
		back_off(&r);
	}
}
