/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes: capabilities, no_new_privs, Landlock, rlimits, seccomp. A worker parses bytes that a hostile peer sends and
 * messages that a hostile VMM sends; whoever takes it over has the descriptors of one migration and nothing else. The
 * greeter parses anybody's first bytes; whoever takes it over can look at connections that nobody has answered yet, and
 * say wrongly who they are for.
 */
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/greeter-link.h"
#include "engine/landlock.h"
#include "engine/sandbox-tools.h"

/* Descriptors: RAM blocks and their dirty maps, three times over; 255 channels, each with a pipe; waiting connections. */
#define FILES_MAX 1536
/* One connection, a link, and what comes over that. */
#define HERALD_FILES_MAX   32
#define HERALD_MEMORY_MAX  (256UL << 20)
#define GREETER_FILES_MAX  (GREETER_CONNECTIONS_MAX + 64)
#define GREETER_MEMORY_MAX (64UL << 20)

/* Linux 6.5: libseccomp may be older, the number is every architecture's. */
#define SYS_CACHESTAT 451

/* A thread and nothing else: no process, no namespace. */
#define THREAD_FLAGS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define NAMESPACE_FLAGS \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* Each profile is some of these; add_conditions() has more. */
enum group {
	COMMON = 1 << 0,
	EVENTS = 1 << 1,
	CHANNEL = 1 << 2,
	MIGRATION = 1 << 3,
};

/* After its start, the whole life of: */
static const struct profile {
	unsigned int groups;
	rlim_t files_max;
	rlim_t memory_max; /* address space, bytes; 0: no limit */
} profiles[] = {
	[SANDBOX_WORKER] = { COMMON | EVENTS | CHANNEL | MIGRATION, FILES_MAX, 0 },
	[SANDBOX_HERALD] = { COMMON | CHANNEL, HERALD_FILES_MAX, HERALD_MEMORY_MAX },
	/* It has everything it needs from the start: it allocates nothing and opens nothing. */
	[SANDBOX_GREETER] = { COMMON | EVENTS, GREETER_FILES_MAX, GREETER_MEMORY_MAX },
};

