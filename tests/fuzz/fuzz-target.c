/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target's worker, from the magic of a stream to its end: opening, sections, commands, packages,
 * and what is announced for post-copy. The VMM's library is a thread that answers what has to be
 * answered; a device of its takes as many bytes as the first one says. The input's first byte: 1:
 * there is no way back, 2: post-copy is on, 4: only pages may come, 0x80: memory is 16 MiB, as in
 * captured streams, else 1 MiB.
 */
/* LIBS: migd_engine */
#include <assert.h>

#include "attach/codec.h"
#include "engine/report.h"
#include "engine/target.c" /* its steps */
#include "engine/worker.c" /* migration_init() */
#include "messages.h"

/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the library ---- */

static void answer_feed(struct conn *c, const struct conn_msg *m)
{
	struct attach_state_feed_reply reply = { .done = 1 };
	struct rcur body = m->body;
	struct attach_state_feed req;
	uint8_t bytes[16];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	assert(attach_state_feed_decode(&body, &req, NULL) == 0 && req.bytes.len > 0);
	reply.consumed = (uint32_t)min_u64(req.bytes.len, ((const uint8_t *)req.bytes.data)[0]);
	(void)attach_state_feed_reply_encode(&w, &reply);
	(void)conn_reply(c, m, bytes, w.len, NULL, 0);
}

static void answer(struct conn *c, const struct conn_msg *m)
{
	static const uint8_t zeroes[16], begun[9] = { HANDOVER_INCOMING };
	struct merr err = MERR_INIT;
	int fd;

	switch (m->type) {
	case ATTACH_STATE_FEED:
		answer_feed(c, m);
		break;
	case ATTACH_STATE_FEED_END:
	case ATTACH_STATE_LOAD:
		(void)conn_reply(c, m, zeroes, 8, NULL, 0);
		break;
	case ATTACH_LIVE_TABLE:
	case ATTACH_CONFIG_CHECK:
		(void)conn_reply(c, m, zeroes, 12, NULL, 0);
		break;
	case ATTACH_HANDOVER_BEGIN:
		(void)conn_reply(c, m, begun, sizeof(begun), NULL, 0);
		break;
	case ATTACH_RECEIVED_MAPS:
		fd = fuzz_fd_map();
		(void)conn_reply(c, m, NULL, 0, &fd, 1);
		(void)close(fd);
		break;
	default:
		(void)merr_set(&err, -EOPNOTSUPP, "not here");
		(void)conn_reply_error(c, m, &err);
	}
}

static void *library(void *opaque)
{
	struct conn *c = opaque;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = 0;

	while (r >= 0) {
		(void)fd_wait(conn_fd(c), POLLIN, -1, DEADLINE_NONE);
		r = conn_recv(c, &m, &err);
		if (r <= 0)
			continue;
		answer(c, &m);
		conn_msg_done(&m);
	}
	return NULL;
}

/* ---- the worker ---- */

static void migration_begin(struct migration *m, unsigned int how)
{
	static enum migration_capability postcopy[] = { MIGRATION_CAPABILITY_POSTCOPY_RAM };

	assert(migration_init(m) == 0 && stats_page_create(&m->stats, &m->stats_fd) == 0);
	m->start.id = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
	m->start.guest = (char *)(uintptr_t) "vm";
	m->start.capabilities = postcopy;
	m->start.n_capabilities = how & 2 ? 1 : 0;
}

static void migration_end(struct migration *m)
{
	const int fds[] = { m->stats_fd,  m->cancel_fd,  m->report_fd,
			    m->answer_fd, m->arrival_fd, m->pause_fd };
	struct report *r;

	while ((r = report_take(m)))
		free(r);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close_fd(fds[i]);
	stats_page_unmap(m->stats);
	free(m->preflight);
}

/* As receive() does with the one connection that there is. */
static void receive_one(struct target *t, unsigned int how)
{
	int r = opening_receive(t->in, t->chan, !(how & 1), HELLO_FEATURES_ALL, &t->hello);
	struct preflight p;

	if (r == 0)
		r = preflight_receive(t, &p);
	if (r == 0 && p.only) {
		(void)answer_preflight(t, &p);
		return;
	}
	if (r == 0)
		r = check_guest(t, &p);
	if (r == 0)
		r = begin(t);
	if (r == 0)
		r = how & 4 ? target_receive_pages(t) : target_receive_stream(t);
	assert(r == 0 || merr_is_set(&t->err));
}

