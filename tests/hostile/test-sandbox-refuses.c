/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever takes over a worker, a greeter or a herald cannot do any of these: each row is tried in a process of its own that
 * entered the real sandbox, and, to show that a row can fail, in one that did not.
 */
/* LIBS: migd_engine migd_transport migd_schema pthread */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "engine/landlock.h"
#include "engine/sandbox.h"
#include "engine/sandbox-tools.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* What became of a row: an errno, or one of these. KILLED: by SIGSYS, on the spot. */
enum { WORKED = 0, KILLED = 200, ABORTED, OTHER_END, NOT_ENTERED };
#define NO_SANDBOX ((enum sandbox) - 1)
#define DESCRIPTORS_TRIED 2000
#define DESCRIPTORS_FREE  4096
#define LARGE_BYTES	  (1UL << 30)

static int dgram_fd, stream_fd, memfd; /* open before the sandbox is entered, as what a worker is given */
static pid_t outside;		       /* this program: not in the sandbox */
static struct sockaddr_un abstract = { .sun_family = AF_UNIX };
static void *page;

/* ---- rows that take more than a call ---- */

static long duplicate(void)
{
	for (int i = 0; i < DESCRIPTORS_TRIED; i++)
		if (fcntl(memfd, F_DUPFD_CLOEXEC, 0) < 0)
			return -1;
	return 0;
}

static void *run(void *opaque)
{
	return opaque;
}

static long make_thread(void)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, run, NULL);
	return errno ? -1 : pthread_join(thread, NULL);
}

#ifdef __x86_64__
/* getpid() by the door for 32-bit programs, where numbers mean other calls. */
static long by_the_other_door(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
	return r;
}
#endif

static long clone_with(unsigned long flags)
{
	long r = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);

	if (r == 0)
		_exit(0);
	return r;
}

static long map(size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED ? -1 : 0;
}

/* ---- the table ---- */

#define CALL(name, expression)            \
	static long try_##name(void)      \
	{                                 \
		return (long)(expression); \
	}

