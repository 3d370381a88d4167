/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps migd from running under valgrind, put right at the boundary of the C library; the
 * programs know nothing of it. Preloaded into every process that a test runs under valgrind; what
 * those start without it changes nothing.
 *
 * - System calls that valgrind 3.19 does not know are made without it.
 * - valgrind loses argv[0], by which a daemon's children know what they are, and the daemon tells
 *   them next to nothing of its environment: fexecve() says the name twice, and who preloads; the
 *   constructor puts it back.
 * - It looks for leaks before a process may kill itself.
 * - Some descriptors are valgrind's: their number is no limit that can be lowered for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

#include "base/cleanup.h"

#define INTERPOSES  __attribute__((visibility("default")))
#define ENVIRON_MAX 32
#define ERRNO_MAX   4096

static const long unknown_to_valgrind[] = {
	SYS_seccomp,           SYS_pidfd_open,
	SYS_pidfd_send_signal, SYS_landlock_create_ruleset,
	SYS_landlock_add_rule, SYS_landlock_restrict_self,
	SYS_userfaultfd,
};

static char preload[4096];

static void __attribute__((constructor)) restore_name(int argc, char *argv[], char *env[])
{
	if (RUNNING_ON_VALGRIND && argc == 2 && strncmp(argv[1], "migd-", strlen("migd-")) == 0)
		argv[0] = argv[1];
	for (char **e = env; *e; e++)
		if (strncmp(*e, "LD_PRELOAD=", strlen("LD_PRELOAD=")) == 0)
			(void)snprintf(preload, sizeof(preload), "%s", *e);
}

/* On the real processor, where valgrind does not look. */
static long make(unsigned int thread, const long *a)
{
	register long r10 __asm__("r10") = a[4];
	register long r8 __asm__("r8") = a[5];
	register long r9 __asm__("r9") = a[6];
	long r;

	(void)thread; /* the first argument of whatever valgrind calls so */
	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(a[0]), "D"(a[1]), "S"(a[2]), "d"(a[3]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

static bool is_unknown(long number)
{
	for (size_t i = 0; i < ARRAY_SIZE(unknown_to_valgrind); i++)
		if (number == unknown_to_valgrind[i])
			return true;
	return false;
}

INTERPOSES long syscall(long number, ...)
{
	long a[7] = { number }, r;
	va_list args;

	va_start(args, number);
	for (int i = 1; i < 7; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	r = RUNNING_ON_VALGRIND && is_unknown(number) ? (long)VALGRIND_NON_SIMD_CALL1(make, a)
						      : make(0, a);
	if (r < 0 && r > -ERRNO_MAX) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

INTERPOSES int pidfd_open(pid_t pid, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

INTERPOSES int pidfd_send_signal(int fd, int sig, siginfo_t *info, unsigned int flags)
{
	return (int)syscall(SYS_pidfd_send_signal, fd, sig, info, flags);
}

/* Who kills itself, at a fault point, has nothing to tell of its memory; valgrind would look for leaks first. */
INTERPOSES int raise(int sig)
{
	const long a[7] = { SYS_kill, getpid(), sig };

	if (RUNNING_ON_VALGRIND && sig == SIGKILL)
		return (int)VALGRIND_NON_SIMD_CALL1(make, a);
	return (int)syscall(SYS_tgkill, getpid(), gettid(), sig);
}

/* Between fork() and this nothing but system calls is allowed: no allocation. */
INTERPOSES int fexecve(int fd, char *const argv[], char *const env[])
{
	char *twice[] = { argv[0], argv[0], NULL };
	char *more[ENVIRON_MAX];
	size_t n = 0;

	if (argv[1] || !preload[0])
		return (int)syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
	for (; env[n] && n < ENVIRON_MAX - 2; n++)
		more[n] = env[n];
	more[n++] = preload;
	more[n] = NULL;
	return (int)syscall(SYS_execveat, fd, "", twice, more, AT_EMPTY_PATH);
}

/* valgrind fails on a lower hard limit. */
INTERPOSES int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	struct rlimit now = *limit;

	if (RUNNING_ON_VALGRIND && resource == RLIMIT_NOFILE && getrlimit(resource, &now) == 0)
		now.rlim_cur = limit->rlim_cur < now.rlim_max ? limit->rlim_cur : now.rlim_max;
	return prlimit(0, resource, &now, NULL);
}
