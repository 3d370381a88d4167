/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transition table equals a plain restatement of the design, all states by all events; pages
 * and ids read back.
 */
/* LIBS: migd_attach migd_base */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/dirty-map.h"
#include "attach/handover.h"
#include "base/bitmap.h"
#include "base/fd.h"

/* The design's two lines, said again without a table. */
static enum handover_state naive_next(enum handover_state s, enum handover_event e)
{
	bool target_undecided =
		s == HANDOVER_EMPTY || s == HANDOVER_INCOMING || s == HANDOVER_LOADED;

	if (e == HANDOVER_EV_BEGIN && s == HANDOVER_RUNNING)
		return HANDOVER_PRECOPY;
	if (e == HANDOVER_EV_BEGIN && s == HANDOVER_EMPTY)
		return HANDOVER_INCOMING;
	if (e == HANDOVER_EV_PAUSE && s == HANDOVER_PRECOPY)
		return HANDOVER_PAUSED;
	if (e == HANDOVER_EV_RELEASE && s == HANDOVER_PAUSED)
		return HANDOVER_RELEASED;
	if (e == HANDOVER_EV_RETIRE && s == HANDOVER_RELEASED)
		return HANDOVER_RETIRED;
	if (e == HANDOVER_EV_RECLAIM && s == HANDOVER_RELEASED)
		return HANDOVER_RUNNING;
	if (e == HANDOVER_EV_LOADED && s == HANDOVER_INCOMING)
		return HANDOVER_LOADED;
	if (e == HANDOVER_EV_ACTIVATE && s == HANDOVER_LOADED)
		return HANDOVER_RUNNING;
	if (e == HANDOVER_EV_DISCARD && target_undecided)
		return HANDOVER_DISCARDED;
	if (e == HANDOVER_EV_ABORT && (s == HANDOVER_PRECOPY || s == HANDOVER_PAUSED))
		return HANDOVER_RUNNING;
	if (e == HANDOVER_EV_ABORT && (s == HANDOVER_INCOMING || s == HANDOVER_LOADED))
		return HANDOVER_DISCARDED;
	return HANDOVER_INVALID;
}

static void test_table(void **state)
{
	(void)state;
	for (unsigned int s = 0; s < HANDOVER_N_STATES + 2; s++)
		for (unsigned int e = 0; e < HANDOVER_N_EVENTS + 2; e++)
			if (handover_next(s, e) != naive_next(s, e))
				fail_msg("%s on %s gives %s, expected %s", handover_state_name(s),
					 handover_event_name(e),
					 handover_state_name(handover_next(s, e)),
					 handover_state_name(naive_next(s, e)));
}

static void test_only_two_states_run(void **state)
{
	(void)state;
	for (unsigned int s = 0; s < HANDOVER_N_STATES; s++)
		assert_int_equal(handover_may_run(s),
				 s == HANDOVER_RUNNING || s == HANDOVER_PRECOPY);
}

