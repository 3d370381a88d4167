/* SPDX-License-Identifier: Apache-2.0 */
/* The outgoing stream. */
#include "engine/out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define ARENA_BYTES (32 * KIB)	/* headers waiting to be sent */
#define IOV_MAX_QUEUED 512
#define FLUSH_BYTES (1 * MIB)	/* queued bytes that make a send worth it */

struct out {
	struct chan *chan;
	struct rate *rate;
	struct stats_page *stats;
	int cancel_fd;
	out_input_fn on_input;
	void *on_input_opaque;
	int error;
	uint64_t offset;
	uint64_t queued;
	size_t n_iov;
	size_t arena_len;
	struct iovec iov[IOV_MAX_QUEUED];
	uint8_t arena[ARENA_BYTES];
};

struct out *out_new(struct chan *chan, struct rate *rate, struct stats_page *stats, int cancel_fd)
{
	struct out *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->chan = chan;
	o->rate = rate;
	o->stats = stats;
	o->cancel_fd = cancel_fd;
	return o;
}

struct out *out_free(struct out *o)
{
	free(o);
	return NULL;
}

void out_on_input(struct out *o, out_input_fn fn, void *opaque)
{
	o->on_input = fn;
	o->on_input_opaque = opaque;
}

uint64_t out_batch_bytes(const struct out *o)
{
	return rate_allowance(o->rate);
}

int out_error(const struct out *o)
{
	return o->error;
}

int out_fail(const struct out *o, int r, const char *what, struct merr *err)
{
	return chan_fail(o->chan, r, what, err);
}

uint64_t out_offset(const struct out *o)
{
	return o->offset;
}

static int write_queued(struct out *o)
{
	bool mind_input = o->on_input != NULL;
	int r;

	r = rate_spend(o->rate, o->queued, o->cancel_fd);
	if (r < 0)
		return r;
	for (;;) {
		r = chan_write(o->chan, o->iov, o->n_iov, mind_input, DEADLINE_NONE);
		if (r != -EAGAIN)
			return r;
		r = o->on_input(o->on_input_opaque);
		if (r < 0)
			return r;
		mind_input = r == 0;
	}
}

int out_flush(struct out *o)
{
	if (o->error || o->queued == 0)
		return o->error;
	o->error = write_queued(o);
	if (!o->error)
		stats_add(o->stats, transferred_bytes, o->queued);
	o->queued = 0;
	o->n_iov = 0;
	o->arena_len = 0;
	return o->error;
}

int out_tell(struct out *o, uint64_t *ret)
{
	int64_t at = out_flush(o) == 0 ? chan_tell(o->chan) : o->error;

	if (at < 0)
		return o->error = (int)at;
	*ret = (uint64_t)at;
	return 0;
}

int out_seek(struct out *o, uint64_t offset)
{
	if (out_flush(o) == 0)
		o->error = chan_seek(o->chan, offset);
	return o->error;
}

/* Queue LEN bytes that stay where they are; joins them to the entry before if they follow it in memory. */
static void queue(struct out *o, const void *p, size_t len)
{
	struct iovec *last = o->n_iov ? &o->iov[o->n_iov - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == (const uint8_t *)p)
		last->iov_len += len;
	else
		o->iov[o->n_iov++] =
			(struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = len };
	o->queued += len;
	o->offset += len;
}

static bool room(struct out *o, size_t arena_bytes)
{
	if (o->n_iov == IOV_MAX_QUEUED || o->arena_len + arena_bytes > ARENA_BYTES ||
	    o->queued >= FLUSH_BYTES)
		(void)out_flush(o);
	return !o->error;
}

void out_ref(struct out *o, const void *p, size_t len)
{
	if (len > 0 && room(o, 0))
		queue(o, p, len);
}

void out_bytes(struct out *o, const void *p, size_t len)
{
	if (len > ARENA_BYTES / 2) {
		out_ref(o, p, len);
		(void)out_flush(o);
		return;
	}
	if (len == 0 || !room(o, len))
		return;
	memcpy(o->arena + o->arena_len, p, len);
	queue(o, o->arena + o->arena_len, len);
	o->arena_len += len;
}

void out_u8(struct out *o, uint8_t v)
{
	out_bytes(o, &v, sizeof(v));
}

#define DEFINE_OUT(bits)                                    \
	void out_be##bits(struct out *o, uint##bits##_t v)  \
	{                                                   \
		uint8_t b[sizeof(v)];                       \
		store_be##bits(b, v);                       \
		out_bytes(o, b, sizeof(b));                 \
	}
DEFINE_OUT(16)
DEFINE_OUT(32)
DEFINE_OUT(64)

void out_str8(struct out *o, const char *s)
{
	size_t len = strlen(s);

	out_u8(o, (uint8_t)len);
	out_bytes(o, s, len);
}
