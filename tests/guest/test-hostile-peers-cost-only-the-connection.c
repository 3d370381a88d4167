/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage from a worker or a daemon ends that connection and nothing else: the guest runs, and can
 * be migrated again.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
/* TIMEOUT: 300 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/mismatch.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fixture.h"

static const struct vm_options source = { .program = VM_COUNT, .role = MIGD_GUEST_RUNNING };
static const struct vm_options target = { .program = VM_COUNT, .role = MIGD_GUEST_INCOMING };

/* Every type of message, and some that do not exist. */
static const uint16_t types[] = {
#define TYPE(number, name, req, rep) number,
	ATTACH_MESSAGES(TYPE)
#undef TYPE
		0,
	31,
	77,
	200,
	0xffff,
};

/* The other side closes, or says no; either way it answers. */
static void expect_refused(struct conn *c, uint16_t type, const void *body, size_t len)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_call(c, type, body, len, NULL, 0, PEER_DEADLINE, -1, &m, &err);

	if (r >= 0)
		fail_msg("%s with a body of %zu bytes was accepted", attach_type_name(type), len);
	if (r == -ETIMEDOUT)
		fail_msg("%s with a body of %zu bytes was not answered", attach_type_name(type),
			 len);
}

/* A body of 1000 bytes of 0xff is no message of any type. */
static void test_garbage_bodies_on_the_channel(void **state)
{
	uint8_t garbage[1000];
	struct fixture f;

	(void)state;
	memset(garbage, 0xff, sizeof(garbage));
	fixture_begin(&f, &source);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		for (int paused = 0; paused < 2; paused++) {
			const uint8_t id[ATTACH_ID_LEN] = { 7, (uint8_t)i, (uint8_t)paused };

			if (paused)
				fixture_paused(&f, id);
			else
				fixture_precopy(&f, id);
			expect_refused(f.peer.channel, types[i], garbage, sizeof(garbage));
			peer_hang_up(&f.peer);
			peer_wait_state(&f.peer, HANDOVER_RUNNING);
			vm_expect_running(&f.vm);
		}
	}
	fixture_end(&f);
}

static void test_garbage_bodies_on_the_control_connection(void **state)
{
	uint8_t garbage[1000];
	struct fixture f;

	(void)state;
	memset(garbage, 0xff, sizeof(garbage));
	fixture_begin(&f, &source);
	fixture_precopy(&f, id_a);
	for (uint32_t i = 0; i < ARRAY_SIZE(types); i++) {
		expect_refused(f.peer.control, types[i], garbage, sizeof(garbage));
		peer_drop_control(&f.peer);
		peer_accept(&f.peer, 2 + i);
		assert_int_equal(f.peer.hello.prev_epoch, 1 + i);
	}
	assert_int_equal(peer_state(&f.peer), HANDOVER_PRECOPY); /* the migration does not care */
	fixture_end(&f);
}

/* Random legal framing with random bodies in random order, hundreds of times. */
static void test_random_messages(void **state)
{
	uint8_t body[64];
	struct conn_msg m;
	struct fixture f;

	(void)state;
	srandom(3);
	fixture_begin(&f, &source);
	for (int round = 0; round < 100; round++) {
		const uint8_t id[ATTACH_ID_LEN] = { 6, (uint8_t)round };

		peer_must_open(&f.peer, PEER_SOURCE);
		if (round % 2)
			MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id, NULL));
		for (int i = 0; i < 20; i++) {
			uint16_t type = types[(size_t)random() % ARRAY_SIZE(types)];
			size_t len = (size_t)random() % sizeof(body);

			for (size_t k = 0; k < len; k++)
				body[k] = random() % 3 ? 0 : (uint8_t)random();
			if (conn_send(f.peer.channel, type, body, len, NULL, 0, NULL) < 0)
				break;
			while (conn_recv(f.peer.channel, &m, NULL) == 1)
				conn_msg_done(&m);
		}
		peer_hang_up(&f.peer);
		peer_wait_state(&f.peer, HANDOVER_RUNNING);
	}
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void send_and_expect_the_end(struct fixture *f, const void *bytes, size_t len)
{
	struct conn_msg m;
	int r;

	assert_int_equal(send(conn_fd(f->peer.channel), bytes, len, MSG_NOSIGNAL), (ssize_t)len);
	do {
		assert_true(fd_wait(conn_fd(f->peer.channel), POLLIN, -1, PEER_DEADLINE) > 0);
		r = conn_recv(f->peer.channel, &m, NULL);
		if (r == 1)
			conn_msg_done(&m);
	} while (r >= 0);
	assert_int_equal(r, -ENOTCONN);
	peer_hang_up(&f->peer);
	peer_wait_state(&f->peer, HANDOVER_RUNNING);
}

