/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do not read, are too many, or pass descriptors in odd ways. QMP.md 1.9, qmp/limits.h. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "qmp/limits.h"

static unsigned int n_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void who_does_not_read_is_dropped(void **state)
{
	struct harness *h = *state;
	int lazy = harness_client(h, NULL, NEGOTIATE), other = harness_client(h, NULL, NEGOTIATE);
	unsigned int before = n_open_fds();
	char text[65536], drain[65536];
	size_t sent = 0, received = 0;
	json_t *data;
	ssize_t n;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	data = json_pack("{s:s}", "text", text);
	while (n_open_fds() == before && sent < 16U << 20) {
		qmp_server_event(h->server, "BIG", NULL, data);
		harness_run(h);
		sent += sizeof(text);
		while ((n = recv(other, drain, sizeof(drain), MSG_DONTWAIT)) > 0)
			received += (size_t)n;
	}
	json_decref(data);
	/* Not before its queue was full, and no later than one message after; the kernel holds some too. */
	assert_true(sent > QMP_MAX_OUT_BYTES && sent < QMP_MAX_OUT_BYTES + (2U << 20));
	/* The one that reads got everything. */
	assert_true(received > sent);
	client_exchange(h, other, "{\"execute\": \"echo\"}", OK);
	close(lazy);
	close(other);
}

/* Requests without reading the answers: the server stops reading, rather than hold ever more. */
static void who_only_sends_stops_itself(void **state)
{
	static const char request[] = "{\"execute\": \"query-qmp-schema\"}\n";
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	size_t n_sent = 0, n_answers = 0, i;
	char answer[65536];
	ssize_t n;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while ((n = send(fd, request, strlen(request), MSG_NOSIGNAL)) == (ssize_t)strlen(request)) {
		n_sent++;
		harness_run(h);
		assert_true(n_sent < 1000000);
	}
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	/* Nothing is lost once it reads. */
	for (i = 0; n_answers < n_sent; i++) {
		harness_run(h);
		n = recv(fd, answer, sizeof(answer), 0);
		assert_true(n > 0);
		for (char *p = answer; (p = memchr(p, '\n', (size_t)(answer + n - p))); p++)
			n_answers++;
	}
	close(fd);
}

#define SESSIONS 64U

static void the_sixty_fifth_client_is_told(void **state)
{
	struct harness *h = *state;
	int fds[SESSIONS], extra[2];
	struct merr err = MERR_INIT;
	unsigned int i;

	qmp_server_set_limits(h->server, &(struct qmp_server_limits){ .sessions = SESSIONS });
	for (i = 0; i < SESSIONS; i++)
		fds[i] = harness_client(h, NULL, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), 0);
	assert_true(qmp_server_add_session(h->server, extra[1], NULL, &err) < 0);
	client_expect(h, extra[0], ERROR("GenericError", "too many clients: there are 64 already"));
	client_expect_end(h, extra[0]);
	close(extra[0]);
	/* Until one leaves. */
	close(fds[0]);
	harness_run(h);
	fds[0] = harness_client(h, NULL, NEGOTIATE);
	for (i = 0; i < SESSIONS; i++)
		close(fds[i]);
}

static void values_have_a_size_and_a_depth(void **state)
{
	static const char nested[] = "{\"execute\": \"echo\", \"arguments\": {\"a\": [[[[[[]]]]]]}}";
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	char text[4096];

	client_exchange(h, fd, nested, "{\"return\": {\"a\": [[[[[[]]]]]]}}\r\n");
	/* For sessions that are open, too. */
	qmp_server_set_limits(h->server, &(struct qmp_server_limits){ .message_bytes = 300, .nesting = 8 });
	client_exchange(h, fd, nested, "{\"return\": {\"a\": [[[[[[]]]]]]}}\r\n");
	qmp_server_set_limits(h->server, &(struct qmp_server_limits){ .message_bytes = 300, .nesting = 7 });
	client_send(fd, nested);
	harness_run(h);
	/* What is left of the value after the error is junk; 0xFF makes the parser begin anew. */
	client_send_bytes(fd, "\xff", 1);
	harness_run(h);
	memset(text, 0, sizeof(text));
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "JSON nesting depth limit exceeded"));
	client_expect(h, fd, "");
	/* The text of all tokens together: 26 bytes around the string. */
	memset(text, 0, sizeof(text));
	snprintf(text, sizeof(text), "{\"execute\":\"echo\",\"id\":\"%0*d\"}", 300 - 26, 0);
	client_send(fd, text);
	harness_run(h);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 300 - 26 + strlen("{\"return\": {}, \"id\": \"\"}\r\n"));
	snprintf(text, sizeof(text), "{\"execute\":\"echo\",\"id\":\"%0*d\"}", 300 - 25, 0);
	client_exchange(h, fd, text, ERROR("GenericError", "JSON token size limit exceeded"));
	client_exchange(h, fd, "\n" "{\"execute\": \"echo\"}", OK);
	close(fd);
}

