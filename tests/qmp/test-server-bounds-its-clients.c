/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do not read, are too many, or pass descriptors in odd ways. QMP.md 1.9, qmp/limits.h. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

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

static void the_sixty_fifth_client_is_told(void **state)
{
	struct harness *h = *state;
	int fds[QMP_MAX_SESSIONS], extra[2];
	struct merr err = MERR_INIT;
	unsigned int i;

	for (i = 0; i < QMP_MAX_SESSIONS; i++)
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
	for (i = 0; i < QMP_MAX_SESSIONS; i++)
		close(fds[i]);
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
		TEST(listeners_accept),
		TEST(descriptors_belong_to_their_command),
		TEST(pipelined_descriptors_keep_their_places),
		TEST(unclaimed_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
