/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking client: negotiation, answers, errors, events, time limits, servers that make no sense. */
/* LIBS: migd_qmp migd_schema migd_base */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "qmp/client.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define OK(id) "{\"return\": {}, \"id\": " id "}\r\n"

/*
 * A server that follows a script: each line is sent once a line has come (the first at once). The thread ends at the script's
 * end, or when the client is gone.
 */
struct script {
	int fd;
	const char *const *lines;
	bool stay;	/* wait for the client to leave, before closing */
	char last[256];	/* the last line received */
	pthread_t thread;
};

static bool read_line(struct script *s)
{
	size_t len = 0;

	while (len < sizeof(s->last) - 1 && read(s->fd, s->last + len, 1) == 1) {
		if (s->last[len++] == '\n')
			break;
	}
	s->last[len] = '\0';
	return len > 0;
}

static void *follow(void *arg)
{
	struct script *s = arg;
	size_t i;
	char byte;

	for (i = 0; s->lines[i]; i++) {
		if (i > 0 && !read_line(s))
			break;
		if (fd_write_full(s->fd, s->lines[i], strlen(s->lines[i])) < 0)
			break;
	}
	while (s->stay && read(s->fd, &byte, 1) == 1)
		continue;
	s->fd = close_fd(s->fd);
	return NULL;
}

static int start(struct script *s)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[1];
	assert_int_equal(pthread_create(&s->thread, NULL, follow, s), 0);
	return fds[0];
}

static struct qmp_client *connect_to(struct script *s)
{
	struct merr err = MERR_INIT;
	struct qmp_client *c;

