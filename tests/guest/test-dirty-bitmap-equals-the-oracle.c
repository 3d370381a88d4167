/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared bitmaps hold exactly what was written: by the guest, over odd slots, and by the VMM
 * with mark_dirty.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "fixture.h"

#define N_PAGES   (VM_RAM_LEN / VM_PAGE)
#define WORDS     (N_PAGES / 64)
#define ROM_PAGES 3U

static const uint64_t blocks[] = { N_PAGES, ROM_PAGES };

/* Real mode reaches the first 256 pages; those below 16 hold the program and its data. */
static unsigned int random_page(void)
{
	return 16 + (unsigned int)random() % (N_PAGES - 16 - 1);
}

static void begin(struct fixture *f)
{
	fixture_begin(f, &(struct vm_options){ .program = VM_LIST_WRITER,
					       .role = MIGD_GUEST_RUNNING,
					       .split_slots = true });
	(void)sem_wait(&f->vm.out); /* the empty list at start */
	peer_must_open(&f->peer, PEER_SOURCE);
	MUST(f, peer_handover(&f->peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	MUST(f, peer_dirty_start(&f->peer, blocks, 2));
}

/* Let the guest write these pages and wait until it has. */
static void write_pages(struct fixture *f, const uint16_t *pages, size_t n)
{
	uint16_t *list = (uint16_t *)(void *)(f->vm.ram + VM_LIST),
		 *go = (uint16_t *)(void *)(f->vm.ram + VM_GO);

	assert_true(n < VM_PAGE / 2);
	for (size_t i = 0; i < n; i++)
		list[i] = (uint16_t)(pages[i] * (VM_PAGE / 16));
	list[n] = 0;
	__atomic_store_n(go, (uint16_t)(*go + 1), __ATOMIC_SEQ_CST);
	assert_int_equal(sem_wait(&f->vm.out), 0);
}

/*
 * What a worker does: take the bits of block 0 (into *got), which KVM goes on to report until they
 * are cleared.
 */
static void sync_and_take(struct fixture *f, uint64_t got[WORDS])
{
	MUST(f, peer_dirty_sync(&f->peer));
	memset(got, 0, WORDS * 8);
	(void)bitmap_atomic_take(got, f->peer.maps[0].bits, N_PAGES);
}

static void clear(struct fixture *f, const uint64_t words[WORDS])
{
	MUST(f, peer_dirty_clear(&f->peer, 0, 0, words, WORDS));
}

static void expect_equal(const uint64_t got[WORDS], const uint64_t want[WORDS])
{
	for (uint64_t p = 0; p < N_PAGES; p++)
		if (bitmap_test(got, p) != bitmap_test(want, p))
			fail_msg("page %llu is %s, expected %s", (unsigned long long)p,
				 bitmap_test(got, p) ? "dirty" : "clean",
				 bitmap_test(want, p) ? "dirty" : "clean");
}

/* The first round: everything is dirty once, the read-only block too; then nothing is. */
static void drain_first_round(struct fixture *f)
{
	uint64_t all[WORDS], got[WORDS], rom = 0;

	assert_int_equal(bitmap_count_range(f->peer.maps[0].bits, 0, N_PAGES), N_PAGES);
	assert_int_equal(bitmap_atomic_take(&rom, f->peer.maps[1].bits, ROM_PAGES), ROM_PAGES);
	memset(all, 0xff, sizeof(all));
	sync_and_take(f, got);
	clear(f, all);
	sync_and_take(f, got);
	expect_equal(got, (const uint64_t[WORDS]){ 0 });
}

static void test_guest_writes(void **state)
{
	uint16_t pages[200];
	uint64_t want[WORDS], got[WORDS];
	struct fixture f;

	(void)state;
	srandom(1);
	begin(&f);
	drain_first_round(&f);
	for (int round = 0; round < 50; round++) {
		size_t n = (size_t)random() % 200;

		memset(want, 0, sizeof(want));
		for (size_t i = 0; i < n; i++) {
			pages[i] = (uint16_t)random_page();
			bitmap_set(want, pages[i]);
		}
		write_pages(&f, pages, n);
		sync_and_take(&f, got);
		expect_equal(got, want);
		/* Uncleared bits come back; cleared ones do not. */
		sync_and_take(&f, got);
		expect_equal(got, want);
		clear(&f, want);
		sync_and_take(&f, got);
		expect_equal(got, (const uint64_t[WORDS]){ 0 });
	}
	assert_int_equal(bitmap_count_range(f.peer.maps[1].bits, 0, ROM_PAGES), 0);
	fixture_end(&f);
}

/*
 * Exactly the bits given are cleared, wherever a slot begins; a neighbour that was written since
 * stays.
 */
static void test_clears_exactly(void **state)
{
	uint16_t pages[N_PAGES];
	uint64_t want[WORDS], part[WORDS], got[WORDS];
	struct fixture f;

	(void)state;
	srandom(2);
	begin(&f);
	drain_first_round(&f);
	for (int round = 0; round < 20; round++) {
		memset(want, 0, sizeof(want));
		memset(part, 0, sizeof(part));
		for (unsigned int i = 16; i < N_PAGES - 1; i++) {
			pages[i - 16] = (uint16_t)i;
			bitmap_set(want, i);
		}
		write_pages(&f, pages, N_PAGES - 17);
		sync_and_take(&f, got);
		expect_equal(got, want);
		for (int i = 0; i < 100; i++)
			bitmap_set(part, random_page());
		/* In pieces, as a worker would. */
		for (uint64_t w = 0; w < WORDS; w++)
			MUST(&f, peer_dirty_clear(&f.peer, 0, w * 64, &part[w], 1));
		for (uint64_t w = 0; w < WORDS; w++)
			want[w] &= ~part[w];
		sync_and_take(&f, got);
		expect_equal(got, want);
		clear(&f, want);
	}
	fixture_end(&f);
}

static struct fixture *signal_fixture;

static void mark_in_signal(int sig)
{
	(void)sig;
	migd_guest_mark_dirty(signal_fixture->vm.guest, 60 * VM_PAGE, 1);
}

static void test_mark_dirty(void **state)
{
	struct sigaction sa = { .sa_handler = mark_in_signal };
	uint64_t want[WORDS] = { 0 }, got[WORDS], rom = 0;
	struct fixture f;

	(void)state;
	begin(&f);
	drain_first_round(&f);
	migd_guest_mark_dirty(f.vm.guest, 100 * VM_PAGE + 5,
			      VM_PAGE); /* two pages, and over a slot's end below */
	migd_guest_mark_dirty(f.vm.guest, 104 * VM_PAGE, 2 * VM_PAGE);
	migd_guest_mark_dirty_host(f.vm.guest, f.vm.ram + 50 * VM_PAGE + 4095, 2);
	migd_guest_mark_dirty_host(f.vm.guest, f.vm.rom + VM_PAGE, 1);
	/* Nothing, and not ours. */
	migd_guest_mark_dirty(f.vm.guest, 90 * VM_PAGE, 0);
	migd_guest_mark_dirty_host(f.vm.guest, &f, sizeof(f));
	migd_guest_mark_dirty(f.vm.guest, UINT64_MAX - 10, 100);
	migd_guest_mark_dirty(f.vm.guest, 1ULL << 40, VM_PAGE);
	signal_fixture = &f;
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	bitmap_set_range(want, 100, 2);
	bitmap_set_range(want, 104, 2);
	bitmap_set_range(want, 50, 2);
	bitmap_set(want, 60);
	sync_and_take(&f, got);
	expect_equal(got, want);
	(void)bitmap_atomic_take(&rom, f.peer.maps[1].bits, ROM_PAGES);
	assert_int_equal(rom, 2);
	fixture_end(&f);
}

/* A range that begins below registered memory and ends beyond it marks what lies between. */
static void test_mark_dirty_clips(void **state)
{
	uint64_t want[WORDS], got[WORDS];
	struct fixture f;

	(void)state;
	begin(&f);
	drain_first_round(&f);
	migd_guest_mark_dirty(f.vm.guest, (N_PAGES - 1) * VM_PAGE, 100 * VM_PAGE);
	memset(want, 0, sizeof(want));
	bitmap_set(want, N_PAGES - 1);
	sync_and_take(&f, got);
	expect_equal(got, want);
	migd_guest_mark_dirty(f.vm.guest, 0, UINT64_MAX);
	memset(want, 0xff, sizeof(want));
	sync_and_take(&f, got);
	expect_equal(got, want);
	fixture_end(&f);
}

static void test_reset_marks_all(void **state)
{
	uint64_t want[WORDS], got[WORDS];
	struct fixture f;

	(void)state;
	begin(&f);
	drain_first_round(&f);
	assert_int_equal(migd_guest_notify(f.vm.guest, MIGD_GUEST_EVENT_RESET), 0);
	memset(want, 0xff, sizeof(want));
	sync_and_take(&f, got);
	expect_equal(got, want);
	assert_int_equal(bitmap_count_range(f.peer.maps[1].bits, 0, ROM_PAGES), 0);
	peer_wait_event(&f.peer, ATTACH_EVENT_RESET);
	fixture_end(&f);
}

/* The final sync, after the pause, has what was written just before it. */
static void test_last_writes_are_seen(void **state)
{
	static const uint16_t pages[] = { 30, 40, 255 - 10 };
	uint64_t want[WORDS] = { 0 }, got[WORDS];
	struct fixture f;

	(void)state;
	begin(&f);
	drain_first_round(&f);
	write_pages(&f, pages, 3);
	for (size_t i = 0; i < 3; i++)
		bitmap_set(want, pages[i]);
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
	sync_and_take(&f, got);
	expect_equal(got, want);
	fixture_end(&f);
}

static void test_stop_and_start_again(void **state)
{
	static const uint16_t pages[] = { 33 };
	uint64_t want[WORDS] = { 0 }, got[WORDS];
	struct fixture f;

	(void)state;
	begin(&f);
	assert_int_equal(peer_dirty_start(&f.peer, blocks, 2), -EBADFD);
	assert_int_equal(peer_plain(&f.peer, f.peer.channel, ATTACH_DIRTY_STOP), 0);
	assert_int_equal(peer_dirty_sync(&f.peer), -EBADFD);
	migd_guest_mark_dirty(f.vm.guest, 0, VM_PAGE); /* nobody listens */
	MUST(&f, peer_dirty_start(&f.peer, blocks, 2));
	drain_first_round(&f);
	write_pages(&f, pages, 1);
	bitmap_set(want, 33);
	sync_and_take(&f, got);
	expect_equal(got, want);
	fixture_end(&f);
}

/* A clear that names no block, no page or too much ends the channel, and the guest goes on. */
static void test_refuses_bad_clears(void **state)
{
	static const struct {
		uint32_t block;
		uint64_t first;
		size_t words;
		const char *what;
	} bad[] = {
		{ 2, 0, 1, "field 'block'" },
		{ UINT32_MAX, 0, 1, "field 'block'" },
		{ 0, 1, 1, "field 'first_page'" },
		{ 0, N_PAGES, 1, "field 'first_page'" },
		{ 0, UINT64_MAX - 63, 1, "field 'first_page'" },
		{ 0, 64, WORDS, "field 'bits'" },
		{ 1, 0, 2, "field 'bits'" },
	};
	static const uint64_t words[WORDS];
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(&f);
		assert_int_equal(
			peer_dirty_clear(&f.peer, bad[i].block, bad[i].first, words, bad[i].words),
			-EPROTO);
		if (!strstr(f.peer.last_text, bad[i].what))
			fail_msg("expected '%s' in '%s'", bad[i].what, f.peer.last_text);
		peer_wait_state(&f.peer, HANDOVER_RUNNING);
		fixture_end(&f);
	}
}

/* ---- free-page hints ---- */

/* What a worker maps at HINT_START. */
static void hint_start(struct fixture *f, struct dirty_map *ret)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;

	assert_int_equal(conn_call(f->peer.channel, ATTACH_HINT_START, NULL, 0, NULL, 0,
				   clock_now_ns() + 5 * NS_PER_SEC, -1, &m, &err), 0);
	assert_int_equal(m.n_fds, 2);
	assert_int_equal(dirty_map_open(m.fds[0], N_PAGES, ret, &err), 0);
	conn_msg_done(&m);
}

