/* SPDX-License-Identifier: Apache-2.0 */
/* Channels of an outgoing migration: connected, and so far that the stream can begin. */
#include "engine/migration.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/credentials.h"

/* TLS's handshake, to its end. */
static int shake_hands(struct chan *chan, int cancel_fd, struct merr *err)
{
	uint64_t deadline_ns = clock_now_ns() + HANDSHAKE_TIMEOUT_MS * NS_PER_MS;
	short events = 0;
	int r;

	while ((r = chan_handshake(chan, &events, err)) == -EAGAIN) {
		r = fd_wait(chan_fd(chan), events, cancel_fd, deadline_ns);
		if (r == -ECANCELED)
			return merr_set(err, r, "cancelled");
		if (r < 0)
			return merr_set_errno(err, r, "TLS: waiting for the peer's part of the handshake");
	}
	return r;
}

static int begin(struct migration *m, struct chan *chan, int cancel_fd, struct merr *err)
{
	char text[128];
	int r;

	r = credentials_start(m, chan, err);
	if (r == 0)
		r = shake_hands(chan, cancel_fd, err);
	if (r == 0 && chan_describe(chan, text, sizeof(text))[0])
		log_info("connection is encrypted: %s peer=\"%s\" mig=%s", text, m->start.peer, m->start.id);
	return r;
}

int migration_channel(struct migration *m, int fd, int cancel_fd, struct chan **ret, struct merr *err)
{
	struct chan *chan = chan_new(fd, cancel_fd);
	int r;

	if (!chan)
		return merr_set_errno(err, -ENOMEM, "a channel");
	r = begin(m, chan, cancel_fd, err);
	if (r < 0)
		(void)chan_free(chan);
	else
		*ret = chan;
	return r;
}

int migration_open_channel(struct migration *m, struct chan **ret, struct merr *err)
{
	int fd, r;

	r = migration_connect(m, m->cancel_fd, DEADLINE_NONE, &fd, err);
	return r < 0 ? r : migration_channel(m, fd, m->cancel_fd, ret, err);
}
