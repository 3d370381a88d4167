/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes: started from the daemon's own executable, watched by pidfd. */
#include "daemon/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/cgroup.h"
#include "daemon/timer.h"
#include "engine/link.h"

#define EXEC_FAILED_STATUS 127
/* A worker whose link ended, by its own doing, has this long to end itself. */
#define LINGER_MS 5000U
#define HOW_MAX   256

/* What is executed is called "migd-KIND". */
#define ARGV0_PREFIX "migd-"
#define WORKER_KIND  (&WORKER_ARGV0[sizeof(ARGV0_PREFIX) - 1])

struct worker {
	TAILQ_ENTRY(worker) dismissed_entry;
	bool dismissed;
	const char *kind; /* for messages */
	struct event_base *base;
	int pid;
	int pidfd;         /* -1: an adopted one that could not be identified */
	struct conn *conn; /* NULL: the link has ended */
	struct event *readable;
	struct event *exited;
	struct event *linger;
	const struct worker_handler *handler;
	void *opaque;
	char why[HOW_MAX]; /* we killed it */
	struct cgroups *cgroups; /* NULL: it has none */
	char id[33]; /* its cgroup's */
	unsigned int busy; /* a handler runs: free later */
	bool freed;
};

/*
 * What a worker may know of our environment: how to mark log lines, how much to log, and what the
 * sanitizers, the fault points and the coverage of test builds are told.
 */
static const char *const passed_variables[] = {
	"JOURNAL_STREAM", "MIGD_LOG_LEVEL", "MIGD_FAULT",   "ASAN_OPTIONS",
	"UBSAN_OPTIONS",  "TSAN_OPTIONS",   "LSAN_OPTIONS", "LLVM_PROFILE_FILE",
};
/* Those that were told FINISHED, and are about to end: somebody has to reap them. */
static TAILQ_HEAD(, worker) dismissed = TAILQ_HEAD_INITIALIZER(dismissed);

#define ENVIRON_MAX (ARRAY_SIZE(passed_variables) + 1)

static void collect_environment(char *ret[ENVIRON_MAX])
{
	size_t n = 0, len;

	for (size_t i = 0; i < ARRAY_SIZE(passed_variables); i++) {
		len = strlen(passed_variables[i]);
		for (char **e = environ; *e; e++)
			if (strncmp(*e, passed_variables[i], len) == 0 && (*e)[len] == '=')
				ret[n++] = *e;
	}
	ret[n] = NULL;
}

/* The process's state letter and start time, from /proc/PID/stat; or -ESRCH. */
static int read_process(int pid, char *ret_state, uint64_t *ret_start)
{
	char path[64], text[1024];
	_cleanup_close_ int fd = -1;
	unsigned long long start;
	const char *p, *state;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	/*
	 * The second field, the name, may hold anything; 20 fields follow its closing parenthesis
	 * up to the start time.
	 */
	p = state = strrchr(text, ')');
	for (int i = 0; p && i < 20; i++)
		p = strchr(p + 1, ' ');
	if (!p || (start = strtoull(p, NULL, 10)) == 0)
		return -ESRCH;
	*ret_state = state[2];
	*ret_start = start;
	return 0;
}

uint64_t process_start_time(int pid)
{
	uint64_t start;
	char state;

	return pid > 0 && read_process(pid, &state, &start) == 0 ? start : 0;
}

bool process_lives(int pid, uint64_t start_time)
{
	uint64_t start;
	char state;

	return pid > 0 && read_process(pid, &state, &start) == 0 && start == start_time &&
	       state != 'Z' && state != 'X';
}

/* ---- the link ---- */

static void end_link(struct worker *w)
{
	w->readable = timer_free(w->readable);
	w->conn = conn_free(w->conn);
}

static void really_free(struct worker *w)
{
	end_link(w);
	(void)timer_free(w->exited);
	(void)timer_free(w->linger);
	close_fd(w->pidfd);
	cgroups_remove(w->cgroups, w->id);
	free(w);
}

static void leave(struct worker *w)
{
	if (--w->busy == 0 && w->freed)
		really_free(w);
}

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	w->freed = true;
	if (w->busy == 0)
		really_free(w);
	return NULL;
}

static void on_linger(evutil_socket_t fd, short what, void *opaque)
{
	struct worker *w = opaque;

	(void)fd;
	(void)what;
	log_warning("killing a worker that does not end pid=%d", w->pid);
	worker_kill(w, "it closed its link, and did not end");
}

static void limit_its_life(struct worker *w)
{
	if (!w->linger)
		w->linger = timer_start(w->base, LINGER_MS, on_linger, w);
}

