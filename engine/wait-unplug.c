/* SPDX-License-Identifier: Apache-2.0 */
/* The state wait-unplug. */
#include "engine/wait-unplug.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/fd.h"

/* Between two looks: a guest takes milliseconds to seconds to give a device up. */
#define LOOK_EVERY_NS (100 * NS_PER_MS)

int wait_unplug(struct source *s)
{
	int r;

	if (!handlers_unplug_pending(&s->handlers))
		return 0;
	report_status(s->m, MIGRATION_STATUS_WAIT_UNPLUG);
	do {
		r = fd_wait(s->m->cancel_fd, POLLIN, -1, clock_now_ns() + LOOK_EVERY_NS);
		if (r > 0)
			return merr_set(&s->err, -ECANCELED, "cancelled");
		r = source_tick(s);
		if (r == 0)
			r = source_keep_alive(s);
		if (r < 0)
			return r;
	} while (handlers_unplug_pending(&s->handlers));
	return 0;
}