/* Allowed whatever their arguments. */
static const struct {
	enum group group;
	int call;
} allowed[] = {
	/* a link, log lines, time, the end */
	{ COMMON, SCMP_SYS(recvmsg) }, { COMMON, SCMP_SYS(sendmsg) }, { COMMON, SCMP_SYS(recvfrom) },
	{ COMMON, SCMP_SYS(close) }, { COMMON, SCMP_SYS(poll) }, { COMMON, SCMP_SYS(ppoll) },
	{ COMMON, SCMP_SYS(write) }, { COMMON, SCMP_SYS(getpid) }, { COMMON, SCMP_SYS(clock_gettime) },
	{ COMMON, SCMP_SYS(rt_sigreturn) }, { COMMON, SCMP_SYS(restart_syscall) },
	{ COMMON, SCMP_SYS(exit) }, { COMMON, SCMP_SYS(exit_group) },

	{ EVENTS, SCMP_SYS(epoll_ctl) }, { EVENTS, SCMP_SYS(epoll_wait) }, { EVENTS, SCMP_SYS(epoll_pwait) },

	/* the connection, and TLS on it */
	{ CHANNEL, SCMP_SYS(read) }, { CHANNEL, SCMP_SYS(readv) }, { CHANNEL, SCMP_SYS(writev) },
	{ CHANNEL, SCMP_SYS(sendto) }, { CHANNEL, SCMP_SYS(shutdown) }, { CHANNEL, SCMP_SYS(setsockopt) },
	{ CHANNEL, SCMP_SYS(getsockopt) }, { CHANNEL, SCMP_SYS(getsockname) }, { CHANNEL, SCMP_SYS(getpeername) },
	{ CHANNEL, SCMP_SYS(fstat) }, { CHANNEL, SCMP_SYS(newfstatat) },
	/* long messages of the link: engine/link.c */
	{ CHANNEL, SCMP_SYS(memfd_create) }, { CHANNEL, SCMP_SYS(ftruncate) }, { CHANNEL, SCMP_SYS(pread64) },
	{ CHANNEL, SCMP_SYS(pwrite64) },
	/* the C library's heap, locks, clocks, random numbers and abort() */
	{ CHANNEL, SCMP_SYS(brk) }, { CHANNEL, SCMP_SYS(munmap) }, { CHANNEL, SCMP_SYS(mremap) },
	{ CHANNEL, SCMP_SYS(madvise) }, { CHANNEL, SCMP_SYS(futex) }, { CHANNEL, SCMP_SYS(gettimeofday) },
	{ CHANNEL, SCMP_SYS(clock_nanosleep) }, { CHANNEL, SCMP_SYS(getrandom) }, { CHANNEL, SCMP_SYS(gettid) },
	{ CHANNEL, SCMP_SYS(rt_sigprocmask) }, { CHANNEL, SCMP_SYS(rt_sigaction) },

	/* more connections, memory's way from and to them */
	{ MIGRATION, SCMP_SYS(accept4) }, { MIGRATION, SCMP_SYS(splice) }, { MIGRATION, SCMP_SYS(pipe2) },
	{ MIGRATION, SCMP_SYS(eventfd2) }, { MIGRATION, SCMP_SYS(epoll_create1) },
	/* the stream, if it is a file */
	{ MIGRATION, SCMP_SYS(fdatasync) }, { MIGRATION, SCMP_SYS(fsync) }, { MIGRATION, SCMP_SYS(sync_file_range) },
	{ MIGRATION, SYS_CACHESTAT },
	/* guest memory and device state */
	{ MIGRATION, SCMP_SYS(lseek) }, { MIGRATION, SCMP_SYS(fallocate) },
	/* threads */
	{ MIGRATION, SCMP_SYS(set_robust_list) }, { MIGRATION, SCMP_SYS(rseq) }, { MIGRATION, SCMP_SYS(sigaltstack) },
	{ MIGRATION, SCMP_SYS(sched_yield) },
};

/* What of fcntl() is needed: not F_SETOWN and F_SETSIG, which send any signal to any process of this user. */
static const int fcntls[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS };

/* engine/uffd.c: all that a worker may do with a VMM's userfaultfd. */
static const uint64_t ioctls[] = { UFFDIO_CONTINUE, UFFDIO_ZEROPAGE, UFFDIO_WAKE, UFFDIO_WRITEPROTECT };

static bool tools_take(int call)
{
	size_t n;
	const int *calls = sandbox_tools_calls(&n);

	while (n > 0 && calls[n - 1] != call)
		n--;
	return n > 0;
}

/* CALL, if all N conditions hold: allowed, or it fails with ERRNO. */
static int add_rule(scmp_filter_ctx ctx, int error, int call, unsigned int n, const struct scmp_arg_cmp *conditions)
{
	if (tools_take(call))
		return 0;
	return seccomp_rule_add_array(ctx, error ? SCMP_ACT_ERRNO((uint32_t)error) : SCMP_ACT_ALLOW, call, n, conditions);
}

