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
	r = sock_connect(a, &targets[0], &fd, &err);
	if (r < 0)
		return r;
	assert_true(fd_wait(fd, POLLOUT, -1, clock_now_ns() + PATIENCE_NS) > 0);
	r = sock_connect_result(a, fd, &err);
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
		/* The number says which family it is. */
		assert_false(local.ipv4 || local.ipv6);
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

static void test_abstract_unix(void **state)
{
	struct addr a = parse("unix-abstract:%s", dir), padded = a, local;
	struct merr err = MERR_INIT;
	int listener = must_listen(&a), second;

	(void)state;
	padded.padded = true;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	assert_true(local.abstract && !local.padded);
	assert_string_equal(local.path, a.path);
	assert_connects(&a, listener);
	assert_int_equal(resolve_and_listen(&a, &second, &err), -EADDRINUSE);
	assert_non_null(strstr(merr_msg(&err), "choose another name"));
	/* Padded, it is another name. */
	assert_int_equal(try_connect(&padded, &second), -ECONNREFUSED);
	second = must_listen(&padded);
	assert_int_equal(sock_local_addr(second, &local), 0);
	assert_true(local.abstract && local.padded);
	assert_string_equal(local.path, a.path);
	assert_connects(&padded, second);
	(void)close(second);
	(void)close(listener);
}

static void test_longest_unix(void **state)
{
	char name[sizeof(((struct addr *)0)->path)];
	struct addr a, local;
	int listener;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)memcpy(name, dir, strlen(dir));
	name[strlen(dir)] = '/';
	for (int abstract = 0; abstract < 2; abstract++) {
		a = parse(abstract ? "unix-abstract:%s" : "unix:%s", name);
		listener = must_listen(&a);
		assert_int_equal(sock_local_addr(listener, &local), 0);
		assert_string_equal(local.path, name);
		assert_connects(&a, listener);
		(void)close(listener);
	}
	assert_int_equal(unlink(name), 0);
}

static void test_family_of_any_address(void **state)
{
	static const struct {
		const char *uri;
		bool ipv4_reaches;
	} rows[] = { { "tcp:[::]:0", true }, { "tcp:[::]:0,ipv6", false }, { "tcp:[::]:0,ipv4=off", false },
		     { "tcp:[::]:0,ipv4,ipv6", true } };
	struct addr a, local, ipv4;
	int listener, fd, r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a = parse("%s", rows[i].uri);
		listener = must_listen(&a);
		assert_int_equal(sock_local_addr(listener, &local), 0);
		assert_int_equal(local.ipv6, !rows[i].ipv4_reaches);
		ipv4 = parse("tcp:127.0.0.1:%s", local.port);
		r = try_connect(&ipv4, &fd);
		assert_int_equal(r, rows[i].ipv4_reaches ? 0 : -ECONNREFUSED);
		if (r == 0)
			(void)close(fd);
		(void)close(listener);
		/* Listening again where it was listened gives the same. */
		listener = must_listen(&local);
		r = try_connect(&ipv4, &fd);
		assert_int_equal(r, rows[i].ipv4_reaches ? 0 : -ECONNREFUSED);
		if (r == 0)
			(void)close(fd);
		(void)close(listener);
	}
}

static void test_source_address(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s", "0"), local;
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	struct sock_target targets[SOCK_TARGETS_MAX];
	struct merr err = MERR_INIT;
	int listener = must_listen(&a), fd, accepted;

	(void)state;
	assert_int_equal(sock_local_addr(listener, &local), 0);
	assert_int_equal(source_set_address(&local.source, "127.1.2.3", NULL), 0);
	assert_int_equal(source_set_interface(&local.source, "lo", NULL), 0);
	assert_int_equal(try_connect(&local, &fd), 0);
	accepted = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	assert_true(accepted >= 0);
	assert_int_equal(ntohl(peer.sin_addr.s_addr), 0x7f010203);
	(void)close(accepted);
	(void)close(fd);
	/* What is not there has a name in the error. */
	assert_int_equal(sock_resolve(&local, false, targets, NULL), 1);
	assert_int_equal(source_set_address(&local.source, "192.0.2.1", NULL), 0); /* RFC 5737: nobody's */
	assert_int_equal(sock_connect(&local, &targets[0], &fd, &err), -EADDRNOTAVAIL);
	assert_non_null(strstr(merr_msg(&err), "'192.0.2.1': no interface of this host has it"));
	merr_clear(&err);
	assert_int_equal(source_set_interface(&local.source, "nosuchif", NULL), 0);
	assert_int_equal(sock_connect(&local, &targets[0], &fd, &err), -ENODEV);
	assert_non_null(strstr(merr_msg(&err), "'nosuchif': this host has none"));
	(void)close(listener);
}