static void test_broken_framing(void **state)
{
	static uint8_t long_one[ATTACH_MESSAGE_MAX + 100];
	uint8_t bytes[ATTACH_HEADER_LEN] = { 0x4d, 0x49, 0x47, 0x41, 1, 0, 97, 0, 1 };
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	fixture_paused(&f, id_a);
	send_and_expect_the_end(&f, "hello", 5);
	vm_expect_running(&f.vm);
	fixture_precopy(&f, id_b);
	send_and_expect_the_end(&f, long_one, sizeof(long_one));
	fixture_precopy(&f, (const uint8_t[ATTACH_ID_LEN]){ 1 });
	bytes[12] = 5; /* a reply; the library asked nothing */
	send_and_expect_the_end(&f, bytes, sizeof(bytes));
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void test_bad_channels(void **state)
{
	struct attach_mig_open req = { .role = PEER_SOURCE };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), stream[2];
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct fixture f;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
	assert_int_equal(attach_mig_open_encode(&w, &req), 0);
	fixture_begin(&f, &source);
	assert_int_equal(conn_call(f.peer.control, ATTACH_MIG_OPEN, bytes, w.len, &null, 1,
				   PEER_DEADLINE, -1, &m, &err),
			 -EPROTO);
	assert_int_equal(conn_call(f.peer.control, ATTACH_MIG_OPEN, bytes, w.len, stream, 1,
				   PEER_DEADLINE, -1, &m, NULL),
			 -EPROTO);
	assert_int_equal(conn_call(f.peer.control, ATTACH_MIG_OPEN, bytes, w.len, stream, 2,
				   PEER_DEADLINE, -1, &m, NULL),
			 -EPROTO);
	assert_int_equal(conn_call(f.peer.control, ATTACH_MIG_OPEN, bytes, w.len, NULL, 0,
				   PEER_DEADLINE, -1, &m, NULL),
			 -EPROTO);
	assert_int_equal(peer_open(&f.peer, 3), -EPROTO);
	assert_int_equal(peer_open(&f.peer, 0), -EPROTO);
	peer_must_open(&f.peer, PEER_SOURCE);
	(void)close(null);
	(void)close(stream[0]);
	(void)close(stream[1]);
	fixture_end(&f);
}

/* A target with a bad memfd says why, and ends in DISCARDED only if it had begun to load. */
static void test_bad_states_to_load(void **state)
{
	int pipes[2], small = fd_memfd("small", 4096);
	struct fixture f;

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fixture_begin(&f, &target);
	peer_must_open(&f.peer, PEER_TARGET);
	MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	assert_int_equal(peer_load(&f.peer, -1, 100), -EPROTO);
	assert_int_equal(peer_load(&f.peer, pipes[0], 100), -EPROTO);
	assert_int_equal(peer_load(&f.peer, small, 4097), -EPROTO);
	assert_int_equal(peer_load(&f.peer, small, 0), -EPROTO);
	assert_int_equal(peer_load(&f.peer, small, UINT64_MAX), -EPROTO);
	assert_int_equal(peer_state(&f.peer), HANDOVER_INCOMING);
	assert_true(peer_load(&f.peer, small, 4096) < 0);
	assert_int_equal(peer_state(&f.peer), HANDOVER_DISCARDED);
	assert_int_equal(f.vm.log.discarded, 1);
	(void)close(small);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
	fixture_end(&f);
}

/*
 * Every prefix of a good state, and flipped bytes in it, on fresh targets: refused or loaded, never
 * worse.
 */
static void test_damaged_states(void **state)
{
	struct attach_state_save_reply rep;
	struct fixture a, b;
	uint8_t *good;
	int fd = -1;

	(void)state;
	srandom(4);
	fixture_begin(&a, &source);
	fixture_paused(&a, id_a);
	MUST(&a, peer_save(&a.peer, &fd, &rep));
	good = malloc(rep.len);
	assert_int_equal(fd_pread_full(fd, good, rep.len, 0), 0);
	for (int i = 0; i < 30; i++) {
		int bad = fd_memfd("bad", rep.len);
		uint64_t len = i % 2 ? rep.len : 1 + (uint64_t)random() % (rep.len - 1);
		uint8_t flip[1] = { (uint8_t)random() };

		assert_int_equal(fd_pwrite_full(bad, good, rep.len, 0), 0);
		if (i % 2)
			assert_int_equal(fd_pwrite_full(bad, flip, 1, (uint64_t)random() % rep.len),
					 0);
		fixture_begin(&b, &target);
		peer_must_open(&b.peer, PEER_TARGET);
		MUST(&b, peer_handover(&b.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
		if (peer_load(&b.peer, bad, len) < 0)
			assert_int_equal(peer_state(&b.peer), HANDOVER_DISCARDED);
		else
			assert_int_equal(i % 2, 1);
		fixture_end(&b);
		(void)close(bad);
	}
	free(good);
	(void)close(fd);
	fixture_end(&a);
}

/* A daemon with many descriptors, a wrong epoch, and requests a VMM does not know. */
static void test_odd_daemon(void **state)
{
	int fds[ATTACH_FDS_MAX];
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = f.peer.decision_fd;
	assert_int_equal(conn_call(f.peer.control, ATTACH_HEARTBEAT, NULL, 0, fds, ARRAY_SIZE(fds),
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	conn_msg_done(&m);
	conn_set_epoch(f.peer.control, 77);
	assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_HEARTBEAT), -ESTALE);
	conn_set_epoch(f.peer.control, 1);
	assert_int_equal(peer_plain(&f.peer, f.peer.control, 77), -EOPNOTSUPP);
	assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_REQUEST_SHUTDOWN), 0);
	assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_REQUEST_RESET), 0);
	assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_REQUEST_WAKEUP), 0);
	assert_int_equal(f.vm.log.requested, 3);
	/* This guest is not to arrive: it is here. */
	assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_DISCARD), -EBADFD);
	fixture_end(&f);
}

