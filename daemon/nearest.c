/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody may have meant. */
#include "daemon/nearest.h"

#include <ctype.h>
#include <string.h>

/* No name that is known has as many. */
#define WORD_MAX 63

static size_t least(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

static int is_same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

size_t nearest_distance(const char *a, const char *b)
{
	size_t n = strlen(b), row[WORD_MAX + 1], corner, up;

	if (n > WORD_MAX || strlen(a) > WORD_MAX)
		return WORD_MAX + 1;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		corner = row[0]++;
		for (size_t j = 1; j <= n; j++) {
			up = row[j];
			row[j] = least(row[j - 1] + 1, up + 1, corner + !is_same(a[i], b[j - 1]));
			corner = up;
		}
	}
	return row[n];
}

int nearest_is_likely(const char *word, size_t distance)
{
	return distance <= 1 + strlen(word) / 3;
}
