/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes: capabilities, no_new_privs, Landlock, rlimits, seccomp. A worker parses bytes that a hostile peer sends and
 * messages that a hostile VMM sends; whoever takes it over has the descriptors of one migration and nothing else. The
 * greeter parses anybody's first bytes; whoever takes it over can look at connections that nobody has answered yet, and
 * say wrongly who they are for.
 */
#include "engine/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/userfaultfd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/greeter-link.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Descriptors: RAM blocks and their dirty maps, three times over; 255 channels, each with a pipe; waiting connections. */
#define FILES_MAX 1536
/* One connection, a link, and what comes over that. */
#define HERALD_FILES_MAX   32
#define HERALD_MEMORY_MAX  (256UL << 20)
#define GREETER_FILES_MAX  (GREETER_CONNECTIONS_MAX + 64)
#define GREETER_MEMORY_MAX (64UL << 20)

/* Linux 6.5: libseccomp may be older, the number is every architecture's. */
#define SYS_CACHESTAT 451

/* The whole life of a worker after START. In groups by what needs them. */
static const int allowed[] = {
	/* the stream */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(splice), SCMP_SYS(pipe2),
	SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	/* the stream, if it is a file */
	SCMP_SYS(fdatasync), SCMP_SYS(fsync), SCMP_SYS(sync_file_range), SYS_CACHESTAT, SCMP_SYS(eventfd2),
	/* guest memory and device state */
	SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(fallocate),
	SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
	SCMP_SYS(fcntl), SCMP_SYS(close), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap),
	SCMP_SYS(madvise), SCMP_SYS(mprotect), SCMP_SYS(brk),
	/* threads, time, the end */
	SCMP_SYS(futex), SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(tgkill),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_setattr), SCMP_SYS(getpriority), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday), SCMP_SYS(restart_syscall), SCMP_SYS(getrandom),
	SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* A greeter's after its start, when everything it needs is there: it allocates nothing and opens nothing. */
static const int greeter_allowed[] = {
	SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(close),
	SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(poll), SCMP_SYS(ppoll),
	/* log lines, time, the end */
	SCMP_SYS(write), SCMP_SYS(getpid), SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

#ifdef SANITIZED
/* On top of a worker's, for either. */
static const int sanitizers_allowed[] = {
	SCMP_SYS(openat), SCMP_SYS(readlink), SCMP_SYS(sched_getaffinity), SCMP_SYS(prctl),
	SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64), SCMP_SYS(personality),
	SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(ioctl), SCMP_SYS(dup),
	SCMP_SYS(arch_prctl), SCMP_SYS(unlink), SCMP_SYS(stat), SCMP_SYS(kill), SCMP_SYS(wait4),
	SCMP_SYS(ptrace), SCMP_SYS(getdents64), SCMP_SYS(mincore), SCMP_SYS(uname),
	SCMP_SYS(process_vm_readv), SCMP_SYS(access), SCMP_SYS(getcwd), SCMP_SYS(pipe),
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(nanosleep),
#ifdef __SANITIZE_THREAD__
	SCMP_SYS(open), /* not for LeakSanitizer, which would complain of a /proc that it cannot read */
#endif
};
#else
/* The C library tries these and can live without: a denial is no sign of an attack. */
static const int denied[] = {
	SCMP_SYS(openat), SCMP_SYS(sched_getaffinity),
};

/* engine/uffd.c: all that a worker may do with a VMM's userfaultfd, and the only ioctls. */
static const uint64_t ioctls[] = { UFFDIO_CONTINUE, UFFDIO_ZEROPAGE, UFFDIO_WAKE, UFFDIO_WRITEPROTECT };
#endif

/* The C library tries terminals' ioctls, whose numbers have no more than 16 bits: a denial is no sign of an attack. */
static int add_ioctl_rules(scmp_filter_ctx ctx, bool has_uffd)
{
#ifdef SANITIZED
	(void)ctx;
	(void)has_uffd;
	return 0; /* allowed as a whole */
#else
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_LE, UINT16_MAX, 0));

	for (size_t i = 0; has_uffd && r == 0 && i < ARRAY_SIZE(ioctls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, ioctls[i]));
	return r;
#endif
}

/* Of prctl() a thread needs its own name; the C library tries the rest, too. */
static int add_prctl_rules(scmp_filter_ctx ctx)
{
#ifdef SANITIZED
	(void)ctx;
	return 0; /* allowed as a whole */
#else
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_NE, PR_SET_NAME, 0));
#endif
}

/* Reading one's own limits: transport/zero-copy.c. */
static int add_prlimit_rules(scmp_filter_ctx ctx)
{
#ifdef SANITIZED
	(void)ctx;
	return 0; /* allowed as a whole */
#else
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
				SCMP_A2(SCMP_CMP_EQ, 0, 0));
#endif
}