static void test_mptcp(void **state)
{
	struct addr a = parse("tcp:127.0.0.1:%s,mptcp", "0"), local;
	int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), listener, fd, protocol = 0;
	struct merr err = MERR_INIT;
	socklen_t len = sizeof(protocol);

	(void)state;
	if (probe < 0) {
		/* This kernel has none: that is what the error says. */
		assert_true(resolve_and_listen(&a, &fd, &err) < 0);
		assert_non_null(strstr(merr_msg(&err), "no Multipath TCP"));
		return;
	}
	(void)close(probe);
	listener = must_listen(&a);
	assert_int_equal(sock_local_addr(listener, &local), 0);
	assert_true(local.mptcp);
	assert_int_equal(try_connect(&local, &fd), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len), 0);
	assert_int_equal(protocol, IPPROTO_MPTCP);
	(void)close(fd);
	(void)close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	/* One without is served as well. */
	local.mptcp = false;
	assert_connects(&local, listener);
	(void)close(listener);
}

/* Whether a kernel has vsock or not: the error says what is wrong. */
static void test_vsock_that_cannot_be(void **state)
{
	struct addr any = parse("vsock:4294967295:%s", "1"), foreign = parse("vsock:77777:%s", "4294967295");
	int probe = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	struct sock_target targets[SOCK_TARGETS_MAX];
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(sock_resolve(&any, false, targets, &err), -EINVAL);
	assert_non_null(strstr(merr_msg(&err), "for listening"));
	merr_clear(&err);
	assert_true(resolve_and_listen(&foreign, &fd, &err) < 0);
	assert_non_null(strstr(merr_msg(&err), "Failed to listen on '77777:4294967295'"));
	assert_non_null(strstr(merr_msg(&err), probe < 0 ? "no vsock" : "another CID"));
	if (probe >= 0)
		(void)close(probe);
}

static void test_vsock_listens(void **state)
{
	struct addr a = parse("vsock:4294967295:%s", "4294967295"), local;
	int fd, second;

	(void)state;
	if (resolve_and_listen(&a, &fd, NULL) < 0) {
		print_message("SKIPPED: this kernel has no vsock; the lab tests it\n");
		skip();
	}
	assert_int_equal(sock_local_addr(fd, &local), 0);
	assert_int_equal(local.type, ADDR_VSOCK);
	assert_int_equal(local.cid, UINT32_MAX);
	assert_in_range(local.vsock_port, 1024, UINT32_MAX - 1);
	assert_int_equal(resolve_and_listen(&local, &second, NULL), -EADDRINUSE);
	(void)close(fd);
}

static void test_what_only_listening_or_connecting_can(void **state)
{
	static const struct {
		const char *uri;
		bool listen;
		const char *text;
	} rows[] = { { "tcp:127.0.0.1:0", false, "port 0 is for listening" },
		     { "tcp:127.0.0.1:00", false, "port 0 is for listening" },
		     { "tcp:127.0.0.1:0,source-address=127.0.0.1", true, "is for connecting" },
		     { "tcp:127.0.0.1:0,source-interface=lo", true, "is for connecting" },
		     { "tcp:[::1]:1,source-address=127.0.0.1", false, "over IPv4" },
		     { "tcp:127.0.0.1:1,source-address=::1", false, "over IPv6" },
		     { "tcp:localhost:1,ipv6,source-address=127.0.0.1", false, "is of IPv4, the connection is to be IPv6" },
		     { "tcp:127.0.0.1:no-such-service", false, "127.0.0.1:no-such-service" } };
	struct sock_target targets[SOCK_TARGETS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a = parse("%s", rows[i].uri);
		struct merr err = MERR_INIT;

		assert_true(sock_resolve(&a, rows[i].listen, targets, &err) < 0);
		if (!strstr(merr_msg(&err), rows[i].text))
			fail_msg("%s: '%s' does not say '%s'", rows[i].uri, merr_msg(&err), rows[i].text);
	}
}

static void test_scope(void **state)
{
	struct addr a = parse("tcp:[fe80::1%%lo]:%s", "4444");
	struct sock_target targets[SOCK_TARGETS_MAX];
	const struct sockaddr_in6 *sa = (const void *)&targets[0].sa;
	struct merr err = MERR_INIT;

	(void)state;
	assert_string_equal(a.host, "fe80::1%lo");
	assert_int_equal(sock_resolve(&a, false, targets, NULL), 1);
	assert_int_equal(sa->sin6_scope_id, if_nametoindex("lo"));
	assert_int_equal(ntohs(sa->sin6_port), 4444);
	a = parse("tcp:[fe80::1%%nosuchif]:%s", "4444");
	assert_true(sock_resolve(&a, false, targets, &err) < 0);
	assert_non_null(strstr(merr_msg(&err), "fe80::1%nosuchif:4444"));
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
		cmocka_unit_test(test_abstract_unix),
		cmocka_unit_test(test_longest_unix),
		cmocka_unit_test(test_family_of_any_address),
		cmocka_unit_test(test_source_address),
		cmocka_unit_test(test_mptcp),
		cmocka_unit_test(test_vsock_that_cannot_be),
		cmocka_unit_test(test_vsock_listens),
		cmocka_unit_test(test_what_only_listening_or_connecting_can),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_only_networks_and_numbers),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