/* Allowed with some arguments only. What is answered by an errno is no sign of an attack: libraries try it, and can live without. */
static int add_conditions(scmp_filter_ctx ctx, const struct profile *p)
{
	const uint64_t self = (uint64_t)getpid();
	const struct {
		enum group group;
		int error;
		int call;
		unsigned int n;
		struct scmp_arg_cmp conditions[2];
	} rules[] = {
		{ COMMON, EPERM, SCMP_SYS(openat), 0, {} },
		/* terminals' ioctls have no more than 16 bits */
		{ COMMON, EPERM, SCMP_SYS(ioctl), 1, { SCMP_A1(SCMP_CMP_LE, UINT16_MAX, 0) } },
		{ CHANNEL, 0, SCMP_SYS(mmap), 1, { SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) } },
		{ CHANNEL, 0, SCMP_SYS(mprotect), 1, { SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) } },
		{ CHANNEL, 0, SCMP_SYS(tgkill), 1, { SCMP_A0(SCMP_CMP_EQ, self, 0) } },
		{ CHANNEL, EPERM, SCMP_SYS(sched_getaffinity), 0, {} },
		/* its flags cannot be seen: the C library uses clone() then */
		{ MIGRATION, ENOSYS, SCMP_SYS(clone3), 0, {} },
		{ MIGRATION, 0, SCMP_SYS(clone), 1,
		  { SCMP_A0(SCMP_CMP_MASKED_EQ, THREAD_FLAGS | NAMESPACE_FLAGS, THREAD_FLAGS) } },
		/* a thread's name; the reading of one's own limits (transport/zero-copy.c); base/short-slice.c */
		{ MIGRATION, 0, SCMP_SYS(prctl), 1, { SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0) } },
		{ MIGRATION, EPERM, SCMP_SYS(prctl), 1, { SCMP_A0(SCMP_CMP_NE, PR_SET_NAME, 0) } },
		{ MIGRATION, 0, SCMP_SYS(prlimit64), 2, { SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0) } },
		{ MIGRATION, 0, SCMP_SYS(getpriority), 2, { SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS, 0), SCMP_A1(SCMP_CMP_EQ, 0, 0) } },
		{ MIGRATION, 0, SCMP_SYS(sched_setattr), 1, { SCMP_A0(SCMP_CMP_EQ, 0, 0) } },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rules); i++)
		if (rules[i].group & p->groups)
			r = add_rule(ctx, rules[i].error, rules[i].call, rules[i].n, rules[i].conditions);
	return r;
}

static int add_calls(scmp_filter_ctx ctx, const struct profile *p)
{
	struct scmp_arg_cmp is;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
		if (allowed[i].group & p->groups)
			r = add_rule(ctx, 0, allowed[i].call, 0, NULL);
	for (size_t i = 0; r == 0 && p->groups & CHANNEL && i < ARRAY_SIZE(fcntls); i++) {
		is = SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)fcntls[i]);
		r = add_rule(ctx, 0, SCMP_SYS(fcntl), 1, &is);
	}
	for (size_t i = 0; r == 0 && p->groups & MIGRATION && i < ARRAY_SIZE(ioctls); i++) {
		is = SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, ioctls[i]);
		r = add_rule(ctx, 0, SCMP_SYS(ioctl), 1, &is);
	}
	return r;
}

static int add_tools(scmp_filter_ctx ctx)
{
	size_t n;
	const int *calls = sandbox_tools_calls(&n);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

static int filter(const struct profile *p, struct merr *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return merr_set_errno(err, -ENOMEM, "sandbox: seccomp");
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_calls(ctx, p);
	if (r == 0)
		r = add_conditions(ctx, p);
	if (r == 0)
		r = add_tools(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? merr_set_errno(err, r, "sandbox: seccomp") : 0;
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

/* The newest that both the kernel and this program know. */
static int landlock(struct merr *err)
{
	int abi = landlock_abi();

	if (abi == 0) {
		log_info("this kernel has no Landlock: the sandbox goes without");
		return 0;
	}
	return landlock_forbid_all(abi, err);
}

int sandbox_enter(enum sandbox kind, struct merr *err)
{
	const struct profile *p = &profiles[kind];
	int r;

	r = drop_capabilities(err);
	if (r == 0)
		r = limit(RLIMIT_CORE, 0, "no core files", err);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, p->files_max, "descriptors", err);
	if (r == 0 && p->memory_max && !sandbox_has_tools())
		r = limit(RLIMIT_AS, p->memory_max, "address space", err);
	if (r == 0)
		r = landlock(err);
	if (r == 0)
		r = filter(p, err);
	if (r == 0)
		sandbox_tools_entered();
	return r;
}
