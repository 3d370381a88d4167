/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets for addresses: connections arrive, ports are found, what is in the way is named. */
/* LIBS: migd_transport migd_base */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "transport/sock.h"

#define PATIENCE_NS (20 * NS_PER_SEC)

static char dir[] = "/tmp/migd-sock-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static struct addr parse(const char *fmt, const char *arg)
{
	struct merr err = MERR_INIT;
	struct addr a;
	char uri[256];

	(void)snprintf(uri, sizeof(uri), fmt, arg);
	if (addr_parse_uri(uri, &a, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	return a;
}

static int resolve_and_listen(const struct addr *a, int *ret_fd, struct merr *err)
{
	struct sock_target targets[SOCK_TARGETS_MAX];
	int n = sock_resolve(a, true, targets, err);

	return n < 0 ? n : sock_listen(a, targets, (size_t)n, ret_fd, err);
}

static int must_listen(const struct addr *a)
{
	struct merr err = MERR_INIT;
	int fd;

	if (resolve_and_listen(a, &fd, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	return fd;
}

static int try_connect(const struct addr *a, int *ret_fd)
{
	struct sock_target targets[SOCK_TARGETS_MAX];
	struct merr err = MERR_INIT;
	int n = sock_resolve(a, false, targets, &err), r, fd;

	if (n <= 0)
		fail_msg("%s", merr_msg(&err));
	r = sock_connect(a, &targets[0], &fd);
	if (r < 0)
		return r;
	assert_true(fd_wait(fd, POLLOUT, -1, clock_now_ns() + PATIENCE_NS) > 0);
	r = sock_connect_result(fd);
	if (r < 0)
		(void)close(fd);
	else
		*ret_fd = fd;
	return r;
}

/* A byte from a connection to A comes out of LISTENER's. */
static void assert_connects(const struct addr *a, int listener)
{
	int fd, accepted;
	char c;

	assert_int_equal(try_connect(a, &fd), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(accepted >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(accepted, &c, 1), 1);
	(void)close(accepted);
	(void)close(fd);
}

static void test_tcp(void **state)
{
	static const char *const uris[] = { "tcp:127.0.0.1:0", "tcp:localhost:0,ipv4",
					    "tcp::0,ipv4", "tcp::0" };
	struct addr a, local;
	int listener;

	(void)state;
	for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		a = parse("%s", uris[i]);
		listener = must_listen(&a);
		assert_int_equal(sock_local_addr(listener, &local), 0);
		assert_int_not_equal(atoi(local.port), 0);
		assert_true(local.ipv4 != local.ipv6);
		/* The any-address reaches IPv4 as well, whatever family it has. */
		local = parse("tcp:127.0.0.1:%s", local.port);
		assert_connects(&local, listener);
		(void)close(listener);
	}
}

static void test_tcp_is_set_up_for_small_messages(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), local;
	int listener = must_listen(&a), fd, on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	local.keep_alive = true;
	local.keep_alive_count = 3;
	local.keep_alive_idle = 77;
	local.keep_alive_interval = 5;
	assert_int_equal(try_connect(&local, &fd), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &on, &len), 0);
	assert_int_equal(on, 3);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &on, &len), 0);
	assert_int_equal(on, 77);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &on, &len), 0);
	assert_int_equal(on, 5);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_true(on);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	assert_true(on);
	(void)close(fd);
	(void)close(listener);
}

static void test_nobody_listens(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), local;
	int listener = must_listen(&a), fd;

	(void)state;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	(void)close(listener);
	assert_int_equal(try_connect(&local, &fd), -ECONNREFUSED);
	a = parse("unix:%s/nobody", dir);
	assert_int_equal(try_connect(&a, &fd), -ENOENT);
}

static void test_port_taken(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), taken;
	struct merr err = MERR_INIT;
	int first = must_listen(&a), second;

	(void)state;
	assert_int_equal(sock_local_addr(first, &taken), 0);
	assert_int_equal(resolve_and_listen(&taken, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(merr_msg(&err), taken.port));
	assert_non_null(strstr(merr_msg(&err), "choose another port"));
	(void)close(first);
}

