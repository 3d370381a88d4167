/* SPDX-License-Identifier: Apache-2.0 */
/* A line typed at a terminal: editing, history, the TAB key, and events that come while it is typed. */
#ifndef MIGD_CTL_SHELL_LINE_H
#define MIGD_CTL_SHELL_LINE_H

#include <stdbool.h>

#include "base/err.h"

struct line_editor;

/* What the editor asks its owner. */
struct line_callbacks {
	void *opaque;
	/* What stands in front of the line. Owned by the callee. */
	const char *(*prompt)(void *opaque);
	/* A descriptor that has something to be shown when it is readable, or -1. */
	int (*event_fd)(void *opaque);
	/* It is readable: print it, whole lines. Between the calls the cursor is at the beginning of an empty line. */
	void (*show_events)(void *opaque);
	/* What LINE, up to the cursor, can become: as complete_line() writes it, to be freed. NULL: nothing. */
	char *(*complete)(void *opaque, const char *line);
};

/* Of the terminal that standard input is. HISTORY: a file, or NULL. */
struct line_editor *line_editor_new(const struct line_callbacks *callbacks, const char *history);
/* Returns NULL; E may be NULL. */
struct line_editor *line_editor_free(struct line_editor *e);

/*
 * The next line, owned by E until the next call. NULL: the end of input, or, with *INTERRUPTED, Ctrl-C.
 */
const char *line_read(struct line_editor *e, bool *interrupted);

/* Keep a line in the history, and its file. */
void line_remember(struct line_editor *e, const char *line);

#endif
