/* SPDX-License-Identifier: Apache-2.0 */
/* A burst, and then so many a second, however often and at whatever moments one is asked for. */
/* LIBS: migd_base */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/budget.h"

#define BURST	   512U
#define PER_SECOND 256U

static unsigned int take_all(struct budget *b, uint64_t now_ns)
{
	unsigned int n = 0;

	while (budget_take(b, BURST, PER_SECOND, now_ns))
		n++;
	return n;
}

static void there_is_a_limit(void **state)
{
	const uint64_t second = 1000000000ULL, start = 1234567ULL * second;
	struct budget b = { 0 };
	unsigned int n = 0;

	(void)state;
	assert_int_equal(take_all(&b, start), BURST);
	assert_int_equal(take_all(&b, start), 0);
	assert_int_equal(take_all(&b, start + second), PER_SECOND);
	assert_int_equal(take_all(&b, start + second + second / 4), PER_SECOND / 4);
	assert_int_equal(take_all(&b, start + 3600 * second), BURST);
	assert_int_equal(take_all(&b, start + 1000000 * second), BURST);
	/* Asked again and again, it does not lose what is less than a millisecond's. */
	for (unsigned int us = 1; us <= 8000; us++)
		n += budget_take(&b, BURST, PER_SECOND, start + 1000000 * second + us * 1000ULL);
	assert_int_equal(n, 8 * PER_SECOND / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
