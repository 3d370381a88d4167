/* SPDX-License-Identifier: Apache-2.0 */
/* A line typed at a terminal, by libedit. */
#include "ctl/shell/line.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/cleanup.h"

#define HISTORY_MAX 1000
#define WORDS_SHOWN_MAX 200

struct line_editor {
	struct line_callbacks callbacks;
	EditLine *el;
	History *history;
	HistEvent event;
	char *history_path;	/* or NULL */
	mbstate_t mb;		/* of a character of which not all bytes came */
	sigset_t waiting;	/* blocked while it waits for a key: not SIGINT, which is everywhere else in line_read() */
};

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signum)
{
	(void)signum;
	interrupts = 1;
}

static struct line_editor *owner_of(EditLine *el)
{
	void *e = NULL;

	(void)el_get(el, EL_CLIENTDATA, &e);
	return e;
}

static char *prompt(EditLine *el)
{
	const struct line_editor *e = owner_of(el);

	return (char *)(uintptr_t)e->callbacks.prompt(e->callbacks.opaque);
}

/* What is typed is taken away, and drawn again below. */
static void show_events(const struct line_editor *e)
{
	printf("\r\033[K");
	e->callbacks.show_events(e->callbacks.opaque);
	fflush(stdout);
	(void)el_set(e->el, EL_REFRESH);
}

/* Wait for a key; events are shown meanwhile. 0, or -1: it was interrupted. */
static int wait_for_key(const struct line_editor *e)
{
	for (;;) {
		struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
					 { .fd = e->callbacks.event_fd(e->callbacks.opaque), .events = POLLIN } };
		int r = ppoll(fds, 2, NULL, &e->waiting);

		if (interrupts || (r < 0 && errno != EINTR))
			return -1;
		if (r <= 0)
			continue;
		if (fds[1].revents)
			show_events(e);
		if (fds[0].revents)
			return 0;
	}
}

/* libedit wants a character: 1, 0 at the end, -1 if it was interrupted. */
static int read_key(EditLine *el, wchar_t *ret)
{
	struct line_editor *e = owner_of(el);
	char byte;
	size_t r;

	for (;;) {
		if (wait_for_key(e) < 0)
			return -1;
		if (read(STDIN_FILENO, &byte, 1) != 1)
			return 0;
		r = mbrtowc(ret, &byte, 1, &e->mb);
		if (r <= 1)
			return 1;
		if (r == (size_t)-1)
			memset(&e->mb, 0, sizeof(e->mb));
	}
}

/* How much of A is the beginning of B as well. */
static size_t common_len(const char *a, size_t len, const char *b)
{
	size_t n = 0;

	while (n < len && b[n] && b[n] != '\t' && a[n] == b[n])
		n++;
	return n;
}

/* The candidates with what they are. */
static void print_candidates(const char *lines)
{
	int n = 0;

	printf("\n");
	for (; *lines && n < WORDS_SHOWN_MAX; n++) {
		int len = (int)strcspn(lines, "\n"), word = (int)strcspn(lines, "\t");

		printf("  %-24.*s %.*s\n", word, lines, len > word ? len - word - 1 : 0, lines + word + 1);
		lines += len + (lines[len] == '\n');
	}
	if (*lines)
		printf("  ...\n");
	fflush(stdout);
}

/* Put TEXT, LEN long, in at the cursor; spaces so that they do not end the word. */
static bool insert(EditLine *el, const char *text, size_t len)
{
	_cleanup_free_ char *escaped = malloc(2 * len + 1);
	char *to = escaped;

	if (!escaped || len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == ' ')
			*to++ = '\\';
		*to++ = text[i];
	}
	*to = '\0';
	return el_insertstr(el, escaped) == 0;
}

/* LINES: the word so far, then the candidates. */
static unsigned char apply(EditLine *el, char *lines)
{
	size_t word_len = strcspn(lines, "\n"), len, n = 0;
	char *first = lines + word_len + (lines[word_len] == '\n'), *next;

	len = strcspn(first, "\t");
	for (next = first; *next; n++) {
		len = common_len(first, len, next);
		next += strcspn(next, "\n");
		next += *next == '\n';
	}
	if (n == 0 || len < word_len)
		return CC_REFRESH_BEEP;
	if (n == 1) {
		(void)insert(el, first + word_len, len - word_len);
		if (!strchr("=:/", first[len - 1]))
			(void)el_insertstr(el, " ");
		return CC_REFRESH;
	}
	if (insert(el, first + word_len, len - word_len))
		return CC_REFRESH;
	print_candidates(first);
	return CC_REDISPLAY;
}

static unsigned char on_tab(EditLine *el, int key)
{
	const struct line_editor *e = owner_of(el);
	const LineInfo *info = el_line(el);
	_cleanup_free_ char *line = strndup(info->buffer, (size_t)(info->cursor - info->buffer));
	_cleanup_free_ char *lines = line ? e->callbacks.complete(e->callbacks.opaque, line) : NULL;

	(void)key;
	return lines && *lines ? apply(el, lines) : CC_REFRESH_BEEP;
}

static bool set_up(struct line_editor *e)
{
	e->el = el_init("migctl", stdin, stdout, stderr);
	e->history = history_init();
	if (!e->el || !e->history)
		return false;
	(void)history(e->history, &e->event, H_SETSIZE, HISTORY_MAX);
	(void)history(e->history, &e->event, H_SETUNIQUE, 1);
	(void)el_set(e->el, EL_CLIENTDATA, e);
	(void)el_set(e->el, EL_PROMPT, prompt);
	(void)el_set(e->el, EL_EDITOR, "emacs");
	(void)el_set(e->el, EL_HIST, history, e->history);
	(void)el_set(e->el, EL_GETCFN, read_key);
	/* Of narrow texts libedit would make copies that it never frees. */
	(void)el_wset(e->el, EL_ADDFN, L"migctl-complete", L"complete the word", on_tab);
	(void)el_set(e->el, EL_BIND, "^I", "migctl-complete", NULL);
	if (e->history_path)
		(void)history(e->history, &e->event, H_LOAD, e->history_path);
	return true;
}

struct line_editor *line_editor_new(const struct line_callbacks *callbacks, const char *history_path)
{
	const struct sigaction action = { .sa_handler = on_interrupt };	/* not restarting: poll() returns */
	struct line_editor *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->callbacks = *callbacks;
	e->history_path = history_path ? strdup(history_path) : NULL;
	if (!set_up(e))
		return line_editor_free(e);
	(void)sigaction(SIGINT, &action, NULL);
	return e;
}

struct line_editor *line_editor_free(struct line_editor *e)
{
	if (!e)
		return NULL;
	if (e->history)
		history_end(e->history);
	if (e->el)
		el_end(e->el);
	free(e->history_path);
	free(e);
	return NULL;
}

const char *line_read(struct line_editor *e, bool *interrupted)
{
	const char *line;
	sigset_t interrupt;
	int len;

	interrupts = 0;
	memset(&e->mb, 0, sizeof(e->mb));
	(void)sigemptyset(&interrupt);
	(void)sigaddset(&interrupt, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &interrupt, &e->waiting);
	line = el_gets(e->el, &len);
	(void)sigprocmask(SIG_SETMASK, &e->waiting, NULL);
	*interrupted = interrupts;
	return interrupts ? NULL : line;
}

void line_remember(struct line_editor *e, const char *line)
{
	(void)history(e->history, &e->event, H_ENTER, line);
	if (e->history_path)
		(void)history(e->history, &e->event, H_SAVE, e->history_path);
}
