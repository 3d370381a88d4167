/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting a line into words, as a shell does: 'as it is', "with \" and \\ in it", \x for any one character. */
#ifndef MIGD_CTL_WORDS_H
#define MIGD_CTL_WORDS_H

#include <stdbool.h>

#define WORDS_MAX 256

/* All zero: none. */
struct words {
	char *text;	/* what the words are in */
	char *word[WORDS_MAX + 1];	/* [n] is NULL */
	int n;
	bool open;	/* a quote, or a backslash, is not closed */
	bool ended;	/* the last word is: a space follows, or there is none */
};

/* Words beyond WORDS_MAX are left out. -ENOMEM. W is to be freed by words_done(). */
int words_split(const char *line, struct words *w);
void words_done(struct words *w);

#endif
