/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads touch pages that are not there, as vCPUs do: each gets the page that was meant for it, asked for once, and no page that
 * somebody has seen is written again.
 */
/* LIBS: migd_engine migd_transport migd_attach migd_schema */
/* LABELS: kvm */
/* SOURCES: userfaultfd.c */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "engine/fault-service.h"
#include "engine/fault-waits.h"
#include "engine/ram-place.h"
#include "engine/ram-target.h"
#include "engine/received.h"
#include "userfaultfd.h"

#define PAGES	   1024U
#define TIMEOUT_NS (20 * NS_PER_SEC)
#define VCPUS	   2U

struct fixture {
	struct ram ram;
	struct ram_file *b;
	uint8_t *guest;	/* as the guest sees its memory */
	uint64_t received[PAGES / BITMAP_WORD_BITS];
	struct stats_page stats;
	struct fault_service *service;
	struct placement placement;
	struct placer placer;
	struct merr err;
	struct chan *chan;	/* the target's end */
	int source;		/* the other one */
	_Atomic unsigned int wanted[PAGES];
};

static void want(void *opaque, const struct ram_file *b, uint64_t page, uint64_t n)
{
	struct fixture *f = opaque;

	assert_ptr_equal(b, f->b);
	assert_int_equal(n, b->page_size / WIRE_PAGE_SIZE);
	f->wanted[page]++;
}

static const struct fault_ops ops = { .want = want };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct attach_ram_block row = { .name = "ram", .len = PAGES * WIRE_PAGE_SIZE, .page_size = WIRE_PAGE_SIZE };
	struct guest_uffd uffd = { .n_vcpus = 0 };
	int fds[2];

	assert_int_equal(ram_add(&f->ram, &row, fd_memfd("guest", row.len), NULL), 0);
	assert_int_equal(ram_target_init(&f->ram), 0);
	f->b = &f->ram.blocks[0];
	f->b->received = (struct dirty_map){ .bits = f->received, .n_pages = PAGES };
	f->guest = mmap(NULL, f->b->len, PROT_READ | PROT_WRITE, MAP_SHARED, f->b->fd, 0);
	assert_true(f->guest != MAP_FAILED);
	f->b->host_base = (uintptr_t)f->guest;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->source = fds[0];
	f->chan = chan_new(fds[1], -1);
	uffd.fd = userfaultfd_for_missing(f->guest, f->b->len);
	f->service = fault_service_new(&f->ram, &uffd, &f->stats, &ops, f, &f->err);
	assert_non_null(f->service);
	*state = f;
	return 0;
}

/* What the source took back is missing; then pages can come. */
static void begin(struct fixture *f)
{
	assert_int_equal(placement_init(&f->placement, &f->ram, received_count_missing(&f->ram), f->service, &f->stats), 0);
	placer_init(&f->placer, &f->placement, in_new(f->chan, NULL, &f->err));
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)in_free(f->placer.in);
	(void)chan_free(f->chan);
	(void)close(f->source);
	(void)fault_service_free(f->service);
	placement_done(&f->placement);
	(void)munmap(f->guest, f->b->len);
	f->b->received.bits = NULL;
	ram_done(&f->ram);
	free(f);
	return 0;
}

/* ---- a guest's threads ---- */

struct toucher {
	struct fixture *f;
	uint64_t page;
	uint8_t byte;	/* what it found */
	atomic_bool done;
	pthread_t thread;
};

static void *touch(void *opaque)
{
	struct toucher *t = opaque;

	t->byte = ((volatile uint8_t *)t->f->guest)[t->page * WIRE_PAGE_SIZE + 7];
	atomic_store(&t->done, true);
	return NULL;
}

static void start(struct fixture *f, struct toucher *t, uint64_t page)
{
	*t = (struct toucher){ .f = f, .page = page };
	assert_int_equal(pthread_create(&t->thread, NULL, touch, t), 0);
}

