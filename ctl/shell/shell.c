/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `migctl shell`: commands line by line. Each is a process of its own, so that Ctrl-C ends what waits and not the shell; the
 * shell itself has a connection for events.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "ctl/complete.h"
#include "ctl/ctl.h"
#include "ctl/shell/history.h"
#include "ctl/shell/line.h"
#include "ctl/words.h"

/* As a shell has it for a program that a signal ended. */
#define STATUS_SIGNAL 128
/* Events that are kept while a command runs. */
#define KEPT_MAX 1000

struct shell {
	struct ctl *ctl;
	char *guest;	/* of `use`, or NULL */
	bool interactive;
	bool over;
	int status;	/* of the last command */
	struct qmp_client *events;	/* NULL: not connected */
	json_t *kept;		/* a list: those that came while a command ran, the oldest first */
	unsigned int dropped;	/* and how many more */
	char prompt[128];
};

/* Events. */

static void connect_for_events(struct shell *s)
{
	struct merr err = MERR_INIT;

	if (s->events)
		return;
	if (qmp_client_connect(s->ctl->socket_path, &s->events, &err) < 0)
		printf("%s(not connected: %s)%s\n", ctl_colour(CTL_YELLOW), merr_msg(&err), ctl_colour(CTL_PLAIN));
}

/* "[12:34:56] STOP web1 status=active" */
static void print_event(const struct shell *s, const json_t *event)
{
	const char *guest = ctl_str(event, "guest", ctl_str(event, "data.guest", NULL)), *name;
	time_t at = (time_t)ctl_int(event, "timestamp.seconds", 0);
	char clock[16] = "", text[256];
	struct tm tm;
	json_t *v;

	if (s->guest && guest && strcmp(s->guest, guest) != 0)
		return;
	if (s->ctl->json) {
		ctl_print_json(event);
		return;
	}
	if (localtime_r(&at, &tm))
		(void)strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("%s[%s] %s%s%s", ctl_colour(CTL_YELLOW), clock, ctl_str(event, "event", "?"), guest ? " " : "",
	       guest ? ctl_clean(guest, text, sizeof(text)) : "");
	json_object_foreach(json_object_get(event, "data"), name, v) {
		_cleanup_free_ char *value = json_is_string(v) ? strdup(json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY);

		if (strcmp(name, "guest") != 0)
			printf(" %s=%s", name, ctl_clean(value ? value : "?", text, sizeof(text)));
	}
	printf("%s\n", ctl_colour(CTL_PLAIN));
}

/* Events that are there now: printed, or, while a command has the terminal, kept. */
static void take_events(struct shell *s, bool keep)
{
	struct merr err = MERR_INIT;
	int r = 0;

	while (s->events && r == 0) {
		_cleanup_json_ json_t *event = NULL;

		r = qmp_client_next_event(s->events, 0, &event, &err);
		if (r == 0 && !keep)
			print_event(s, event);
		else if (r == 0 && json_array_size(s->kept) < KEPT_MAX)
			json_array_append(s->kept, event);
		else if (r == 0)
			s->dropped++;
	}
	if (s->events && r != -ETIMEDOUT) {
		printf("%s(%s)%s\n", ctl_colour(CTL_YELLOW), merr_msg(&err), ctl_colour(CTL_PLAIN));
		s->events = qmp_client_free(s->events);
	}
}

static void show_events(void *opaque)
{
	struct shell *s = opaque;
	size_t i;
	json_t *event;

	json_array_foreach(s->kept, i, event)
		print_event(s, event);
	(void)json_array_clear(s->kept);
	if (s->dropped > 0)
		printf("(and %u more events)\n", s->dropped);
	s->dropped = 0;
	take_events(s, false);
}

static int event_fd(void *opaque)
{
	const struct shell *s = opaque;

	return s->events ? qmp_client_fd(s->events) : -1;
}

/* Commands. */

/* In a child: what its exit status will be. */
static int run_words(struct shell *s, struct words *w)
{
	char *argv[WORDS_MAX + 2] = { (char[]){ "migctl" } };
	struct ctl defaults = *s->ctl;

	if (!s->interactive && !freopen("/dev/null", "r", stdin))
		return CTL_FAILED;
	memcpy(argv + 1, w->word, (size_t)w->n * sizeof(argv[0]));
	defaults.guest = s->guest;
	return ctl_main(w->n + 1, argv, &defaults);
}

/* Until the process ends, whatever events come: a client that does not read is dropped by the daemon. */
static void keep_events_until(struct shell *s, pid_t pid)
{
	_cleanup_close_ int process = (int)syscall(SYS_pidfd_open, pid, 0);

	while (process >= 0 && s->events) {
		struct pollfd fds[2] = { { .fd = process, .events = POLLIN },
					 { .fd = qmp_client_fd(s->events), .events = POLLIN } };

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			take_events(s, true);
	}
}