struct worker *worker_dismiss(struct worker *w)
{
	if (!w)
		return NULL;
	if (w->pidfd < 0)
		return worker_free(w);
	w->dismissed = true;
	TAILQ_INSERT_TAIL(&dismissed, w, dismissed_entry);
	/* The link stays open, unread: its end would tell the worker that this daemon is gone. */
	w->readable = timer_free(w->readable);
	limit_its_life(w);
	return NULL;
}

void worker_forget_dismissed(void)
{
	struct worker *w;

	while ((w = TAILQ_FIRST(&dismissed))) {
		TAILQ_REMOVE(&dismissed, w, dismissed_entry);
		(void)worker_free(w);
	}
}

struct conn *worker_conn(const struct worker *w)
{
	return w->conn;
}

int worker_pid(const struct worker *w)
{
	return w->pid;
}

void worker_kill(struct worker *w, const char *why)
{
	if (why && !w->why[0])
		(void)snprintf(w->why, sizeof(w->why), "%s", why);
	if (w->pidfd >= 0)
		(void)pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
}

static void on_exited(evutil_socket_t fd, short what, void *opaque);

/* No more messages will come: the process is ending, or must be. */
static void on_link_end(struct worker *w)
{
	end_link(w);
	if (w->pidfd < 0)
		on_exited(-1, 0, w);
	else
		limit_its_life(w);
}

/* What conn_recv() or a handler said is the end of W's link. */
static void on_link_error(struct worker *w, int r, const struct merr *err)
{
	if (w->dismissed || w->freed)
		return;
	if (r != -ENOTCONN) {
		log_err("killing a %s that breaks the link's rules pid=%d: %s", w->kind, w->pid,
			merr_msg(err));
		worker_kill(w, merr_msg(err));
	}
	on_link_end(w);
}

/* Handle one message. False: there is none, or will be none any more. */
static bool take_one(struct worker *w)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	if (!w->conn || w->freed || w->dismissed)
		return false;
	r = conn_recv(w->conn, &m, &err);
	if (r == 0)
		return false;
	if (r > 0) {
		r = w->handler->on_message(w->opaque, &m, &err);
		conn_msg_done(&m);
	}
	if (r < 0)
		on_link_error(w, r, &err);
	return r >= 0;
}

void worker_drain(struct worker *w)
{
	w->busy++;
	while (take_one(w))
		;
	leave(w);
}

bool worker_take(struct worker *w)
{
	bool taken;

	if (w->busy > 0)
		return false;
	w->busy++;
	taken = take_one(w) && !w->freed;
	leave(w);
	return taken;
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	worker_drain(opaque);
}

/* ---- the process ---- */

static void describe_exit(struct worker *w, char ret[HOW_MAX])
{
	siginfo_t info = { 0 };

	if (w->why[0])
		(void)snprintf(ret, HOW_MAX, "%s was killed: %.200s", w->kind, w->why);
	/* One that a former daemon started is not our child: nobody can tell how it ended. */
	if (w->pidfd < 0 || waitid(P_PIDFD, (id_t)w->pidfd, &info, WEXITED | WNOHANG) < 0) {
		if (!w->why[0])
			(void)snprintf(ret, HOW_MAX, "%s died", w->kind);
		return;
	}
	if (w->why[0])
		return;
	if (info.si_code != CLD_EXITED && info.si_status == SIGKILL && cgroups_was_oom(w->cgroups, w->id))
		(void)snprintf(ret, HOW_MAX,
			       "%s was killed by the kernel, for it needed more than memory-max of section [workers]; raise that",
			       w->kind);
	else if (info.si_code != CLD_EXITED)
		(void)snprintf(ret, HOW_MAX, "%s died (signal %d: %s)", w->kind, info.si_status,
			       strsignal(info.si_status));
	else if (info.si_status == EXEC_FAILED_STATUS)
		(void)snprintf(ret, HOW_MAX, "%s could not be executed; see the log", w->kind);
	else
		(void)snprintf(ret, HOW_MAX, "%s ended unexpectedly (status %d); see the log",
			       w->kind, info.si_status);
}

static void on_exited(evutil_socket_t fd, short what, void *opaque)
{
	struct worker *w = opaque;
	char how[HOW_MAX];

	(void)fd;
	(void)what;
	w->busy++;
	w->exited = timer_free(w->exited);
	w->linger = timer_free(w->linger);
	describe_exit(w, how);
	if (w->dismissed) {
		TAILQ_REMOVE(&dismissed, w, dismissed_entry);
		w->freed = true;
	}
	/* What it said before it died counts. */
	if (!w->freed)
		worker_drain(w);
	if (!w->freed)
		w->handler->on_exit(w->opaque, how);
	leave(w);
}

