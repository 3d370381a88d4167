/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of a mapped-ram file: every page goes to its own place, from threads, straight out of the guest's memory. A
 * page that is zero has no place: its bit is clear, and in a file that was empty there is a hole.
 *
 * The bitmaps come last. Before them the file says that all of memory is zero; before the stream's head, which is later still
 * (chan_commit()), it says nothing at all.
 */
#ifndef MIGD_ENGINE_MAPPED_WRITER_H
#define MIGD_ENGINE_MAPPED_WRITER_H

#include <stdbool.h>

#include "engine/mapped-pool.h"
#include "engine/ram-sink.h"
#include "engine/rate.h"
#include "engine/stats-page.h"

struct mapped_target_file {
	int fd;			/* the stream's own */
	int direct_fd;		/* the same file with O_DIRECT: pages go there; or -1 */
	unsigned int n_threads;
	bool multifd;		/* the threads are its channels: counted and shown as such */
	bool all_in_full;	/* zero-page-detection none */
	int cancel_fd;
};

/* All is borrowed. -errno with ERR. */
int mapped_writer_new(struct ram *ram, const struct mapped_target_file *file, struct rate *rate,
		      struct stats_page *stats, struct ram_sink **ret, struct merr *err);

#endif
