/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes through TLS channels: whole, in whatever pieces; with shared keys too. What is cut off is told from what ended,
 * and a peer that does not speak TLS is named.
 */
/* LIBS: migd_transport migd_base */
/* SOURCES: pki.c */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "pki.h"

static const uint8_t secret[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t wrong[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17 };
static const struct tls_psk key = { "qemu", secret, sizeof(secret) };
static const struct tls_psk wrong_key = { "qemu", wrong, sizeof(wrong) };
static const struct tls_psk other_name = { "somebody\n", secret, sizeof(secret) };
static const char *const versions[] = { "1.2", "1.3" };

static void meet(struct side *client, struct side *server, const char *version)
{
	side_psk(client, false, &key);
	side_psk(server, true, &key);
	server->config.max_version = version;
	sides_meet(client, server);
	if (client->result < 0 || server->result < 0)
		print_error("%s; %s\n", merr_msg(&client->err), merr_msg(&server->err));
	assert_int_equal(client->result, 0);
	assert_int_equal(server->result, 0);
}

static void finish(struct side *client, struct side *server)
{
	side_done(client);
	side_done(server);
}

static void test_same_key(void **state)
{
	(void)state;
	for (size_t v = 0; v < 2; v++) {
		struct side client, server;
		char got[4], text[128];

		meet(&client, &server, versions[v]);
		assert_non_null(strstr(chan_describe(client.chan, text, sizeof(text)), versions[v]));
		assert_int_equal(write_all(client.chan, "QEVM", 4), 0);
		assert_int_equal(read_all(server.chan, got, 4, 4), 4);
		assert_memory_equal(got, "QEVM", 4);
		finish(&client, &server);
	}
}

static void test_different_keys(void **state)
{
	const struct {
		const struct tls_psk *client;
		const char *here, *there;
	} all[] = {
		{ &wrong_key, "different keys under the same name", "different keys under the same name" },
		{ &other_name, "the client's key is called 'somebody?', and there is none of that name here", "no shared key" },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct side client, server;

		side_psk(&client, false, all[i / 2].client);
		side_psk(&server, true, &key);
		server.config.max_version = versions[i % 2];
		sides_meet(&client, &server);
		assert_true(server.result < 0);
		if (!strstr(merr_msg(&server.err), all[i / 2].here))
			fail_msg("'%s' is not about '%s'", merr_msg(&server.err), all[i / 2].here);
		assert_true(client.result < 0);
		if (!strstr(merr_msg(&client.err), all[i / 2].there) && !strstr(merr_msg(&client.err), "not know"))
			fail_msg("'%s' is not about '%s'", merr_msg(&client.err), all[i / 2].there);
		finish(&client, &server);
	}
}

/* ---- pieces ---- */

#define MESSAGE "QEVM\0\0\0\3 and what follows it"
#define LEN	(sizeof(MESSAGE) - 1)

/* Four bytes without taking them. Loopback takes its time too. */
static void await_head(struct chan *c, uint8_t head[4])
{
	uint64_t deadline_ns = clock_now_ns() + 10 * NS_PER_SEC;

	while (chan_peek(c, head, 4) != 4)
		assert_true(fd_wait(chan_fd(c), POLLIN, -1, deadline_ns) > 0);
}

static void test_every_division_into_records(void **state)
{
	struct side client, server;
	uint8_t got[LEN], head[4];

	(void)state;
	meet(&client, &server, NULL);
	for (size_t at = 0; at <= LEN; at++) {
		for (size_t piece = 1; piece <= LEN; piece++) {
			assert_int_equal(write_all(client.chan, MESSAGE, at), 0);
			assert_int_equal(write_all(client.chan, &MESSAGE[at], LEN - at), 0);
			await_head(server.chan, head);
			assert_memory_equal(head, "QEVM", 4);
			assert_true(chan_readable(server.chan));
			assert_int_equal(read_all(server.chan, got, LEN, piece), LEN);
			assert_memory_equal(got, MESSAGE, LEN);
			assert_false(chan_readable(server.chan));
			assert_int_equal(chan_peek(server.chan, head, sizeof(head)), -EAGAIN);
		}
	}
	finish(&client, &server);
}

/* One byte from FROM to TO, if there is one. */
static bool carry(int from, int to)
{
	char byte;

	if (recv(from, &byte, 1, MSG_DONTWAIT) != 1)
		return false;
	assert_int_equal(send(to, &byte, 1, MSG_NOSIGNAL), 1);
	return true;
}

static void test_every_division_on_the_way(void **state)
{
	int a[2], b[2];
	struct side client, server;
	uint8_t got[LEN], head[4];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	side_psk(&client, false, &key);
	side_psk(&server, true, &key);
	side_open(&client, a[0]);
	side_open(&server, b[1]);
	while (client.result == -EAGAIN || server.result == -EAGAIN) {
		(void)side_step(&client);
		(void)carry(a[1], b[0]);
		(void)side_step(&server);
		(void)carry(b[0], a[1]);
	}
	assert_int_equal(client.result, 0);
	assert_int_equal(server.result, 0);
	assert_int_equal(write_all(client.chan, MESSAGE, LEN), 0);
	do {
		n = chan_peek(server.chan, head, sizeof(head));
		assert_true(n == -EAGAIN || n == sizeof(head));
		assert_int_equal(chan_readable(server.chan), n > 0);
	} while (n == -EAGAIN && carry(a[1], b[0]));
	assert_int_equal(n, sizeof(head));
	assert_false(carry(a[1], b[0]));
	assert_int_equal(read_all(server.chan, got, LEN, LEN), LEN);
	assert_memory_equal(got, MESSAGE, LEN);
	finish(&client, &server);
	(void)close(a[1]);
	(void)close(b[0]);
}

/* ---- much ---- */

#define BIG (24U << 20)

struct reader {
	struct chan *chan;
	uint8_t *to;
	ssize_t result;
};

static void *read_much(void *opaque)
{
	struct reader *r = opaque;

	r->result = read_all(r->chan, r->to, BIG, 256 * 1024);
	return NULL;
}

/* Vectors as a migration has them: small headers, pages, long runs; a byte lost or doubled anywhere shows. */
static void test_vectors_of_all_sizes(void **state)
{
	static const size_t sizes[] = { 1, 8, 12, 4096, 8, 16383, 16384, 16385, 3, 65536, 0, 1 << 20, 32768, 5 };
	uint8_t *from = malloc(BIG), *to = calloc(1, BIG);
	struct side client, server;
	struct iovec iov[64];
	size_t at = 0, i = 0, n;
	pthread_t thread;

	(void)state;
	for (size_t k = 0; k < BIG; k++)
		from[k] = (uint8_t)((k * 2654435761U) >> 13);
	meet(&client, &server, NULL);
	struct reader r = { server.chan, to, 0 };
	assert_int_equal(pthread_create(&thread, NULL, read_much, &r), 0);
	while (at < BIG) {
		for (n = 0; n < 64 && at < BIG; n++, i++) {
			size_t len = sizes[i % (sizeof(sizes) / sizeof(*sizes))];

			len = len < BIG - at ? len : BIG - at;
			iov[n] = (struct iovec){ from + at, len };
			at += len;
		}
		assert_int_equal(chan_write(client.chan, iov, n, false, clock_now_ns() + 20 * NS_PER_SEC), 0);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.result, BIG);
	assert_memory_equal(from, to, BIG);
	finish(&client, &server);
	free(from);
	free(to);
}

#define MESSAGES   2000
#define MESSAGE_LEN 24
#define WRITERS	   2

struct writer {
	struct chan *chan;
	uint8_t name;
};

/* Messages in two pieces each, all bytes of one the same. */
static void *write_messages(void *opaque)
{
	struct writer *w = opaque;
	uint8_t bytes[MESSAGE_LEN];
	struct iovec iov[2];

	memset(bytes, w->name, sizeof(bytes));
	for (unsigned int i = 0; i < MESSAGES; i++) {
		iov[0] = (struct iovec){ bytes, 4 };
		iov[1] = (struct iovec){ bytes + 4, sizeof(bytes) - 4 };
		if (chan_write(w->chan, iov, 2, false, clock_now_ns() + 20 * NS_PER_SEC) < 0)
			return w;
	}
	return NULL;
}

static void *write_much(void *opaque)
{
	struct reader *r = opaque;
	struct iovec iov = { r->to, BIG };

	r->result = chan_write(r->chan, &iov, 1, false, clock_now_ns() + 20 * NS_PER_SEC);
	return NULL;
}

/* Two threads say something on a channel, in whole messages, while a third reads from it. */
static void check_writers_beside_a_reader(const char *version)
{
	uint8_t *from = malloc(BIG), *to = calloc(1, BIG), got[MESSAGE_LEN];
	unsigned int seen[WRITERS] = { 0 };
	pthread_t much[2], writers[WRITERS];
	struct side client, server;
	void *failed;

	for (size_t k = 0; k < BIG; k++)
		from[k] = (uint8_t)((k * 2654435761U) >> 13);
	meet(&client, &server, version);
	struct reader w = { client.chan, from, -1 }, r = { server.chan, to, 0 };
	struct writer messages[WRITERS] = { { server.chan, 0 }, { server.chan, 1 } };
	assert_int_equal(pthread_create(&much[0], NULL, write_much, &w), 0);
	assert_int_equal(pthread_create(&much[1], NULL, read_much, &r), 0);
	for (unsigned int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_messages, &messages[i]), 0);
	for (unsigned int i = 0; i < WRITERS * MESSAGES; i++) {
		assert_int_equal(read_all(client.chan, got, sizeof(got), sizeof(got)), sizeof(got));
		assert_true(got[0] < WRITERS);
		for (unsigned int k = 1; k < sizeof(got); k++)
			assert_int_equal(got[k], got[0]);
		seen[got[0]]++;
	}
	for (unsigned int i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(writers[i], &failed), 0);
		assert_null(failed);
		assert_int_equal(seen[i], MESSAGES);
	}
	assert_int_equal(pthread_join(much[0], NULL), 0);
	assert_int_equal(pthread_join(much[1], NULL), 0);
	assert_int_equal(w.result, 0);
	assert_int_equal(r.result, BIG);
	assert_memory_equal(from, to, BIG);
	finish(&client, &server);
	free(from);
	free(to);
}

