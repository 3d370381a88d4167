/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for a QMP server, from one thread that does as little as it can: of the answers it only looks for the ends of lines.
 *
 *	qmp-load rate SOCKET SECONDS IN-FLIGHT COMMAND...	one connection, the commands in turn, so many under way
 *	qmp-load clients SOCKET N COMMAND			N connections, a command on each, then the event STOP to each
 *
 * One line of JSON to standard output. Exit status: 0, or 1 with the reason on standard error.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define NEGOTIATE "{\"execute\": \"qmp_capabilities\"}\n"
#define TIMEOUT_MS 20000
#define COMMANDS_MAX 16

static void fail(const char *what)
{
	(void)fprintf(stderr, "qmp-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		fail(path);
	return fd;
}

static void send_text(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			fail("send");
		text += n;
		len -= (size_t)n;
	}
}

/* How many lines ended with what could be read now, waiting for something. */
static size_t receive_lines(int fd)
{
	static char bytes[1 << 18];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	size_t lines = 0;

	if (n <= 0) {
		errno = n ? errno : EPIPE;
		fail("the server closed the connection");
	}
	if (memmem(bytes, (size_t)n, "{\"error\"", 8)) {
		errno = EPROTO;
		fail("an error was answered");
	}
	for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(bytes + n - at))); at++)
		lines++;
	return lines;
}

static void negotiate(int fd)
{
	size_t lines = 0;

	send_text(fd, NEGOTIATE, strlen(NEGOTIATE));
	while (lines < 2)
		lines += receive_lines(fd);
}

/* ---- rate ---- */

static int rate(const char *path, double seconds, unsigned int in_flight, char **commands, int n_commands)
{
	char requests[COMMANDS_MAX][128], batch[1 << 16];
	uint64_t start, end, n_sent = 0, n_answered = 0;
	int fd = connect_to(path);

	for (int i = 0; i < n_commands; i++)
		(void)snprintf(requests[i], sizeof(requests[i]), "{\"execute\": \"%.64s\"}\n", commands[i]);
	negotiate(fd);
	start = clock_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	do {
		size_t len = 0;

		while (n_sent - n_answered < in_flight && len + sizeof(requests[0]) < sizeof(batch)) {
			const char *request = requests[n_sent++ % (uint64_t)n_commands];

			memcpy(batch + len, request, strlen(request));
			len += strlen(request);
		}
		send_text(fd, batch, len);
		n_answered += receive_lines(fd);
	} while (clock_now_ns() < end);
	(void)printf("{\"commands_per_s\": %.1f}\n", (double)n_answered * 1e9 / (double)(clock_now_ns() - start));
	(void)close(fd);
	return 0;
}

/* ---- clients ---- */

struct client {
	int fd;
	uint64_t sent_ns;
	uint64_t answer_ns, event_ns;	/* after it was sent, after the event was asked for; 0: not yet */
};

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Wait for a line of each client. SINCE_NS: of all of them; 0: of each since it sent. Returns how many got one. */
static size_t await_all(int epoll_fd, size_t n, uint64_t since_ns, uint64_t *ret_ns)
{
	struct epoll_event events[256];
	size_t n_done = 0;

	while (n_done < n) {
		int n_ready = epoll_wait(epoll_fd, events, 256, TIMEOUT_MS);

		if (n_ready <= 0)
			break;
		for (int i = 0; i < n_ready; i++) {
			struct client *c = events[i].data.ptr;

			if (receive_lines(c->fd) > 0)
				ret_ns[n_done++] = clock_now_ns() - (since_ns ? since_ns : c->sent_ns);
		}
	}
	qsort(ret_ns, n_done, sizeof(ret_ns[0]), compare);
	return n_done;
}

static double p99_ms(const uint64_t *ns, size_t n)
{
	return n ? (double)ns[(n * 99 + 99) / 100 - 1] / 1e6 : 0;
}

static void ask_for_event(const char *path, const char *command)
{
	char request[128];
	int fd = connect_to(path);

	negotiate(fd);
	(void)snprintf(request, sizeof(request), "{\"execute\": \"%s\"}\n", command);
	send_text(fd, request, strlen(request));
	(void)receive_lines(fd);
	(void)close(fd);
}

static int clients(const char *path, size_t n, const char *command)
{
	struct client *all = calloc(n, sizeof(*all));
	uint64_t *ns = calloc(n, sizeof(*ns)), event_ns;
	struct rlimit limit;
	char request[128];
	size_t n_answered, n_events;
	double answer_p99_ms;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	if (!all || !ns || epoll_fd < 0)
		fail("no memory");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (size_t i = 0; i < n; i++)
		all[i].fd = connect_to(path);
	for (size_t i = 0; i < n; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };

		negotiate(all[i].fd);
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
			fail("epoll_ctl");
	}
	(void)snprintf(request, sizeof(request), "{\"execute\": \"%.64s\"}\n", command);
	for (size_t i = 0; i < n; i++) {
		all[i].sent_ns = clock_now_ns();
		send_text(all[i].fd, request, strlen(request));
	}
	n_answered = await_all(epoll_fd, n, 0, ns);
	answer_p99_ms = p99_ms(ns, n_answered);
	event_ns = clock_now_ns();
	ask_for_event(path, "stop");
	n_events = await_all(epoll_fd, n, event_ns, ns);
	ask_for_event(path, "cont");
	(void)printf("{\"served\": %zu, \"answer_p99_ms\": %.3f, \"event_p99_ms\": %.3f}\n",
		     n_events < n_answered ? n_events : n_answered, answer_p99_ms, p99_ms(ns, n_events));
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc >= 6 && argc - 5 <= COMMANDS_MAX && strcmp(argv[1], "rate") == 0)
		return rate(argv[2], strtod(argv[3], NULL), (unsigned int)strtoul(argv[4], NULL, 10), argv + 5, argc - 5);
	if (argc == 5 && strcmp(argv[1], "clients") == 0)
		return clients(argv[2], strtoul(argv[3], NULL, 10), argv[4]);
	(void)fputs("usage: qmp-load rate SOCKET SECONDS IN-FLIGHT COMMAND... | clients SOCKET N COMMAND\n", stderr);
	return 2;
}
