/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a line. */
#include "ctl/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One character of a word, or a quote around some: copy it, and go on behind it. */
static const char *take(const char *p, char *quote, char **to, bool *open)
{
	if (*quote && *p == *quote) {
		*quote = '\0';
	} else if (!*quote && (*p == '\'' || *p == '"')) {
		*quote = *p;
	} else if (*p == '\\' && *quote != '\'') {
		*open = !p[1];
		if (p[1])
			*(*to)++ = *++p;
	} else {
		*(*to)++ = *p;
	}
	return p + 1;
}

int words_split(const char *line, struct words *w)
{
	char *to;

	*w = (struct words){ .ended = true };
	/* What is written is never longer than what was read. */
	w->text = malloc(strlen(line) + 2);
	if (!w->text)
		return -ENOMEM;
	to = w->text;
	while (w->n < WORDS_MAX) {
		char quote = '\0';

		line += strspn(line, " \t\r\n");
		if (!*line)
			break;
		w->word[w->n++] = to;
		while (*line && (quote || !strchr(" \t\r\n", *line)))
			line = take(line, &quote, &to, &w->open);
		w->open = w->open || quote;
		w->ended = *line && !w->open;
		*to++ = '\0';
	}
	return 0;
}

void words_done(struct words *w)
{
	free(w->text);
	*w = (struct words){ 0 };
}
