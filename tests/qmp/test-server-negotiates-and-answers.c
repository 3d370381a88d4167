/* SPDX-License-Identifier: Apache-2.0 */
/* A session from greeting to answers: QMP.md 1.2, 1.3 and 1.5, in packets of every size. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECTING ERROR("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'")

static void negotiation_comes_first(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NULL);

	client_exchange(h, fd, "{\"execute\": \"echo\"}", EXPECTING);
	client_exchange(h, fd, "{\"execute\": \"query-version\", \"id\": 7}",
			ERROR_ID("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'", "7"));
	client_exchange(h, fd, "{\"exec-oob\": \"oob-now\", \"id\": 1}",
			ERROR_ID("GenericError", "QMP input member 'exec-oob' is unexpected", "1"));
	client_exchange(h, fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"foo\"]}}",
			ERROR("GenericError", "Parameter 'null' does not accept value 'foo'"));
	client_exchange(h, fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": \"oob\"}}",
			ERROR("GenericError", "Invalid parameter type for 'enable', expected: array"));
	client_exchange(h, fd, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"x\": 1}}",
			ERROR("GenericError", "Parameter 'x' is unexpected"));
	client_exchange(h, fd, NEGOTIATE, OK);
	client_exchange(h, fd, NEGOTIATE,
			ERROR("CommandNotFound", "Capabilities negotiation is already complete, command ignored"));
	client_exchange(h, fd, "{\"execute\": \"echo\"}", OK);
	/* Still unknown: oob was not enabled. */
	client_exchange(h, fd, "{\"exec-oob\": \"oob-now\"}",
			ERROR("GenericError", "QMP input member 'exec-oob' is unexpected"));
	close(fd);
}

static void each_session_negotiates_for_itself(void **state)
{
	struct harness *h = *state;
	int first = harness_client(h, NULL, NEGOTIATE), second = harness_client(h, NULL, NULL);

	client_exchange(h, second, "{\"execute\": \"echo\"}", EXPECTING);
	client_exchange(h, first, "{\"execute\": \"echo\"}", OK);
	close(first);
	close(second);
}

static void requests_are_checked(void **state)
{
	static const char *const cases[][2] = {
		{ "[1]", ERROR("GenericError", "QMP input must be a JSON object") },
		{ "1 ", ERROR("GenericError", "QMP input must be a JSON object") },
		{ "{}", ERROR("GenericError", "QMP input lacks member 'execute'") },
		{ "{\"id\": null}", ERROR_ID("GenericError", "QMP input lacks member 'execute'", "null") },
		{ "{\"execute\": 1, \"id\": [1.5]}",
		  ERROR_ID("GenericError", "QMP input member 'execute' must be a string", "[1.5]") },
		{ "{\"exec-oob\": 1}", ERROR("GenericError", "QMP input member 'exec-oob' must be a string") },
		{ "{\"execute\": \"echo\", \"exec-oob\": \"oob-now\"}",
		  ERROR("GenericError", "QMP input member 'execute' clashes with 'exec-oob'") },
		{ "{\"exec-oob\": \"oob-now\", \"execute\": \"echo\"}",
		  ERROR("GenericError", "QMP input member 'execute' clashes with 'exec-oob'") },
		{ "{\"execute\": \"echo\", \"arguments\": 1}",
		  ERROR("GenericError", "QMP input member 'arguments' must be an object") },
		{ "{\"execute\": \"echo\", \"foo\": 1, \"id\": \"x\"}",
		  ERROR_ID("GenericError", "QMP input member 'foo' is unexpected", "\"x\"") },
		{ "{\"execute\": \"nope\", \"id\": 1}",
		  ERROR_ID("CommandNotFound", "The command nope has not been found", "1") },
		{ "{\"exec-oob\": \"echo\"}", ERROR("GenericError", "The command echo does not support OOB") },
		{ "{\"exec-oob\": \"nope\"}", ERROR("CommandNotFound", "The command nope has not been found") },
		{ "{\"execute\": \"a\\u0001\\u00e9\"}",
		  ERROR("CommandNotFound", "The command a\\u0001\\u00E9 has not been found") },
	};
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE_OOB);
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		client_exchange(h, fd, cases[i][0], cases[i][1]);
	close(fd);
}

static void ids_come_back_as_they_were(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, "{\"execute\": \"echo\", \"id\": 18446744073709551615}",
			"{\"return\": {}, \"id\": 18446744073709551615}\r\n");
	client_exchange(h, fd, "{\"execute\": \"echo\", \"id\": {\"a\\u0000\": [\"\\u0000\", 0.1, \"\xF0\x9F\x98\x80\"]}}",
			"{\"return\": {}, \"id\": {\"a\\u0000\": [\"\\u0000\", 0.10000000000000001, \"\\uD83D\\uDE00\"]}}\r\n");
	client_exchange(h, fd, "{\"id\": false, \"arguments\": {\"x\": 1}, \"execute\": \"echo\"}",
			"{\"return\": {\"x\": 1}, \"id\": false}\r\n");
	close(fd);
}