static void await(const atomic_bool *done)
{
	uint64_t deadline_ns = clock_now_ns() + TIMEOUT_NS;

	while (!atomic_load(done)) {
		assert_true(clock_now_ns() < deadline_ns);
		(void)usleep(1000);
	}
}

static void await_wanted(struct fixture *f, uint64_t page)
{
	uint64_t deadline_ns = clock_now_ns() + TIMEOUT_NS;

	while (f->wanted[page] == 0) {
		assert_true(clock_now_ns() < deadline_ns);
		(void)usleep(1000);
	}
}

static uint8_t finish(struct toucher *t)
{
	await(&t->done);
	assert_int_equal(pthread_join(t->thread, NULL), 0);
	return t->byte;
}

static uint8_t look(struct fixture *f, uint64_t page)
{
	struct toucher t;

	start(f, &t, page);
	return finish(&t);
}

/* Pages come: N of them, all bytes BYTE. */
static void send_pages(struct fixture *f, uint64_t page, uint64_t n, uint8_t byte)
{
	uint8_t data[WIRE_PAGE_SIZE];

	memset(data, byte, sizeof(data));
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(fd_write_full(f->source, data, sizeof(data)), 0);
	assert_int_equal(placer_stream(&f->placer, f->b, page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE), 0);
}

static void send_zeros(struct fixture *f, uint64_t page, uint64_t n)
{
	assert_int_equal(placer_zero(&f->placer, f->b, page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE), 0);
}

/* What pre-copy left in the file. */
static void put(struct fixture *f, uint64_t page, uint8_t byte)
{
	uint8_t data[WIRE_PAGE_SIZE];

	memset(data, byte, sizeof(data));
	assert_int_equal(fd_pwrite_full(f->b->fd, data, sizeof(data), page * WIRE_PAGE_SIZE), 0);
	bitmap_set(f->b->filled, page);
}

/* ---- tests ---- */