/* Arguments that do no harm where nothing refuses them. */
CALL(open, syscall(SYS_open, "/etc/passwd", O_RDONLY))
CALL(openat, syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY))
CALL(own_memory, syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR))
CALL(openat2, syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0))
CALL(open_by_handle, syscall(SYS_open_by_handle_at, -1, NULL, 0))
CALL(unlink, unlink("/nowhere"))
CALL(stat, syscall(SYS_stat, "/", page))
CALL(getdents, syscall(SYS_getdents64, memfd, page, 4096))
CALL(socket, socket(AF_INET, SOCK_STREAM, 0))
CALL(socket_packet, socket(AF_PACKET, SOCK_RAW, 0))
CALL(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, page))
CALL(connect, connect(stream_fd, (struct sockaddr *)&abstract, sizeof(abstract)))
CALL(bind, bind(dgram_fd, (struct sockaddr *)&abstract, sizeof(abstract)))
CALL(listen, listen(stream_fd, 1))
CALL(send_abstract, sendto(dgram_fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&abstract, sizeof(abstract)))
CALL(execve, syscall(SYS_execve, "/nowhere", NULL, NULL))
CALL(execveat, syscall(SYS_execveat, -1, "/nowhere", NULL, NULL, 0))
CALL(fork, clone_with(0))
CALL(new_user, clone_with(CLONE_NEWUSER))
CALL(thread_in_namespace, syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET, NULL, NULL, NULL, 0))
CALL(clone3, syscall(SYS_clone3, NULL, 0))
CALL(unshare, unshare(CLONE_NEWUSER))
CALL(setns, setns(-1, 0))
CALL(ptrace, syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, -1, 0, 0))
CALL(kill, kill(outside, 0))
CALL(tgkill, syscall(SYS_tgkill, outside, outside, 0))
CALL(tkill, syscall(SYS_tkill, outside, 0))
CALL(sigqueue, syscall(SYS_rt_sigqueueinfo, outside, 0, NULL))
CALL(pidfd_open, syscall(SYS_pidfd_open, outside, 0))
CALL(pidfd_send_signal, syscall(SYS_pidfd_send_signal, -1, 0, NULL, 0))
CALL(pidfd_getfd, syscall(SYS_pidfd_getfd, -1, 0, 0))
CALL(sigio_to_others, fcntl(dgram_fd, F_SETOWN, outside))
CALL(sigio_that_kills, fcntl(dgram_fd, F_SETSIG, SIGKILL))
CALL(lease, fcntl(memfd, F_SETLEASE, F_UNLCK))
CALL(mount, syscall(SYS_mount, NULL, "/nowhere", NULL, 0, NULL))
CALL(umount, syscall(SYS_umount2, "/nowhere", 0))
CALL(fsopen, syscall(SYS_fsopen, "tmpfs", 0))
CALL(pivot_root, syscall(SYS_pivot_root, "/nowhere", "/nowhere"))
CALL(chroot, chroot("/nowhere"))
CALL(module, syscall(SYS_init_module, NULL, 0, NULL))
CALL(kexec, syscall(SYS_kexec_load, 0, 99, NULL, 0))
CALL(reboot, syscall(SYS_reboot, 0, 0, 0, NULL))
CALL(set_clock, syscall(SYS_clock_settime, -1, NULL))
CALL(type_into_terminal, syscall(SYS_ioctl, -1, 0x5412 /* TIOCSTI */, NULL))
CALL(kvm, syscall(SYS_ioctl, -1, 0xae01 /* KVM_CREATE_VM */, NULL))
CALL(uffd_new, syscall(SYS_ioctl, -1, 0xaa00 /* USERFAULTFD_IOC_NEW */, 0))
CALL(uffd_copy, syscall(SYS_ioctl, -1, 0xc028aa03 /* UFFDIO_COPY */, NULL))
CALL(uffd_register, syscall(SYS_ioctl, -1, 0xc020aa00 /* UFFDIO_REGISTER */, NULL))
CALL(dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
CALL(tracer, prctl(PR_SET_PTRACER, outside, 0, 0, 0))
CALL(capset, syscall(SYS_capset, NULL, NULL))
CALL(setuid, syscall(SYS_setuid, geteuid()))
CALL(setgroups, syscall(SYS_setgroups, 0, NULL))
CALL(setrlimit, syscall(SYS_setrlimit, RLIMIT_NOFILE, page))
CALL(prlimit_set, syscall(SYS_prlimit64, 0, RLIMIT_CORE, page, NULL))
CALL(prlimit_other, syscall(SYS_prlimit64, outside, RLIMIT_CORE, NULL, NULL))
CALL(priority_other, syscall(SYS_sched_setattr, outside, NULL, 0))
CALL(setpriority, setpriority(PRIO_PROCESS, (id_t)outside, 0))
CALL(io_uring, syscall(SYS_io_uring_setup, 0, NULL))
CALL(io_setup, syscall(SYS_io_setup, 0, NULL))
CALL(bpf, syscall(SYS_bpf, 0, NULL, 0))
CALL(perf, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0))
CALL(userfaultfd, syscall(SYS_userfaultfd, O_CLOEXEC))
CALL(memfd_secret, syscall(SYS_memfd_secret, 0))
CALL(keyctl, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
CALL(add_key, syscall(SYS_add_key, NULL, NULL, NULL, 0, 0))
CALL(read_other, syscall(SYS_process_vm_readv, outside, NULL, 0, NULL, 0, 0))
CALL(write_other, syscall(SYS_process_vm_writev, outside, NULL, 0, NULL, 0, 0))
CALL(shmget, syscall(SYS_shmget, 0, 0, 0))
CALL(seccomp, syscall(SYS_seccomp, 1, 0, NULL))
CALL(landlock, syscall(SYS_landlock_create_ruleset, NULL, 0, 1))
CALL(map_code, map(4096, PROT_READ | PROT_EXEC))
CALL(make_code, mprotect(page, 4096, PROT_READ | PROT_EXEC))
CALL(pkey_code, syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1))
CALL(map_much, map(LARGE_BYTES, PROT_READ | PROT_WRITE))
CALL(x32, syscall(0x40000000 | SYS_getpid))
CALL(unknown, syscall(1000))
CALL(abort, (abort(), 0))

