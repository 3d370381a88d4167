/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of an address's text, and the kinds of address made of such. For addr*.c. */
#ifndef MIGD_TRANSPORT_ADDR_TEXT_H
#define MIGD_TRANSPORT_ADDR_TEXT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "transport/addr.h"

/* Text that need not end with NUL. */
struct span {
	const char *p;
	size_t len;
};

static inline struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static inline bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

/* The part of *S before the first C (all of it if there is none); *S is left with what follows. */
static inline struct span span_cut(struct span *s, char c)
{
	const char *at = memchr(s->p, c, s->len);
	struct span head = { s->p, at ? (size_t)(at - s->p) : s->len };
	size_t used = head.len + (at ? 1 : 0);

	s->p += used;
	s->len -= used;
	return head;
}

static inline int span_copy(struct span s, char *ret, size_t cap)
{
	if (s.len >= cap)
		return -ENAMETOOLONG;
	memcpy(ret, s.p, s.len);
	ret[s.len] = '\0';
	return 0;
}

/* Decimal digits alone, at most ten, and a number up to MAX. */
static inline int span_number(struct span s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0 || s.len > 10)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* REST is what follows the first colon. A's type is set; -EINVAL with ERR. */
int addr_parse_tcp(struct span rest, struct addr *a, struct merr *err);
int addr_parse_vsock(struct span rest, struct addr *a, struct merr *err);
int addr_parse_shared(struct span rest, struct addr *a, struct merr *err);

void addr_format_tcp(const struct addr *a, char *buf, size_t len);

/* ",guest" or ",guest=NAME" at the end of REST, which loses it: the name, or NULL. REST has to end with NUL. */
const char *addr_cut_guest(struct span *rest);

#endif
