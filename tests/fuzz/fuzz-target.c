/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target's worker, from the magic of a stream to its end: opening, sections, commands, packages,
 * and post-copy until the connection ends. The VMM's library is a thread that answers what has to
 * be answered; a device of its takes as many bytes as the first one says. The input's first byte:
 * 1: there is no way back, 2: post-copy is on, 4: only pages may come, 8: the VMM has a
 * userfaultfd, and a vCPU, 16: memory is in huge pages, 0x80: it is 16 MiB, as in captured streams,
 * else 1 MiB, or one huge page.
 */
/* LIBS: migd_engine */
/* SOURCES: ../engine/userfaultfd.c */
#include <assert.h>
#include <sys/mman.h>

#include "attach/codec.h"
#include "engine/report.h"
#include "engine/target.c" /* its steps */
#include "engine/worker.c" /* migration_init() */
#include "messages.h"
#include "tests/engine/userfaultfd.h"

/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536

/* What a vCPU looks at. */
#define VCPU_PAGES 64

enum how {
	HOW_NO_WAY_BACK = 1,
	HOW_POSTCOPY = 2,
	HOW_PAGES_ONLY = 4,
	HOW_USERFAULTFD = 8,
	HOW_HUGE = 16,
	HOW_LARGE = 0x80,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the VMM ---- */

struct vmm {
	struct conn *conn;
	pthread_t library, vcpu;
	uint8_t *memory;
	uint64_t len;
	bool can_wait; /* for pages */
	int uffd;      /* -1: nobody waits */
};

/*
 * One byte of each page, by the kernel: valgrind, which runs one thread at a time, lets others run
 * meanwhile.
 */
static void *vcpu(void *opaque)
{
	struct vmm *v = opaque;
	int sink = fd_memfd("sink", 1);

	for (uint64_t page = 0; page < VCPU_PAGES; page++)
		assert(pwrite(sink, v->memory + page * WIRE_PAGE_SIZE, 1, 0) == 1);
	(void)close(sink);
	return NULL;
}

static void refuse(struct conn *c, const struct conn_msg *m)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -EOPNOTSUPP, "not here");
	(void)conn_reply_error(c, m, &err);
}

static void answer_uffd_open(struct vmm *v, const struct conn_msg *m)
{
	struct attach_uffd_open_reply reply = { .existing = v->uffd >= 0 };
	uint8_t bytes[32];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	if (v->can_wait && v->uffd < 0) {
		v->uffd = userfaultfd_for_missing_if_any(v->memory, v->len);
		assert(v->uffd < 0 || pthread_create(&v->vcpu, NULL, vcpu, v) == 0);
	}
	if (v->uffd < 0) {
		refuse(v->conn, m);
		return;
	}
	(void)attach_uffd_open_reply_encode(&w, &reply);
	(void)conn_reply(v->conn, m, bytes, w.len, &v->uffd, 1);
}

static void answer_received_maps(struct vmm *v, const struct conn_msg *m)
{
	struct dirty_map map;
	int fd;

	assert(dirty_map_create(v->len / DIRTY_PAGE_SIZE, &map, &fd) == 0);
	dirty_map_done(&map);
	(void)conn_reply(v->conn, m, NULL, 0, &fd, 1);
	(void)close(fd);
}

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

static void answer(struct vmm *v, const struct conn_msg *m)
{
	static const uint8_t zeroes[16], begun[9] = { HANDOVER_INCOMING };
	struct conn *c = v->conn;

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
		answer_received_maps(v, m);
		break;
	case ATTACH_MEMO_SET:
	case ATTACH_UFFD_END:
		(void)conn_reply(c, m, NULL, 0, NULL, 0);
		break;
	case ATTACH_UFFD_OPEN:
		answer_uffd_open(v, m);
		break;
	default:
		refuse(c, m);
	}
}

static void *library(void *opaque)
{
	struct vmm *v = opaque;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = 0;

	while (r >= 0) {
		(void)fd_wait(conn_fd(v->conn), POLLIN, -1, DEADLINE_NONE);
		r = conn_recv(v->conn, &m, &err);
		if (r <= 0)
			continue;
		answer(v, &m);
		conn_msg_done(&m);
	}
	return NULL;
}

/* Its memory is what MEMORY_FD has. */
static void vmm_start(struct vmm *v, unsigned int how, int fd, int memory_fd, uint64_t len)
{
	*v = (struct vmm){
		.conn = conn_new(fd), .len = len, .can_wait = how & HOW_USERFAULTFD, .uffd = -1
	};
	v->memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	assert(v->conn && v->memory != MAP_FAILED);
	assert(pthread_create(&v->library, NULL, library, v) == 0);
}

/* Once the worker has closed what it had of it: whoever waits for a page gets what is there. */
static void vmm_end(struct vmm *v)
{
	(void)pthread_join(v->library, NULL);
	if (v->uffd >= 0) {
		v->uffd = close_fd(v->uffd);
		(void)pthread_join(v->vcpu, NULL);
	}
	(void)munmap(v->memory, v->len);
	(void)conn_free(v->conn);
}

/* ---- the worker ---- */

