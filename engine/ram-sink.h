/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a source's pages go when they do not go into its stream as records: to fixed places in a file
 * (engine/mapped-writer.h), or over channels of their own. What is sent, and when, stays with engine/ram-source.h; a sink
 * reads the pages, finds which are zero, and sends them, on threads of its own if it likes.
 *
 * The hooks are called on the migration thread; none may wait for long: what has no room, or is not done, gives -EAGAIN
 * within RAM_SINK_WAIT_MS, and is asked again after whatever else there is to do. Other failures are final, with ERR.
 * A sink counts what it sends in the statistics (transferred_bytes and beside_bytes, normal_pages, duplicate_pages) and
 * spends it from the migration's rate.
 */
#ifndef MIGD_ENGINE_RAM_SINK_H
#define MIGD_ENGINE_RAM_SINK_H

#include "base/err.h"
#include "engine/out.h"
#include "engine/ram.h"

#define RAM_SINK_WAIT_MS 50

struct ram_sink;

/* Hooks that do not apply are NULL; `pages`, `drain` and `free` are always there. */
struct ram_sink_ops {
	/* In the block list: B's name, length and address were queued, this is what follows them. */
	int (*list_block)(struct ram_sink *k, struct out *out, struct ram_file *b, struct merr *err);

	/*
	 * Send N pages from PAGE on, at most 512. A page comes once between two drains. DENSE: there is no hole in them, as
	 * far as is known: they may be mapped; what is a hole must be read by pread(), which does not fill it.
	 */
	int (*pages)(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
		     struct merr *err);
	/* Send N pages (at most 64) that hold DATA until the call returns. NULL: only memory itself can be sent. */
	int (*copies)(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data,
		      struct merr *err);
	/* The same where all is known to be zero. NULL: they are told in the stream. */
	int (*zero)(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err);

	/* 0: all that came so far is sent, and its memory not looked at any more. */
	int (*drain)(struct ram_sink *k, struct merr *err);

	/*
	 * Drained, and what the stream was told of pages in this pass counts before what comes from here on. NULL: it does
	 * anyway.
	 */
	int (*order)(struct ram_sink *k, struct out *out, struct merr *err);

	/* Drained, and the body of a section is about to end: START's, a pass's, or the last one's (the guest is stopped). */
	int (*end_list)(struct ram_sink *k, struct out *out, struct merr *err);
	int (*end_pass)(struct ram_sink *k, struct out *out, bool stopped, struct merr *err);

	/* Whatever happened; what is under way is given up. */
	void (*free)(struct ram_sink *k);
};

/* The first member of a sink's own struct. */
struct ram_sink {
	const struct ram_sink_ops *ops;
};

#endif