/* A burst of as many as in a second, then one whenever its time has come; others are not affected, nor are events. */
static void who_sends_too_many_is_read_slowly(void **state)
{
	struct harness *h = *state;
	int fd, other;
	unsigned int i;
	uint64_t start;

	qmp_server_set_limits(h->server, &(struct qmp_server_limits){ .rate = 10 });
	start = clock_now_ns();
	fd = harness_client(h, NULL, NEGOTIATE);
	other = harness_client(h, NULL, NEGOTIATE);
	for (i = 0; i < 20; i++)
		client_send(fd, "{\"execute\": \"echo\"}");
	/* The negotiation was one. */
	client_expect(h, fd, OK OK OK OK OK OK OK OK OK);
	client_exchange(h, other, "{\"execute\": \"echo\"}", OK);
	qmp_server_event(h->server, "STOP", NULL, NULL);
	client_expect(h, fd, "{\"event\": \"STOP\"}\r\n");
	for (i = 9; i < 20; i++) {
		char answer[64];

		do
			assert_int_equal(event_base_loop(h->base, EVLOOP_ONCE), 0);
		while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) < 0);
		/* Number i + 2 of all: the first ten are free. */
		assert_true(clock_now_ns() - start >= (i + 2 - 10) * NS_PER_SEC / 10 - NS_PER_MS);
	}
	close(fd);
	close(other);
}

/* One that always has something to say gets no more turns than others. */
static void a_flood_delays_others_by_its_turn(void **state)
{
	struct harness *h = *state;
	int flood = harness_client(h, NULL, NEGOTIATE_OOB), other = harness_client(h, NULL, NEGOTIATE);
	char drain[65536];
	unsigned int n_flood = 0;
	struct buf requests = { 0 };
	ssize_t n;

	for (int i = 0; i < 1000; i++)
		buf_add_str(&requests, "{\"exec-oob\": \"oob-now\"}{\"execute\": \"echo\"}");
	client_send_bytes(flood, requests.data, requests.len);
	buf_done(&requests);
	client_send(other, "{\"execute\": \"echo\"}{\"execute\": \"echo\"}{\"execute\": \"echo\"}");
	for (int got = 0; got < 3;) {
		(void)event_base_loop(h->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		while ((n = recv(other, drain, sizeof(drain), MSG_DONTWAIT)) > 0)
			got += (int)((size_t)n / strlen(OK));
	}
	while ((n = recv(flood, drain, sizeof(drain), MSG_DONTWAIT)) > 0)
		n_flood += (unsigned int)((size_t)n / strlen(OK));
	/* Its own turns in the same time, of one in-band request and some that are not, and those of one round of the loop. */
	assert_true(n_flood < 500);
	for (int i = 0; n_flood < 2000 && i < 10000; i++) {
		harness_run(h);
		while ((n = recv(flood, drain, sizeof(drain), MSG_DONTWAIT)) > 0)
			n_flood += (unsigned int)((size_t)n / strlen(OK));
	}
	assert_int_equal(n_flood, 2000);
	close(flood);
	close(other);
}

/* Each has less than its own limit, but all together have too much: those that have most are dropped, others never are. */
static void what_all_hold_together_is_bounded(void **state)
{
	struct harness *h = *state;
	int small = harness_client(h, NULL, NEGOTIATE), fds[8];
	char *text = malloc(1U << 20);
	unsigned int n_dropped = 0;
	char byte;

	qmp_server_set_limits(h->server, &(struct qmp_server_limits){ .held_bytes = 6U << 20 });
	memset(text, 'x', 1U << 20);
	text[0] = '"';
	client_send(small, "{\"execute\": ");
	for (int i = 0; i < 8; i++) {
		fds[i] = harness_client(h, NULL, NEGOTIATE);
		for (size_t sent = 0; sent < 1U << 20; sent += 32768) {
			(void)send(fds[i], text + sent, 32768, MSG_NOSIGNAL);
			harness_run(h);
		}
	}
	for (int i = 0; i < 8; i++)
		n_dropped += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
	/* A buffer has up to twice its contents. */
	assert_true(n_dropped >= 2 && n_dropped <= 5);
	client_exchange(h, small, "\"echo\"}", OK);
	/* What went with them is free for others. */
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	harness_run(h);
	fds[0] = harness_client(h, NULL, NEGOTIATE);
	client_send(fds[0], "{\"execute\": \"echo\", \"id\": ");
	for (size_t sent = 0; sent < 1U << 20; sent += 32768) {
		client_send_bytes(fds[0], text + sent, 32768);
		harness_run(h);
	}
	assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
	close(fds[0]);
	close(small);
	free(text);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	++*(unsigned int *)arg;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)event_base_loopbreak(arg);
}

