/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a source that is no migd: a QEMU, a file, a pipe. There is no handover in two phases: with the end of the
 * stream the source has let go, so a guest that was loaded is activated at once, and then the source is told (SHUT 0).
 * If that gets lost, a QEMU takes its guest back: docs/design.md says what the weaker promise is.
 */
#include "engine/target.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/postcopy-call.h"
#include "engine/postcopy-recover.h"
#include "engine/return-path.h"

static int call_activate(struct target *t, void *opaque, struct merr *err)
{
	return guest_activate(&t->guest, opaque, err);
}

int target_call_activate(struct target *t, uint64_t *ret_us)
{
	int r = postcopy_call(t, call_activate, ret_us, true);

	/* It waits for a page that did not come: that it runs was decided before. */
	if (r < 0 && postcopy_target_listens(t) && decision_runs(t->m->decision_fd, t->guest.id)) {
		log_warning("the guest runs, and its VMM does not answer: %s guest=\"%s\"", merr_msg(&t->err), t->m->start.guest);
		merr_clear(&t->err);
		return 0;
	}
	return r;
}

int target_take_over(struct target *t)
{
	uint64_t us = 0;
	int r;

	if (fd_wait(t->m->cancel_fd, POLLIN, -1, 0) > 0)
		return merr_set(&t->err, -ECANCELED, "cancelled");
	guest_link_no_cancel(&t->guest);
	if (t->chan)
		chan_set_cancel(t->chan, -1);
	r = target_call_activate(t, &us);
	if (r < 0)
		return r;
	report_handover(t->m, HANDOVER_RUNNING, false);
	stats_set(t->m->stats, blackout_resume_us, us);
	if (postcopy_target_listens(t)) {
		postcopy_target_started(t);
		if (postcopy_target_finish(t) < 0)
			postcopy_target_lost(t);
		return 0;
	}
	if (t->lazy) {
		lazy_restore_serve(t);
		return 0;
	}
	/* Whether this arrives or not: the guest runs here. */
	if (t->hello.peer == PEER_QEMU)
		(void)rp_send_be32(t->chan, WIRE_RP_SHUT, 0);
	report_status(t->m, MIGRATION_STATUS_COMPLETED);
	return 0;
}
