/* SPDX-License-Identifier: Apache-2.0 */
/* Multifd's channels as where a source's pages go. */
#include "engine/multifd-sink.h"

#include <stdlib.h>

#include "engine/wire.h"

struct multifd_sink {
	struct ram_sink sink;
	struct multifd_source *channels;
};

static struct multifd_sink *of(struct ram_sink *k)
{
	return (struct multifd_sink *)k;
}

static int pages(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, bool dense, struct merr *err)
{
	return multifd_source_send(of(k)->channels, b, page, n, dense, err);
}

static int drain(struct ram_sink *k, struct merr *err)
{
	return multifd_source_sync(of(k)->channels, err);
}

/* Each drain was a SYNC on every channel; this is the main stream's part of it. */
static int tell_sync(struct ram_sink *k, struct out *out, struct merr *err)
{
	(void)k;
	(void)err;
	out_be64(out, WIRE_RAM_MULTIFD_FLUSH);
	return 0;
}

static int end_pass(struct ram_sink *k, struct out *out, bool stopped, struct merr *err)
{
	(void)stopped;
	return tell_sync(k, out, err);
}

static void sink_free(struct ram_sink *k)
{
	free(k);
}

static const struct ram_sink_ops ops = {
	.pages = pages,
	.drain = drain,
	.order = tell_sync,
	.end_list = tell_sync,
	.end_pass = end_pass,
	.free = sink_free,
};

/*
 * To an older peer the end of the section says as much. In between there is nothing to be put in order: it is no migd, so it
 * is neither told of damage nor asks which blocks came.
 */
static const struct ram_sink_ops ops_by_section = {
	.pages = pages,
	.drain = drain,
	.free = sink_free,
};

static void found_zero(void *opaque, struct ram_file *b, uint64_t page, uint64_t n)
{
	ram_source_found_zero(opaque, b, page, n);
}

static int found_damaged(void *opaque, struct ram_file *b, uint64_t page, struct merr *err)
{
	return ram_source_found_damaged(opaque, b, page, err);
}

static int found_unreadable(void *opaque, struct ram_file *b, uint64_t page, int error, struct merr *err)
{
	return ram_source_found_unreadable(opaque, b, page, error, err);
}

struct ram_sink *multifd_sink_new(struct multifd_source *channels, struct ram_source *sender,
				  const struct multifd_dialect *d)
{
	struct multifd_sink *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	*k = (struct multifd_sink){ .sink.ops = d->sync_by_section ? &ops_by_section : &ops,
				    .channels = channels };
	multifd_source_zeros(channels, d->find_zeros, d->list_zeros);
	multifd_source_on(channels, &(struct multifd_findings){ .zero = found_zero,
								.damaged = found_damaged,
								.unreadable = found_unreadable,
								.opaque = sender });
	return &k->sink;
}