static int run_apart(struct shell *s, struct words *w)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGINT, SIG_DFL);
		status = run_words(s, w);
		fflush(stdout);
		_exit(status);
	}
	if (pid > 0)
		keep_events_until(s, pid);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status)) {
		printf("\n");
		return pid < 0 ? CTL_FAILED : STATUS_SIGNAL + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

static int use(struct shell *s, const struct words *w)
{
	free(s->guest);
	s->guest = w->n > 1 ? strdup(w->word[1]) : NULL;
	return CTL_OK;
}

static int complain(const char *text)
{
	fprintf(stderr, "migctl: %s\n", text);
	return CTL_USAGE;
}

/* What the shell does itself, or has done. */
static int run(struct shell *s, struct words *w)
{
	if (w->open)
		return complain("a quote, or the backslash at the end, is not closed");
	if (strcmp(w->word[0], "use") == 0)
		return use(s, w);
	if (strcmp(w->word[0], "shell") == 0)
		return complain("this is the shell; exit leaves it");
	if (strcmp(w->word[0], "quit") == 0 && s->interactive)
		return complain("exit leaves the shell; to end the daemon, run `migctl quit` outside of it");
	return run_apart(s, w);
}

static void run_line(struct shell *s, const char *line)
{
	struct words w = { 0 };

	line += strspn(line, " \t\r\n");
	if (*line == '{') {
		/* Raw QMP: no word of it is ours. */
		w = (struct words){ .word = { (char[]){ "qmp" }, (char *)(uintptr_t)line }, .n = 2 };
		s->status = run_apart(s, &w);
	} else if (*line && *line != '#' && words_split(line, &w) == 0) {
		s->over = strcmp(w.word[0], "exit") == 0;
		if (!s->over)
			s->status = run(s, &w);
		words_done(&w);
	}
}

/* At a terminal. */

static const char *prompt(void *opaque)
{
	struct shell *s = opaque;
	char name[64];

	(void)snprintf(s->prompt, sizeof(s->prompt), s->guest ? "migctl %s> " : "migctl%s> ",
		       s->guest ? ctl_clean(s->guest, name, sizeof(name)) : "");
	return s->prompt;
}

static char *read_all(int fd)
{
	struct buf b = { .max = 1U << 20 };
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			buf_add(&b, part, (size_t)n);
	buf_u8(&b, 0);
	if (b.error)
		buf_done(&b);
	return (char *)b.data;
}

/* By a process that may be ended when the daemon does not answer: typing goes on. */
static char *complete(void *opaque, const char *line)
{
	struct shell *s = opaque;
	_cleanup_free_ char *whole = NULL;
	char *lines;
	int fds[2];
	pid_t pid;

	if (asprintf(&whole, "migctl %s", line) < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return NULL;
	pid = fork();
	if (pid == 0) {
		FILE *out = fdopen(fds[1], "w");

		(void)signal(SIGALRM, SIG_DFL);
		alarm(2);
		if (out) {
			complete_line(whole, s->ctl->socket_path, s->guest, out);
			(void)fclose(out);
		}
		_exit(0);
	}
	(void)close_fd(fds[1]);
	lines = pid > 0 ? read_all(fds[0]) : NULL;
	(void)close_fd(fds[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return lines;
}

static int talk(struct shell *s, struct merr *err)
{
	const struct line_callbacks callbacks = { s, prompt, event_fd, show_events, complete };
	char path[PATH_MAX];
	struct line_editor *e;

	(void)setlocale(LC_CTYPE, "");
	e = line_editor_new(&callbacks, history_file(path, sizeof(path)));
	if (!e) {
		merr_set(err, -EIO, "shell: the terminal cannot be set up");
		return CTL_FAILED;
	}
	printf("migctl " MIGD_VERSION "; help lists the commands, TAB completes them, exit leaves\n");
	while (!s->over) {
		_cleanup_free_ char *line = NULL;
		const char *read;
		bool interrupted;

		connect_for_events(s);
		show_events(s);
		fflush(stdout);
		read = line_read(e, &interrupted);
		if (!read)
			printf("\n");
		if (!read && !interrupted)
			break;
		line = read ? strndup(read, strcspn(read, "\r\n")) : NULL;
		if (!line)
			continue;
		if (history_wants(line))
			line_remember(e, line);
		run_line(s, line);
	}
	(void)line_editor_free(e);
	return CTL_OK;
}

/* From a file or a pipe. The status is that of the first command that failed. */
static int follow_script(struct shell *s)
{
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	int first = CTL_OK;

	while (!s->over && getline(&line, &cap, stdin) >= 0) {
		line[strcspn(line, "\r\n")] = '\0';
		run_line(s, line);
		if (first == CTL_OK)
			first = s->status;
		if (s->status != CTL_OK && !ctl_has(s->ctl, CTL_OPT_KEEP_GOING))
			break;
	}
	return first;
}

static int shell_run(struct ctl *ctl, struct merr *err)
{
	struct shell s = { .ctl = ctl, .interactive = isatty(STDIN_FILENO), .kept = json_array(),
			   .guest = ctl->guest ? strdup(ctl->guest) : NULL };
	int r = s.interactive ? talk(&s, err) : follow_script(&s);

	qmp_client_free(s.events);
	json_decref(s.kept);
	free(s.guest);
	return r;
}

const struct ctl_command ctl_shell_commands[] = {
	{ .name = "shell",
	  .help = "type commands one after another, with history, completion, and events as they come",
	  .text = "Each line is a command as behind `migctl`, with words and quotes as in a shell; one that begins with { is sent as QMP. `use "
		  "GUEST` says which guest all that follows is about, `use` alone that it is none; `exit` or Ctrl-D leaves. Ctrl-C ends a "
		  "command that waits, not the shell, and not what it waited for. Events are shown as they come, and after a command "
		  "those that came meanwhile. The last 1000 lines are kept in migctl/history in $XDG_STATE_HOME or ~/.local/state; one "
		  "with a blank in front, or with a secret's data=, is not.\n"
		  "If standard input is no terminal, its lines are the commands; # begins a comment. The first that fails ends it, unless "
		  "`--keep-going` is given; its exit status is the shell's.",
	  .examples = "# at a terminal\nmigctl -g web1 shell\n# several commands at once\n"
		      "printf 'set max-bandwidth=1G\\nmigrate tcp:host-b:4444\\n' | migctl -g web1 shell",
	  .related = "completion events qmp",
	  .options = CTL_TAKES(CTL_OPT_KEEP_GOING),
	  .no_daemon = true,
	  .run = shell_run },
	{ 0 },
};
