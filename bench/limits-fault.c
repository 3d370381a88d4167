/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page fault costs at least that another process answers over loopback TCP: one thread touches fresh memory in
 * random order, page by page; a second reads its faults from a userfaultfd, asks the other process for the page, writes
 * it into the memory's file and lets the first go on. Nothing else is going on.
 *
 * {"method": "fault", "framing": "none", "faults": N, "p50_us": ..., "p99_us": ..., "mean_us": ...}: from just before the
 * access until just after it, as a guest would see it.
 */
#include "bench/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define FAULTS	   5000U
#define FAULTS_MAX 1000000U
#define SEED	   0x2545f491U
#define END	   UINT64_MAX /* asked for instead of a page: there is nothing more */

struct fault_limit {
	struct memory memory;
	int uffd, sock;
	uint32_t *order;
	double *took_s;
	unsigned int n;
	int error; /* the handler's */
};

static int uffd_open_minor(const struct memory *m)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	struct uffdio_register reg = {
		.range = { .start = (uint64_t)(uintptr_t)m->map, .len = m->len },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0) {
		int e = -errno;

		close(fd);
		return e;
	}
	return fd;
}

/* --- the process that has the pages; ends with its peer --- */

static _Noreturn void serve(int sock, unsigned int n_pages)
{
	struct memory pages;
	uint64_t offset;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (memory_open_fresh(&pages, (uint64_t)n_pages * PAGE) < 0)
		_exit(1);
	memset(pages.map, 1, pages.len);
	while (read_exact(sock, &offset, sizeof(offset)) == 0 && offset < pages.len)
		if (write(sock, pages.map + offset, PAGE) != (ssize_t)PAGE)
			_exit(1);
	_exit(0);
}

static int serve_start(struct fault_limit *f, pid_t *ret_pid)
{
	int socks[2] = { -1, -1 }, one = 1;
	int e = connect_loopback(socks);

	if (e < 0)
		return e;
	if (setsockopt(socks[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	*ret_pid = fork();
	if (*ret_pid < 0)
		return -errno;
	if (*ret_pid == 0) {
		close(socks[0]);
		serve(socks[1], f->n);
	}
	close(socks[1]);
	f->sock = socks[0];
	return 0;
}

/* --- the thread that gets them --- */

static int get_page(const struct fault_limit *f, uint64_t offset)
{
	struct uffdio_continue go_on = {
		.range = { .start = (uint64_t)(uintptr_t)f->memory.map + offset, .len = PAGE }
	};
	uint8_t page[PAGE];
	int e;

	if (write(f->sock, &offset, sizeof(offset)) != (ssize_t)sizeof(offset))
		return -EPIPE;
	if ((e = read_exact(f->sock, page, PAGE)) < 0)
		return e;
	if (pwrite(f->memory.fd, page, PAGE, (off_t)offset) != (ssize_t)PAGE ||
	    ioctl(f->uffd, UFFDIO_CONTINUE, &go_on) < 0)
		return -errno;
	return 0;
}

static void *handle_faults(void *opaque)
{
	struct fault_limit *f = opaque;
	struct uffd_msg msg;

	for (unsigned int i = 0; i < f->n; i++) {
		if ((f->error = read_exact(f->uffd, &msg, sizeof(msg))) < 0)
			break;
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			f->error = -EPROTO;
		else
			f->error = get_page(f, (msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1)) -
						       (uint64_t)(uintptr_t)f->memory.map);
		if (f->error < 0)
			break;
	}
	/* Whoever waits for a page that will not come goes on: over a hole. */
	if (f->error < 0)
		close(f->uffd);
	return NULL;
}

/* --- the thread that wants them --- */

static void shuffle(uint32_t *order, unsigned int n)
{
	uint32_t x = SEED;

	for (unsigned int i = 0; i < n; i++)
		order[i] = i;
	for (unsigned int i = n - 1; i > 0; i--) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;

		uint32_t j = x % (i + 1), other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

static void touch_all(struct fault_limit *f)
{
	for (unsigned int i = 0; i < f->n; i++) {
		volatile uint8_t *at = f->memory.map + (uint64_t)f->order[i] * PAGE;
		double start = clock_now();

		*at = (uint8_t)(*at + 1);
		f->took_s[i] = clock_now() - start;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(struct fault_limit *f)
{
	double sum = 0;

	for (unsigned int i = 0; i < f->n; i++)
		sum += f->took_s[i];
	qsort(f->took_s, f->n, sizeof(*f->took_s), compare);
	printf("{\"method\": \"fault\", \"framing\": \"none\", \"faults\": %u, \"p50_us\": %.2f, "
	       "\"p99_us\": %.2f, \"mean_us\": %.2f}\n",
	       f->n, f->took_s[f->n / 2] * 1e6, f->took_s[f->n * 99 / 100] * 1e6, sum / f->n * 1e6);
}

static int measure(struct fault_limit *f)
{
	uint64_t end = END;
	pthread_t handler;
	pid_t pid = -1;
	int e, status;

	if ((e = serve_start(f, &pid)) < 0)
		return e;
	if ((e = f->uffd = uffd_open_minor(&f->memory)) < 0)
		return e;
	if (pthread_create(&handler, NULL, handle_faults, f) != 0)
		return -EAGAIN;
	touch_all(f);
	(void)pthread_join(handler, NULL);
	if (f->error < 0)
		return f->error;
	if (write(f->sock, &end, sizeof(end)) != (ssize_t)sizeof(end) || waitpid(pid, &status, 0) < 0)
		return -errno;
	if (status != 0)
		return -EPIPE;
	report(f);
	return 0;
}

int fault_main(const char *n_faults)
{
	struct fault_limit f = { .n = n_faults ? (unsigned int)strtoul(n_faults, NULL, 10) : FAULTS };
	int e;

	if (f.n < 1 || f.n > FAULTS_MAX) {
		fprintf(stderr, "limits: '%s' is no number of faults: 1 to %u\n", n_faults, FAULTS_MAX);
		return 2;
	}
	f.order = malloc(f.n * sizeof(*f.order));
	f.took_s = malloc(f.n * sizeof(*f.took_s));
	e = f.order && f.took_s ? memory_open_fresh(&f.memory, (uint64_t)f.n * PAGE) : -ENOMEM;
	if (e == 0) {
		shuffle(f.order, f.n);
		e = measure(&f);
	}
	if (e < 0)
		fprintf(stderr, "limits: faults: %s\n", strerror(-e));
	free(f.order);
	free(f.took_s);
	return e < 0 ? 1 : 0;
}
