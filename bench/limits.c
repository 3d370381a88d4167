/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine allows a user-space migrator: moves a memory file over loopback TCP into a fresh memfd by each of
 * several receive methods, and scans memory for zeros. No dirty tracking, no checks, no protocol: nothing that migrates
 * can be faster by these means.
 *
 *	limits xfer FILE [-c CONNECTIONS] [METHOD...]	one connection, all methods if none is named
 *	limits zero FILE
 *	limits fault [FAULTS]	limits-fault.c
 *
 * FILE is guest RAM in tmpfs. One JSON object a line and method. GB is 1e9 bytes, GiB 2^30. The sender is always write()
 * from a mapping whose pages are faulted in before the clock starts; the clock stops when all receivers have said that
 * their last byte is in place. Of several connections each moves its part of the file: a sending thread and a receiving
 * process each.
 *
 * Framing "none" is the bare bytes. Framing "pages" is what QEMU's stream has: 8 bytes ahead of each 4 KiB page, so the
 * receiver must look at the bytes before it knows where they go.
 */
#include "bench/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
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

#define CONNECTIONS_MAX 16U

/* What the receiver says when its last byte is in place. */
struct receipt {
	double cpu_s;
};

double clock_now(void)
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

int connect_loopback(int ret_socks[2])
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

int memory_open_fresh(struct memory *ret, uint64_t len)
{
	*ret = (struct memory){ .len = len };
	ret->fd = memfd_create("limits-destination", MFD_CLOEXEC);
	if (ret->fd < 0 || ftruncate(ret->fd, (off_t)len) < 0)
		return -errno;
	ret->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, 0);
	return ret->map == MAP_FAILED ? -errno : 0;
}

void memory_close(struct memory *m)
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

/* One connection: a part of the memory, the thread that sends it, the process that receives it. */
struct lane {
	const struct method *method;
	struct memory src, dst;
	int sock;
	pid_t pid;
	pthread_t thread;
	struct receipt receipt;
	int error;
};

static void *lane_send(void *opaque)
{
	struct lane *l = opaque;

	l->error = l->method->send(l->sock, &l->src);
	if (l->error == 0)
		l->error = read_exact(l->sock, &l->receipt, sizeof(l->receipt));
	return NULL;
}

/* LEN bytes of M from AT on. */
static struct memory part_of(const struct memory *m, uint64_t at, uint64_t len)
{
	return (struct memory){ m->fd, m->offset + at, m->map + at, len };
}

static int lane_open(struct lane *l)
{
	int socks[2] = { -1, -1 };
	int e = connect_loopback(socks);

	if (e < 0)
		return e;
	l->pid = fork();
	if (l->pid < 0)
		return -errno;
	if (l->pid == 0) {
		close(socks[0]);
		receiver_main(l->method, socks[1], &l->dst);
	}
	close(socks[1]);
	l->sock = socks[0];
	return 0;
}

static int lanes_open(struct lane *lanes, unsigned int n, const struct method *m,
		      const struct memory *src, const struct memory *dst)
{
	uint64_t pages = src->len / PAGE;
	int e = 0;

	for (unsigned int i = 0; i < n && e == 0; i++) {
		uint64_t first = pages * i / n * PAGE, end = pages * (i + 1) / n * PAGE;

		lanes[i] = (struct lane){ .method = m,
					  .src = part_of(src, first, end - first),
					  .dst = part_of(dst, first, end - first) };
		e = lane_open(&lanes[i]);
	}
	return e;
}

/* Send everything; the CPU time of all receivers. */
static int lanes_run(struct lane *lanes, unsigned int n, double *ret_cpu_receive_s)
{
	int status, e = 0;

	*ret_cpu_receive_s = 0;
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&lanes[i].thread, NULL, lane_send, &lanes[i]) != 0)
			return -EAGAIN;
	for (unsigned int i = 0; i < n; i++) {
		(void)pthread_join(lanes[i].thread, NULL);
		close(lanes[i].sock);
		if (lanes[i].error < 0)
			e = lanes[i].error;
		*ret_cpu_receive_s += lanes[i].receipt.cpu_s;
	}
	for (unsigned int i = 0; i < n; i++)
		if (waitpid(lanes[i].pid, &status, 0) < 0)
			return -errno;
	return e;
}

static int transfer(const struct method *m, const struct memory *src, unsigned int n_connections)
{
	struct lane lanes[CONNECTIONS_MAX];
	struct memory dst;
	double cpu_receive;
	int e;

	if ((e = memory_open_fresh(&dst, src->len)) < 0 ||
	    (e = lanes_open(lanes, n_connections, m, src, &dst)) < 0)
		return e;

	double cpu = cpu_now(), start = clock_now();

	e = lanes_run(lanes, n_connections, &cpu_receive);

	double took = clock_now() - start, cpu_send = cpu_now() - cpu;

	if (e == 0)
		printf("{\"method\": \"%s\", \"framing\": \"%s\", \"gbps\": %.4f, "
		       "\"cpu_s_per_gib\": %.4f, "
		       "\"cpu_send_s\": %.4f, \"cpu_receive_s\": %.4f, \"same\": %s}\n",
		       m->name, m->framing, (double)src->len / took / 1e9,
		       (cpu_send + cpu_receive) / ((double)src->len / (1 << 30)), cpu_send,
		       cpu_receive, memory_same(src, &dst) ? "true" : "false");
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

	*ret = (struct memory){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
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

static int transfer_all(const struct memory *src, unsigned int n_connections, char **names,
			int n_names)
{
	int failed = 0;

	for (size_t i = 0; i < n_methods; i++) {
		if (!is_wanted(&methods[i], names, n_names))
			continue;
		int e = transfer(&methods[i], src, n_connections);

		if (e < 0) {
			fprintf(stderr, "limits: method '%s': %s\n", methods[i].name, strerror(-e));
			failed++;
		}
		fflush(stdout);
	}
	return failed == (int)n_methods ? 1 : 0;
}

/* The options before the methods' names; false: they are wrong. */
static bool parse_connections(int *argc, char ***argv, unsigned int *ret)
{
	*ret = 1;
	if (*argc < 2 || strcmp((*argv)[0], "-c") != 0)
		return true;
	*ret = (unsigned int)strtoul((*argv)[1], NULL, 10);
	*argc -= 2;
	*argv += 2;
	return *ret >= 1 && *ret <= CONNECTIONS_MAX;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: limits xfer FILE [-c 1..%u] [METHOD...] | limits zero FILE | limits fault [FAULTS]\n",
		CONNECTIONS_MAX);
	return 2;
}

int main(int argc, char **argv)
{
	int n_names = argc - 3;
	char **names = argv + 3;
	unsigned int n_connections;
	struct memory src;
	int e;

	if ((argc == 2 || argc == 3) && strcmp(argv[1], "fault") == 0)
		return fault_main(argc == 3 ? argv[2] : NULL);
	if (argc < 3 || (strcmp(argv[1], "xfer") != 0 && strcmp(argv[1], "zero") != 0) ||
	    !parse_connections(&n_names, &names, &n_connections))
		return usage();
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
	return transfer_all(&src, n_connections, names, n_names);
}
