/* SPDX-License-Identifier: Apache-2.0 */
/* A destination waits for its turn. */
#include "engine/turn.h"

#include <errno.h>
#include <poll.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/return-path.h"
#include "engine/target.h"
#include "engine/wire.h"

/* A source gives up after ten seconds of silence. A PONG that nobody asked for says nothing, but breaks it. */
#define ALIVE_NS (3 * NS_PER_SEC)

/* A migd waits for our word: if it hangs up, it is gone. Another may have sent all there is, and hung up because of that. */
static bool can_leave(const struct target *t)
{
	return t->hello.peer == PEER_MIGD;
}

static bool has_left(const struct target *t)
{
	struct pollfd p = { .fd = chan_fd(t->chan), .events = POLLRDHUP };

	return can_leave(t) && poll(&p, 1, 0) > 0;
}

/* Until something may have changed, or it is time to say that we are there. */
static void sleep_until(struct target *t, uint64_t alive_ns)
{
	struct pollfd p[] = {
		{ .fd = t->m->answer_fd, .events = POLLIN },
		{ .fd = t->m->cancel_fd, .events = POLLIN },
		{ .fd = conn_fd(t->guest.conn), .events = POLLIN },
		{ .fd = reception_fd(t->reception), .events = POLLIN },
		{ .fd = can_leave(t) ? chan_fd(t->chan) : -1, .events = POLLRDHUP },
	};

	(void)poll(p, ARRAY_SIZE(p), clock_poll_ms(min_u64(alive_ns, reception_deadline(t->reception))));
	wake_drain(t->m->answer_fd);
}

/* 0: go on waiting. */
static int look(struct target *t, uint64_t *alive_ns)
{
	int r;

	/* Other channels of this source's are connecting. */
	reception_work(t->reception);
	if (fd_wait(t->m->cancel_fd, POLLIN, -1, 0) > 0)
		return merr_set(&t->err, -ECANCELED, "cancelled");
	r = guest_link_poll(&t->guest, &t->err);
	if (r < 0)
		return r;
	if (clock_now_ns() >= *alive_ns && can_leave(t)) {
		*alive_ns = clock_now_ns() + ALIVE_NS;
		if (rp_send_be32(t->chan, WIRE_RP_PONG, 0) < 0)
			return 1;
	}
	return has_left(t);
}

/* The source left: the next one is waited for, if there can be one. */
static int go_on_listening(struct target *t)
{
	(void)merr_set(&t->err, -ENOTCONN, "the source left while it waited for its turn");
	if (!reception_open(t->reception))
		return -ENOTCONN;
	log_info("%s, still listening guest=\"%s\"", merr_msg(&t->err), t->m->start.guest);
	target_disconnect(t);
	return 1;
}

int turn_await(struct target *t)
{
	uint64_t alive_ns = clock_now_ns() + ALIVE_NS;
	uint32_t ticket = migration_ask_turn(t->m);
	int r = 0;

	while (r == 0 && !migration_has_turn(t->m, ticket)) {
		sleep_until(t, alive_ns);
		r = look(t, &alive_ns);
	}
	if (r != 0)
		migration_leave_queue(t->m);
	return r > 0 ? go_on_listening(t) : r;
}