static void test_terminal_states_stay(void **state)
{
	(void)state;
	for (unsigned int e = 0; e < HANDOVER_N_EVENTS; e++) {
		assert_int_equal(handover_next(HANDOVER_RETIRED, e), HANDOVER_INVALID);
		assert_int_equal(handover_next(HANDOVER_DISCARDED, e), HANDOVER_INVALID);
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(handover_state_name(HANDOVER_RELEASED), "released");
	assert_string_equal(handover_state_name(77), "invalid");
	assert_string_equal(handover_event_name(HANDOVER_EV_RECLAIM), "reclaim");
	assert_string_equal(handover_event_name(77), "invalid");
}

static void test_ids(void **state)
{
	static const uint8_t id[ATTACH_ID_LEN] = { 0x3f, 0x2a, 0, 1, 2,  3,  4,  5,
						   6,    7,    8, 9, 10, 11, 12, 0xff };
	uint8_t back[ATTACH_ID_LEN] = { 0 };
	char text[2 * ATTACH_ID_LEN + 1];

	(void)state;
	handover_id_format(id, text);
	assert_string_equal(text, "3f2a000102030405060708090a0b0cff");
	assert_int_equal(handover_id_parse(text, back), 0);
	assert_memory_equal(id, back, sizeof(id));
	assert_int_equal(handover_id_parse("3F2A000102030405060708090A0B0CFF", back), 0);
	assert_memory_equal(id, back, sizeof(id));
	assert_int_equal(handover_id_parse("3f2a", back), -EINVAL);
	assert_int_equal(handover_id_parse("3f2a000102030405060708090a0b0cff0", back), -EINVAL);
	assert_int_equal(handover_id_parse("3g2a000102030405060708090a0b0cff", back), -EINVAL);
}

static int page_fd(uint32_t magic, uint32_t page_state)
{
	struct decision_page page = { .magic = magic,
				      .version = DECISION_VERSION,
				      .state = page_state };
	int fd = fd_memfd("page", DECISION_PAGE_LEN);

	assert_true(fd >= 0);
	assert_int_equal(fd_pwrite_full(fd, &page, sizeof(page), 0), 0);
	return fd;
}

static void test_decision_page(void **state)
{
	const struct decision_page *page = NULL;
	int fd = page_fd(DECISION_MAGIC, HANDOVER_LOADED);
	uint32_t running = HANDOVER_RUNNING;

	(void)state;
	assert_int_equal(decision_map(fd, &page), 0);
	assert_int_equal(decision_state(page), HANDOVER_LOADED);
	assert_int_equal(fd_pwrite_full(fd, &running, sizeof(running),
					offsetof(struct decision_page, state)),
			 0);
	assert_int_equal(decision_state(page), HANDOVER_RUNNING);
	decision_unmap(page);
	(void)close(fd);
}

static void test_refuses_other_pages(void **state)
{
	const struct decision_page *page = NULL;
	int fds[4];

	(void)state;
	fds[0] = page_fd(DECISION_MAGIC + 1, HANDOVER_LOADED);
	fds[1] = page_fd(DECISION_MAGIC, 99);
	fds[2] = fd_memfd("short", 100);
	fds[3] = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fds[3], DECISION_PAGE_LEN), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(decision_map(fds[i], &page), -EBADMSG);
		(void)close(fds[i]);
	}
	assert_null(page);
}

static void test_dirty_map(void **state)
{
	struct dirty_map ours, theirs;
	struct merr err = MERR_INIT;
	int fd = -1;

	(void)state;
	assert_int_equal(dirty_map_create(1000, &ours, &fd), 0);
	assert_int_equal(dirty_map_open(fd, 1000, &theirs, &err), 0);
	bitmap_atomic_or_range(ours.bits, 990, 10);
	assert_int_equal(bitmap_count_range(theirs.bits, 0, 1000), 10);
	assert_int_equal(dirty_map_open(fd, 1000 + 64, &ours, &err), -EBADMSG);
	merr_clear(&err);
	assert_int_equal(dirty_map_open(fd, 0, &ours, &err), -EINVAL);
	ours.header->n_pages = 999;
	merr_clear(&err);
	dirty_map_done(&theirs);
	assert_int_equal(dirty_map_open(fd, 1000, &theirs, &err), -EBADMSG);
	dirty_map_done(&ours);
	(void)close(fd);
}

static void test_dirty_map_must_be_sealed(void **state)
{
	int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct dirty_map map;
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(ftruncate(fd, DIRTY_MAP_BITS_OFFSET + 8), 0);
	assert_int_equal(dirty_map_open(fd, 64, &map, &err), -EBADMSG);
	assert_string_equal(merr_msg(&err), "dirty map: the descriptor is no sealed memfd");
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_only_two_states_run),
		cmocka_unit_test(test_terminal_states_stay),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_decision_page),
		cmocka_unit_test(test_refuses_other_pages),
		cmocka_unit_test(test_dirty_map),
		cmocka_unit_test(test_dirty_map_must_be_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