#define ALL(r) { r, r, r }

static const struct row {
	const char *name;
	long (*try)(void);
	int expected[3]; /* worker, greeter, herald: enum sandbox */
} rows[] = {
#define ROW(name, ...) { #name, try_##name, __VA_ARGS__ }
	ROW(open, ALL(KILLED)), ROW(openat, ALL(EPERM)), ROW(own_memory, ALL(EPERM)), ROW(openat2, ALL(KILLED)),
	ROW(open_by_handle, ALL(KILLED)), ROW(unlink, ALL(KILLED)), ROW(stat, ALL(KILLED)), ROW(getdents, ALL(KILLED)),
	ROW(socket, ALL(KILLED)), ROW(socket_packet, ALL(KILLED)), ROW(socketpair, ALL(KILLED)), ROW(connect, ALL(KILLED)),
	ROW(bind, ALL(KILLED)), ROW(listen, ALL(KILLED)),
	ROW(execve, ALL(KILLED)), ROW(execveat, ALL(KILLED)), ROW(fork, ALL(KILLED)), ROW(new_user, ALL(KILLED)),
	ROW(thread_in_namespace, ALL(KILLED)), ROW(clone3, { ENOSYS, KILLED, KILLED }), ROW(unshare, ALL(KILLED)),
	ROW(setns, ALL(KILLED)), ROW(ptrace, ALL(KILLED)), ROW(kill, ALL(KILLED)), ROW(tgkill, ALL(KILLED)),
	ROW(tkill, ALL(KILLED)), ROW(sigqueue, ALL(KILLED)), ROW(pidfd_open, ALL(KILLED)), ROW(pidfd_send_signal, ALL(KILLED)),
	ROW(pidfd_getfd, ALL(KILLED)), ROW(sigio_to_others, ALL(KILLED)), ROW(sigio_that_kills, ALL(KILLED)),
	ROW(lease, ALL(KILLED)), ROW(mount, ALL(KILLED)), ROW(umount, ALL(KILLED)), ROW(fsopen, ALL(KILLED)),
	ROW(pivot_root, ALL(KILLED)), ROW(chroot, ALL(KILLED)), ROW(module, ALL(KILLED)), ROW(kexec, ALL(KILLED)),
	ROW(reboot, ALL(KILLED)), ROW(set_clock, ALL(KILLED)),
	ROW(type_into_terminal, ALL(EPERM)), ROW(kvm, ALL(EPERM)), ROW(uffd_new, ALL(EPERM)), ROW(uffd_copy, ALL(KILLED)), ROW(uffd_register, ALL(KILLED)),
	ROW(dumpable, { EPERM, KILLED, KILLED }), ROW(tracer, { EPERM, KILLED, KILLED }),
	ROW(capset, ALL(KILLED)), ROW(setuid, ALL(KILLED)), ROW(setgroups, ALL(KILLED)), ROW(setrlimit, ALL(KILLED)),
	ROW(prlimit_set, ALL(KILLED)), ROW(prlimit_other, ALL(KILLED)), ROW(priority_other, ALL(KILLED)),
	ROW(setpriority, ALL(KILLED)), ROW(io_uring, ALL(KILLED)), ROW(io_setup, ALL(KILLED)), ROW(bpf, ALL(KILLED)),
	ROW(perf, ALL(KILLED)), ROW(userfaultfd, ALL(KILLED)), ROW(memfd_secret, ALL(KILLED)), ROW(keyctl, ALL(KILLED)),
	ROW(add_key, ALL(KILLED)), ROW(read_other, ALL(KILLED)), ROW(write_other, ALL(KILLED)), ROW(shmget, ALL(KILLED)),
	ROW(seccomp, ALL(KILLED)), ROW(landlock, ALL(KILLED)), ROW(map_code, ALL(KILLED)), ROW(make_code, ALL(KILLED)),
	ROW(pkey_code, ALL(KILLED)), ROW(x32, ALL(KILLED)), ROW(unknown, ALL(KILLED)),
	{ "a descriptor too many", duplicate, { EMFILE, KILLED, EMFILE } },
#ifdef __x86_64__
	{ "32-bit call", by_the_other_door, ALL(KILLED) },
#endif
};

