/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of a block the target has. */
#include "engine/recv-bitmap.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "engine/return-path.h"
#include "engine/wire.h"

#define SEND_TIMEOUT_MS 10000
/* Words that are converted at a time. */
#define PIECE_WORDS 4096U

static int send_bytes(struct chan *chan, const void *p, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };

	return chan_write(chan, &iov, 1, false, clock_now_ns() + SEND_TIMEOUT_MS * NS_PER_MS);
}

/* Others add to the map meanwhile: what is not seen is sent once more, and dropped. */
static int send_words(struct chan *chan, const uint64_t *bits, uint64_t n)
{
	uint64_t piece[PIECE_WORDS], done = 0, len;
	int r = 0;

	for (; r == 0 && done < n; done += len) {
		len = min_u64(n - done, PIECE_WORDS);
		for (uint64_t i = 0; i < len; i++)
			piece[i] = htole64(__atomic_load_n(&bits[done + i], __ATOMIC_ACQUIRE));
		r = send_bytes(chan, piece, len * sizeof(piece[0]));
	}
	return r;
}

int recv_bitmap_send(struct chan *chan, const struct ram_file *b)
{
	uint64_t n_words = bitmap_words(b->n_pages);
	uint8_t name[1 + sizeof(b->name)], frame[8];
	size_t len = strlen(b->name);
	int r;

	name[0] = (uint8_t)len;
	memcpy(name + 1, b->name, len);
	r = rp_send(chan, WIRE_RP_RECV_BITMAP, name, 1 + len);
	store_be64(frame, n_words * sizeof(uint64_t));
	if (r == 0)
		r = send_bytes(chan, frame, sizeof(frame));
	if (r == 0)
		r = send_words(chan, b->received.bits, n_words);
	store_be64(frame, WIRE_BITMAP_END);
	return r < 0 ? r : send_bytes(chan, frame, sizeof(frame));
}

/* The bits of the last word that stand for no page. */
static uint64_t spare_bits(const struct ram_file *b)
{
	uint64_t used = b->n_pages % BITMAP_WORD_BITS;

	return used ? ~0ULL << used : 0;
}

static int read_words(struct in *in, struct ram_file *b, uint64_t n)
{
	uint64_t word;

	for (uint64_t i = 0; i < n; i++) {
		if (in_bytes(in, &word, sizeof(word)) < 0)
			return in_error(in);
		word = le64toh(word);
		if (i == n - 1 && word & spare_bits(b))
			return in_fail(in, -EBADMSG,
				       "return path: bitmap of block '%s' has pages beyond the block's %" PRIu64, b->name,
				       b->n_pages);
		b->todo[i] = ~word;
	}
	if (n > 0)
		b->todo[n - 1] &= ~spare_bits(b);
	return 0;
}

int recv_bitmap_read(struct in *in, struct ram_file *b)
{
	uint64_t n = bitmap_words(b->n_pages), size = in_be64(in), end;

	if (!in_error(in) && size != n * sizeof(uint64_t))
		return in_fail(in, -EBADMSG, "return path: bitmap of block '%s' has %" PRIu64 " bytes instead of %" PRIu64,
			       b->name, size, n * sizeof(uint64_t));
	if (in_error(in) || read_words(in, b, n) < 0)
		return in_error(in);
	end = in_be64(in);
	if (!in_error(in) && end != WIRE_BITMAP_END)
		return in_fail(in, -EBADMSG, "return path: bitmap of block '%s' does not end where it should", b->name);
	return in_error(in);
}