static void open_target(struct target *t, struct migration *m, uint64_t ram, int guest_fd,
			int stream_fd)
{
	struct attach_ram_block row = { .name = "ram", .len = ram, .page_size = 4096 };

	*t = (struct target){ .m = m, .err = MERR_INIT };
	assert(guest_link_init(&t->guest, guest_fd, m->cancel_fd) == 0);
	assert(ram_add(&t->ram, &row, fd_memfd("fuzz", ram), NULL) == 0);
	t->chan = chan_new(stream_fd, -1);
	t->in = in_new(t->chan, m->stats, &t->err);
	assert(t->in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct migration m;
	static struct target t;
	int guest[2], stream[2];
	struct conn *other;
	pthread_t thread;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	log_init("fuzz", LOG_TARGET_NONE, LOG_DEBUG);
	(void)signal(SIGPIPE, SIG_IGN);
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guest) == 0 &&
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) == 0);
	assert(fd_write_full(stream[1], data + 1, size - 1) == 0);
	(void)shutdown(stream[1], SHUT_WR);
	migration_begin(&m, data[0]);
	open_target(&t, &m, data[0] & 0x80 ? 16 * MIB : MIB, guest[0], stream[0]);
	other = conn_new(guest[1]);
	assert(other && pthread_create(&thread, NULL, library, other) == 0);
	receive_one(&t, data[0]);
	target_done(&t);
	(void)pthread_join(thread, NULL);
	(void)conn_free(other);
	(void)close(stream[1]);
	migration_end(&m);
	return 0;
}

/* C: a command, R: a section, P: a RAM record. */
static const struct grammar_row rows[] = {
	{ 'S', "QEVM<00 00 00 03><07><00 00 00 04>none<O*><T><C*><R*><E>" },
	{ 'S', "QEVM<00 00 00 03><07><00 00 00 04>none<O><H><T><C*><G>" },
	{ 'O', "<08><00 01><00 00>" },
	{ 'O', "<08><00 01><00 00><08><00 02><00 04>migd" },
	{ 'O', "<08><00 03><00 10><00 00 00 00 00 00 10 00><00 00 00 00 00 00 10 00>" },
	{ 'H', "<08><4d 01><00 1d><00 01><00 00 00 00 00 00 00 01>iiiiiiiiiiiiiiii<02>vm" },
	{ 'T', "<01><00 00 00 02><03>ram<00 00 00 00><00 00 00 04><L><P*><00 00 00 00 00 00 00 "
	       "10><7e><00 00 00 02>" },
	{ 'L', "<00 00 00 00 00 10 00 04><03>ram<00 00 00 00 00 10 00 00>" },
	{ 'P', "<00 00 00 00 00 00 00 02><03>ram<00>" },
	{ 'P', "<00 00 00 00 00 0f f0 08><03>ram<#4096>" },
	{ 'P', "<#8><03>ram<00>" },
	{ 'R', "<02><00 00 00 02><P*><00 00 00 00 00 00 00 10><7e><00 00 00 02>" },
	{ 'R', "<03><00 00 00 02><P*><00 00 00 00 00 00 00 10><7e><00 00 00 02>" },
	{ 'R', "<04><00 00 00 09><03>dev<00 00 00 00><00 00 00 01><04>abc<7e><00 00 00 09>" },
	{ 'R', "<04><00 00 00 07><05>timer<00 00 00 00><00 00 00 02><#24><7e><00 00 00 07>" },
	{ 'R', "<C>" },
	{ 'C', "<08><00 02><00 04><#4>" },
	{ 'C', "<08><4d 02><00 00>" },
	{ 'C', "<08><00 03><00 10><00 00 00 00 00 00 10 00><00 00 00 00 00 00 10 00>" },
	{ 'C', "<08><00 06><=2 D>" },
	{ 'C', "<08><#2><=2 B>" },
	{ 'C', "<G>" },
	{ 'D', "<00><03>ram<00><00 00 00 00 00 00 10 00><00 00 00 00 00 00 10 00>" },
	{ 'D', "<00><03>ram<00><#8><#8>" },
	{ 'G', "<08><00 07><00 04><=4 B>" },
	{ 'B', "<R*><00>" },
	{ 'B', "<08><00 04><00 00><R*><08><00 05><00 00>" },
	{ 'B', "<04><00 00 00 09><03>dev<00 00 00 00><00 00 00 01><04>abc<7e><00 00 00 09><00>" },
	{ 'E', "<00>" },
	{ 'E', "<00><06><00 00 00 02>{}" },
	{ 0, NULL },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return grammar_mutate(rows, 'S', fuzz_random(&seed) % 2 ? 'C' : 'R', 1, data, size,
			      max_size, seed);
}
