/* SPDX-License-Identifier: Apache-2.0 */
/* Commands at the end of a stream. */
#include "daemon/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/timer.h"

struct command {
	TAILQ_ENTRY(command) dropped_entry;
	struct event_base *base;
	pid_t pid;
	int pidfd;
	struct event *exited;
	bool ended, dropped;
	bool held; /* not reaped before it is dropped: its group keeps its number */
	struct merr how; /* with `ended`; not set: status 0 */
	command_fn fn;
	void *opaque;
};

static TAILQ_HEAD(, command) dropped = TAILQ_HEAD_INITIALIZER(dropped);

static void command_free(struct command *c)
{
	(void)timer_free(c->exited);
	(void)close_fd(c->pidfd);
	free(c);
}

static void describe(struct command *c, const siginfo_t *info)
{
	if (info->si_code != CLD_EXITED)
		(void)merr_set(&c->how, -EIO, "the command was ended by signal %d (%s)",
			       info->si_status, strsignal(info->si_status));
	else if (info->si_status != 0)
		(void)merr_set(&c->how, -EIO, "the command ended with status %d; see migd's log",
			       info->si_status);
}

static void on_exited(evutil_socket_t fd, short what, void *opaque)
{
	struct command *c = opaque;
	siginfo_t info = { 0 };
	command_fn fn = TAKE_PTR(c->fn);

	(void)fd;
	(void)what;
	if (!c->ended) {
		c->ended = true;
		if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG | (c->held ? WNOWAIT : 0)) == 0)
			describe(c, &info);
		log_debug("command ended pid=%d: %s", c->pid,
			  merr_is_set(&c->how) ? merr_msg(&c->how) : "status 0");
	}
	if (c->dropped) {
		TAILQ_REMOVE(&dropped, c, dropped_entry);
		command_free(c);
	} else if (fn) {
		fn(c->opaque, merr_is_set(&c->how) ? &c->how : NULL);
	}
}

void command_await(struct command *c, command_fn fn, void *opaque)
{
	c->fn = fn;
	c->opaque = opaque;
	if (c->ended)
		event_active(c->exited, EV_TIMEOUT, 0);
}

static void reap(const struct command *c)
{
	siginfo_t info;

	if (c->held)
		(void)waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG);
}

struct command *command_kill(struct command *c)
{
	if (c && c->held)
		(void)kill(-c->pid, SIGKILL);
	return command_drop(c, false);
}

struct command *command_drop(struct command *c, bool kill_it)
{
	if (!c)
		return NULL;
	c->fn = NULL;
	if (c->ended) {
		reap(c);
		command_free(c);
		return NULL;
	}
	/* Its own session's group. It was not reaped, so the pid is still its own. */
	if (kill_it)
		(void)kill(-c->pid, SIGTERM);
	c->dropped = true;
	c->held = false;
	TAILQ_INSERT_TAIL(&dropped, c, dropped_entry);
	return NULL;
}

void command_forget_dropped(void)
{
	struct command *c;

	while ((c = TAILQ_FIRST(&dropped))) {
		TAILQ_REMOVE(&dropped, c, dropped_entry);
		command_free(c);
	}
}

/* ---- starting ---- */

static int spawn_with(const posix_spawn_file_actions_t *actions, char *const argv[], char *const env[], pid_t *ret_pid)
{
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	int r = posix_spawnattr_init(&attr);

	if (r != 0)
		return -r;
	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(ret_pid, argv[0], actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

/* THEIRS becomes its standard input or output. */
static int spawn(char **argv, int theirs, bool reads, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, theirs,
					     reads ? STDIN_FILENO : STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, reads ? STDOUT_FILENO : STDIN_FILENO,
						     "/dev/null", O_RDWR, 0);
	r = r != 0 ? -r : spawn_with(&actions, argv, environ, ret_pid);
	(void)posix_spawn_file_actions_destroy(&actions);
	return r;
}

static char **make_argv(const struct addr *a)
{
	char **argv = a->n_args ? calloc(a->n_args + 1, sizeof(*argv)) : NULL;

	for (size_t i = 0; argv && i < a->n_args; i++)
		argv[i] = (char *)(uintptr_t)addr_arg(a, i);
	return argv;
}

static struct command *watch(struct event_base *base, pid_t pid)
{
	struct command *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base = base;
	c->pid = pid;
	c->pidfd = pidfd_open(pid, 0);
	if (c->pidfd >= 0)
		c->exited = event_new(base, c->pidfd, EV_READ, on_exited, c);
	if (c->exited && event_add(c->exited, NULL) == 0)
		return c;
	command_free(c);
	return NULL;
}

static int watch_or_kill(struct event_base *base, pid_t pid, struct command **ret, struct merr *err)
{
	*ret = watch(base, pid);
	if (*ret)
		return 0;
	(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return merr_set(err, -ENOMEM, "cannot watch a command: out of memory");
}

int command_spawn(struct event_base *base, const struct addr *a, bool reads, int *ret_fd,
		  struct command **ret, struct merr *err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	_cleanup_free_ char **argv = make_argv(a);
	int fds[2], r = argv ? 0 : -ENOMEM;
	pid_t pid = 0;

	if (r == 0 && pipe2(fds, O_CLOEXEC) < 0)
		r = -errno;
	if (r < 0)
		return merr_set_errno(err, r, "cannot start a command");
	ours = fds[reads ? 1 : 0];
	theirs = fds[reads ? 0 : 1];
	r = spawn(argv, theirs, reads, &pid);
	if (r < 0)
		return merr_set_errno(err, r, "Failed to execute '%s'", addr_arg(a, 0));
	r = watch_or_kill(base, pid, ret, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(ours);
	return 0;
}

int command_start(struct event_base *base, char *const argv[], char *const env[], int input, struct command **ret,
		  struct merr *err)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;
	int r = -posix_spawn_file_actions_init(&actions);

	if (r < 0)
		return merr_set_errno(err, r, "cannot start '%s'", argv[0]);
	r = -posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (r == 0)
		r = -posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	if (r == 0)
		r = spawn_with(&actions, argv, env, &pid);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r < 0)
		return merr_set_errno(err, r, "cannot start '%s'", argv[0]);
	r = watch_or_kill(base, pid, ret, err);
	if (r == 0)
		(*ret)->held = true;
	return r;
}
