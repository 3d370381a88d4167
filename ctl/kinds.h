/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of arguments and of options' values. */
#ifndef MIGD_CTL_KINDS_H
#define MIGD_CTL_KINDS_H

#include <stdbool.h>
#include <stddef.h>

/* One argument of a command, taken from its grammar. */
struct ctl_argument {
	char kind[64];	/* "URI", "run|discard" */
	bool optional;
	bool repeated;
};

/* The argument at INDEX (from 0) of those that are given; false: the grammar has none there. */
bool ctl_argument_at(const char *grammar, int index, struct ctl_argument *ret);

/* How many arguments there may be; *MAX -1: any number. */
void ctl_argument_count(const char *grammar, int *min, int *max);

/* Whether KIND is a choice of words, such as run|discard. */
bool ctl_kind_is_choice(const char *kind);
/* The word of a choice at INDEX. Returns BUF, or NULL: there is none. */
const char *ctl_kind_word(const char *kind, size_t index, char *buf, size_t len);

/* What an argument of that kind is, in a line; NULL: the name says it. */
const char *ctl_kind_help(const char *kind);

#endif
