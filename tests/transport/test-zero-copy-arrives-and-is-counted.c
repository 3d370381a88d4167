/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending without a copy: what is sent arrives, by reference; the kernel's copies are counted and end it; limits are named.
 * Loopback always copies in the end. A device that swallows packets, in a network of its own, does not.
 */
/* LIBS: migd_transport migd_base pthread */
/* LABELS: quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/iov.h"
#include "transport/chan.h"
#include "transport/zero-copy.h"

#define PATIENCE (clock_now_ns() + 20 * NS_PER_SEC)
#define LEN	 (8 * MIB)

struct link {
	int source, sink;
};

static struct link connect_tcp(int family)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_storage real;
	struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6;
	socklen_t len = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct link l = { .source = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	assert_int_equal(bind(listener, a, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&real, &len), 0);
	assert_int_equal(connect(l.source, (struct sockaddr *)&real, len), 0);
	l.sink = accept(listener, NULL, NULL);
	assert_true(l.sink >= 0);
	close(listener);
	assert_int_equal(fd_set_nonblock(l.source, true), 0);
	return l;
}

static void hang_up(struct link *l)
{
	close(l->source);
	close(l->sink);
}

/* Memory as a guest's: a file, of which a window is mapped. */
static int guest_memory(uint8_t seed)
{
	int fd = fd_memfd("ram", LEN);
	uint8_t *p;

	assert_true(fd >= 0);
	p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	for (size_t i = 0; i < LEN; i++)
		p[i] = (uint8_t)(seed + i / 4096 + i);
	munmap(p, LEN);
	return fd;
}