/* A hint takes the page out of KVM's log; a write after it is logged, though nobody cleared the log in between. */
static void test_hints_lose_no_write(void **state)
{
	uint64_t got[WORDS];
	struct dirty_map hints;
	struct fixture f;

	(void)state;
	begin(&f);
	assert_int_equal(migd_guest_hint_free(f.vm.guest, 0, VM_PAGE), -EBADFD);
	sync_and_take(&f, got); /* everything */
	clear(&f, got);
	hint_start(&f, &hints);
	for (int round = 0; round < 20; round++) {
		uint16_t pages[3] = { (uint16_t)random_page(), (uint16_t)random_page(), (uint16_t)random_page() };
		bool again = pages[1] == pages[0] || pages[2] == pages[0];

		/* Written, then given up: of these writes nobody wants to know. */
		write_pages(&f, pages, 3);
		assert_int_equal(migd_guest_hint_free(f.vm.guest, pages[0] * VM_PAGE, VM_PAGE), 0);
		assert_true(bitmap_test(hints.bits, pages[0]));
		if (!again)
			assert_false(bitmap_test(hints.bits, pages[1]));
		sync_and_take(&f, got);
		assert_false(bitmap_test(got, pages[0]));
		if (!again)
			assert_true(bitmap_test(got, pages[1]));
		clear(&f, got);
		/* Written again. */
		write_pages(&f, pages, 1);
		sync_and_take(&f, got);
		assert_true(bitmap_test(got, pages[0]));
		clear(&f, got);
		memset(hints.bits, 0, WORDS * 8);
	}
	/* Whole pages only, and what is no memory is ignored. */
	assert_int_equal(migd_guest_hint_free(f.vm.guest, 20 * VM_PAGE + 1, 2 * VM_PAGE), 0);
	assert_false(bitmap_test(hints.bits, 20));
	assert_true(bitmap_test(hints.bits, 21));
	assert_false(bitmap_test(hints.bits, 22));
	assert_int_equal(migd_guest_hint_free(f.vm.guest, 1ULL << 40, VM_PAGE), 0);
	/* Every end of the migration ends them. */
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	assert_int_equal(migd_guest_hint_free(f.vm.guest, 0, VM_PAGE), -EBADFD);
	dirty_map_done(&hints);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_writes),
		cmocka_unit_test(test_clears_exactly),
		cmocka_unit_test(test_mark_dirty),
		cmocka_unit_test(test_mark_dirty_clips),
		cmocka_unit_test(test_reset_marks_all),
		cmocka_unit_test(test_last_writes_are_seen),
		cmocka_unit_test(test_stop_and_start_again),
		cmocka_unit_test(test_refuses_bad_clears),
		cmocka_unit_test(test_hints_lose_no_write),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
