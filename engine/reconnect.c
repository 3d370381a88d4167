/* SPDX-License-Identifier: Apache-2.0 */
/* The source's way back to its target. */
#include "engine/reconnect.h"

#include <errno.h>
#include <poll.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

/* Before the second attempt; the pauses double up to the parameter reconnect-backoff-max. */
#define PAUSE_FIRST_MS 100

struct reconnect reconnect_plan(uint64_t timeout_ms, int cancel_fd)
{
	bool for_ever = timeout_ms == UINT64_MAX;

	return (struct reconnect){
		.deadline_ns = for_ever ? DEADLINE_NONE : clock_now_ns() + timeout_ms * NS_PER_MS,
		.cancel_fd = cancel_fd,
		.pause_ms = PAUSE_FIRST_MS,
	};
}

bool reconnect_is_final(int code)
{
	return !chan_is_lost(code);
}

/* Whoever is there now, the guest was on its way to a migd. */
int reconnect_open(struct source *s)
{
	enum peer_kind found;
	int r;

	r = source_open_stream(s);
	found = s->peer;
	s->peer = PEER_MIGD;
	if (r == 0 && found != PEER_MIGD)
		r = merr_set(&s->err, -EPROTONOSUPPORT, "what answers at '%s' now is no migd", s->m->start.peer);
	return r;
}

int reconnect_try(struct source *s, struct reconnect *r)
{
	int fd, res;

	r->attempts++;
	merr_clear(&s->err);
	res = migration_connect(s->m, r->cancel_fd, r->deadline_ns, &fd, &s->err);
	if (res == 0)
		res = source_connect(s, fd, r->cancel_fd);
	return res < 0 ? res : reconnect_open(s);
}

int reconnect_pause(struct source *s, struct reconnect *r)
{
	uint64_t until_ns = clock_now_ns() + r->pause_ms * NS_PER_MS;

	if (fd_wait(s->m->answer_fd, POLLIN, r->cancel_fd, min_u64(until_ns, r->deadline_ns)) == -ECANCELED)
		return -ECANCELED;
	r->pause_ms = min_u64(r->pause_ms * 2, atomic_load(&s->m->reconnect_pause_max_ms));
	return clock_now_ns() < r->deadline_ns ? 0 : -ETIMEDOUT;
}

int reconnect_until(struct source *s, struct reconnect *r, int (*agree)(struct source *s))
{
	struct merr why;
	int res;

	for (;;) {
		why = s->err;
		if (r->reports)
			report_reconnect(s->m, r->attempts + 1, &why);
		res = reconnect_try(s, r);
		if (res == 0)
			res = agree(s);
		if (res == 0 || reconnect_is_final(res))
			return res;
		res = reconnect_pause(s, r);
		if (res < 0)
			return res;
	}
}
