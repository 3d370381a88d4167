/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: requests and replies, descriptors, late replies, cancel, deadlines; messages that
 * break the rules.
 */
/* LIBS: migd_attach migd_base */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

struct pair {
	struct conn *a, *b;
	int raw; /* set instead of a, for messages that conn would not send */
};

static void make_pair(struct pair *p, bool raw)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	*p = (struct pair){ .b = conn_new(sv[1]), .raw = -1 };
	assert_non_null(p->b);
	if (raw)
		p->raw = sv[0];
	else
		p->a = conn_new(sv[0]);
}

static void free_pair(struct pair *p)
{
	p->a = conn_free(p->a);
	p->b = conn_free(p->b);
	p->raw = close_fd(p->raw);
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void recv_one(struct conn *c, struct conn_msg *m)
{
	struct merr err = MERR_INIT;
	int r;

	do {
		assert_true(fd_wait(conn_fd(c), POLLIN, -1, clock_now_ns() + 5 * NS_PER_SEC) > 0);
		r = conn_recv(c, m, &err);
	} while (r == 0);
	if (r < 0)
		fail_msg("%s", merr_msg(&err));
}

static void test_request_and_reply(void **state)
{
	struct conn_msg m;
	struct pair p;
	uint32_t seq = 0;

	(void)state;
	make_pair(&p, false);
	conn_set_epoch(p.a, 7);
	assert_int_equal(conn_recv(p.b, &m, NULL), 0);
	assert_int_equal(conn_send(p.a, ATTACH_QUERY, "abc", 3, NULL, 0, &seq), 0);
	recv_one(p.b, &m);
	assert_int_equal(m.type, ATTACH_QUERY);
	assert_int_equal(m.seq, seq);
	assert_int_equal(m.reply_to, 0);
	assert_int_equal(m.epoch, 7);
	assert_int_equal(m.body.left, 3);
	assert_int_equal(conn_reply(p.b, &m, "de", 2, NULL, 0), 0);
	conn_msg_done(&m);
	recv_one(p.a, &m);
	assert_int_equal(m.reply_to, seq);
	assert_memory_equal(m.body.p, "de", 2);
	conn_msg_done(&m);
	free_pair(&p);
}

static void test_descriptors_travel(void **state)
{
	int before = count_fds(), fds[ATTACH_FDS_MAX], taken;
	struct conn_msg m;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	for (size_t i = 0; i < ATTACH_FDS_MAX; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(conn_send(p.a, ATTACH_EVENT, NULL, 0, fds, ATTACH_FDS_MAX, NULL), 0);
	assert_int_equal(conn_send(p.a, ATTACH_EVENT, NULL, 0, fds, ATTACH_FDS_MAX + 1, NULL),
			 -EMSGSIZE);
	recv_one(p.b, &m);
	assert_int_equal(m.n_fds, ATTACH_FDS_MAX);
	taken = conn_msg_take_fd(&m, 5);
	assert_true(taken >= 0);
	assert_int_equal(fcntl(taken, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(conn_msg_take_fd(&m, 5), -1);
	assert_int_equal(conn_msg_take_fd(&m, 64), -1);
	conn_msg_done(&m);
	(void)close(taken);
	for (size_t i = 0; i < ATTACH_FDS_MAX; i++)
		(void)close(fds[i]);
	free_pair(&p);
	assert_int_equal(count_fds(), before);
}

static void test_largest_body(void **state)
{
	static uint8_t body[ATTACH_BODY_MAX + 1];
	struct conn_msg m;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	assert_int_equal(conn_send(p.a, ATTACH_EVENT, body, sizeof(body), NULL, 0, NULL),
			 -EMSGSIZE);
	assert_int_equal(conn_send(p.a, ATTACH_EVENT, body, ATTACH_BODY_MAX, NULL, 0, NULL), 0);
	recv_one(p.b, &m);
	assert_int_equal(m.body.left, ATTACH_BODY_MAX);
	conn_msg_done(&m);
	free_pair(&p);
}

static void test_peer_gone(void **state)
{
	struct conn_msg m;
	struct merr err = MERR_INIT;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	p.a = conn_free(p.a);
	assert_int_equal(conn_recv(p.b, &m, &err), -ENOTCONN);
	assert_int_equal(conn_send(p.b, ATTACH_EVENT, NULL, 0, NULL, 0, NULL), -EPIPE);
	merr_clear(&err);
	assert_int_equal(
		conn_call(p.b, ATTACH_QUERY, NULL, 0, NULL, 0, DEADLINE_NONE, -1, &m, &err),
		-ENOTCONN);
	free_pair(&p);
}

static void test_a_full_socket_is_eagain(void **state)
{
	static uint8_t body[ATTACH_BODY_MAX];
	struct conn_msg m;
	struct merr err = MERR_INIT;
	struct pair p;
	int r = 0;

	(void)state;
	make_pair(&p, false);
	for (int i = 0; i < 10000 && r == 0; i++)
		r = conn_send(p.a, ATTACH_EVENT, body, sizeof(body), NULL, 0, NULL);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(conn_call(p.a, ATTACH_QUERY, NULL, 0, NULL, 0,
				   clock_now_ns() + 20 * NS_PER_MS, -1, &m, &err),
			 -ETIMEDOUT);
	free_pair(&p);
}

/* ---- calls ---- */

static unsigned int events_seen;

static void count_event(void *opaque, struct conn_msg *m)
{
	assert_ptr_equal(opaque, &events_seen);
	assert_int_equal(m->type, ATTACH_EVENT);
	events_seen++;
}

/* The other side: an event, then the reply to whatever comes. */
static void *answer(void *opaque)
{
	struct conn *c = opaque;
	struct attach_query_reply rep = { .role = 1, .run_state = 2, .handover_state = 3 };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct conn_msg m;

	while (fd_wait(conn_fd(c), POLLIN, -1, DEADLINE_NONE) > 0 && conn_recv(c, &m, NULL) == 0)
		continue;
	(void)attach_query_reply_encode(&w, &rep);
	(void)conn_send(c, ATTACH_EVENT, NULL, 0, NULL, 0, NULL);
	(void)conn_reply(c, &m, bytes, w.len, NULL, 0);
	conn_msg_done(&m);
	return NULL;
}

static void test_typed_request(void **state)
{
	struct attach_empty req;
	struct attach_query_reply rep;
	struct merr err = MERR_INIT;
	pthread_t thread;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	events_seen = 0;
	conn_on_event(p.a, count_event, &events_seen);
	assert_int_equal(pthread_create(&thread, NULL, answer, p.b), 0);
	assert_int_equal(conn_request(p.a, QUERY, empty, &req, query_reply, &rep,
				      clock_now_ns() + 5 * NS_PER_SEC, -1, &err),
			 0);
	assert_int_equal(rep.handover_state, 3);
	assert_int_equal(events_seen, 1);
	(void)pthread_join(thread, NULL);
	free_pair(&p);
}

static void test_deadline_and_late_reply(void **state)
{
	struct conn_msg m, request;
	struct merr err = MERR_INIT;
	struct pair p;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), before;

	(void)state;
	make_pair(&p, false);
	before = count_fds();
	assert_int_equal(conn_call(p.a, ATTACH_QUERY, NULL, 0, NULL, 0, clock_now_ns() + NS_PER_MS,
				   -1, &m, &err),
			 -ETIMEDOUT);
	assert_non_null(strstr(merr_msg(&err), "QUERY"));
	recv_one(p.b, &request);
	assert_int_equal(conn_reply(p.b, &request, "late", 4, &fd, 1), 0);
	conn_msg_done(&request);
	assert_int_equal(conn_send(p.b, ATTACH_EVENT, NULL, 0, NULL, 0, NULL), 0);
	recv_one(p.a, &m);
	assert_int_equal(m.type, ATTACH_EVENT);
	conn_msg_done(&m);
	assert_int_equal(count_fds(), before);
	(void)close(fd);
	free_pair(&p);
}

static void test_cancel(void **state)
{
	struct conn_msg m;
	struct merr err = MERR_INIT;
	int wake = wake_new();
	struct pair p;

	(void)state;
	make_pair(&p, false);
	wake_raise(wake);
	assert_int_equal(
		conn_call(p.a, ATTACH_QUERY, NULL, 0, NULL, 0, DEADLINE_NONE, wake, &m, &err),
		-ECANCELED);
	(void)close(wake);
	free_pair(&p);
}

static void *answer_error(void *opaque)
{
	struct merr err = MERR_INIT;
	struct conn *c = opaque;
	struct conn_msg m;

	while (fd_wait(conn_fd(c), POLLIN, -1, DEADLINE_NONE) > 0 && conn_recv(c, &m, NULL) == 0)
		continue;
	(void)merr_set(&err, -ETIMEDOUT, "vCPU 3\nis stuck");
	(void)conn_reply_error(c, &m, &err);
	conn_msg_done(&m);
	return NULL;
}

static void test_error_reply(void **state)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	pthread_t thread;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	assert_int_equal(pthread_create(&thread, NULL, answer_error, p.b), 0);
	assert_int_equal(
		conn_call(p.a, ATTACH_PAUSE, NULL, 0, NULL, 0, DEADLINE_NONE, -1, &m, &err),
		-ETIMEDOUT);
	assert_string_equal(merr_msg(&err), "vCPU 3?is stuck");
	(void)pthread_join(thread, NULL);
	free_pair(&p);
}

/* ---- messages that break the rules ---- */

struct raw_header {
	uint32_t magic;
	uint16_t version, type;
	uint32_t seq, reply_to, len;
	int32_t error;
	uint16_t n_fds, flags;
	uint32_t epoch;
};

static const struct raw_header good = {
	.magic = ATTACH_MAGIC, .version = 1, .type = ATTACH_QUERY, .seq = 1
};

static void send_raw(int fd, const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	assert_true(sendmsg(fd, &msg, 0) >= 0);
}

static void expect_bad(const void *bytes, size_t len, const int *fds, size_t n_fds,
		       const char *what)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct pair p;
	int before;

	make_pair(&p, true);
	before = count_fds();
	send_raw(p.raw, bytes, len, fds, n_fds);
	assert_int_equal(conn_recv(p.b, &m, &err), -EBADMSG);
	if (!strstr(merr_msg(&err), what))
		fail_msg("expected '%s' in '%s'", what, merr_msg(&err));
	assert_int_equal(count_fds(), before);
	free_pair(&p);
}

static void test_refuses_bad_headers(void **state)
{
	struct raw_header h;

	(void)state;
#define WITH(field, value, what)                                                                   \
	do {                                                                                       \
		h = good;                                                                          \
		h.field = (value);                                                                 \
		expect_bad(&h, sizeof(h), NULL, 0, (what));                                        \
	} while (0)
	WITH(magic, 1, "field 'magic'");
	WITH(version, 2, "field 'version'");
	WITH(seq, 0, "field 'seq'");
	WITH(len, 1, "field 'length'");
	WITH(len, UINT32_MAX, "field 'length'");
	WITH(n_fds, 1, "field 'nfds'");
	WITH(flags, 1, "field 'flags'");
	WITH(error, 5, "an error that is no reply");
	expect_bad(&good, 31, NULL, 0, "too short");
	expect_bad(&good, 1, NULL, 0, "too short");
}

static void test_refuses_surplus_descriptors(void **state)
{
	int fds[200], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct raw_header h = good;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = null;
	expect_bad(&h, sizeof(h), fds, 1, "field 'nfds'");
	h.n_fds = 64;
	expect_bad(&h, sizeof(h), fds, 65, "descriptors were lost");
	h.n_fds = 200;
	expect_bad(&h, sizeof(h), fds, 200, "descriptors were lost");
	(void)close(null);
}

static void test_refuses_a_datagram_that_is_too_long(void **state)
{
	static uint8_t bytes[ATTACH_MESSAGE_MAX + 1];

	(void)state;
	memcpy(bytes, &good, sizeof(good));
	expect_bad(bytes, sizeof(bytes), NULL, 0, "more than");
}

static void test_peer_credentials(void **state)
{
	unsigned int uid = 99, gid = 99;
	int pid = 0;
	struct pair p;

	(void)state;
	make_pair(&p, false);
	assert_int_equal(conn_peer(p.a, &pid, &uid, &gid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	free_pair(&p);
}

#define SOMEBODY 64999 /* nobody else has descriptors on their way as this user */
#define FEW 32

/* Descriptors stay on their way until they are received; how it ended. */
static int crowd(const struct pair *p, int fd)
{
	const int fds[] = { fd, fd, fd, fd };
	int r;

	do
		r = conn_send(p->a, ATTACH_HEARTBEAT, NULL, 0, fds, sizeof(fds) / sizeof(fds[0]), NULL);
	while (r == 0);
	return r;
}

/* What was on its way goes, a moment later. */
static void *disperse(void *opaque)
{
	(void)usleep(50000);
	free_pair(opaque);
	return NULL;
}

static int send_in_a_crowd(void)
{
	const struct rlimit few = { FEW, FEW };
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r;
	struct pair p, crowded;
	pthread_t thread;

	make_pair(&p, false);
	make_pair(&crowded, false);
	if (setrlimit(RLIMIT_NOFILE, &few) < 0 || setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0)
		return 2;
	if (crowd(&crowded, fd) != -ETOOMANYREFS || pthread_create(&thread, NULL, disperse, &crowded) != 0)
		return 3;
	r = conn_send(p.a, ATTACH_HEARTBEAT, NULL, 0, &fd, 1, NULL);
	(void)pthread_join(thread, NULL);
	return r == 0 ? 0 : 4;
}

/* A process that may have few descriptors, while others of its user have many on their way. */
static void test_a_crowd_of_descriptors(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (getuid() != 0) {
		(void)printf("SKIP: test_a_crowd_of_descriptors needs root\n");
		skip();
	}
	child = fork();
	if (child == 0)
		_exit(send_in_a_crowd());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_and_reply),
		cmocka_unit_test(test_descriptors_travel),
		cmocka_unit_test(test_largest_body),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_a_full_socket_is_eagain),
		cmocka_unit_test(test_typed_request),
		cmocka_unit_test(test_deadline_and_late_reply),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_error_reply),
		cmocka_unit_test(test_refuses_bad_headers),
		cmocka_unit_test(test_refuses_surplus_descriptors),
		cmocka_unit_test(test_refuses_a_datagram_that_is_too_long),
		cmocka_unit_test(test_peer_credentials),
		cmocka_unit_test(test_a_crowd_of_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
