/* SPDX-License-Identifier: Apache-2.0 */
/* A QMP server in this process with commands of the tests' own. */
#include "harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

#define MAX_WAITING 32
/* More turns than any of the tests' conversations need. */
#define TURNS 64

static struct {
	struct qmp_call *call;
	json_t *arguments;
} waiting[MAX_WAITING];
static unsigned int n_waiting;

static int echo(struct qmp_call *call, json_t *args, struct merr *err)
{
	(void)err;
	qmp_return(call, json_incref(args));
	return 0;
}

static int wait_for_release(struct qmp_call *call, json_t *args, struct merr *err)
{
	(void)err;
	assert_true(n_waiting < MAX_WAITING);
	waiting[n_waiting].call = call;
	waiting[n_waiting++].arguments = json_incref(args);
	return 0;
}

void release_call(void)
{
	assert_true(n_waiting > 0);
	qmp_return(waiting[0].call, waiting[0].arguments);
	memmove(waiting, waiting + 1, --n_waiting * sizeof(waiting[0]));
}

unsigned int n_waiting_calls(void)
{
	return n_waiting;
}

static int fail_with(struct qmp_call *call, json_t *args, struct merr *err)
{
	(void)call;
	return merr_set_class(err, (enum merr_class)json_integer_value(json_object_get(args, "class")), -EIO,
			      "it \"failed\"");
}

static int emit(struct qmp_call *call, json_t *args, struct merr *err)
{
	struct harness *h = qmp_call_opaque(call);

	(void)err;
	qmp_server_event(h->server, json_string_value(json_object_get(args, "name")),
			 json_string_value(json_object_get(args, "guest")), json_object_get(args, "data"));
	qmp_return(call, NULL);
	return 0;
}

static int take_fd_of(struct qmp_call *call, json_t *args, struct merr *err)
{
	int fd = qmp_call_take_fd(call);
	struct stat st;

	(void)args;
	if (fd < 0 || fstat(fd, &st) < 0)
		return merr_set(err, -ENOENT, "no descriptor");
	(void)close(fd);
	qmp_return(call, json_integer((json_int_t)st.st_ino));
	return 0;
}

static int guest_of(struct qmp_call *call, json_t *args, struct merr *err)
{
	const char *guest = qmp_call_session_guest(call);

	(void)args;
	(void)err;
	qmp_return(call, guest ? json_string(guest) : json_null());
	return 0;
}

static void on_inner_answer(void *opaque, json_t *answer)
{
	qmp_return(opaque, json_incref(answer));
}

static int run_inner(struct qmp_call *call, json_t *args, struct merr *err)
{
	(void)err;
	qmp_call_inner(call, json_string_value(json_object_get(args, "command")),
		       json_incref(json_object_get(args, "arguments")), on_inner_answer, call);
	return 0;
}

static int open_file(struct qmp_call *call, json_t *args, struct merr *err)
{
	if (json_is_true(json_object_get(args, "privileged")) && qmp_call_may(call, QMP_ACCESS_PRIVILEGED, err) < 0)
		return merr_prefix(err, "open");
	qmp_return(call, NULL);
	return 0;
}

static const struct qmp_command commands[] = {
	{ .name = "echo", .dispatch = echo },
	{ .name = "wait", .dispatch = wait_for_release },
	{ .name = "oob-wait", .allow_oob = true, .dispatch = wait_for_release },
	{ .name = "oob-now", .allow_oob = true, .dispatch = echo },
	{ .name = "fail", .dispatch = fail_with },
	{ .name = "emit", .dispatch = emit },
	{ .name = "take-fd", .dispatch = take_fd_of },
	{ .name = "guest", .dispatch = guest_of },
	{ .name = "inner", .dispatch = run_inner },
	{ .name = "operate", .access = QMP_ACCESS_OPERATE, .dispatch = echo },
	{ .name = "admin", .access = QMP_ACCESS_ADMIN, .dispatch = echo },
	{ .name = "open", .dispatch = open_file },
	{ .name = NULL },
};

static unsigned int rights(void *opaque, const struct qmp_peer *peer)
{
	struct harness *h = opaque;

	h->peer = *peer;
	h->peer.groups = NULL;
	return h->rights;
}

static int refuse(void *opaque, const struct qmp_peer *peer, enum qmp_access access, struct merr *err)
{
	(void)opaque;
	assert_int_equal(peer->uid, geteuid());
	return merr_set(err, -EPERM, "no %s", qmp_access_str(access));
}

void harness_make_server(struct harness *h)
{
	h->server = qmp_server_new(&(struct qmp_server_options){
		.base = h->base, .commands = commands, .major = 1, .minor = 2, .micro = 3, .package = "test",
		.opaque = h, .rights = rights, .refuse = refuse,
	});
	h->rights = QMP_ACCESS_ALL;
}

int harness_set_up(void **state)
{
	struct harness *h = calloc(1, sizeof(*h));

	h->base = event_base_new();
	harness_make_server(h);
	*state = h;
	return 0;
}

int harness_tear_down(void **state)
{
	struct harness *h = *state;

	h->server = qmp_server_free(h->server);
	/* Calls outlive the server; their answers go nowhere. */
	while (n_waiting > 0)
		release_call();
	event_base_free(h->base);
	free(h);
	return 0;
}

void harness_run(struct harness *h)
{
	int i;

	for (i = 0; i < TURNS; i++)
		(void)event_base_loop(h->base, EVLOOP_NONBLOCK);
}

int harness_client(struct harness *h, const char *guest, const char *say)
{
	struct merr err = MERR_INIT;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	if (qmp_server_add_session(h->server, fds[1], guest, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	client_expect(h, fds[0], GREETING);
	if (say)
		client_exchange(h, fds[0], say, OK);
	return fds[0];
}

void client_send_bytes(int fd, const void *data, size_t len)
{
	assert_int_equal(fd_write_full(fd, data, len), 0);
}

void client_send(int fd, const char *text)
{
	client_send_bytes(fd, text, strlen(text));
}

void client_send_fds(int fd, const char *text, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 32)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = CMSG_SPACE(sizeof(int) * n_fds),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	assert_int_equal(sendmsg(fd, &msg, 0), strlen(text));
}

/* Timestamps are cut out: they are the only thing that a test cannot know. */
static void cut_timestamps(char *text)
{
	char *at, *end;

	while ((at = strstr(text, ", \"timestamp\": {"))) {
		end = strchr(at, '}') + 1;
		memmove(at, end, strlen(end) + 1);
	}
}

void client_expect(struct harness *h, int fd, const char *expected)
{
	struct buf got = { 0 };
	char piece[4096];
	ssize_t n;

	harness_run(h);
	while ((n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
		buf_add(&got, piece, (size_t)n);
		harness_run(h);
	}
	buf_u8(&got, 0);
	cut_timestamps((char *)got.data);
	if (strcmp((char *)got.data, expected) != 0)
		fail_msg("got:\n%sinstead of:\n%s", (char *)got.data, expected);
	buf_done(&got);
}

void client_expect_end(struct harness *h, int fd)
{
	char byte;

	harness_run(h);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

void client_exchange(struct harness *h, int fd, const char *text, const char *expected)
{
	client_send(fd, text);
	client_expect(h, fd, expected);
}