/* Where there are none, as in the unit's sandbox, capset() may not even be called. */
static int clear_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2] = { { 0 } }, none[2] = { { 0 } };

	if (syscall(SYS_capget, &head, now) == 0 && memcmp(now, none, sizeof(now)) == 0)
		return 0;
	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

static int drop_capabilities(struct merr *err)
{
	int r;

	/* The bounding set can only be dropped while there are capabilities: without any it does not matter. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = clear_capabilities();
	if (r < 0)
		return merr_set_errno(err, r, "sandbox: dropping capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return merr_set_errno(err, -errno, "sandbox: no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return merr_set_errno(err, -errno, "sandbox: not dumpable");
	return 0;
}

static int limit(int resource, rlim_t max, const char *name, struct merr *err)
{
	struct rlimit lim = { .rlim_cur = max, .rlim_max = max };

	if (setrlimit((__rlimit_resource_t)resource, &lim) < 0)
		return merr_set_errno(err, -errno, "sandbox: %s", name);
	return 0;
}

/* The access rights that each Landlock ABI added; the newest the kernel knows are all denied. */
static uint64_t landlock_rights(int abi)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		rights |= 1ULL << 13; /* REFER */
	if (abi >= 3)
		rights |= 1ULL << 14; /* TRUNCATE */
	if (abi >= 5)
		rights |= 1ULL << 15; /* IOCTL_DEV */
	return rights;
}

/* No rule: nothing in any file system can be reached by a path. */
static int landlock(struct merr *err)
{
	struct landlock_ruleset_attr attr = { 0 };
	_cleanup_close_ int fd = -1;
	int abi;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0) {
		log_info("this kernel has no Landlock: the worker's sandbox goes without");
		return 0;
	}
	attr.handled_access_fs = landlock_rights(abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return merr_set_errno(err, -errno, "sandbox: Landlock rules");
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return merr_set_errno(err, -errno, "sandbox: Landlock");
	return 0;
}

static const struct profile {
	const int *allowed;
	size_t n_allowed;
	rlim_t files_max;
	rlim_t memory_max; /* address space, bytes; 0: no limit */
	bool is_worker; /* with threads, and userfaultfds */
} profiles[] = {
	[SANDBOX_WORKER] = { allowed, ARRAY_SIZE(allowed), FILES_MAX, 0, true },
	[SANDBOX_HERALD] = { allowed, ARRAY_SIZE(allowed), HERALD_FILES_MAX, HERALD_MEMORY_MAX, false },
	[SANDBOX_GREETER] = { greeter_allowed, ARRAY_SIZE(greeter_allowed), GREETER_FILES_MAX, GREETER_MEMORY_MAX, false },
};

static int add_rules(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add(ctx, action, calls[i], 0);
	return r;
}

static int add_profile(scmp_filter_ctx ctx, const struct profile *p)
{
	int r;

#ifdef SANITIZED
	(void)p;
	r = add_rules(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));
	if (r == 0)
		r = add_rules(ctx, SCMP_ACT_ALLOW, sanitizers_allowed, ARRAY_SIZE(sanitizers_allowed));
#else
	r = add_rules(ctx, SCMP_ACT_ALLOW, p->allowed, p->n_allowed);
	if (r == 0)
		r = add_rules(ctx, SCMP_ACT_ERRNO(EPERM), denied, ARRAY_SIZE(denied));
#endif
	if (r == 0)
		r = add_ioctl_rules(ctx, p->is_worker);
	if (r == 0 && p->is_worker)
		r = add_prctl_rules(ctx);
	if (r == 0 && p->is_worker)
		r = add_prlimit_rules(ctx);
	return r;
}

static int filter(const struct profile *p, struct merr *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return merr_set_errno(err, -ENOMEM, "sandbox: seccomp");
	r = add_profile(ctx, p);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? merr_set_errno(err, r, "sandbox: seccomp") : 0;
}

#ifdef SANITIZED
static bool entered;

/*
 * LeakSanitizer stops all threads by ptrace and reads /proc at the end, both of which the sandbox takes away: its tracer would be
 * killed, and be waited for without end.
 */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void); /* NOLINT: the name is LeakSanitizer's */
int __lsan_is_turned_off(void)	/* NOLINT */
{
	return entered;
}
#endif

int sandbox_enter(enum sandbox kind, struct merr *err)
{
	const struct profile *p = &profiles[kind];
	int r;

	r = drop_capabilities(err);
	if (r == 0)
		r = limit(RLIMIT_CORE, 0, "no core files", err);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, p->files_max, "descriptors", err);
#ifndef SANITIZED
	if (r == 0 && p->memory_max)
		r = limit(RLIMIT_AS, p->memory_max, "address space", err);
#endif
	if (r == 0)
		r = landlock(err);
	if (r == 0)
		r = filter(p, err);
#ifdef SANITIZED
	entered = r == 0;
#endif
	return r;
}
