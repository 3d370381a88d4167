/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of what sanitizers, or valgrind, need. Without one of them this file is empty, and the sandbox is the real one. */
#include "engine/sandbox-tools.h"

#include <seccomp.h>

#include "base/cleanup.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
static const int calls[] = {
	/* memory, threads and signals of their own, also where a profile has none */
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mprotect), SCMP_SYS(brk),
	SCMP_SYS(mincore), SCMP_SYS(futex), SCMP_SYS(clone), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack), SCMP_SYS(gettid), SCMP_SYS(tgkill),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday), SCMP_SYS(getrandom),
	/* what the process is, and what it maps */
	SCMP_SYS(openat), SCMP_SYS(read), SCMP_SYS(readlink), SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(lseek), SCMP_SYS(getdents64), SCMP_SYS(access), SCMP_SYS(getcwd), SCMP_SYS(uname), SCMP_SYS(personality),
	SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(prctl), SCMP_SYS(arch_prctl),
	SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64), SCMP_SYS(fcntl), SCMP_SYS(ioctl),
	/* a report: the symbolizer is another process */
	SCMP_SYS(dup), SCMP_SYS(pipe), SCMP_SYS(unlink), SCMP_SYS(kill), SCMP_SYS(wait4), SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv), SCMP_SYS(socket), SCMP_SYS(connect),
#ifdef __SANITIZE_THREAD__
	SCMP_SYS(open), /* not for LeakSanitizer, which would complain of a /proc that it cannot read */
#endif
};

#elif defined(MIGD_VALGRIND)
/* The preset valgrind: it makes these itself, at any moment, for what the program does. */
static const int calls[] = {
	/* memory, threads and signals */
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(brk), SCMP_SYS(futex),
	SCMP_SYS(clone), SCMP_SYS(arch_prctl), SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(tkill), SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack),
	SCMP_SYS(kill), SCMP_SYS(poll), SCMP_SYS(nanosleep), SCMP_SYS(getrlimit), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	/* what is mapped, and where it is from: names and line numbers of a report */
	SCMP_SYS(open), SCMP_SYS(read), SCMP_SYS(lseek), SCMP_SYS(statx), SCMP_SYS(readlink), SCMP_SYS(getcwd),
	SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(unlink),
};
#endif

#ifdef SANITIZED
static bool entered;

/*
 * LeakSanitizer stops all threads by ptrace and reads /proc at the end, both of which the sandbox takes away: its tracer would be
 * killed, and be waited for without end.
 */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void); /* NOLINT: the name is LeakSanitizer's */
int __lsan_is_turned_off(void) /* NOLINT */
{
	return entered;
}

void sandbox_tools_entered(void)
{
	entered = true;
}
#else
void sandbox_tools_entered(void)
{
}
#endif

#if defined(SANITIZED) || defined(MIGD_VALGRIND)
bool sandbox_has_tools(void)
{
	return true;
}

const int *sandbox_tools_calls(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(calls);
	return calls;
}
#else
bool sandbox_has_tools(void)
{
	return false;
}

const int *sandbox_tools_calls(size_t *ret_n)
{
	*ret_n = 0;
	return NULL;
}
#endif
