/* SPDX-License-Identifier: Apache-2.0 */
/* XBZRLE: the code. */
#include "engine/xbzrle.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"

/* Lengths fit into 14 bits, two bytes of seven. */
_Static_assert(XBZRLE_PAGE < 1 << 14, "a run of a page's length can be written");

/* Close gaps of one byte: a byte whose two neighbours changed is sent as well. */
static void close_gaps(uint64_t diff[KERNELS_DIFF_WORDS])
{
	uint64_t below = 0, above, word;

	for (size_t w = 0; w < KERNELS_DIFF_WORDS; w++) {
		word = diff[w];
		above = w + 1 < KERNELS_DIFF_WORDS ? diff[w + 1] << 63 : 0;
		diff[w] = word | ((word << 1 | below) & (word >> 1 | above));
		below = word >> 63;
	}
}

static void put_len(struct wcur *w, uint64_t len)
{
	if (len < 0x80) {
		wcur_u8(w, (uint8_t)len);
		return;
	}
	wcur_u8(w, (uint8_t)(len & 0x7f) | 0x80);
	wcur_u8(w, (uint8_t)(len >> 7));
}

int xbzrle_encode(const struct kernels *k, const uint8_t *old, const uint8_t *new,
		  uint8_t ret[XBZRLE_PAGE])
{
	struct wcur w = wcur_of(ret, XBZRLE_PAGE);
	uint64_t diff[KERNELS_DIFF_WORDS], at = 0, from;

	if (!k->diff(old, new, diff))
		return 0;
	close_gaps(diff);
	for (;;) {
		from = bitmap_next_set(diff, XBZRLE_PAGE, at);
		if (from == XBZRLE_PAGE || w.bad)
			break;
		put_len(&w, from - at);
		at = bitmap_next_clear(diff, XBZRLE_PAGE, from);
		put_len(&w, at - from);
		wcur_bytes(&w, new + from, at - from);
	}
	return w.bad ? -EOVERFLOW : (int)w.len;
}

/* A length of one or two bytes. */
static bool get_len(struct rcur *c, uint64_t *ret)
{
	uint8_t low = rcur_u8(c), high;

	*ret = low & 0x7f;
	if (low & 0x80) {
		high = rcur_u8(c);
		if (high & 0x80)
			return false;
		*ret |= (uint64_t)high << 7;
	}
	return !c->bad;
}

/* One pair of runs; NULL, or what is wrong with it. */
static const char *decode_pair(struct rcur *c, uint8_t *page, uint64_t *at, bool first)
{
	const uint8_t *bytes;
	uint64_t len;

	if (c->left < 2)
		return "ends where a pair of runs begins";
	if (!get_len(c, &len))
		return "has a malformed length";
	if (len == 0 && !first)
		return "has an empty run of equal bytes";
	if (len > XBZRLE_PAGE - *at)
		return "leaves the page with a run of equal bytes";
	*at += len;
	if (!get_len(c, &len))
		return "has a malformed length";
	if (len == 0)
		return "has an empty run of new bytes";
	if (len > XBZRLE_PAGE - *at)
		return "leaves the page with a run of new bytes";
	bytes = rcur_bytes(c, len);
	if (!bytes)
		return "ends within a run of new bytes";
	memcpy(page + *at, bytes, len);
	*at += len;
	return NULL;
}

int xbzrle_decode(const uint8_t *code, size_t len, uint8_t page[XBZRLE_PAGE], const char **ret_why,
		  size_t *ret_at)
{
	struct rcur c = rcur_of(code, len);
	uint64_t at = 0;
	const char *why;
	size_t before;

	do {
		before = len - c.left;
		why = decode_pair(&c, page, &at, c.left == len);
		if (why) {
			*ret_why = why;
			*ret_at = before;
			return -EBADMSG;
		}
	} while (c.left);
	return 0;
}