static struct worker *worker_new(struct event_base *base, int pid, int pidfd, int link_fd,
				 const struct worker_handler *handler, void *opaque)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w) {
		close_fd(link_fd);
		close_fd(pidfd);
		return NULL;
	}
	w->base = base;
	w->kind = WORKER_KIND;
	w->pid = pid;
	w->pidfd = pidfd;
	w->handler = handler;
	w->opaque = opaque;
	w->conn = conn_new(link_fd);
	if (w->conn)
		w->readable =
			event_new(base, conn_fd(w->conn), EV_READ | EV_PERSIST, on_readable, w);
	if (pidfd >= 0)
		w->exited = event_new(base, pidfd, EV_READ, on_exited, w);
	if (!w->readable || event_add(w->readable, NULL) < 0 ||
	    (pidfd >= 0 && (!w->exited || event_add(w->exited, NULL) < 0)))
		return worker_free(w);
	return w;
}

/* In the child, which shares nothing but is a copy of a process with threads: system calls only. */
static void __attribute__((noreturn))
become(const char *argv0, int exe_fd, int link_fd, char **env, int cgroup_fd, const cpu_set_t *cpus)
{
	char *argv[] = { (char *)(uintptr_t)argv0, NULL };
	sigset_t none;
	int null_fd;

	(void)setsid(); /* a ^C at the daemon's terminal is not for its workers */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (cgroup_fd >= 0 && write(cgroup_fd, "0", 1) < 0)
		_exit(EXEC_FAILED_STATUS);
	if (cpus)
		(void)sched_setaffinity(0, sizeof(*cpus), cpus);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
		_exit(EXEC_FAILED_STATUS);
	/* The executable must stay out of the link's way. */
	if (exe_fd == LINK_FD)
		exe_fd = fcntl(exe_fd, F_DUPFD_CLOEXEC, LINK_FD + 1);
	if (link_fd == LINK_FD ? fcntl(link_fd, F_SETFD, 0) < 0 : dup2(link_fd, LINK_FD) < 0)
		_exit(EXEC_FAILED_STATUS);
	if (close_range(LINK_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		_exit(EXEC_FAILED_STATUS);
	(void)fexecve(exe_fd, argv, env);
	_exit(EXEC_FAILED_STATUS);
}

static void take_place(struct worker *w, const struct worker_place *place)
{
	if (!place)
		return;
	w->cgroups = place->cgroups;
	(void)snprintf(w->id, sizeof(w->id), "%s", place->id);
}

int worker_spawn(struct event_base *base, int exe_fd, const char *argv0, const struct worker_place *place,
		 const struct worker_handler *handler, void *opaque, struct worker **ret,
		 struct merr *err)
{
	const char *kind = argv0 + strlen(ARGV0_PREFIX);
	_cleanup_close_ int theirs = -1, cgroup_fd = -1;
	char *env[ENVIRON_MAX];
	int pair[2], pidfd;
	bool has_cpus;
	cpu_set_t cpus;
	struct worker *w;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return merr_set_errno(err, -errno, "cannot start a %s: socketpair", kind);
	theirs = pair[1];
	collect_environment(env);
	cgroup_fd = place ? cgroups_add(place->cgroups, place->id) : -1;
	has_cpus = place && cgroups_cpus(place->config, &cpus);
	pid = fork();
	if (pid < 0) {
		close_fd(pair[0]);
		return merr_set_errno(err, -errno, "cannot start a %s: fork", kind);
	}
	if (pid == 0)
		become(argv0, exe_fd, theirs, env, cgroup_fd, has_cpus ? &cpus : NULL);
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		/*
		 * Without it the worker could not be watched. It is our child: the pid is still its
		 * own.
		 */
		(void)merr_set_errno(err, -errno, "cannot watch a %s: pidfd_open", kind);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		close_fd(pair[0]);
		return err ? err->code : -EIO;
	}
	w = worker_new(base, pid, pidfd, pair[0], handler, opaque);
	if (!w)
		return merr_set(err, -ENOMEM, "cannot start a %s: out of memory", kind);
	w->kind = kind;
	take_place(w, place);
	*ret = w;
	return 0;
}

int worker_adopt(struct event_base *base, int link_fd, int pid, uint64_t start_time, const struct worker_place *place,
		 const struct worker_handler *handler, void *opaque, struct worker **ret,
		 struct merr *err)
{
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	struct worker *w;

	/* The pid is another's by now: then the worker's end is known from the link. */
	if (pidfd >= 0 && process_start_time(pid) != start_time)
		pidfd = close_fd(pidfd);
	w = worker_new(base, pidfd >= 0 ? pid : 0, pidfd, link_fd, handler, opaque);
	if (!w)
		return merr_set(err, -ENOMEM, "cannot adopt a worker: out of memory");
	take_place(w, place);
	cgroups_adopt(w->cgroups, w->id);
	*ret = w;
	return 0;
}