static void test_port_range(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), range, found;
	struct merr err = MERR_INIT;
	int first = must_listen(&a), second;

	(void)state;
	assert_int_equal(sock_local_addr(first, &range), 0);
	/*
	 * Some port of the next hundred is free, or all are taken, which is then what the error
	 * says.
	 */
	range.to = (uint16_t)(atoi(range.port) > 65435 ? 65535 : atoi(range.port) + 100);
	if (resolve_and_listen(&range, &second, &err) == 0) {
		assert_int_equal(sock_local_addr(second, &found), 0);
		assert_true(atoi(found.port) > atoi(range.port) && atoi(found.port) <= range.to);
		(void)close(second);
	} else {
		assert_int_equal(err.code, -EADDRINUSE);
	}
	/* A range of one, taken. */
	merr_clear(&err);
	range.to = (uint16_t)atoi(range.port);
	assert_int_equal(resolve_and_listen(&range, &second, &err), -EADDRINUSE);
	(void)close(first);
}

static void test_foreign_address(void **state)
{
	struct addr a = parse("tcp:192.0.2.1:%s", "0"); /* RFC 5737: nobody's */
	struct merr err = MERR_INIT;
	int fd;

	(void)state;
	assert_int_equal(resolve_and_listen(&a, &fd, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(merr_msg(&err), "no interface of this host"));
}

static void test_unknown_name(void **state)
{
	struct addr a = parse("tcp:no-such-host.invalid:%s", "1"); /* RFC 6761 */
	struct sock_target targets[SOCK_TARGETS_MAX];
	struct merr err = MERR_INIT;

	(void)state;
	assert_true(sock_resolve(&a, false, targets, &err) < 0);
	assert_non_null(strstr(merr_msg(&err), "no-such-host.invalid:1"));
}

static void test_unix(void **state)
{
	struct addr a = parse("unix:%s/stream", dir), local;
	struct merr err = MERR_INIT;
	int listener = must_listen(&a), second;
	struct stat st;

	(void)state;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	assert_string_equal(local.path, a.path);
	assert_connects(&a, listener);
	/* Somebody answers there: not ours to take. */
	assert_int_equal(resolve_and_listen(&a, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(merr_msg(&err), "choose another path"));
	assert_int_equal(stat(a.path, &st), 0);
	/* Nobody does any more: taken over. */
	(void)close(listener);
	listener = must_listen(&a);
	assert_connects(&a, listener);
	(void)close(listener);
}

static void test_file_in_the_way(void **state)
{
	struct addr a = parse("unix:%s/file", dir);
	struct merr err = MERR_INIT;
	int fd = open(a.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(resolve_and_listen(&a, &fd, &err), -EEXIST);
	assert_non_null(strstr(merr_msg(&err), "no socket is there"));
	assert_int_equal(stat(a.path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	merr_clear(&err);
	a = parse("unix:%s/no/such/dir", dir);
	assert_int_equal(resolve_and_listen(&a, &fd, &err), -ENOENT);
	assert_non_null(strstr(merr_msg(&err), "the directory must exist"));
}

static void test_peer_name(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), local;
	int listener = must_listen(&a), fd;
	char text[64], expected[64];

	(void)state;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	assert_int_equal(try_connect(&local, &fd), 0);
	(void)snprintf(expected, sizeof(expected), "127.0.0.1:%s", local.port);
	assert_string_equal(sock_peer_name(fd, text, sizeof(text)), expected);
	assert_string_equal(sock_peer_name(listener, text, sizeof(text)), "unknown");
	(void)close(fd);
	(void)close(listener);
}

static void test_only_networks_and_numbers(void **state)
{
	struct sock_target targets[SOCK_TARGETS_MAX];
	struct addr a = parse("tcp:%s:1,numeric", "localhost");
	struct merr err = MERR_INIT;

	(void)state;
	assert_true(sock_resolve(&a, false, targets, &err) < 0);
	assert_non_null(strstr(merr_msg(&err), "localhost:1"));
	a = parse("tcp:%s:1,numeric", "[::1]");
	assert_int_equal(sock_resolve(&a, false, targets, NULL), 1);
	merr_clear(&err);
	a = parse("fd:%s", "x");
	assert_int_equal(sock_resolve(&a, false, targets, &err), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_tcp_is_set_up_for_small_messages),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_port_taken),
		cmocka_unit_test(test_port_range),
		cmocka_unit_test(test_foreign_address),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_file_in_the_way),
		cmocka_unit_test(test_peer_name),
		cmocka_unit_test(test_only_networks_and_numbers),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