static void migration_begin(struct migration *m, unsigned int how)
{
	static enum migration_capability postcopy[] = { MIGRATION_CAPABILITY_POSTCOPY_RAM };

	assert(migration_init(m) == 0 && stats_page_create(&m->stats, &m->stats_fd) == 0);
	m->start.id = (char *)(uintptr_t) "00112233445566778899aabbccddeeff";
	m->start.guest = (char *)(uintptr_t) "vm";
	m->start.capabilities = postcopy;
	m->start.n_capabilities = how & HOW_POSTCOPY ? 1 : 0;
}

static void migration_end(struct migration *m)
{
	const int fds[] = { m->stats_fd,   m->cancel_fd, m->report_fd, m->answer_fd,
			    m->arrival_fd, m->pause_fd,  m->told_fd };
	struct report *r;

	while ((r = report_take(m)))
		free(r);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close_fd(fds[i]);
	stats_page_unmap(m->stats);
	free(m->preflight);
}

/* As target_settle() and target_take_over() do, once the guest runs. */
static void run_guest(struct target *t)
{
	postcopy_target_started(t);
	if (postcopy_target_serve(t) < 0)
		postcopy_target_pause(t);
	postcopy_target_disconnected(t);
}

/* As receive() does with the one connection that there is. */
static void receive_one(struct target *t, unsigned int how)
{
	int r = opening_receive(t->in, t->chan, !(how & HOW_NO_WAY_BACK), HELLO_FEATURES_ALL,
				&t->hello);
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
		r = how & HOW_PAGES_ONLY ? target_receive_pages(t) : target_receive_stream(t);
	assert(r == 0 || merr_is_set(&t->err));
	if (r == 0 && postcopy_target_listens(t))
		run_guest(t);
	else
		postcopy_target_let_go(t);
}

static void open_target(struct target *t, struct migration *m, const struct attach_ram_block *row,
			int memory_fd, int guest_fd, int stream_fd)
{
	*t = (struct target){ .m = m, .err = MERR_INIT };
	assert(guest_link_init(&t->guest, guest_fd, m->cancel_fd) == 0);
	assert(ram_add(&t->ram, row, memory_fd, NULL) == 0);
	t->chan = chan_new(stream_fd, -1);
	t->in = in_new(t->chan, m->stats, &t->err);
	assert(t->in);
}

static struct attach_ram_block ram_row(unsigned int how)
{
	uint64_t page_size = how & HOW_HUGE ? 2 * MIB : WIRE_PAGE_SIZE;

	return (struct attach_ram_block){
		.name = "ram",
		.len = how & HOW_LARGE ? 16 * MIB : max_u64(MIB, page_size),
		.page_size = page_size,
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct migration m;
	static struct target t;
	int guest[2], stream[2], memory;
	struct attach_ram_block row;
	struct vmm v;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	log_init("fuzz", LOG_TARGET_NONE, LOG_DEBUG);
	(void)signal(SIGPIPE, SIG_IGN);
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guest) == 0 &&
	       socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) == 0);
	assert(fd_write_full(stream[1], data + 1, size - 1) == 0);
	(void)shutdown(stream[1], SHUT_WR);
	row = ram_row(data[0]);
	memory = fd_memfd("fuzz", row.len);
	vmm_start(&v, data[0], guest[1], memory, row.len);
	row.host_base = (uintptr_t)v.memory;
	migration_begin(&m, data[0]);
	open_target(&t, &m, &row, memory, guest[0], stream[0]);
	receive_one(&t, data[0]);
	target_done(&t);
	vmm_end(&v);
	(void)close(stream[1]);
	migration_end(&m);
	return 0;
}

/* C: a command, R: a section, P: a RAM record. */
static const struct grammar_row rows[] = {
	{ 'S', "QEVM<00 00 00 03><07><00 00 00 04>none<O*><T><C*><R*><E>" },
	{ 'S', "QEVM<00 00 00 03><07><00 00 00 04>none<O><H><T><C*><G>" },
	{ 'S', "QEVM<00 00 00 03><07><00 00 00 04>none<08><00 01><00 00><A><T><C*><G><R*><E>" },
	{ 'O', "<08><00 01><00 00>" },
	{ 'O', "<08><00 01><00 00><08><00 02><00 04>migd" },
	{ 'O', "<A>" },
	{ 'A', "<08><00 03><00 10><00 00 00 00 00 00 10 00><00 00 00 00 00 00 10 00>" },
	{ 'A', "<08><00 03><00 10><00 00 00 00 00 20 00 00><00 00 00 00 00 00 10 00>" },
	{ 'H', "<08><4d 01><00 1d><00 01><00 00 00 00 00 00 00 01>iiiiiiiiiiiiiiii<02>vm" },
	{ 'T', "<01><00 00 00 02><03>ram<00 00 00 00><00 00 00 04><L><P*><00 00 00 00 00 00 00 "
	       "10><7e><00 00 00 02>" },
	{ 'L', "<00 00 00 00 00 10 00 04><03>ram<00 00 00 00 00 10 00 00>" },
	{ 'L',
	  "<00 00 00 00 00 20 00 04><03>ram<00 00 00 00 00 20 00 00><00 00 00 00 00 20 00 00>" },
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
	{ 'C', "<A>" },
	{ 'C', "<08><00 06><=2 D>" },
	{ 'C', "<08><#2><=2 B>" },
	{ 'C', "<G>" },
	{ 'D', "<00><03>ram<00><00 00 00 00 00 00 10 00><00 00 00 00 00 00 10 00>" },
	{ 'D', "<00><03>ram<00><00 00 00 00 00 00 00 00><00 00 00 00 00 20 00 00>" },
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
