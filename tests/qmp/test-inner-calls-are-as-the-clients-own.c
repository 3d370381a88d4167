/* SPDX-License-Identifier: Apache-2.0 */
/* A command that a handler runs: checked as if the client had sent it; its answer is the handler's, not the client's. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define INNER(arguments, id) "{\"execute\": \"inner\", \"arguments\": {" arguments "}, \"id\": " id "}"
#define RETURN_ID(value, id) "{\"return\": " value ", \"id\": " id "}\r\n"

static void the_answer_is_the_handlers(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, "g1", NEGOTIATE);

	client_exchange(h, fd, INNER("\"command\": \"echo\", \"arguments\": {\"a\": 1}", "1"),
			RETURN_ID("{\"return\": {\"a\": 1}}", "1"));
	client_exchange(h, fd, INNER("\"command\": \"guest\"", "2"), RETURN_ID("{\"return\": \"g1\"}", "2"));
	client_exchange(h, fd, INNER("\"command\": \"query-version\"", "3"),
			RETURN_ID("{\"return\": {\"qemu\": {\"major\": 1, \"minor\": 2, \"micro\": 3}, "
				  "\"package\": \"test\"}}", "3"));
	close(fd);
}

static void it_is_checked_as_any_other(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, INNER("\"command\": \"nope\"", "1"),
			RETURN_ID("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command nope has not been "
				  "found\"}}", "1"));
	client_exchange(h, fd, INNER("\"command\": \"echo\", \"arguments\": 3", "2"),
			RETURN_ID("{\"error\": {\"class\": \"GenericError\", \"desc\": \"QMP input member 'arguments' must be "
				  "an object\"}}", "2"));
	client_exchange(h, fd, INNER("\"command\": \"query-version\", \"arguments\": {\"x\": 1}", "3"),
			RETURN_ID("{\"error\": {\"class\": \"GenericError\", \"desc\": \"Parameter 'x' is unexpected\"}}",
				  "3"));
	close(fd);
}

static void it_may_be_answered_later(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, INNER("\"command\": \"wait\", \"arguments\": {\"b\": 2}", "1"), "");
	assert_int_equal(n_waiting_calls(), 1);
	/* The outer call is what runs; the next command waits for it. */
	client_exchange(h, fd, "{\"execute\": \"echo\", \"id\": 2}", "");
	release_call();
	client_expect(h, fd, RETURN_ID("{\"return\": {\"b\": 2}}", "1") RETURN_ID("{}", "2"));
	close(fd);
}

static void one_whose_client_has_left_is_answered(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, INNER("\"command\": \"wait\"", "1"), "");
	close(fd);
	harness_run(h);
	assert_int_equal(n_waiting_calls(), 1);
	/* A handler that goes on with a second command is told so. */
	release_call();
	harness_run(h);
}

static void a_client_that_left_runs_nothing_more(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, INNER("\"command\": \"inner\", \"arguments\": {\"command\": \"wait\"}", "1"), "");
	client_exchange(h, fd, INNER("\"command\": \"echo\"", "2"), "");
	close(fd);
	harness_run(h);
	release_call();
	harness_run(h);
	assert_int_equal(n_waiting_calls(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_is_the_handlers),
		cmocka_unit_test(it_is_checked_as_any_other),
		cmocka_unit_test(it_may_be_answered_later),
		cmocka_unit_test(one_whose_client_has_left_is_answered),
		cmocka_unit_test(a_client_that_left_runs_nothing_more),
	};

	return cmocka_run_group_tests(tests, harness_set_up, harness_tear_down);
}