#define CHATTY 100

/* Always have something to say on each of FDS, and read what comes. */
static void chat(const int *fds)
{
	char drain[65536], requests[4096];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < sizeof(requests); i++)
		requests[i] = "{\"execute\": \"echo\"} "[i % 20];
	for (;;) {
		for (int i = 0; i < CHATTY; i++) {
			(void)send(fds[i], requests, sizeof(requests) / 20 * 20, MSG_NOSIGNAL | MSG_DONTWAIT);
			while (recv(fds[i], drain, sizeof(drain), MSG_DONTWAIT) > 0)
				;
		}
	}
}

/* As in the daemon, clients have priority: but many of them that never stop do not keep the rest from being run. */
static void the_rest_of_the_loop_is_not_starved(void **state)
{
	static const struct timeval interval = { .tv_usec = 1000 }, second = { .tv_sec = 1 };
	struct harness *h = *state;
	struct event *tick, *end;
	unsigned int n_ticks = 0;
	int fds[CHATTY];
	pid_t pid;

	/* A loop with priorities, for a server of its own. */
	h->server = qmp_server_free(h->server);
	event_base_free(h->base);
	h->base = event_base_new();
	assert_int_equal(event_base_priority_init(h->base, 2), 0);
	harness_make_server(h);
	for (int i = 0; i < CHATTY; i++)
		fds[i] = harness_client(h, NULL, NEGOTIATE);
	tick = event_new(h->base, -1, EV_PERSIST, on_timer, &n_ticks);
	assert_int_equal(event_add(tick, &interval), 0);
	end = evtimer_new(h->base, on_end, h->base);
	assert_int_equal(event_priority_set(end, 0) | event_add(end, &second), 0);
	pid = fork();
	if (pid == 0)
		chat(fds);
	assert_int_equal(event_base_dispatch(h->base), 0);
	/* Ahead of the checks: it would go on for ever. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(n_ticks > 2);
	for (int i = 0; i < CHATTY; i++)
		close(fds[i]);
	event_free(tick);
	event_free(end);
}

/* Answers are collected while more requests are there, and keep their order with events. */
static void pipelined_answers_go_together(void **state)
{
	static const char request[] = "{\"execute\": \"echo\"}";
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	char answers[65536];

	for (int i = 0; i < 10; i++)
		client_send(fd, request);
	(void)event_base_loop(h->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT | MSG_PEEK) < 0)
		(void)event_base_loop(h->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_int_equal(recv(fd, answers, sizeof(answers), MSG_DONTWAIT), 10 * strlen(OK));
	close(fd);
}

static void listeners_accept(void **state)
{
	char folder[] = "/tmp/test-qmp-XXXXXX";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct harness *h = *state;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_non_null(mkdtemp(folder));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/qmp", folder);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(qmp_server_listen(h->server, listener, "vm1", NULL), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	unlink(addr.sun_path);
	rmdir(folder);
	client_expect(h, fd, GREETING);
	client_exchange(h, fd, NEGOTIATE "{\"execute\": \"guest\"}", OK "{\"return\": \"vm1\"}\r\n");
	close(fd);
}

static json_int_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (json_int_t)st.st_ino;
}

static void expect_inode(struct harness *h, int client, int fd)
{
	char text[64];

	snprintf(text, sizeof(text), "{\"return\": %lld}\r\n", (long long)inode(fd));
	client_expect(h, client, text);
}

