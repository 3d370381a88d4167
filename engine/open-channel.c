/* SPDX-License-Identifier: Apache-2.0 */
/* One more channel of an outgoing migration: parallel ones go beside the main one. */
#include "engine/migration.h"

#include <errno.h>

int migration_open_channel(struct migration *m, struct chan **ret, struct merr *err)
{
	struct chan *chan;
	int fd, r;

	r = migration_connect(m, m->cancel_fd, &fd, err);
	if (r < 0)
		return r;
	chan = chan_new(fd, m->cancel_fd);
	if (!chan)
		return merr_set_errno(err, -ENOMEM, "one more channel");
	*ret = chan;
	return 0;
}