static uint8_t *window(int fd, int prot)
{
	uint8_t *p = mmap(NULL, LEN, prot, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

struct reader {
	pthread_t thread;
	int fd;
	uint64_t delay_ns;
	uint8_t *got;
	size_t len;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	struct timespec delay = { .tv_nsec = (long)r->delay_ns };

	(void)nanosleep(&delay, NULL);
	assert_int_equal(fd_read_full(r->fd, r->got, r->len), 0);
	return NULL;
}

static void reader_start(struct reader *r, int fd, uint64_t delay_ns, size_t len)
{
	*r = (struct reader){ .fd = fd, .delay_ns = delay_ns, .got = malloc(len), .len = len };
	assert_non_null(r->got);
	assert_int_equal(pthread_create(&r->thread, NULL, read_all, r), 0);
}

static void init(struct zero_copy *z, int fd)
{
	struct merr err = MERR_INIT;

	if (zero_copy_init(z, fd, 1, &err) < 0)
		fail_msg("%s", merr_msg(&err));
}

static void send_all(struct zero_copy *z, void *p, size_t len, bool refer)
{
	struct iovec parts[3] = { { p, len / 3 }, { (uint8_t *)p + len / 3, 0 }, { (uint8_t *)p + len / 3, len - len / 3 } };
	struct iovec *iov = parts;
	uint64_t deadline = PATIENCE;
	size_t n = 3;
	ssize_t done;

	for (iov_advance(&iov, &n, 0); n; iov_advance(&iov, &n, done > 0 ? (size_t)done : 0)) {
		done = zero_copy_send(z, iov, n, refer);
		if (done == -EAGAIN)
			assert_true(fd_wait(z->fd, POLLOUT, -1, deadline) > 0);
		else
			assert_true(done > 0);
	}
}

/* The kernel has let go of all that was sent. */
static void wait_reports(struct zero_copy *z)
{
	uint64_t deadline = PATIENCE;

	for (;;) {
		assert_int_equal(zero_copy_reap(z), 0);
		if (z->n_reported == z->n_sent)
			return;
		assert_true(fd_wait(z->fd, 0, -1, deadline) > 0);
	}
}

static void round_trip(int family)
{
	struct link l = connect_tcp(family);
	int ram = guest_memory(3);
	struct zero_copy z;
	struct reader r;
	uint8_t *p;

	init(&z, l.source);
	reader_start(&r, l.sink, 50 * NS_PER_MS, 5 + LEN);
	send_all(&z, (char[]){ "head:" }, 5, false);
	assert_int_equal(z.n_sent, 0);
	p = window(ram, PROT_READ);
	send_all(&z, p, LEN, true);
	munmap(p, LEN); /* the kernel has the pages */
	wait_reports(&z);
	assert_true(z.n_sent > 0 && z.n_reported == z.n_sent);
	assert_int_equal(z.n_copied + z.n_referred, z.n_sent);
	assert_int_equal(pthread_join(r.thread, NULL), 0);
	p = window(ram, PROT_READ);
	assert_memory_equal(r.got, "head:", 5);
	assert_memory_equal(r.got + 5, p, LEN);
	munmap(p, LEN);
	free(r.got);
	close(ram);
	hang_up(&l);
}

static void memory_arrives_whole(void **state)
{
	(void)state;
	round_trip(AF_INET);
	round_trip(AF_INET6);
}

/* Loopback: each round is missed; after the first nobody tries any more. */
static void copies_are_counted(void **state)
{
	struct link l = connect_tcp(AF_INET);
	int ram = guest_memory(9);
	uint8_t *p = window(ram, PROT_READ);
	struct zero_copy z;
	struct reader r;
	uint64_t n_sent;

	(void)state;
	init(&z, l.source);
	assert_false(zero_copy_end_round(&z));
	reader_start(&r, l.sink, 0, 3 * MIB);
	send_all(&z, p, MIB, true);
	wait_reports(&z);
	assert_true(zero_copy_end_round(&z));
	assert_true(z.off);
	assert_false(zero_copy_end_round(&z)); /* nothing was sent */
	n_sent = z.n_sent;
	send_all(&z, p, MIB, true);
	wait_reports(&z);
	assert_true(zero_copy_end_round(&z));
	send_all(&z, p, MIB, false);
	assert_false(zero_copy_end_round(&z)); /* it was not asked for */
	assert_int_equal(z.n_sent, n_sent);
	assert_int_equal(pthread_join(r.thread, NULL), 0);
	free(r.got);
	munmap(p, LEN);
	close(ram);
	hang_up(&l);
}

/* What waits in the socket is the memory itself if it went by reference, and a copy if not. */
static void what_waits_is_the_memory_itself(void **state)
{
	(void)state;
	for (int refer = 0; refer < 2; refer++) {
		struct link l = connect_tcp(AF_INET);
		int ram = guest_memory(1), size = 4 * 1024 * 1024;
		uint8_t *p = window(ram, PROT_READ | PROT_WRITE), *got = malloc(2 * MIB);
		struct zero_copy z;

		assert_non_null(got);
		if (setsockopt(l.source, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
			print_message("a socket's buffer of 4 MiB needs CAP_NET_ADMIN\n");
			skip();
		}
		init(&z, l.source);
		memset(p, 'a', 2 * MIB);
		/* More than what the sink's window takes, less than what the source keeps: the end waits. */
		send_all(&z, p, 2 * MIB, refer);
		memset(p, 'b', 2 * MIB);
		assert_int_equal(fd_read_full(l.sink, got, 2 * MIB), 0);
		assert_int_equal(got[2 * MIB - 1], refer ? 'b' : 'a');
		munmap(p, LEN);
		free(got);
		close(ram);
		hang_up(&l);
	}
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
	return timespec_ns(&ts);
}

/* Reports wake poll(): who waits for room must not spin on them. Waits end by deadline and by cancelling. */
static void waits_are_waits(void **state)
{
	struct link l = connect_tcp(AF_INET);
	int ram = guest_memory(1), cancel = wake_new();
	uint8_t *p = window(ram, PROT_READ);
	struct iovec iov = { p, LEN };
	struct merr err = MERR_INIT;
	struct chan *c = chan_new(l.source, cancel);
	uint64_t before;

	(void)state;
	assert_int_equal(chan_use_zero_copy(c, 1, &err), 0);
	before = thread_ns();
	assert_int_equal(chan_write_by_reference(c, &iov, 1, clock_now_ns() + 500 * NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(chan_write(c, &iov, 1, false, clock_now_ns() + 500 * NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(chan_write(c, &iov, 1, true, clock_now_ns() + 500 * NS_PER_MS), -ETIMEDOUT);
	assert_in_range(thread_ns() - before, 0, 300 * NS_PER_MS);
	wake_raise(cancel);
	assert_int_equal(chan_write_by_reference(c, &iov, 1, PATIENCE), -ECANCELED);
	wake_drain(cancel);
	/* A peer that is gone ends them, too. */
	close(l.sink);
	assert_in_range(-chan_write_by_reference(c, &iov, 1, PATIENCE), 1, 200);
	munmap(p, LEN);
	close(ram);
	close(cancel);
	chan_free(c);
}

static void other_sockets_are_refused(void **state)
{
	struct merr err = MERR_INIT;
	struct zero_copy z;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(zero_copy_init(&z, fds[0], 1, &err), -EOPNOTSUPP);
	assert_non_null(strstr(merr_msg(&err), "does not have the kernel's feature"));
	close(fds[0]);
	close(fds[1]);
}

/* In a process of its own, without the capability that makes the limit void. 0: passed. */
static int in_child(int (*body)(void))
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (syscall(SYS_capget, &head, caps) < 0)
			_exit(100);
		caps[0].effective &= ~(1U << CAP_IPC_LOCK);
		if (syscall(SYS_capset, &head, caps) < 0)
			_exit(101);
		_exit(body());
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int limited(void)
{
	struct rlimit lim = { .rlim_cur = MIB, .rlim_max = MIB };
	struct link l = connect_tcp(AF_INET);
	struct merr err = MERR_INIT;
	int ram = guest_memory(5);
	uint8_t *p = window(ram, PROT_READ);
	struct zero_copy z;
	struct reader r;

	if (setrlimit(RLIMIT_MEMLOCK, &lim) < 0)
		return 1;
	if (zero_copy_init(&z, l.source, 3, &err) != -EPERM)
		return 2;
	if (!strstr(merr_msg(&err), "1536 KiB for 3 channels") || !strstr(merr_msg(&err), "RLIMIT_MEMLOCK"))
		return 3;
	if (zero_copy_init(&z, l.source, 2, NULL) < 0)
		return 4;
	/* All of it arrives, though no more than an eighth can be locked. */
	reader_start(&r, l.sink, 200 * NS_PER_MS, LEN);
	send_all(&z, p, LEN, true);
	if (pthread_join(r.thread, NULL) != 0)
		return 5;
	if (memcmp(r.got, p, LEN) != 0)
		return 6;
	wait_reports(&z);
	if (z.n_copied + z.n_referred <= z.n_sent)
		return 7; /* nothing was ever refused */
	free(r.got);
	hang_up(&l);
	return 0;
}

static void the_limit_is_named_and_kept(void **state)
{
	(void)state;
	assert_int_equal(in_child(limited), 0);
}

/* 77: no such network can be made here. */
static int swallowed(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x0a090001) };
	int ram = guest_memory(5), fd;
	uint8_t *p = window(ram, PROT_READ);
	struct zero_copy z;

	if (unshare(CLONE_NEWNET) < 0 ||
	    system("ip link add sink mtu 65535 type veth peer name nobody && ip link set sink up && "
		   "ip addr add 10.9.0.2/24 dev sink && ip neigh add 10.9.0.1 lladdr 2:0:0:0:0:1 dev sink") != 0)
		return 77;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || zero_copy_init(&z, fd, 1, NULL) < 0)
		return 1;
	for (int i = 0; i < 5; i++)
		send_all(&z, p, 32 * KIB, true);
	wait_reports(&z);
	if (z.n_sent != 5)
		return 3;
	if (z.n_referred != 5 || z.n_copied != 0)
		return 4;
	return zero_copy_end_round(&z) || z.off ? 5 : 0;
}

static void without_a_copy_nothing_is_missed(void **state)
{
	int r = in_child(swallowed);

	(void)state;
	if (r == 77) {
		print_message("no network namespace with a pair of devices can be made here\n");
		skip();
	}
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_arrives_whole),
		cmocka_unit_test(copies_are_counted),
		cmocka_unit_test(what_waits_is_the_memory_itself),
		cmocka_unit_test(waits_are_waits),
		cmocka_unit_test(other_sockets_are_refused),
		cmocka_unit_test(the_limit_is_named_and_kept),
		cmocka_unit_test(without_a_copy_nothing_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