static void test_what_came_before_is_shown(void **state)
{
	struct fixture *f = *state;

	put(f, 5, 0x55);
	put(f, 6, 0x66);
	received_set_all(&f->ram);
	begin(f);
	assert_int_equal(look(f, 5), 0x55);
	assert_int_equal(look(f, 6), 0x66);
	/* Holes stay holes, but for those that are looked at. */
	assert_int_equal(look(f, 7), 0);
	assert_int_equal(look(f, 900), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		assert_int_equal(f->wanted[i], 0);
	assert_int_equal(stats_get(&f->stats, faults), 0);
	assert_int_equal(stats_get(&f->stats, missing_pages), 0);
}

static void test_a_page_is_asked_for_once(void **state)
{
	struct fixture *f = *state;
	struct toucher t[4];

	put(f, 9, 0x11);	/* of before, and stale */
	received_set_all(&f->ram);
	received_discard(f->b, 9, 2);
	begin(f);
	for (unsigned int i = 0; i < 4; i++)
		start(f, &t[i], 9);
	await_wanted(f, 9);
	(void)usleep(100000);
	for (unsigned int i = 0; i < 4; i++)
		assert_false(t[i].done);
	assert_int_equal(fault_service_requested(f->service), 1);
	send_pages(f, 9, 2, 0x99);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(finish(&t[i]), 0x99);
	assert_int_equal(look(f, 10), 0x99);
	assert_int_equal(f->wanted[9], 1);
	assert_int_equal(f->wanted[10], 0);
	assert_int_equal(fault_service_requested(f->service), 0);
	assert_int_equal(stats_get(&f->stats, missing_pages), 0);
	assert_true(fd_wait(f->placement.complete_fd, POLLIN, -1, 0) > 0);
}

static void test_the_second_copy_is_dropped(void **state)
{
	struct fixture *f = *state;

	received_set_all(&f->ram);
	received_discard(f->b, 100, 30);
	begin(f);
	send_pages(f, 110, 10, 0x22);
	f->guest[112 * WIRE_PAGE_SIZE + 7] = 0x23;	/* the guest goes on */
	/* Around it, and over it. */
	send_pages(f, 100, 30, 0x44);
	send_zeros(f, 110, 10);
	for (uint64_t page = 100; page < 130; page++)
		assert_int_equal(look(f, page), page < 110 || page >= 120 ? 0x44 : page == 112 ? 0x23 : 0x22);
	/* What was never taken back is not written either. */
	put(f, 99, 0x77);
	send_pages(f, 99, 1, 0x78);
	assert_int_equal(look(f, 99), 0x77);
	assert_int_equal(stats_get(&f->stats, missing_pages), 0);
}

static void test_zeros_over_something(void **state)
{
	struct fixture *f = *state;
	struct toucher t;

	for (uint64_t page = 20; page < 24; page++)
		put(f, page, 0x88);
	received_set_all(&f->ram);
	received_discard(f->b, 20, 3);
	begin(f);
	start(f, &t, 21);
	await_wanted(f, 21);
	send_zeros(f, 20, 3);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(look(f, 20), 0);
	assert_int_equal(look(f, 22), 0);
	assert_int_equal(look(f, 23), 0x88);
}

/* A channel ended in mid-page: another one brings it. */
static void test_half_a_page_is_none(void **state)
{
	struct fixture *f = *state;
	struct toucher t;
	uint8_t half[WIRE_PAGE_SIZE / 2];
	int fds[2];

	memset(half, 0x31, sizeof(half));
	received_set_all(&f->ram);
	received_discard(f->b, 3, 1);
	begin(f);
	start(f, &t, 3);
	await_wanted(f, 3);
	assert_int_equal(fd_write_full(f->source, half, sizeof(half)), 0);
	assert_int_equal(shutdown(f->source, SHUT_WR), 0);
	assert_true(placer_stream(&f->placer, f->b, 3 * WIRE_PAGE_SIZE, WIRE_PAGE_SIZE) < 0);
	placer_reset(&f->placer);
	assert_false(t.done);
	assert_false(received_has(f->b, 3));

	(void)in_free(f->placer.in);
	(void)chan_free(f->chan);
	(void)close(f->source);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->source = fds[0];
	f->chan = chan_new(fds[1], -1);
	merr_clear(&f->err);
	placer_init(&f->placer, &f->placement, in_new(f->chan, NULL, &f->err));
	fault_service_ask_again(f->service);
	assert_int_equal(f->wanted[3], 2);
	send_pages(f, 3, 1, 0x32);
	assert_int_equal(finish(&t), 0x32);
}

/* Its VMM must not be stuck for ever in a guest that will not run. */
static void test_given_up(void **state)
{
	struct fixture *f = *state;
	struct toucher hole, stale;

	put(f, 41, 0x41);
	received_set_all(&f->ram);
	received_discard(f->b, 40, 3);
	begin(f);
	start(f, &hole, 40);
	start(f, &stale, 41);
	await_wanted(f, 40);
	await_wanted(f, 41);
	fault_service_give_up(f->service);
	(void)finish(&hole);
	(void)finish(&stale);
	(void)look(f, 42);
	assert_int_equal(f->wanted[42], 0);
}

/* Pages come while they are touched, in another order, from both ends. */
static void *touch_all(void *opaque)
{
	struct toucher *t = opaque;
	uint64_t page;

	for (uint64_t i = 0; i < PAGES; i++) {
		page = i * 389 % PAGES;
		if (t->f->guest[page * WIRE_PAGE_SIZE + 7] != (page % 3 == 0 ? 0 : 1 + page % 200))
			t->byte++;
	}
	atomic_store(&t->done, true);
	return NULL;
}

static void test_pages_come_while_they_are_touched(void **state)
{
	struct fixture *f = *state;
	struct toucher t[3];

	received_set_all(&f->ram);
	received_discard(f->b, 0, PAGES);
	begin(f);
	for (unsigned int i = 0; i < 3; i++) {
		t[i] = (struct toucher){ .f = f };
		assert_int_equal(pthread_create(&t[i].thread, NULL, touch_all, &t[i]), 0);
	}
	for (uint64_t page = 0; page < PAGES; page++) {
		if (page % 3 == 0)
			send_zeros(f, page, 1);
		else
			send_pages(f, page, 1, (uint8_t)(1 + page % 200));
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(finish(&t[i]), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		assert_true(f->wanted[page] <= 1);
	assert_int_equal(fault_service_requested(f->service), 0);
	assert_int_equal(fault_service_failure(f->service, &f->err), 0);
}

/* ---- numbers ---- */

static void test_buckets(void **state)
{
	static const struct {
		uint64_t ns;
		unsigned int bucket;
	} all[] = { { 0, 0 }, { 1, 0 }, { 2, 4 }, { 3, 6 }, { 4, 8 }, { 7, 11 }, { 1023, 39 }, { 1024, 40 }, { 1279, 40 },
		    { 1280, 41 }, { 1ULL << 39, 156 }, { (1ULL << 40) - 1, 159 }, { 1ULL << 40, 159 }, { UINT64_MAX, 159 } };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(fault_bucket(all[i].ns), all[i].bucket);
}

/* Two vCPUs and somebody else; times in milliseconds. */
static void test_blocktime(void **state)
{
	const struct guest_uffd uffd = { .n_vcpus = VCPUS, .vcpu_threads = { 11, 12 } };
	static const struct {
		uint64_t ms;
		uint32_t thread;	/* begins to wait for its page, the thread's number; 0: PAGE came */
		uint64_t page;
	} all[] = { { 10, 11, 11 }, { 20, 99, 99 }, { 30, 12, 12 }, { 35, 12, 12 }, { 50, 0, 11 }, { 60, 11, 11 }, { 65, 0, 12 },
		    { 80, 0, 11 }, { 90, 0, 99 } };
	struct stats_page *stats = calloc(1, sizeof(*stats));
	struct fault_waits *w = fault_waits_new(&uffd, stats);
	struct ram_file b = { .n_pages = 128 };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].thread)
			fault_waits_begin(w, &b, all[i].page, all[i].thread, all[i].ms * NS_PER_MS);
		else
			fault_waits_end(w, &b, all[i].page, 1, all[i].ms * NS_PER_MS);
	/* Both: from 30 to 50, and from 60 to 65. */
	assert_int_equal(stats_get(stats, blocktime_ms), 25);
	assert_int_equal(stats->vcpus[0].blocktime_ms, 60);
	assert_int_equal(stats->vcpus[1].blocktime_ms, 35);
	assert_int_equal(stats->vcpus[0].faults, 2);
	assert_int_equal(stats->vcpus[0].exists + stats->vcpus[1].exists, VCPUS);
	assert_int_equal(stats_get(stats, faults), 4);
	assert_int_equal(stats_get(stats, fault_min_ns), 20 * NS_PER_MS);
	assert_int_equal(stats_get(stats, fault_max_ns), 70 * NS_PER_MS);
	assert_int_equal(stats_get(stats, fault_sum_ns), (40 + 35 + 20 + 70) * NS_PER_MS);
	assert_int_equal(stats_get(stats, faults_outside), 1);
	assert_int_equal(stats_get(stats, fault_outside_sum_ns), 70 * NS_PER_MS);
	(void)fault_waits_free(w);
	free(stats);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(test_what_came_before_is_shown),
		SERVED(test_a_page_is_asked_for_once),
		SERVED(test_the_second_copy_is_dropped),
		SERVED(test_zeros_over_something),
		SERVED(test_half_a_page_is_none),
		SERVED(test_given_up),
		SERVED(test_pages_come_while_they_are_touched),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_blocktime),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