	if (qmp_client_new(start(s), &c, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	return c;
}

static void end(struct script *s, struct qmp_client *c)
{
	(void)qmp_client_free(c);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void answers_and_errors_arrive(void **state)
{
	static const char *const lines[] = {
		GREETING, OK("1"), "{\"return\": [1, 2], \"id\": 2}\r\n",
		"{\"id\": 3, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no such thing\"}}\r\n", NULL,
	};
	struct script s = { .lines = lines };
	struct qmp_client *c = connect_to(&s);
	struct merr err = MERR_INIT;
	json_t *args = json_pack("{s:i}", "x", 1), *ret = NULL;

	(void)state;
	assert_non_null(json_object_get(qmp_client_greeting(c), "QMP"));
	assert_int_equal(qmp_client_execute(c, "one", args, &ret, &err), 0);
	assert_string_equal(s.last, "{\"execute\": \"one\", \"arguments\": {\"x\": 1}, \"id\": 2}\r\n");
	assert_int_equal(json_array_size(ret), 2);
	json_decref(ret);
	json_decref(args);
	assert_int_equal(qmp_client_execute(c, "two", NULL, NULL, &err), -EREMOTEIO);
	assert_string_equal(merr_msg(&err), "no such thing");
	assert_int_equal(err.class, MERR_DEVICE_NOT_FOUND);
	end(&s, c);
}

static void events_are_kept_until_asked_for(void **state)
{
	static const char *const lines[] = {
		GREETING, OK("1"), "{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n" OK("2") "{\"event\": \"C\"}\r\n", NULL,
	};
	struct script s = { .lines = lines, .stay = true };
	struct qmp_client *c = connect_to(&s);
	struct merr err = MERR_INIT;
	const char *names = "ABC";
	json_t *event;

	(void)state;
	assert_int_equal(qmp_client_next_event(c, 0, &event, &err), -ETIMEDOUT);
	merr_clear(&err);
	assert_int_equal(qmp_client_execute(c, "x", NULL, NULL, &err), 0);
	for (; *names; names++) {
		assert_int_equal(qmp_client_next_event(c, DEADLINE_NONE, &event, &err), 0);
		assert_int_equal(json_string_value(json_object_get(event, "event"))[0], *names);
		json_decref(event);
	}
	assert_int_equal(qmp_client_next_event(c, 0, &event, &err), -ETIMEDOUT);
	end(&s, c);
}

static void a_silent_server_is_not_waited_for_longer_than_asked(void **state)
{
	static const char *const lines[] = { GREETING, OK("1"), NULL };
	struct script s = { .lines = lines, .stay = true };
	struct qmp_client *c = connect_to(&s);
	struct merr err = MERR_INIT;

	(void)state;
	qmp_client_set_timeout(c, 10 * NS_PER_MS);
	assert_int_equal(qmp_client_execute(c, "x", NULL, NULL, &err), -ETIMEDOUT);
	assert_string_equal(merr_msg(&err), "no message from the QMP server: none came in time");
	end(&s, c);
}

static void a_server_that_leaves_is_noticed(void **state)
{
	static const char *const lines[] = { GREETING, OK("1"), "", NULL };
	struct script s = { .lines = lines };
	struct qmp_client *c = connect_to(&s);
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(qmp_client_execute(c, "x", NULL, NULL, &err), -ENODATA);
	assert_string_equal(merr_msg(&err), "the QMP server closed the connection");
	end(&s, c);
}

static void check_refused(const char *first, int code, const char *message)
{
	const char *lines[] = { first, NULL };
	struct script s = { .lines = lines };
	struct merr err = MERR_INIT;
	struct qmp_client *c = NULL;

	assert_int_equal(qmp_client_new(start(&s), &c, &err), code);
	assert_string_equal(merr_msg(&err), message);
	assert_null(c);
	end(&s, NULL);
}

static void what_is_no_qmp_server_is_said_to_be_none(void **state)
{
	(void)state;
	check_refused("{\"hello\": 1}\r\n", -EPROTO, "what listens there is no QMP server: it sent no greeting");
	check_refused("SSH-2.0-x\r\n", -EPROTO, "the QMP server's answer makes no sense: JSON parse error, stray 'S'");
	check_refused("", -ENODATA, "the QMP server closed the connection");
	check_refused("{\"error\": {\"class\": \"GenericError\", \"desc\": \"too many clients: there are 64 already\"}}\r\n",
		      -EREMOTEIO, "too many clients: there are 64 already");
}

static void what_makes_no_sense_is_no_answer(void **state)
{
	/* To another's request; then to this one, but neither a result nor an error. */
	static const char *const lines[] = { GREETING, OK("1"), OK("99") "{\"id\": 2, \"error\": {\"class\": \"GenericError\"}}\r\n",
					     "{\"id\": 3}\r\n", "{\"id\": 4, \"error\": 7}\r\n", NULL };
	struct script s = { .lines = lines, .stay = true };
	struct qmp_client *c = connect_to(&s);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct merr err = MERR_INIT;

		assert_int_equal(qmp_client_execute(c, "x", NULL, NULL, &err), -EPROTO);
		assert_non_null(strstr(merr_msg(&err), "the QMP server's answer makes no sense"));
	}
	end(&s, c);
}

/* A server that only tells does not fill the memory: what nobody asks for is counted, and goes. */
static void events_beyond_the_limit_are_dropped(void **state)
{
	static const char event[] = "{\"event\": \"E\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 0}}\r\n";
	static char flood[(QMP_CLIENT_MAX_EVENTS + 20) * sizeof(event)];
	const char *lines[] = { GREETING, OK("1"), flood, NULL };
	struct script s = { .lines = lines, .stay = true };
	struct qmp_client *c = connect_to(&s);
	json_t *got;
	unsigned int n = 0;

	(void)state;
	for (size_t i = 0; i < QMP_CLIENT_MAX_EVENTS + 10; i++)
		memcpy(flood + i * (sizeof(event) - 1), event, sizeof(event));
	strcat(flood, OK("2"));
	assert_int_equal(qmp_client_execute(c, "x", NULL, NULL, NULL), 0);
	while (qmp_client_next_event(c, 0, &got, NULL) == 0) {
		json_decref(got);
		n++;
	}
	assert_int_equal(n, QMP_CLIENT_MAX_EVENTS);
	end(&s, c);
}

static void descriptors_go_along(void **state)
{
	static const char *const lines[] = { GREETING, OK("1"), NULL };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char text[64];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct script s = { .lines = lines };
	struct qmp_client *c;
	int fd, server_end, passed;

	(void)state;
	/* A second descriptor of the server's end: for what is sent after the script's end. */
	fd = start(&s);
	server_end = fd_dup(s.fd);
	assert_int_equal(qmp_client_new(fd, &c, NULL), 0);
	assert_int_equal(pthread_join(s.thread, NULL), 0);
	passed = wake_new();
	assert_int_equal(qmp_client_send_raw(c, "hi", 2, passed, NULL), 0);
	assert_int_equal(recvmsg(server_end, &msg, 0), 2);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	assert_true(fd >= 0);
	close(fd);
	close(passed);
	close(server_end);
	(void)qmp_client_free(c);
}

static void where_nobody_listens_is_said(void **state)
{
	struct merr err = MERR_INIT;
	struct qmp_client *c;
	char path[200];

	(void)state;
	assert_int_equal(qmp_client_connect("/nonexistent/qmp", &c, &err), -ENOENT);
	assert_string_equal(merr_msg(&err), "cannot connect to the QMP socket '/nonexistent/qmp': No such file or directory");
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	merr_clear(&err);
	assert_int_equal(qmp_client_connect(path, &c, &err), -ENAMETOOLONG);
	assert_non_null(strstr(merr_msg(&err), "longer than the 107 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_and_errors_arrive),
		cmocka_unit_test(events_are_kept_until_asked_for),
		cmocka_unit_test(a_silent_server_is_not_waited_for_longer_than_asked),
		cmocka_unit_test(a_server_that_leaves_is_noticed),
		cmocka_unit_test(what_is_no_qmp_server_is_said_to_be_none),
		cmocka_unit_test(what_makes_no_sense_is_no_answer),
		cmocka_unit_test(events_beyond_the_limit_are_dropped),
		cmocka_unit_test(descriptors_go_along),
		cmocka_unit_test(where_nobody_listens_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
