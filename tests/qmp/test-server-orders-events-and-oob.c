/* SPDX-License-Identifier: Apache-2.0 */
/* What comes before what: in-band requests, out-of-band requests, events, clients that leave. QMP.md 1.6 to 1.8. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENT(name) "{\"event\": \"" name "\"}\r\n"
#define RETURN(id) "{\"return\": {}, \"id\": " id "}\r\n"

static void in_band_requests_run_one_after_another(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE), other = harness_client(h, NULL, NEGOTIATE);

	client_send(fd, "{\"execute\": \"wait\", \"id\": 1}{\"execute\": \"wait\", \"id\": 2}{\"execute\": \"echo\", \"id\": 3}");
	client_expect(h, fd, "");
	assert_int_equal(n_waiting_calls(), 1);
	/* Others do not wait. */
	client_exchange(h, other, "{\"execute\": \"echo\"}", OK);
	release_call();
	client_expect(h, fd, RETURN("1"));
	assert_int_equal(n_waiting_calls(), 1);
	release_call();
	client_expect(h, fd, RETURN("2") RETURN("3"));
	close(fd);
	close(other);
}

static void oob_overtakes(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE_OOB);

	client_send(fd, "{\"execute\": \"wait\", \"id\": 1}{\"execute\": \"echo\", \"id\": 2}{\"exec-oob\": \"oob-now\", \"id\": 3}");
	client_expect(h, fd, RETURN("3"));
	client_send(fd, "{\"exec-oob\": \"oob-wait\", \"id\": 4}{\"exec-oob\": \"oob-now\", \"id\": 5}");
	client_expect(h, fd, RETURN("5"));
	release_call();
	client_expect(h, fd, RETURN("1") RETURN("2"));
	release_call();
	client_expect(h, fd, RETURN("4"));
	/* In-band, the same commands keep their place. */
	client_send(fd, "{\"execute\": \"wait\", \"id\": 6}{\"execute\": \"oob-now\", \"id\": 7}");
	client_expect(h, fd, "");
	release_call();
	client_expect(h, fd, RETURN("6") RETURN("7"));
	close(fd);
}

static void without_oob_nothing_overtakes(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_send(fd, "{\"execute\": \"wait\", \"id\": 1}@{\"execute\": \"echo\", \"id\": 2}");
	client_expect(h, fd, "");
	release_call();
	client_expect(h, fd, RETURN("1") ERROR("GenericError", "JSON parse error, stray '@'") RETURN("2"));
	close(fd);
}

static void eight_requests_queue_and_then_reading_stops(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE_OOB), i;

	client_send(fd, "{\"execute\": \"wait\", \"id\": 0}");
	for (i = 1; i <= 8; i++)
		client_send(fd, "{\"execute\": \"wait\", \"id\": 1}");
	client_send(fd, "{\"exec-oob\": \"oob-now\", \"id\": 2}");
	client_expect(h, fd, "");
	release_call();
	client_expect(h, fd, RETURN("0") RETURN("2"));
	for (i = 1; i <= 8; i++) {
		release_call();
		client_expect(h, fd, RETURN("1"));
	}
	close(fd);
}

static void events_come_before_the_answer(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE), other = harness_client(h, NULL, NEGOTIATE);
	int early = harness_client(h, NULL, NULL);

	client_exchange(h, fd, "{\"execute\": \"emit\", \"arguments\": {\"name\": \"STOP\"}}", EVENT("STOP") OK);
	client_expect(h, other, EVENT("STOP"));
	/* Before negotiation there are none, and none are kept. */
	client_expect(h, early, "");
	client_exchange(h, early, NEGOTIATE, OK);
	client_exchange(h, fd, "{\"execute\": \"emit\", \"arguments\": {\"name\": \"X\", \"data\": {\"a\": 1}}}",
			"{\"event\": \"X\", \"data\": {\"a\": 1}}\r\n" OK);
	close(fd);
	close(other);
	close(early);
}

static void events_of_a_guest_reach_whom_they_concern(void **state)
{
	struct harness *h = *state;
	int all = harness_client(h, NULL, NEGOTIATE), one = harness_client(h, "vm1", NEGOTIATE);
	int two = harness_client(h, "vm2", NEGOTIATE);

	qmp_server_event(h->server, "STOP", "vm1", NULL);
	qmp_server_event(h->server, "HELLO", NULL, NULL);
	client_expect(h, all, EVENT("STOP") EVENT("HELLO"));
	client_expect(h, one, EVENT("STOP"));
	client_expect(h, two, "");
	close(all);
	close(one);
	close(two);
}

static void timestamps_are_wall_clock(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	char text[512];
	json_t *event;
	ssize_t n;

	qmp_server_event(h->server, "STOP", NULL, NULL);
	harness_run(h);
	n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
	assert_true(n > 2 && text[n - 2] == '\r' && text[n - 1] == '\n');
	event = json_loadb(text, (size_t)n, 0, NULL);
	assert_null(json_object_get(event, "data"));
	/* Some time after this was written. */
	assert_true(json_integer_value(json_object_get(json_object_get(event, "timestamp"), "seconds")) > 1700000000);
	assert_true(json_integer_value(json_object_get(json_object_get(event, "timestamp"), "microseconds")) < 1000000);
	json_decref(event);
	close(fd);
}

static void a_call_outlives_its_client(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE_OOB), other = harness_client(h, NULL, NEGOTIATE);

	client_send(fd, "{\"execute\": \"wait\"}{\"execute\": \"emit\", \"arguments\": {\"name\": \"STOP\"}}");
	harness_run(h);
	close(fd);
	harness_run(h);
	release_call();
	/* What was queued is dropped with the client. */
	client_expect(h, other, "");
	client_exchange(h, other, "{\"execute\": \"echo\"}", OK);
	close(other);
}

/* As `printf ... | nc -N -U SOCKET` does. */
static void who_only_stops_sending_gets_all_answers(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NULL);
	char byte;

	client_send(fd, NEGOTIATE "{\"execute\": \"wait\", \"id\": 1}{\"execute\": \"echo\", \"id\": 2}");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	harness_run(h);
	release_call();
	harness_run(h);
	client_expect(h, fd, OK RETURN("1") RETURN("2"));
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, harness_set_up, harness_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_band_requests_run_one_after_another),
		TEST(oob_overtakes),
		TEST(without_oob_nothing_overtakes),
		TEST(eight_requests_queue_and_then_reading_stops),
		TEST(events_come_before_the_answer),
		TEST(events_of_a_guest_reach_whom_they_concern),
		TEST(timestamps_are_wall_clock),
		TEST(a_call_outlives_its_client),
		TEST(who_only_stops_sending_gets_all_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