static void test_writers_beside_a_reader(void **state)
{
	(void)state;
	for (size_t v = 0; v < 2; v++)
		check_writers_beside_a_reader(versions[v]);
}

/* Both sides' sockets are full; what the peer says is noticed, and nothing is lost or said twice. */
static void test_input_while_there_is_no_room(void **state)
{
	uint8_t *from = malloc(BIG), *to = malloc(BIG);
	struct iovec iov = { from, BIG };
	struct side client, server;
	pthread_t thread;
	char got[5];

	(void)state;
	for (size_t k = 0; k < BIG; k++)
		from[k] = (uint8_t)(k >> 7);
	meet(&client, &server, NULL);
	assert_int_equal(write_all(server.chan, "stop!", 5), 0);
	assert_int_equal(chan_write(client.chan, &iov, 1, true, clock_now_ns() + 10 * NS_PER_SEC), -EAGAIN);
	/* And again, as long as it is not read. */
	assert_int_equal(chan_write(client.chan, &iov, 1, true, clock_now_ns() + 10 * NS_PER_SEC), -EAGAIN);
	assert_int_equal(read_all(client.chan, got, 5, 5), 5);
	assert_int_equal(chan_write(client.chan, &iov, 1, true, clock_now_ns() + NS_PER_SEC / 5), -ETIMEDOUT);
	struct reader r = { server.chan, to, 0 };
	assert_int_equal(pthread_create(&thread, NULL, read_much, &r), 0);
	assert_int_equal(chan_write(client.chan, &iov, 1, true, clock_now_ns() + 20 * NS_PER_SEC), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(r.result, BIG);
	assert_memory_equal(from, to, BIG);
	finish(&client, &server);
	free(from);
	free(to);
}

static void test_cancelled_writer(void **state)
{
	uint8_t *from = calloc(1, BIG);
	struct iovec iov = { from, BIG };
	struct side client, server;
	int wake = wake_new();

	(void)state;
	meet(&client, &server, NULL);
	chan_set_cancel(client.chan, wake);
	wake_raise(wake);
	assert_int_equal(chan_write(client.chan, &iov, 1, false, DEADLINE_NONE), -ECANCELED);
	finish(&client, &server);
	(void)close(wake);
	free(from);
}

static void test_no_splice(void **state)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct side client, server;
	uint64_t done;

	(void)state;
	meet(&client, &server, NULL);
	assert_int_equal(chan_read_to_file(server.chan, fd, 0, 4096, DEADLINE_NONE, &done), -ENOTSUP);
	finish(&client, &server);
	(void)close(fd);
}