static void test_ram_table(void **state)
{
	struct vm_options o = source;
	struct attach_ram_table_reply rep;
	struct attach_ram_block b;
	uint8_t first[4] = { 0 };
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct rcur rows;
	struct fixture f;

	(void)state;
	o.split_slots = true;
	fixture_begin(&f, &o);
	peer_must_open(&f.peer, PEER_SOURCE);
	assert_int_equal(conn_call(f.peer.channel, ATTACH_RAM_TABLE, first, 4, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	assert_int_equal(attach_ram_table_reply_decode(&m.body, &rep, &err), 0);
	assert_int_equal(rep.total, 2);
	assert_int_equal(rep.n, 2);
	assert_int_equal(m.n_fds, 2);
	rows = rcur_of(rep.blocks.data, rep.blocks.len);
	assert_int_equal(attach_ram_block_decode(&rows, &b, &err), 0);
	assert_string_equal(b.name, "ram");
	assert_int_equal(b.len, VM_RAM_LEN);
	assert_int_equal(b.gpa, 0);
	assert_int_equal(b.page_size, 4096);
	assert_int_equal(b.host_base, (uintptr_t)f.vm.ram);
	assert_int_equal(attach_ram_block_decode(&rows, &b, &err), 0);
	assert_string_equal(b.name, "rom");
	assert_int_equal(b.flags, MIGD_GUEST_RAM_READONLY);
	assert_int_equal(b.gpa, 0xff000000U);
	assert_int_equal(attach_decode_end(&rows, &err), 0);
	conn_msg_done(&m);
	memset(first, 0xff, 4);
	assert_int_equal(conn_call(f.peer.channel, ATTACH_RAM_TABLE, first, 4, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	assert_int_equal(attach_ram_table_reply_decode(&m.body, &rep, &err), 0);
	assert_int_equal(rep.n, 0);
	conn_msg_done(&m);
	fixture_end(&f);
}

/* The description is made while the guest runs, fits its like, and names what does not fit. */
static void test_config(void **state)
{
	static uint8_t config[ATTACH_BODY_MAX];
	static struct mismatches found;
	struct vm_options other = target;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct fixture a, b;
	size_t len;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	peer_must_open(&a.peer, PEER_SOURCE);
	peer_must_open(&b.peer, PEER_TARGET);
	assert_int_equal(conn_call(a.peer.channel, ATTACH_CONFIG_GET, NULL, 0, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	len = m.body.left;
	memcpy(config, m.body.p, len);
	conn_msg_done(&m);
	vm_expect_running(&a.vm);
	if (conn_call(b.peer.channel, ATTACH_CONFIG_CHECK, config, len, NULL, 0, PEER_DEADLINE, -1,
		      &m, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	conn_msg_done(&m);
	fixture_end(&b);
	other.split_slots = true;
	fixture_begin(&b, &other);
	peer_must_open(&b.peer, PEER_TARGET);
	assert_int_equal(conn_call(b.peer.channel, ATTACH_CONFIG_CHECK, config, len, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	assert_int_equal(mismatches_decode(&m.body, &found, &err), 0);
	conn_msg_done(&m);
	assert_int_equal(mismatches_fail(&found, "here", &err), -EINVAL);
	assert_non_null(strstr(merr_msg(&err), "rom"));
	fixture_end(&a);
	fixture_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage_bodies_on_the_channel),
		cmocka_unit_test(test_garbage_bodies_on_the_control_connection),
		cmocka_unit_test(test_random_messages),
		cmocka_unit_test(test_broken_framing),
		cmocka_unit_test(test_bad_channels),
		cmocka_unit_test(test_bad_states_to_load),
		cmocka_unit_test(test_damaged_states),
		cmocka_unit_test(test_odd_daemon),
		cmocka_unit_test(test_ram_table),
		cmocka_unit_test(test_config),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
