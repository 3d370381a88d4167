/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker's PUBLISH does, also if a former daemon had begun with it. */
#include "daemon/publish.h"

#include <errno.h>

#include "attach/conn.h"
#include "base/cleanup.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/publication.h"

static void on_published(void *opaque, const struct merr *err)
{
	link_published(opaque, err);
}

/* A former daemon may have given the file its name, and not have come to say so. */
static struct publication *find_renamed(const struct migration *m, int fd)
{
	if (fd < 0 || m->addr.type != ADDR_FILE || m->addr.offset != 0)
		return NULL;
	return publication_find_renamed(m->guest->daemon->base, m->addr.text, m->id, fd);
}

int publish_on_message(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	_cleanup_close_ int fd = msg->n_fds == 1 ? conn_msg_take_fd(msg, 0) : -1;
	struct merr why = MERR_INIT;

	if (m->direction != WORKER_DIRECTION_OUTGOING)
		return merr_set(err, -EBADMSG, "worker link: PUBLISH from an incoming migration");
	if (!m->publication)
		m->publication = find_renamed(m, fd);
	if (m->publication) {
		publication_publish(m->publication, on_published, m);
		return 0;
	}
	(void)merr_set(&why, -ESRCH, "a migd that has ended since knew what was being written to");
	link_published(m, &why);
	return 0;
}