/* ---- ends ---- */

static void test_announced_end(void **state)
{
	struct side client, server;
	char got[8];

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		meet(&client, &server, versions[v]);
		assert_int_equal(write_all(client.chan, "bye", 3), 0);
		if (v)
			chan_shutdown_write(client.chan);
		else
			client.chan = chan_free(client.chan);
		assert_int_equal(read_all(server.chan, got, 3, 8), 3);
		assert_int_equal(chan_read(server.chan, got, 8, DEADLINE_NONE), 0);
		assert_int_equal(chan_read(server.chan, got, 8, DEADLINE_NONE), 0);
		assert_int_equal(chan_peek(server.chan, got, 4), 0);
		assert_true(chan_readable(server.chan));
		/* The other direction goes on. */
		if (v) {
			assert_int_equal(write_all(server.chan, "too", 3), 0);
			assert_int_equal(read_all(client.chan, got, 3, 3), 3);
		}
		finish(&client, &server);
	}
}

static void test_end_that_was_not_announced(void **state)
{
	struct side client, server;
	char got[8];

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		meet(&client, &server, versions[v]);
		assert_int_equal(write_all(client.chan, "by", 2), 0);
		assert_int_equal(shutdown(chan_fd(client.chan), SHUT_WR), 0);
		assert_int_equal(read_all(server.chan, got, 2, 2), 2);
		assert_int_equal(chan_read(server.chan, got, 8, DEADLINE_NONE), -ENODATA);
		assert_int_equal(chan_read(server.chan, got, 8, DEADLINE_NONE), -ENODATA);
		assert_non_null(strstr(chan_why(server.chan), "was cut off"));
		finish(&client, &server);
	}
}

