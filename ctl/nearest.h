/* SPDX-License-Identifier: Apache-2.0 */
/* The word that somebody who mistyped one may have meant. */
#ifndef MIGD_CTL_NEAREST_H
#define MIGD_CTL_NEAREST_H

/* Fed with the candidates one by one. BEST stays theirs, and is NULL while none was near. */
struct nearest {
	const char *word;
	const char *best;
	unsigned int distance;
};

void nearest_try(struct nearest *n, const char *candidate);

/* "; did you mean 'X'?", or nothing. Returns BUF. */
const char *nearest_hint(const struct nearest *n, const char *dashes, char *buf, unsigned int len);

#endif
