/* SPDX-License-Identifier: Apache-2.0 */
/* The incoming stream. */
#include "engine/in.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

#define BUFFER_BYTES (256 * KIB)	/* stays in a core's cache */

/* From here on moving the payload by splice beats copying it through the buffer. */
#define SPLICE_MIN_BYTES (64 * KIB)

/*
 * After a spliced payload only the next record's header is read ahead (a run's, the common case), so that the next
 * payload is spliced whole and page-aligned too. Anything else that follows widens the reads again.
 */
#define HEADER_READ_BYTES 12

struct in {
	struct chan *chan;
	struct stats_page *stats;
	struct merr *err;
	uint64_t timeout_ms;
	uint64_t offset;
	uint64_t silent_ms;
	int error;
	bool lost;
	bool narrow;	/* read header_bytes only, once */
	bool no_splice;
	size_t header_bytes;
	in_silence_fn on_silence;
	void *on_silence_opaque;
	size_t pos, len;
	uint8_t buf[BUFFER_BYTES];
};

struct in *in_new(struct chan *chan, struct stats_page *stats, struct merr *err)
{
	struct in *in = malloc(sizeof(*in));

	if (!in)
		return NULL;
	memset(in, 0, offsetof(struct in, buf));
	in->chan = chan;
	in->stats = stats;
	in->err = err;
	in->header_bytes = HEADER_READ_BYTES;
	return in;
}

struct in *in_free(struct in *in)
{
	free(in);
	return NULL;
}

void in_set_err(struct in *in, struct merr *err)
{
	in->err = err;
}

void in_timeout(struct in *in, uint64_t ms)
{
	in->timeout_ms = ms;
}

void in_on_silence(struct in *in, in_silence_fn fn, void *opaque)
{
	in->on_silence = fn;
	in->on_silence_opaque = opaque;
}

void in_header_bytes(struct in *in, size_t n)
{
	in->header_bytes = n;
}

uint64_t in_silent_ms(const struct in *in)
{
	return in->silent_ms;
}

int in_error(const struct in *in)
{
	return in->error;
}

bool in_is_lost(const struct in *in)
{
	return in->lost;
}

uint64_t in_offset(const struct in *in)
{
	return in->offset;
}

bool in_ready(const struct in *in)
{
	return in->pos < in->len || chan_readable(in->chan);
}

int (in_fail)(struct in *in, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (in->error)
		return in->error;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	in->error = merr_set(in->err, code, "stream offset %" PRIu64 ": %s", in->offset, text);
	return in->error;
}

static int fail_read(struct in *in, int r)
{
	const char *why = chan_why(in->chan);

	in->lost = !in->error && chan_is_lost(r) && chan_tell(in->chan) < 0;
	if (why && r != -ETIMEDOUT && r != -ECANCELED)
		return in_fail(in, r, "%s", why);
	if (r == -ENODATA && chan_tell(in->chan) >= 0)
		return in_fail(in, -ENODATA, "the file ends before the stream does: it was cut off, or is still being "
			       "written");
	if (r == -ENODATA)
		return in_fail(in, -ENODATA, "the peer closed the connection in mid-stream; its log may say why");
	if (r == -ETIMEDOUT)
		return in_fail(in, r, "nothing came from the peer for %" PRIu64 " ms",
			       in->silent_ms);
	if (r == -ECANCELED) {
		in->error = merr_set(in->err, r, "cancelled");
		return in->error;
	}
	return in_fail(in, r, "reading from the peer: %s", strerror(-r));
}

int in_fail_answer(struct in *in, int r)
{
	in->lost = !in->error && chan_is_lost(r);
	return in_fail(in, r, "answering the source: %s", strerror(-r));
}

static uint64_t deadline(const struct in *in)
{
	return in->timeout_ms ? clock_now_ns() + in->timeout_ms * NS_PER_MS : DEADLINE_NONE;
}

/* The time for one byte is over; true: wait once more. */
static bool wait_on(struct in *in)
{
	in->silent_ms += in->timeout_ms;
	return in->on_silence && in->on_silence(in->on_silence_opaque);
}

/* Read more behind what is buffered: how much, or -errno; 0 at the end of the stream. */
static ssize_t read_more(struct in *in)
{
	size_t want = in->narrow ? in->header_bytes : sizeof(in->buf) - in->len;
	ssize_t n;

	do {
		n = chan_read(in->chan, in->buf + in->len, want, deadline(in));
	} while (n == -ETIMEDOUT && wait_on(in));
	if (n <= 0)
		return n;
	in->silent_ms = 0;
	in->narrow = false;
	in->len += (size_t)n;
	if (in->stats)
		stats_add(in->stats, received_bytes, n);
	return n;
}

static int fill(struct in *in)
{
	ssize_t n = in->error ? in->error : read_more(in);

	if (in->error)
		return in->error;
	return n > 0 ? 0 : fail_read(in, n == 0 ? -ENODATA : (int)n);
}

bool in_at_end(struct in *in)
{
	ssize_t n;

	if (in->error || in->pos < in->len)
		return false;
	in->pos = in->len = 0;
	n = read_more(in);
	/* The end is where it may be: that TLS was not told of it is what older peers do (WIRE.md 10.3). */
	if (n < 0 && n != -ENODATA)
		(void)fail_read(in, (int)n);
	return n == 0 || n == -ENODATA;
}

