/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guests of an evacuation go: by what is placed, by weight, by room, by name. */
/* LIBS: migd_daemon migd_schema migd_transport migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/evacuation-plan.h"

static struct evacuation_destination destinations[3];
static struct evacuation_plan plan;
static struct evacuation_load load;

static int setup(void **state)
{
	(void)state;
	destinations[0] = (struct evacuation_destination){ .uri = (char *)(uintptr_t)"tcp:a:1" };
	destinations[1] = (struct evacuation_destination){ .uri = (char *)(uintptr_t)"tcp:b:1" };
	destinations[2] = (struct evacuation_destination){ .uri = (char *)(uintptr_t)"tcp:c:1" };
	plan = (struct evacuation_plan){ .destinations = destinations, .n_destinations = 3 };
	load = (struct evacuation_load){ 0 };
	return 0;
}

/* Place a guest of MEMORY bytes, and count it. */
static int place(uint64_t memory, uint64_t tried)
{
	int i = evacuation_plan_place(&plan, &load, "g", memory, tried);

	if (i >= 0) {
		load.guests[i]++;
		load.memory[i] += memory;
	}
	return i;
}

static void test_in_turn(void **state)
{
	(void)state;
	for (int i = 0; i < 9; i++)
		assert_int_equal(place(10, 0), i % 3);
	/* A large one, and then small ones until they are level. */
	assert_int_equal(place(25, 0), 0);
	assert_int_equal(place(10, 0), 1);
	assert_int_equal(place(10, 0), 2);
	assert_int_equal(place(10, 0), 1);
}

static void test_weights(void **state)
{
	int n[3] = { 0 };

	(void)state;
	destinations[1].has_weight = true;
	destinations[1].weight = 4;
	for (int i = 0; i < 60; i++)
		n[place(1, 0)]++;
	assert_int_equal(n[0], 10);
	assert_int_equal(n[1], 40);
	assert_int_equal(n[2], 10);
}

static void test_room(void **state)
{
	(void)state;
	destinations[0].has_max_guests = true;
	destinations[1].has_max_memory = true;
	destinations[1].max_memory = 15;
	destinations[2].has_max_guests = true;
	destinations[2].max_guests = 1;
	assert_int_equal(place(10, 0), 1);
	assert_int_equal(place(10, 0), 2);
	assert_int_equal(place(10, 0), -ENOSPC);
	assert_int_equal(place(5, 0), 1);
	assert_int_equal(place(1, 0), -ENOSPC);
}

static void test_tried(void **state)
{
	(void)state;
	assert_int_equal(place(1, 1), 1);
	assert_int_equal(place(1, 1 | 2), 2);
	assert_int_equal(place(1, 1 | 2 | 4), -ENOSPC);
}

static void test_assigned(void **state)
{
	struct evacuation_assignment to_c = { .guest = (char *)(uintptr_t)"g", .uri = (char *)(uintptr_t)"tcp:c:1" };

	(void)state;
	plan.assignments = &to_c;
	plan.n_assignments = 1;
	assert_int_equal(place(100, 0), 2);
	assert_int_equal(place(100, 0), 2);
	assert_int_equal(place(100, 4), -ENOSPC);
	assert_int_equal(evacuation_plan_place(&plan, &load, "h", 1, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_in_turn, setup), cmocka_unit_test_setup(test_weights, setup),
		cmocka_unit_test_setup(test_room, setup),    cmocka_unit_test_setup(test_tried, setup),
		cmocka_unit_test_setup(test_assigned, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
