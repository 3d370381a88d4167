/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU under a dirty limit dirties no more than that; the limit is one party's, and ends with it.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define ENTRIES 1024
/* Few enough between two harvests that an emulated guest, which logs each store, stays far from a
 * full ring. */
#define WRITES     20
#define PAUSE_US   5000
#define ROUNDS     25
#define LIMIT_MIB  1
#define LIMIT_S(n) ((n)*VM_PAGE / (double)(LIMIT_MIB << 20)) /* what N pages cost */
/* What may be dirtied before the first harvest sees it. */
#define UNSEEN (WRITES * 12)

static const struct vm_options with_ring = { .program = VM_LIST_WRITER,
					     .role = MIGD_GUEST_RUNNING,
					     .ring_entries = ENTRIES };

/* WRITES pages, and the time that they took the guest. */
static uint64_t write_pages(struct fixture *f, unsigned int round)
{
	uint16_t *list = (uint16_t *)(void *)(f->vm.ram + VM_LIST),
		 *go = (uint16_t *)(void *)(f->vm.ram + VM_GO);
	uint64_t began = clock_now_ns();

	for (unsigned int i = 0; i < WRITES; i++)
		list[i] = (uint16_t)((16 + (round * WRITES + i) % 200) * (VM_PAGE / 16));
	list[WRITES] = 0;
	__atomic_store_n(go, (uint16_t)(*go + 1), __ATOMIC_SEQ_CST);
	assert_int_equal(sem_wait(&f->vm.out), 0);
	return clock_now_ns() - began;
}

static uint64_t write_rounds(struct fixture *f)
{
	uint64_t ns = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		ns += write_pages(f, round);
		(void)usleep(PAUSE_US);
	}
	return ns;
}

static int set_limit(struct fixture *f, bool by_migration, uint32_t vcpu, uint64_t limit_mib)
{
	struct attach_dirty_limit req = { .vcpu = vcpu, .limit_mib = limit_mib, .period_ms = 100 };
	struct attach_empty rep;
	struct merr err = MERR_INIT;

	return by_migration ? conn_request(f->peer.channel, MIG_DIRTY_LIMIT, dirty_limit, &req,
					   empty, &rep, PEER_DEADLINE, -1, &err)
			    : conn_request(f->peer.control, DIRTY_LIMIT, dirty_limit, &req, empty,
					   &rep, PEER_DEADLINE, -1, &err);
}

/* The first vCPU's row; returns the whole measurement's status. */
static uint8_t query(struct fixture *f, struct attach_vcpu_dirty *ret)
{
	struct attach_dirty_query_reply rep;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct rcur rows;

	assert_int_equal(conn_call(f->peer.control, ATTACH_DIRTY_QUERY, NULL, 0, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 0);
	assert_int_equal(attach_dirty_query_reply_decode(&m.body, &rep, &err), 0);
	assert_int_equal(rep.has_ring, 1);
	rows = rcur_of(rep.vcpus.data, rep.vcpus.len);
	assert_int_equal(attach_vcpu_dirty_decode(&rows, ret, &err), 0);
	conn_msg_done(&m);
	return rep.status;
}

static void test_spender_is_held(void **state)
{
	struct attach_vcpu_dirty v;
	struct fixture f;
	uint64_t ns;

	(void)state;
	fixture_begin(&f, &with_ring);
	(void)sem_wait(&f.vm.out);
	assert_int_equal(set_limit(&f, false, 0, LIMIT_MIB), 0);
	ns = write_rounds(&f);
	if ((double)ns / NS_PER_SEC < LIMIT_S(ROUNDS * WRITES - UNSEEN))
		fail_msg("%u pages took %.3f s; %d MiB/s would be %.3f", ROUNDS * WRITES,
			 (double)ns / NS_PER_SEC, LIMIT_MIB, LIMIT_S(ROUNDS * WRITES));
	(void)query(&f, &v);
	assert_int_equal(v.limit_mib, LIMIT_MIB);
	/* A vCPU that is held is paused at once. */
	(void)write_pages(&f, 0);
	MUST(&f, peer_pause(&f.peer, 5000));
	MUST(&f, peer_resume(&f.peer));
	assert_int_equal(set_limit(&f, false, ATTACH_ALL_VCPUS, 0), 0);
	(void)query(&f, &v);
	assert_int_equal(v.limit_mib, 0);
	fixture_end(&f);
}

static void test_migrations_limit_is_its_own(void **state)
{
	struct attach_mig_dirty_limit_reply stats = { 0 };
	struct attach_empty none = {};
	struct attach_vcpu_dirty v;
	struct merr err = MERR_INIT;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &with_ring);
	(void)sem_wait(&f.vm.out);
	fixture_precopy(&f, id_a);
	assert_int_equal(set_limit(&f, true, ATTACH_ALL_VCPUS, LIMIT_MIB), 0);
	assert_int_equal(set_limit(&f, false, 0, 100), -EBUSY);
	while (!stats.throttle_us || !stats.ring_full_us) {
		(void)write_pages(&f, 0);
		assert_int_equal(conn_request(f.peer.channel, MIG_DIRTY_LIMIT_STATS, empty, &none,
					      mig_dirty_limit_reply, &stats, PEER_DEADLINE, -1,
					      &err),
				 0);
	}
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	(void)query(&f, &v);
	assert_int_equal(v.limit_mib, 0);
	assert_int_equal(set_limit(&f, false, 0, 100), 0);
	fixture_end(&f);
}

static void test_what_cannot_be_limited(void **state)
{
	static const struct vm_options without_ring = { .program = VM_HALT,
							.role = MIGD_GUEST_RUNNING };
	struct fixture f;

	(void)state;
	fixture_begin(&f, &with_ring);
	assert_int_equal(set_limit(&f, false, 7, LIMIT_MIB), -EINVAL);
	assert_int_equal(set_limit(&f, false, ATTACH_ALL_VCPUS, 0), 0); /* there was none */
	fixture_end(&f);
	fixture_begin(&f, &without_ring);
	assert_int_equal(set_limit(&f, false, 0, LIMIT_MIB), -EOPNOTSUPP);
	fixture_end(&f);
}

static void test_ring_says_the_rate(void **state)
{
	struct attach_dirty_rate req = { .mode = ATTACH_DIRTY_RATE_RING, .calc_ms = 500 };
	struct attach_vcpu_dirty v;
	struct attach_empty rep;
	struct merr err = MERR_INIT;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &with_ring);
	(void)sem_wait(&f.vm.out);
	assert_int_equal(conn_request(f.peer.control, DIRTY_RATE, dirty_rate, &req, empty, &rep,
				      PEER_DEADLINE, -1, &err),
			 0);
	merr_clear(&err);
	assert_int_equal(conn_request(f.peer.control, DIRTY_RATE, dirty_rate, &req, empty, &rep,
				      PEER_DEADLINE, -1, &err),
			 -EBUSY);
	(void)write_rounds(&f);
	while (query(&f, &v) != ATTACH_DIRTY_RATE_MEASURED)
		(void)usleep(PAUSE_US);
	assert_true(v.rate_mib > 0);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spender_is_held),
		cmocka_unit_test(test_migrations_limit_is_its_own),
		cmocka_unit_test(test_what_cannot_be_limited),
		cmocka_unit_test(test_ring_says_the_rate),
	};

	vm_need_kvm();
	vm_need_ring();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
