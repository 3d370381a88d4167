/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-copy that lost its connection, at the target: what came is kept, and the source waited for, which comes back over another
 * connection (engine/source-resume.c). Only one that knows the handover's id is it; all others are refused.
 *
 * The source may have noticed before this side did: when the old connection is silent, the new one is looked for.
 */
#include "engine/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach/handover.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "engine/return-path.h"

static struct target_connection *next_free(struct target_connection *c)
{
	if (c) {
		(void)in_free(c->in);
		(void)chan_free(c->chan);
	}
	free(c);
	return NULL;
}

void target_resume_done(struct target *t)
{
	t->next = next_free(t->next);
}

/* What a connection is about; the id says that it is the source. -errno, WHY. */
static int receive_purpose(struct target *t, struct target_connection *c, uint16_t *ret_command, struct merr *why)
{
	uint8_t id[ATTACH_ID_LEN];
	uint16_t len;

	if (c->hello.peer != PEER_MIGD || memcmp(c->hello.handover_id, t->guest.id, sizeof(id)) != 0)
		return merr_set(why, -EBUSY, "it is about another migration, and this guest's waits for its own source");
	in_timeout(c->in, OPENING_TIMEOUT_MS);
	if (in_u8(c->in) != WIRE_COMMAND || command_read(c->in, ret_command, &len) < 0 ||
	    command_expect(c->in, *ret_command, len, sizeof(id)) < 0 || in_bytes(c->in, id, sizeof(id)) < 0)
		return in_fail(c->in, -EBADMSG, "a command about the handover was expected");
	if (memcmp(id, t->guest.id, sizeof(id)) != 0)
		return in_fail(c->in, -EBADMSG, "command 0x%x is about another handover", *ret_command);
	if (*ret_command != WIRE_CMD_PRECOPY_RESUME && *ret_command != WIRE_CMD_ABORT)
		return in_fail(c->in, -EBADMSG, "command 0x%x out of place", *ret_command);
	return 0;
}

/* Take one that is there; true: it is the source's. */
static bool take_arrival(struct target *t)
{
	struct target_connection *c = calloc(1, sizeof(*c));
	struct merr why = MERR_INIT;
	int r = c ? target_open(t, t->m->cancel_fd, c, &why) : -ENOMEM;

	if (r < 0) {
		free(c);
		return false;
	}
	r = receive_purpose(t, c, &c->command, &why);
	if (r < 0) {
		target_refuse(t, c->chan, &why);
		(void)next_free(c);
		return false;
	}
	t->next = c;
	return true;
}

/* In a read that has waited for TARGET_LOOK_MS. An in_silence_fn. */
static bool look_around(void *opaque)
{
	struct target *t = opaque;

	if (in_silent_ms(t->in) >= TARGET_IDLE_TIMEOUT_MS)
		return false;
	reception_work(t->reception);
	while (reception_count(t->reception, ARRIVAL_MAIN) > 0)
		if (take_arrival(t))
			return false;
	return true;
}

void target_resume_prepare(struct target *t)
{
	if (!(t->hello.features & HELLO_FEATURE_RESUME))
		return;
	in_on_silence(t->in, look_around, t);
	chan_watch_peer(t->chan, LINK_SILENCE_MS);
}

/* The guest runs at the source, and nothing but the connection is wrong. */
static bool may_resume(const struct target *t)
{
	return (t->hello.features & HELLO_FEATURE_RESUME) && in_is_lost(t->in) && t->mark_ns == 0 && !t->state_given &&
	       !postcopy_target_listens(t) && atomic_load(&t->m->reconnect_timeout_ms) > 0;
}

/* Until the source is there. */
static int await_next(struct target *t, uint64_t timeout_ms)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	int r = 0;

	while (!t->next && r == 0) {
		r = target_await_arrival(t, deadline_ns);
		if (r == 0)
			(void)take_arrival(t);
	}
	return r;
}

/* The stream goes on over the new connection. */
static int go_on(struct target *t)
{
	uint8_t body[ATTACH_ID_LEN + 1];
	int r;

	target_resume_prepare(t);
	t->receiver.in = t->in;
	t->receiver.marks = t->chan;
	t->receiver.last = NULL;
	memcpy(body, t->guest.id, ATTACH_ID_LEN);
	body[ATTACH_ID_LEN] = handlers_load_anew(&t->handlers);
	t->receiver.listed = body[ATTACH_ID_LEN];
	/* It may not have heard. */
	t->switchover_acked = false;
	FAULT_POINT("resume.answering");
	r = rp_send(t->chan, WIRE_RP_PRECOPY_RESUMED, body, sizeof(body));
	FAULT_POINT("resume.answered");
	if (r < 0)
		return in_fail_answer(t->in, r);
	stats_add(t->m->stats, recoveries, 1);
	log_notice("the source is back guest='%s' mig=%s", t->m->start.guest, t->m->start.id);
	return 0;
}

/* The new connection takes the place of the old one. */
static int use_next(struct target *t)
{
	uint64_t features = t->hello.features;
	uint16_t command = t->next->command;

	target_use(t, t->next);
	free(t->next);
	t->next = NULL;
	t->hello.features = features;
	if (command == WIRE_CMD_ABORT)
		return merr_set(&t->err, -ECONNABORTED, "the source gave the migration up: its error says why");
	return go_on(t);
}

int target_resume(struct target *t, int r)
{
	uint64_t timeout_ms = atomic_load(&t->m->reconnect_timeout_ms);
	struct merr why;

	while (may_resume(t)) {
		why = t->err;
		FAULT_POINT("resume.lost-there");
		/* Whoever waits behind the old one sees it gone. */
		chan_shutdown_write(t->chan);
		if (!t->next) {
			log_warning("the connection to the source is lost, waiting %llu ms for another one: %s guest='%s' mig=%s",
				    (unsigned long long)timeout_ms, merr_msg(&why), t->m->start.guest, t->m->start.id);
			report_reconnect(t->m, 0, &why);
		}
		merr_clear(&t->err);
		r = await_next(t, timeout_ms);
		if (r == -ETIMEDOUT)
			return merr_set(&t->err, why.code, "%s; and the source did not come back within %llu ms "
					"(reconnect-timeout)", merr_msg(&why), (unsigned long long)timeout_ms);
		if (r < 0)
			return r;
		r = use_next(t);
		if (r == 0)
			return 0;
	}
	return r;
}