static void descriptors_belong_to_their_command(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	int one = memfd_create("one", 0), two = memfd_create("two", 0), three = memfd_create("three", 0);
	unsigned int before = n_open_fds();

	client_exchange(h, fd, "{\"execute\": \"take-fd\"}", ERROR("GenericError", "no descriptor"));
	/* With the command's bytes; from the middle of them; ahead of them with a space. */
	client_send_fds(fd, "{\"execute\": \"take-fd\"}", &one, 1);
	expect_inode(h, fd, one);
	client_send(fd, "{\"execute\": \"ta");
	client_send_fds(fd, "ke-fd\"}", &two, 1);
	expect_inode(h, fd, two);
	client_send_fds(fd, " ", &three, 1);
	harness_run(h);
	client_send(fd, "{\"execute\": \"take-fd\"}");
	expect_inode(h, fd, three);
	/* A command that wants none leaves it for the next one. */
	client_send_fds(fd, "{\"execute\": \"echo\"}", &one, 1);
	client_expect(h, fd, OK);
	client_exchange(h, fd, "{\"execute\": \"echo\"}", OK);
	client_send(fd, "{\"execute\": \"take-fd\"}");
	expect_inode(h, fd, one);
	/* The first of a batch; the rest is closed. */
	client_send_fds(fd, "{\"execute\": \"take-fd\"}", (int[]){ two, one, three }, 3);
	expect_inode(h, fd, two);
	client_exchange(h, fd, "{\"execute\": \"take-fd\"}", ERROR("GenericError", "no descriptor"));
	/* A later batch replaces one that nobody claimed. */
	client_send_fds(fd, " ", &one, 1);
	harness_run(h);
	client_send_fds(fd, " ", &two, 1);
	harness_run(h);
	client_send(fd, "{\"execute\": \"take-fd\"}");
	expect_inode(h, fd, two);
	assert_int_equal(n_open_fds(), before);
	close(fd);
	close(one);
	close(two);
	close(three);
}

static void pipelined_descriptors_keep_their_places(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);
	int one = memfd_create("one", 0), two = memfd_create("two", 0);
	char text[128];

	client_send(fd, "{\"execute\": \"wait\"}");
	client_send_fds(fd, "{\"execute\": \"take-fd\"}", &one, 1);
	client_send_fds(fd, "{\"execute\": \"take-fd\"}", &two, 1);
	client_expect(h, fd, "");
	release_call();
	snprintf(text, sizeof(text), OK "{\"return\": %lld}\r\n{\"return\": %lld}\r\n", (long long)inode(one),
		 (long long)inode(two));
	client_expect(h, fd, text);
	close(fd);
	close(one);
	close(two);
}

static void unclaimed_descriptors_are_closed(void **state)
{
	struct harness *h = *state;
	unsigned int before = n_open_fds(), i;
	int fds[32], fd = harness_client(h, NULL, NEGOTIATE);

	for (i = 0; i < 32; i++)
		fds[i] = memfd_create("x", 0);
	client_send(fd, "{\"execute\": \"wait\"}");
	client_send_fds(fd, " ", fds, 16);
	/* More than are taken: neither held nor harmful. */
	client_send_fds(fd, " ", fds, 32);
	for (i = 0; i < 40; i++)
		client_send_fds(fd, " ", fds, 1);
	harness_run(h);
	release_call();
	client_expect(h, fd, OK);
	client_exchange(h, fd, "{\"execute\": \"echo\"}", OK);
	close(fd);
	harness_run(h);
	for (i = 0; i < 32; i++)
		close(fds[i]);
	assert_int_equal(n_open_fds(), before);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, harness_set_up, harness_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_does_not_read_is_dropped),
		TEST(who_only_sends_stops_itself),
		TEST(the_sixty_fifth_client_is_told),
		TEST(values_have_a_size_and_a_depth),
		TEST(who_sends_too_many_is_read_slowly),
		TEST(a_flood_delays_others_by_its_turn),
		TEST(pipelined_answers_go_together),
		TEST(what_all_hold_together_is_bounded),
		TEST(the_rest_of_the_loop_is_not_starved),
		TEST(listeners_accept),
		TEST(descriptors_belong_to_their_command),
		TEST(pipelined_descriptors_keep_their_places),
		TEST(unclaimed_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
