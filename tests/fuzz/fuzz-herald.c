/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A herald: what its daemon says over the link, and (FUZZ_SECOND) what the other host says on the
 * connection, of which each message's body is a piece. Both are gone afterwards, but for a daemon
 * that says CANCEL, which is not sent: it stays, and has no more to say once all has begun.
 */
/* LIBS: migd_engine */
#include <assert.h>

#include "engine/herald.c" /* its conversation, without the process and its sandbox */
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_message_type types[] = {
	{ LINK_HERALD_START, "", "", &herald_start_type },
	{ LINK_CONNECTION, "", "", &worker_connection_type },
	{ LINK_TLS, "", "", &worker_tls_type },
	{ LINK_SIGNED, "", "", &worker_signed_type },
	{ LINK_AUTHORIZED, "", "", &worker_authorized_type },
	{ LINK_HERALD_ANSWER, "", "", &herald_answer_type },
	{ LINK_CANCEL, "", "", &worker_share_type },
	/* The peer's. */
	{ 1, "", "", &guest_description_type },
};

/* A description with its length, and any other bytes as they are. */
static void say_as_peer(int fd, const struct fuzz_message *m)
{
	uint8_t head[4];

	store_be32(head, (uint32_t)m->body.left);
	if (m->type == 1)
		(void)send(fd, head, sizeof(head), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)send(fd, m->body.p, m->body.left, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* SILENT: the herald's end of a link that the daemon says nothing on; -1: it has said all that it
 * says. */
static void run(int link_fd, int peer_fd, int silent)
{
	struct herald h = { .link = conn_new(link_fd) };
	struct merr err = MERR_INIT;
	int r;

	assert(h.link);
	r = take_start(&h, &err);
	if (r == 0) {
		r = take_connection(&h, &err);
		if (r == 0)
			h.chan = chan_free(h.chan);
		h.chan = chan_new(fd_dup(peer_fd), -1);
		assert(h.chan);
	}
	if (r == 0 && h.start.tls)
		r = take_tls(&h, &err);
	if (silent >= 0) {
		h.link = conn_free(h.link);
		h.link = conn_new(silent);
		assert(h.link);
	}
	if (r == 0)
		r = converse(&h, &err);
	assert(r >= 0 || merr_is_set(&err));
	(void)chan_free(h.chan);
	(void)tls_unref(h.tls);
	herald_start_done(&h.start);
	(void)conn_free(h.link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rcur in = rcur_of(data, size);
	struct fuzz_message m = { 0 };
	int link[2], peer[2], silence[2] = { -1, -1 };
	uint32_t seq = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, peer) < 0)
		abort();
	while (fuzz_message_next(&in, &m))
		if (m.how & FUZZ_SECOND)
			say_as_peer(peer[1], &m);
		else if (m.type == LINK_CANCEL && silence[0] < 0)
			assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, silence) == 0);
		else if (m.type != LINK_CANCEL)
			fuzz_message_send(link[1], &m, ++seq, 1, 0);
	(void)shutdown(link[1], SHUT_WR);
	(void)shutdown(peer[1], SHUT_WR);
	run(link[0], peer[0], silence[0]);
	(void)close_fd(silence[1]);
	(void)close(link[1]);
	(void)close(peer[0]);
	(void)close(peer[1]);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 0, data, size, max_size, seed);
}
