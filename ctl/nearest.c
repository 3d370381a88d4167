/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest word: by how many letters are to be typed, left out, replaced or exchanged with their neighbour. */
#include "ctl/nearest.h"

#include <stdio.h>
#include <string.h>

#define WORD_MAX 40U

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

static unsigned int distance_of(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1], n_a = (unsigned int)strlen(a), n_b = (unsigned int)strlen(b);

	if (n_a > WORD_MAX || n_b > WORD_MAX)
		return WORD_MAX;
	for (unsigned int j = 0; j <= n_b; j++)
		rows[0][j] = j;
	for (unsigned int i = 1; i <= n_a; i++) {
		unsigned int *now = rows[i % 3], *before = rows[(i + 2) % 3], *before_that = rows[(i + 1) % 3];

		now[0] = i;
		for (unsigned int j = 1; j <= n_b; j++) {
			now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before_that[j - 2] + 1);
		}
	}
	return rows[n_a % 3][n_b];
}

void nearest_try(struct nearest *n, const char *candidate)
{
	size_t len = strlen(n->word);
	unsigned int d = distance_of(n->word, candidate);
	/* What somebody began to type is near, however long the rest is. */
	unsigned int limit = len > 5 ? (unsigned int)(len / 3) : len > 2 ? 1 + (len > 4) : 0;

	if (len >= 3 && strncmp(n->word, candidate, len) == 0)
		d = 1;
	if (d <= limit && (!n->best || d < n->distance)) {
		n->best = candidate;
		n->distance = d;
	}
}

const char *nearest_hint(const struct nearest *n, const char *dashes, char *buf, unsigned int len)
{
	buf[0] = '\0';
	if (n->best)
		(void)snprintf(buf, len, "; did you mean '%s%s'?", dashes, n->best);
	return buf;
}
