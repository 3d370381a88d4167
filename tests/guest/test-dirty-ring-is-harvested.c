/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's dirty rings give the pages that were written; a ring that lost entries is reported, and
 * still stops.
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

#include "base/bitmap.h"
#include "fixture.h"

#define N_PAGES (VM_RAM_LEN / VM_PAGE)
#define WORDS   (N_PAGES / 64)
#define ENTRIES 1024

/* Few enough that an emulated guest, which logs each store, stays far from a full ring. */
#define WRITES_MAX 20

static void write_pages(struct fixture *f, const uint16_t *pages, size_t n)
{
	uint16_t *list = (uint16_t *)(void *)(f->vm.ram + VM_LIST),
		 *go = (uint16_t *)(void *)(f->vm.ram + VM_GO);

	for (size_t i = 0; i < n; i++)
		list[i] = (uint16_t)(pages[i] * (VM_PAGE / 16));
	list[n] = 0;
	__atomic_store_n(go, (uint16_t)(*go + 1), __ATOMIC_SEQ_CST);
	assert_int_equal(sem_wait(&f->vm.out), 0);
}

static void take(struct fixture *f, uint64_t got[WORDS])
{
	memset(got, 0, WORDS * 8);
	(void)bitmap_atomic_take(got, f->peer.maps[0].bits, N_PAGES);
}

static void test_guest_writes(void **state)
{
	struct vm_options o = { .program = VM_LIST_WRITER,
				.role = MIGD_GUEST_RUNNING,
				.ring_entries = ENTRIES };
	uint64_t want[WORDS], got[WORDS];
	uint16_t pages[WRITES_MAX];
	struct fixture f;

	(void)state;
	srandom(5);
	fixture_begin(&f, &o);
	(void)sem_wait(&f.vm.out);
	fixture_precopy(&f, id_a);
	take(&f, got);
	assert_int_equal(bitmap_count_range(got, 0, N_PAGES), N_PAGES);
	for (int round = 0; round < 100; round++) {
		memset(want, 0, sizeof(want));
		for (size_t i = 0; i < WRITES_MAX; i++) {
			pages[i] = (uint16_t)(16 + (unsigned int)random() % (N_PAGES - 17));
			bitmap_set(want, pages[i]);
		}
		write_pages(&f, pages, WRITES_MAX);
		/*
		 * The last one also across the pause: what was logged until then is harvested after
		 * it.
		 */
		if (round == 99)
			MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
		MUST(&f, peer_dirty_sync(&f.peer));
		take(&f, got);
		for (uint64_t p = 0; p < N_PAGES; p++)
			if (bitmap_test(got, p) != bitmap_test(want, p))
				fail_msg("round %d: page %llu is %s", round, (unsigned long long)p,
					 bitmap_test(got, p) ? "dirty and was not written"
							     : "lost");
		MUST(&f, peer_dirty_clear(&f.peer, 0, 0, want, WORDS));
	}
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	fixture_end(&f);
}

static void test_bitmap_engine_is_refused(void **state)
{
	struct vm_options o = { .program = VM_HALT,
				.role = MIGD_GUEST_RUNNING,
				.ring_entries = ENTRIES };
	uint8_t engine = 1;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &o);
	peer_must_open(&f.peer, PEER_SOURCE);
	MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	assert_int_equal(conn_call(f.peer.channel, ATTACH_DIRTY_START, &engine, 1, NULL, 0,
				   PEER_DEADLINE, -1, &m, &err),
			 -EOPNOTSUPP);
	fixture_end(&f);
}

/*
 * A guest that writes all the time fills the ring. Where KVM keeps its promise it runs on; where
 * entries are lost (an emulated guest logs each store, beyond the ring's end) the migration is
 * told. Either way it can be stopped.
 */
static void test_full_ring(void **state)
{
	struct vm_options o = { .program = VM_COUNT,
				.role = MIGD_GUEST_RUNNING,
				.ring_entries = ENTRIES };
	uint64_t give_up = clock_now_ns() + 3 * NS_PER_SEC;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &o);
	fixture_precopy(&f, id_a);
	while (!f.peer.events[ATTACH_EVENT_RING_BROKEN] && clock_now_ns() < give_up) {
		if (peer_plain(&f.peer, f.peer.channel, ATTACH_HEARTBEAT) < 0)
			break;
		(void)usleep(1000);
	}
	if (f.peer.events[ATTACH_EVENT_RING_BROKEN])
		(void)printf("the ring lost entries, and the worker was told\n");
	else
		vm_expect_running(&f.vm);
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
	vm_expect_frozen(&f.vm);
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	MUST(&f, peer_pause(&f.peer, 5000));
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_writes),
		cmocka_unit_test(test_bitmap_engine_is_refused),
		cmocka_unit_test(test_full_ring),
	};

	vm_need_kvm();
	vm_need_ring();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