static void test_bytes_changed_on_the_way(void **state)
{
	struct side client, server;
	char record[256], got[8];
	ssize_t n;
	int fds[2];

	(void)state;
	meet(&client, &server, NULL);
	assert_int_equal(write_all(client.chan, "secret", 6), 0);
	assert_true(fd_wait(chan_fd(server.chan), POLLIN, -1, clock_now_ns() + 10 * NS_PER_SEC) > 0);
	n = recv(chan_fd(server.chan), record, sizeof(record), 0);
	assert_true(n > 6);
	/* Back into its way, but for one bit: a second socket takes the place of the first. */
	record[n - 1] ^= 1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(dup3(fds[1], chan_fd(server.chan), O_CLOEXEC), chan_fd(server.chan));
	assert_int_equal(send(fds[0], record, (size_t)n, 0), n);
	assert_true(chan_read(server.chan, got, 8, DEADLINE_NONE) < 0);
	assert_non_null(strstr(chan_why(server.chan), "changed on the way"));
	finish(&client, &server);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* ---- no TLS ---- */

static void test_plain_stream_to_tls(void **state)
{
	const struct {
		const char *bytes;
		size_t len;
		const char *why;
	} all[] = {
		{ "QEVM\0\0\0\3", 8, "a plain migration stream (QEVM) came to a port with tls-creds" },
		{ "GET / HTTP/1.0\r\n\r\n", 18, "its first byte is 0x47" },
		{ "\x11\x22\x33\x44", 4, "its first byte is 0x11" },
		{ "\x16\x03garbage that is no client's hello", 36, "TLS: " },
		{ "", 0, "closed the connection in the TLS handshake" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct side server;
		int fds[2];

		pki_sockets(fds);
		side_psk(&server, true, &key);
		side_open(&server, fds[1]);
		(void)side_step(&server);
		assert_int_equal(server.result, -EAGAIN);
		assert_int_equal(send(fds[0], all[i].bytes, all[i].len, 0), all[i].len);
		(void)shutdown(fds[0], SHUT_WR);
		while (!side_step(&server))
			assert_true(fd_wait(fds[1], POLLIN, -1, clock_now_ns() + 10 * NS_PER_SEC) > 0);
		assert_true(server.result < 0);
		if (!strstr(merr_msg(&server.err), all[i].why))
			fail_msg("'%s' is not about '%s'", merr_msg(&server.err), all[i].why);
		side_done(&server);
		(void)close(fds[0]);
	}
}

static void test_tls_to_a_plain_peer(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
		const char *why;
	} all[] = {
		/* A return path's message; nothing. */
		{ { 0, 1, 0, 4, 0, 0, 0, 1 }, 8, "the peer does not speak TLS" },
		{ { 0 }, 0, "closed the connection in the TLS handshake" },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct side client;
		int fds[2];

		pki_sockets(fds);
		side_psk(&client, false, &key);
		side_open(&client, fds[0]);
		(void)side_step(&client);
		assert_int_equal(send(fds[1], all[i].bytes, all[i].len, 0), all[i].len);
		(void)shutdown(fds[1], SHUT_WR);
		while (!side_step(&client))
			assert_true(fd_wait(fds[0], POLLIN, -1, clock_now_ns() + 10 * NS_PER_SEC) > 0);
		if (!strstr(merr_msg(&client.err), all[i].why))
			fail_msg("'%s' is not about '%s'", merr_msg(&client.err), all[i].why);
		side_done(&client);
		(void)close(fds[1]);
	}
}

static void test_only_sockets(void **state)
{
	struct side s;
	int fds[2];

	(void)state;
	side_psk(&s, false, &key);
	s.tls = tls_new(&s.config, &s.err);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	s.chan = chan_new(fds[1], -1);
	assert_int_equal(chan_start_tls(s.chan, s.tls, DEADLINE_NONE, &s.err), -ENOTSOCK);
	side_done(&s);
	(void)close(fds[0]);
}

/* No ticket and no answer: nothing that a source which does not read would leave behind when it closes. */
static void test_server_says_nothing_unasked(void **state)
{
	struct side client, server;

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		char byte;

		meet(&client, &server, versions[v]);
		assert_int_equal(chan_peek(client.chan, &byte, 1), -EAGAIN);
		assert_int_equal(recv(chan_fd(client.chan), &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(write_all(client.chan, "x", 1), 0);
		assert_int_equal(read_all(server.chan, &byte, 1, 1), 1);
		assert_int_equal(recv(chan_fd(client.chan), &byte, 1, MSG_DONTWAIT), -1);
		server.chan = chan_free(server.chan);
		assert_int_equal(recv(chan_fd(client.chan), &byte, 1, 0), 0);
		finish(&client, &server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_key),
		cmocka_unit_test(test_different_keys),
		cmocka_unit_test(test_every_division_into_records),
		cmocka_unit_test(test_every_division_on_the_way),
		cmocka_unit_test(test_vectors_of_all_sizes),
		cmocka_unit_test(test_writers_beside_a_reader),
		cmocka_unit_test(test_input_while_there_is_no_room),
		cmocka_unit_test(test_cancelled_writer),
		cmocka_unit_test(test_no_splice),
		cmocka_unit_test(test_announced_end),
		cmocka_unit_test(test_end_that_was_not_announced),
		cmocka_unit_test(test_bytes_changed_on_the_way),
		cmocka_unit_test(test_plain_stream_to_tls),
		cmocka_unit_test(test_tls_to_a_plain_peer),
		cmocka_unit_test(test_only_sockets),
		cmocka_unit_test(test_server_says_nothing_unasked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
