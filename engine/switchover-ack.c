/* SPDX-License-Identifier: Apache-2.0 */
/* Capability switchover-ack, both sides. */
#include "engine/switchover-ack.h"

#include <errno.h>
#include <poll.h>

#include <migd/guest.h>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/return-path.h"

/* Between two passes that only wait for the ack. */
#define WAIT_NS (100 * NS_PER_MS)

static int guest_runs(struct source *s, bool *ret)
{
	struct attach_query_reply state;
	int r;

	r = guest_query(&s->guest, &state, &s->err);
	if (r == 0)
		*ret = state.run_state == MIGD_GUEST_RS_RUNNING;
	return r;
}

int switchover_ack_wait(struct source *s)
{
	bool runs = false;
	int r;

	if (s->switchover_acked ||
	    !migration_has_capability(s->m, MIGRATION_CAPABILITY_SWITCHOVER_ACK))
		return 1;
	r = guest_runs(s, &runs);
	if (r < 0)
		return r;
	if (!runs)
		return 1;
	if (in_ready(s->in))
		return 0;
	r = fd_wait(chan_fd(s->chan), POLLIN, s->m->cancel_fd, clock_now_ns() + WAIT_NS);
	if (r == -ECANCELED)
		return merr_set(&s->err, r, "cancelled");
	/* What came is read by the next pass, which waits for its PONG behind it. */
	return 0;
}

int switchover_ack_check(struct target *t)
{
	bool ready = false;
	int r;

	if (t->switchover_acked || t->hello.peer == PEER_NONE ||
	    !migration_has_capability(t->m, MIGRATION_CAPABILITY_SWITCHOVER_ACK))
		return 0;
	r = live_ready(&t->live, &ready, &t->err);
	if (r < 0 || !ready)
		return r;
	t->switchover_acked = true;
	r = rp_send(t->chan, WIRE_RP_SWITCHOVER_ACK, NULL, 0);
	return r < 0 ? merr_set_errno(&t->err, r, "answering the source") : 0;
}