/* Up to LEN buffered bytes, at least one; NULL on failure. */
static const uint8_t *take(struct in *in, size_t len, size_t *ret_len)
{
	const uint8_t *p;

	if (in->pos == in->len) {
		in->pos = in->len = 0;
		if (fill(in) < 0)
			return NULL;
	}
	*ret_len = min_u64(len, in->len - in->pos);
	p = in->buf + in->pos;
	in->pos += *ret_len;
	in->offset += *ret_len;
	return p;
}

int in_bytes(struct in *in, void *p, size_t len)
{
	uint8_t *to = p;
	const uint8_t *from;
	size_t all = len, n;

	while (len > 0) {
		from = in->error ? NULL : take(in, len, &n);
		if (!from) {
			memset(p, 0, all);
			return in->error;
		}
		memcpy(to, from, n);
		to += n;
		len -= n;
	}
	return in->error;
}

const uint8_t *in_view(struct in *in, size_t min, size_t *ret_len)
{
	if (in->error)
		return NULL;
	if (in->len - in->pos < min) {
		memmove(in->buf, in->buf + in->pos, in->len - in->pos);
		in->len -= in->pos;
		in->pos = 0;
	}
	while (in->len - in->pos < min)
		if (fill(in) < 0)
			return NULL;
	*ret_len = in->len - in->pos;
	return in->buf + in->pos;
}

uint8_t in_peek(struct in *in)
{
	size_t len;
	const uint8_t *p = in_view(in, 1, &len);

	return p ? *p : 0;
}

int in_skip(struct in *in, uint64_t len)
{
	size_t n;

	for (; len > 0; len -= n)
		if (in->error || !take(in, min_u64(len, BUFFER_BYTES), &n))
			return in->error;
	return in->error;
}

int in_tell(struct in *in, uint64_t *ret)
{
	int64_t at = in->error ? in->error : chan_tell(in->chan);

	if (at < 0)
		return in_fail(in, (int)at, "the stream is no regular file");
	*ret = (uint64_t)at - (in->len - in->pos);
	return 0;
}

int in_seek(struct in *in, uint64_t offset)
{
	uint64_t at = 0;
	int r;

	if (in_tell(in, &at) < 0)
		return in->error;
	r = chan_seek(in->chan, offset);
	if (r < 0)
		return in_fail(in, r, "seeking in the file: %s", strerror(-r));
	in->offset += offset - at;
	in->pos = in->len = 0;
	return 0;
}

#define DEFINE_IN(name, type, load)              \
	type in_##name(struct in *in)            \
	{                                        \
		uint8_t b[sizeof(type)];         \
		/* Not what came of it before the stream ended: zeros, as promised. */ \
		return in_bytes(in, b, sizeof(b)) < 0 ? 0 : load(b); \
	}
DEFINE_IN(u8, uint8_t, load_u8)
DEFINE_IN(be16, uint16_t, load_be16)
DEFINE_IN(be32, uint32_t, load_be32)
DEFINE_IN(be64, uint64_t, load_be64)

int in_str8(struct in *in, const char *field, char buf[256])
{
	uint8_t len = in_u8(in);

	if (!in->error && len == 0)
		return in_fail(in, -EBADMSG, "%s is empty", field);
	if (in_bytes(in, buf, len) < 0)
		return in->error;
	buf[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isprint((unsigned char)buf[i]))
			return in_fail(in, -EBADMSG, "%s has an unprintable byte 0x%02x", field,
				       (unsigned char)buf[i]);
	return 0;
}

static int fail_write(struct in *in, int r, const char *name, uint64_t offset)
{
	return in_fail(in, r, "writing guest memory '%s' at offset %" PRIu64 ": %s", name, offset,
		       strerror(-r));
}

/* The whole middle part by splice; *done tells how much of LEN was moved. */
static int splice_part(struct in *in, int fd, uint64_t offset, uint64_t len, const char *name,
		       uint64_t *done)
{
	uint64_t n;
	int r;

	*done = 0;
	if (in->no_splice || len < SPLICE_MIN_BYTES)
		return 0;
	do {
		r = chan_read_to_file(in->chan, fd, offset + *done, len - *done, deadline(in), &n);
		*done += n;
		in->silent_ms = n > 0 ? 0 : in->silent_ms;
	} while (r == -ETIMEDOUT && (n > 0 || wait_on(in)));
	if (r == -ENOTSUP) {
		in->no_splice = true;
		return 0;
	}
	if (r == -ENOSPC || r == -EIO || r == -EFBIG || r == -ENOMEM)
		return fail_write(in, r, name, offset);
	if (r < 0)
		return fail_read(in, r);
	in->offset += len;
	in->narrow = true;
	if (in->stats)
		stats_add(in->stats, received_bytes, len);
	return 0;
}

int in_to_file(struct in *in, int fd, uint64_t offset, uint64_t len, const char *name)
{
	const uint8_t *from;
	uint64_t done;
	size_t n;
	int r;

	while (len > 0 && !in->error) {
		if (in->pos == in->len) {
			if (splice_part(in, fd, offset, len, name, &done) < 0)
				return in->error;
			offset += done;
			len -= done;
			if (len == 0)
				break;
		}
		from = take(in, len, &n);
		if (!from)
			return in->error;
		r = fd_pwrite_full(fd, from, n, offset);
		if (r < 0)
			return fail_write(in, r, name, offset);
		offset += n;
		len -= n;
	}
	return in->error;
}