static void errors_have_qmp_classes(void **state)
{
	static const struct {
		enum merr_class class;
		const char *name;
	} classes[] = {
		{ MERR_GENERIC, "GenericError" },
		{ MERR_COMMAND_NOT_FOUND, "CommandNotFound" },
		{ MERR_DEVICE_NOT_ACTIVE, "DeviceNotActive" },
		{ MERR_DEVICE_NOT_FOUND, "DeviceNotFound" },
		{ MERR_KVM_MISSING_CAP, "KVMMissingCap" },
	};
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	struct buf in = { 0 }, out = { 0 };
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		buf_printf(&in, "{\"execute\": \"fail\", \"arguments\": {\"class\": %d}}", classes[i].class);
		buf_printf(&out, "{\"error\": {\"class\": \"%s\", \"desc\": \"it \\\"failed\\\"\"}}\r\n", classes[i].name);
	}
	buf_u8(&in, 0);
	buf_u8(&out, 0);
	client_exchange(h, fd, (char *)in.data, (char *)out.data);
	buf_done(&in);
	buf_done(&out);
	close(fd);
}

/* A whole conversation: also what is wrong with JSON keeps its place in the order. */
static const char conversation[] =
	NEGOTIATE "\r\n{\"execute\":\"echo\",\"arguments\":{\"n\":1},\"id\":1}{\"execute\":\"nope\"}\n"
	" {'execute':'echo','id':\"\\u00e9\xC3\xA9\"} {\"a\": tru} @ \"x\" {\"execute\": \"echo\", \"id\": 2}\xFF"
	"{\"execute\": \"query-version\", \"arguments\": {}}";
static const char answers[] =
	OK "{\"return\": {\"n\": 1}, \"id\": 1}\r\n" ERROR("CommandNotFound", "The command nope has not been found")
	"{\"return\": {}, \"id\": \"\\u00E9\\u00E9\"}\r\n" ERROR("GenericError", "JSON parse error, invalid keyword 'tru'")
	ERROR("GenericError", "JSON parse error, stray '@'") "{\"return\": {}, \"id\": 2}\r\n"
	ERROR("GenericError", "JSON parse error, stray '\\uFFFD'")
	"{\"return\": {\"qemu\": {\"major\": 1, \"minor\": 2, \"micro\": 3}, \"package\": \"test\"}}\r\n";

static void packets_may_be_cut_anywhere(void **state)
{
	struct harness *h = *state;
	size_t cut, len = strlen(conversation);

	for (cut = 0; cut <= len; cut++) {
		int fd = harness_client(h, NULL, NULL);

		client_send_bytes(fd, conversation, cut);
		harness_run(h);
		client_send_bytes(fd, conversation + cut, len - cut);
		client_expect(h, fd, answers);
		close(fd);
		harness_run(h);
	}
}

static void one_byte_at_a_time_is_enough(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NULL);
	size_t i;

	for (i = 0; conversation[i]; i++) {
		client_send_bytes(fd, conversation + i, 1);
		harness_run(h);
	}
	client_expect(h, fd, answers);
	close(fd);
}

static void all_commands_are_listed(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, "{\"execute\": \"query-commands\"}",
			"{\"return\": [{\"name\": \"qmp_capabilities\"}, {\"name\": \"query-version\"}, "
			"{\"name\": \"query-commands\"}, {\"name\": \"query-qmp-schema\"}, {\"name\": \"echo\"}, "
			"{\"name\": \"wait\"}, {\"name\": \"oob-wait\"}, {\"name\": \"oob-now\"}, {\"name\": \"fail\"}, "
			"{\"name\": \"emit\"}, {\"name\": \"take-fd\"}, {\"name\": \"guest\"}, {\"name\": \"inner\"}, "
			"{\"name\": \"operate\"}, {\"name\": \"admin\"}, {\"name\": \"open\"}]}\r\n");
	close(fd);
}

static void sessions_know_their_guest(void **state)
{
	struct harness *h = *state;
	int bound = harness_client(h, "vm1", NEGOTIATE), unbound = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, bound, "{\"execute\": \"guest\"}", "{\"return\": \"vm1\"}\r\n");
	client_exchange(h, unbound, "{\"execute\": \"guest\"}", "{\"return\": null}\r\n");
	qmp_server_close_guest(h->server, "vm1");
	client_expect_end(h, bound);
	client_exchange(h, unbound, "{\"execute\": \"guest\"}", "{\"return\": null}\r\n");
	close(bound);
	close(unbound);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(negotiation_comes_first, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(each_session_negotiates_for_itself, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(requests_are_checked, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(ids_come_back_as_they_were, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(errors_have_qmp_classes, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(packets_may_be_cut_anywhere, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(one_byte_at_a_time_is_enough, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(all_commands_are_listed, harness_set_up, harness_tear_down),
		cmocka_unit_test_setup_teardown(sessions_know_their_guest, harness_set_up, harness_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
