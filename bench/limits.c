/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine allows a user-space migrator: moves a memory file over one loopback TCP
 *connection into a fresh memfd by each of several receive methods, and scans memory for zeros. No
 *dirty tracking, no checks, no protocol: nothing that migrates can be faster by these means.
 *
 *	limits xfer FILE [METHOD...]	all methods if none is named
 *	limits zero FILE
 *
 * FILE is guest RAM in tmpfs. One JSON object a line and method. GB is 1e9 bytes, GiB 2^30. The
 *sender is always write() from a mapping whose pages are faulted in before the clock starts; the
 *clock stops when the receiver says that its last byte is in place. Sender and receiver are two
 *processes.
 *
 * Framing "none" is the bare bytes. Framing "pages" is what QEMU's stream has: 8 bytes ahead of
 *each 4 KiB page, so the receiver must look at the bytes before it knows where they go.
 */
#include "bench/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the receiver says when its last byte is in place. */
struct receipt {
	double cpu_s;
};

static double clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_now(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* --- one transfer --- */

static int connect_loopback(int ret_socks[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || a < 0 || bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(a, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	ret_socks[0] = a;
	ret_socks[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	if (ret_socks[1] < 0 || setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static int memory_open_fresh(struct memory *ret, uint64_t len)
{
	ret->len = len;
	ret->fd = memfd_create("limits-destination", MFD_CLOEXEC);
	if (ret->fd < 0 || ftruncate(ret->fd, (off_t)len) < 0)
		return -errno;
	ret->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, 0);
	return ret->map == MAP_FAILED ? -errno : 0;
}

static void memory_close(struct memory *m)
{
	munmap(m->map, m->len);
	close(m->fd);
}

/* The receiving process; never returns. */
static _Noreturn void receiver_main(const struct method *m, int sock, const struct memory *dst)
{
	double cpu = cpu_now();
	int e = m->receive(sock, dst);
	struct receipt receipt = { cpu_now() - cpu };

	if (e < 0) {
		fprintf(stderr, "limits: receive method '%s': %s\n", m->name, strerror(-e));
		_exit(1);
	}
	_exit(write(sock, &receipt, sizeof(receipt)) == (ssize_t)sizeof(receipt) ? 0 : 1);
}

/* Every page of a multiple of 16 plus the last: reading all of both would take longer than the
 * transfer. */
static bool memory_same(const struct memory *a, const struct memory *b)
{
	for (uint64_t at = 0; at < a->len; at += 16 * PAGE)
		if (memcmp(a->map + at, b->map + at, PAGE) != 0)
			return false;
	return memcmp(a->map + a->len - PAGE, b->map + b->len - PAGE, PAGE) == 0;
}

static int send_and_wait(const struct method *m, int sock, const struct memory *src,
			 struct receipt *ret)
{
	int e = m->send(sock, src);

	return e < 0 ? e : read_exact(sock, ret, sizeof(*ret));
}

static int transfer(const struct method *m, const struct memory *src)
{
	int socks[2] = { -1, -1 };
	struct memory dst;
	struct receipt receipt;
	int status, e;

	if ((e = connect_loopback(socks)) < 0 || (e = memory_open_fresh(&dst, src->len)) < 0)
		return e;

	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(socks[0]);
		receiver_main(m, socks[1], &dst);
	}
	close(socks[1]);

	double cpu = cpu_now(), start = clock_now();

	e = send_and_wait(m, socks[0], src, &receipt);

	double took = clock_now() - start, cpu_send = cpu_now() - cpu;

	close(socks[0]);
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (e == 0)
		printf("{\"method\": \"%s\", \"framing\": \"%s\", \"gbps\": %.4f, "
		       "\"cpu_s_per_gib\": %.4f, "
		       "\"cpu_send_s\": %.4f, \"cpu_receive_s\": %.4f, \"same\": %s}\n",
		       m->name, m->framing, (double)src->len / took / 1e9,
		       (cpu_send + receipt.cpu_s) / ((double)src->len / (1 << 30)), cpu_send,
		       receipt.cpu_s, memory_same(src, &dst) ? "true" : "false");
	memory_close(&dst);
	return e;
}

/* --- zero scan --- */

typedef uint64_t lanes __attribute__((vector_size(32)));

static bool page_is_zero(const uint8_t *page)
{
	const lanes *p = (const lanes *)(const void *)page;

	for (size_t i = 0; i < PAGE / sizeof(*p); i += 4) {
		lanes any = p[i] | p[i + 1] | p[i + 2] | p[i + 3];

		if (any[0] | any[1] | any[2] | any[3])
			return false;
	}
	return true;
}

static void scan_zero(const struct memory *src)
{
	double cpu = cpu_now(), start = clock_now();
	uint64_t n_zero = 0;

	for (uint64_t at = 0; at < src->len; at += PAGE)
		n_zero += page_is_zero(src->map + at);

	double took = clock_now() - start;

	printf("{\"method\": \"zero-scan\", \"framing\": \"none\", \"gbps\": %.4f, "
	       "\"cpu_s_per_gib\": %.4f, "
	       "\"zero_pages\": %llu}\n",
	       (double)src->len / took / 1e9, (cpu_now() - cpu) / ((double)src->len / (1 << 30)),
	       (unsigned long long)n_zero);
}

/* --- command line --- */

static int memory_open_source(struct memory *ret, const char *path)
{
	struct stat st;

	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return -errno;
	if (st.st_size == 0 || st.st_size % PAGE != 0)
		return -EINVAL;
	ret->len = (uint64_t)st.st_size;
	ret->map = mmap(NULL, ret->len, PROT_READ, MAP_SHARED | MAP_POPULATE, ret->fd, 0);
	return ret->map == MAP_FAILED ? -errno : 0;
}

static bool is_wanted(const struct method *m, char **names, int n_names)
{
	for (int i = 0; i < n_names; i++)
		if (strcmp(m->name, names[i]) == 0)
			return true;
	return n_names == 0;
}

static int transfer_all(const struct memory *src, char **names, int n_names)
{
	int failed = 0;

	for (size_t i = 0; i < n_methods; i++) {
		if (!is_wanted(&methods[i], names, n_names))
			continue;
		int e = transfer(&methods[i], src);

		if (e < 0) {
			fprintf(stderr, "limits: method '%s': %s\n", methods[i].name, strerror(-e));
			failed++;
		}
		fflush(stdout);
	}
	return failed == (int)n_methods ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct memory src;
	int e;

	if (argc < 3 || (strcmp(argv[1], "xfer") != 0 && strcmp(argv[1], "zero") != 0)) {
		fprintf(stderr, "usage: limits xfer FILE [METHOD...] | limits zero FILE\n");
		return 2;
	}
	e = memory_open_source(&src, argv[2]);
	if (e < 0) {
		fprintf(stderr, "limits: '%s': %s (a tmpfs file of whole pages is needed)\n",
			argv[2], strerror(-e));
		return 1;
	}
	if (strcmp(argv[1], "zero") == 0) {
		scan_zero(&src);
		return 0;
	}
	return transfer_all(&src, argv + 3, argc - 3);
}
