/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that could not be read is whole again: each page is read into the guest's memory once, however often it is wanted and
 * tried again while it is being read. A second time would be over what the guest has written since.
 */
/* LIBS: migd_engine migd_transport migd_attach migd_schema */
/* LABELS: kvm */
/* SOURCES: userfaultfd.c */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/lazy-fetch.h"
#include "userfaultfd.h"

#define PAGES	   4096U
#define THREADS	   4U
#define TIMEOUT_NS (60 * NS_PER_SEC)

struct fixture {
	struct ram ram;
	struct ram_file *b;
	uint8_t *guest;
	struct stats_page stats;
	struct rate limit;
	struct mapped_source_file file;
	struct lazy_fetch *fetch;
	struct fault_service *faults;
};

static const struct fault_ops ops = { .want = lazy_fetch_want };

static void add_memory(struct fixture *f)
{
	struct attach_ram_block row = { .name = "ram", .len = PAGES * WIRE_PAGE_SIZE, .page_size = WIRE_PAGE_SIZE };

	assert_int_equal(ram_add(&f->ram, &row, fd_memfd("guest", row.len), NULL), 0);
	assert_int_equal(ram_target_init(&f->ram), 0);
	f->b = &f->ram.blocks[0];
	f->b->received = (struct dirty_map){ .bits = calloc(PAGES / 8, 1), .n_pages = PAGES };
	f->guest = mmap(NULL, f->b->len, PROT_READ | PROT_WRITE, MAP_SHARED, f->b->fd, 0);
	assert_true(f->guest != MAP_FAILED);
	f->b->host_base = (uintptr_t)f->guest;
}

/* A file that ends before its first page. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct merr err = MERR_INIT;
	struct guest_uffd uffd = { .n_vcpus = 0 };
	uint64_t *bits = ram_bits_new(PAGES);

	add_memory(f);
	(void)memset(bits, 0xff, PAGES / 8);
	assert_int_equal(rate_init(&f->limit), 0);
	f->file = (struct mapped_source_file){ .fd = memfd_create("file", MFD_CLOEXEC), .direct_fd = -1, .n_threads = THREADS, .cancel_fd = -1 };
	f->fetch = lazy_fetch_new(&f->ram, &f->file, &f->limit, &f->stats);
	lazy_fetch_add(f->fetch, f->b, 0, bits);
	assert_int_equal(lazy_fetch_prepare(f->fetch, false), 0);
	uffd.fd = userfaultfd_for_missing(f->guest, f->b->len);
	f->faults = fault_service_new(&f->ram, &uffd, &f->stats, &ops, f->fetch, &err);
	assert_non_null(f->faults);
	assert_int_equal(lazy_fetch_start(f->fetch, f->faults, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lazy_fetch_stop(f->fetch);
	(void)fault_service_free(f->faults);
	(void)lazy_fetch_free(f->fetch);
	(void)close(f->file.fd);
	(void)munmap(f->guest, f->b->len);
	free(f->b->received.bits);
	f->b->received.bits = NULL;
	ram_done(&f->ram);
	free(f);
	return 0;
}

static void fill_file(const struct fixture *f)
{
	uint8_t page[WIRE_PAGE_SIZE];

	(void)memset(page, 'p', sizeof(page));
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(fd_pwrite_full(f->file.fd, page, sizeof(page), i * sizeof(page)), 0);
}

static void test_each_page_once(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline_ns = clock_now_ns() + TIMEOUT_NS;
	struct merr why = MERR_INIT;

	while (lazy_fetch_failure(f->fetch, &why) == 0)
		assert_true(clock_now_ns() < deadline_ns);
	fill_file(f);
	while (lazy_fetch_left(f->fetch) > 0) {
		assert_true(clock_now_ns() < deadline_ns);
		lazy_fetch_retry(f->fetch);
		for (uint64_t page = 0; page < PAGES; page++)
			lazy_fetch_want(f->fetch, f->b, page, 1);
	}
	lazy_fetch_stop(f->fetch);
	assert_int_equal(lazy_fetch_left(f->fetch), 0);
	assert_int_equal(f->stats.received_bytes, PAGES * WIRE_PAGE_SIZE);
	merr_clear(&why);
	assert_int_equal(lazy_fetch_failure(f->fetch, &why), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		assert_int_equal(f->guest[page * WIRE_PAGE_SIZE + 9], 'p');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_page_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