/* What it needs, and so has: a sandbox that refuses everything would pass the rows above. */
static const struct row needed[] = {
	{ "a thread", make_thread, { WORKED, KILLED, KILLED } },
	{ "much memory", try_map_much, { WORKED, KILLED, ENOMEM } },
	{ "a crash that says so", try_abort, { ABORTED, KILLED, ABORTED } },
};

static int end_of(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return WTERMSIG(status) == SIGSYS ? KILLED : WTERMSIG(status) == SIGABRT ? ABORTED : OTHER_END;
}

/* In a process of its own. */
static int outcome(const struct row *row, enum sandbox kind)
{
	struct merr err = MERR_INIT;
	pid_t child = fork();

	if (child == 0) {
		if (kind != NO_SANDBOX && sandbox_enter(kind, &err) < 0) {
			(void)fprintf(stderr, "%s\n", merr_msg(&err));
			_exit(NOT_ENTERED);
		}
		errno = 0;
		_exit(row->try() < 0 ? errno : WORKED);
	}
	return end_of(child);
}

static int wrong_rows(const struct row *table, size_t n, enum sandbox kind)
{
	int wrong = 0, is;

	for (size_t i = 0; i < n; i++) {
		is = outcome(&table[i], kind);
		if (is == table[i].expected[kind])
			continue;
		print_error("%s: %d, not %d\n", table[i].name, is, table[i].expected[kind]);
		wrong++;
	}
	return wrong;
}

static void check(enum sandbox kind)
{
	assert_int_equal(wrong_rows(rows, ARRAY_SIZE(rows), kind), 0);
	assert_int_equal(wrong_rows(needed, ARRAY_SIZE(needed), kind), 0);
}

static void test_worker(void **state)
{
	(void)state;
	check(SANDBOX_WORKER);
}

static void test_greeter(void **state)
{
	(void)state;
	check(SANDBOX_GREETER);
}

static void test_herald(void **state)
{
	(void)state;
	check(SANDBOX_HERALD);
}

/* The filter lets a worker send; what it may send to is Landlock's, from ABI 6 on. */
static void test_abstract_sockets_are_landlocks(void **state)
{
	const struct row row = { "abstract", try_send_abstract, { EPERM, KILLED, EPERM } };

	(void)state;
	if (landlock_abi() < 6) {
		print_message("SKIP: this kernel's Landlock has ABI %d: scopes come with 6\n", landlock_abi());
		skip();
	}
	for (int kind = SANDBOX_WORKER; kind <= SANDBOX_HERALD; kind++)
		assert_int_equal(outcome(&row, (enum sandbox)kind), row.expected[kind]);
	assert_int_equal(outcome(&row, NO_SANDBOX), WORKED);
}

/* Each row ends otherwise where there is no sandbox. */
static void test_rows_can_fail(void **state)
{
	int same = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int kind = SANDBOX_WORKER; kind <= SANDBOX_HERALD; kind++)
			if (outcome(&rows[i], NO_SANDBOX) == rows[i].expected[kind]) {
				print_error("%s: the same without a sandbox\n", rows[i].name);
				same++;
			}
	assert_int_equal(same, 0);
}

static int prepare(void **state)
{
	const struct rlimit many = { DESCRIPTORS_FREE, DESCRIPTORS_FREE };
	int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	outside = getpid();
	(void)snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "migd-test-%d", outside);
	dgram_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	stream_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memfd = memfd_create("test", MFD_CLOEXEC);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return setrlimit(RLIMIT_NOFILE, &many) < 0 || page == MAP_FAILED ||
	       bind(receiver, (struct sockaddr *)&abstract, sizeof(abstract)) < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker),
		cmocka_unit_test(test_greeter),
		cmocka_unit_test(test_herald),
		cmocka_unit_test(test_abstract_sockets_are_landlocks),
		cmocka_unit_test(test_rows_can_fail),
	};

	if (sandbox_has_tools()) {
		(void)printf("SKIP: this build's sandbox is widened for a sanitizer or valgrind; the build 'debug' has the real one\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, prepare, NULL);
}
