/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-copy that lost its connection, at the source: while the guest runs here it goes on over another one. What the target did
 * not acknowledge (engine/unacked.h) is dirty again; all the rest is there, and is not sent twice.
 *
 *   S>D  PRECOPY_RESUME id              after the opening of a new connection
 *   D>S  PRECOPY_RESUMED id, u8         1: it has all STARTs
 *   S>D  PART ram ...                   or the STARTs first
 *
 * Once the guest is stopped a lost connection ends the migration: its guest would wait for as long as the network likes.
 */
#include "engine/source.h"

#include <errno.h>

#include "base/fault.h"
#include "base/log.h"
#include "engine/reconnect.h"

/* The target looks for a new connection as soon as the old one is silent, and answers at once. */
#define ANSWER_TIMEOUT_MS 5000

/* A device's chunk may be one of those that got lost, and nobody can have it again. NULL: there is none. */
static const char *device_in_the_way(const struct source *s)
{
	for (size_t i = 0; i < s->live.n; i++)
		if (s->live.sections[i].device.flags & ATTACH_LIVE_SENT)
			return s->live.sections[i].device.name;
	return NULL;
}

int source_resume_prepare(struct source *s)
{
	int r;

	if (!(s->features & HELLO_FEATURE_RESUME))
		return 0;
	r = unacked_start(&s->unacked, &s->ram, &s->asked);
	if (r < 0)
		return merr_set_errno(&s->err, r, "bitmaps");
	ram_source_track(s->sender, &s->unacked);
	chan_watch_peer(s->chan, LINK_SILENCE_MS);
	s->resumes = true;
	return 0;
}

/* And its error is the source's; the peer's last words are better, and say that it gave up. */
static bool connection_is_lost(struct source *s)
{
	int r = out_error(s->out);
	bool lost = in_is_lost(s->in) || (r < 0 && chan_is_lost(r));

	if (lost && r < 0)
		(void)source_stream_failed(s, r);
	return lost && s->err.code != -EREMOTEIO;
}

/* A reconnect_until() function: the one there goes on with the guest that it has. */
static int agree(struct source *s)
{
	struct rp_msg m;
	int r;

	if (!(s->features & HELLO_FEATURE_RESUME))
		return merr_set(&s->err, -EPROTONOSUPPORT, "the destination is another one now, which does not know of this "
				"migration");
	source_command(s, WIRE_CMD_PRECOPY_RESUME);
	FAULT_POINT("resume.asked");
	r = source_await(s, WIRE_RP_PRECOPY_RESUMED, ANSWER_TIMEOUT_MS, &m);
	if (r == 0)
		r = rp_check_id(s->in, &m, s->m->handover_id);
	if (r == 0 && m.len != ATTACH_ID_LEN + 1)
		r = in_fail(s->in, -EBADMSG, "return path: PRECOPY_RESUMED of %u bytes", m.len);
	if (r == 0)
		s->begun_there = m.body[ATTACH_ID_LEN] != 0;
	/* It was told of post-copy before the STARTs, and may not have heard it. */
	if (r == 0 && !s->begun_there && s->ram.postcopy)
		return merr_set(&s->err, -EPROTO, "the connection was lost before the migration had begun there: try again");
	return r;
}

/* Over the new connection. If that breaks as well, the next pass will notice. */
static int go_on(struct source *s, uint64_t attempts)
{
	uint64_t pages = unacked_take_back(&s->unacked);
	int r;

	FAULT_POINT("resume.agreed");
	s->answered = s->asked;
	source_listen(s);
	chan_watch_peer(s->chan, LINK_SILENCE_MS);
	r = ram_source_begin_anew(s->sender, s->out, &s->err);
	if (r == 0 && !s->begun_there)
		r = handlers_setup(&s->handlers, s->out, &s->err);
	FAULT_POINT("resume.begun-anew");
	if (r < 0 && !out_error(s->out))
		return r;
	stats_add(s->m->stats, recoveries, 1);
	log_notice("going on over a new connection guest='%s' mig=%s: attempt %llu, %llu pages are sent again", s->m->start.guest,
		   s->m->start.id, (unsigned long long)attempts, (unsigned long long)pages);
	return 0;
}

/* There is no other connection, for LAST; that the first one broke is how it began. */
static int give_up(struct source *s, const struct merr *why, uint64_t timeout_ms)
{
	struct merr last = s->err;
	bool final = reconnect_is_final(last.code);

	/* Who refuses, or cannot be reached, need not be told, or cannot be. */
	s->resumes = false;
	merr_clear(&s->err);
	if (final)
		return merr_set(&s->err, why->code, "%s; and there is no going on: %s", merr_msg(why), merr_msg(&last));
	return merr_set(&s->err, why->code, "%s; and for %llu ms (reconnect-timeout) no new connection was to be had: %s",
			merr_msg(why), (unsigned long long)timeout_ms, merr_msg(&last));
}

int source_resume(struct source *s, int r)
{
	uint64_t timeout_ms = atomic_load(&s->m->reconnect_timeout_ms);
	struct reconnect plan = reconnect_plan(timeout_ms, s->m->cancel_fd);
	const char *device = device_in_the_way(s);
	struct merr why;

	if (!s->resumes || !connection_is_lost(s) || timeout_ms == 0)
		return r;
	why = s->err;
	if (device) {
		merr_clear(&s->err);
		return merr_set(&s->err, why.code, "%s; what device '%s' sent cannot be sent again over another connection",
				merr_msg(&why), device);
	}
	log_warning("the connection is lost, trying to have another one for %llu ms: %s guest='%s' mig=%s",
		    (unsigned long long)timeout_ms, merr_msg(&why), s->m->start.guest, s->m->start.id);
	FAULT_POINT("resume.lost");
	plan.reports = true;
	r = reconnect_until(s, &plan, agree);
	if (r == -ECANCELED)
		return r;
	return r < 0 ? give_up(s, &why, timeout_ms) : go_on(s, plan.attempts);
}

/* A reconnect_until() function. The target says in its own words that it gave up, too. */
static int say_abort(struct source *s)
{
	struct rp_msg m;

	source_command(s, WIRE_CMD_ABORT);
	return source_await(s, WIRE_RP_NOT_ACTIVE, ANSWER_TIMEOUT_MS, &m);
}

void source_tell_given_up(struct source *s)
{
	struct reconnect plan = reconnect_plan(atomic_load(&s->m->reconnect_timeout_ms), -1);

	/* The target sees the end of this connection, and then the next one. */
	s->out = out_free(s->out);
	s->in = in_free(s->in);
	s->chan = chan_free(s->chan);
	(void)reconnect_until(s, &plan, say_abort);
}
