/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's channels of multifd: one thread each sends pages that the migration thread hands over.
 *
 * Any channel takes any job: within a pass a page is handed over once, and between two passes lies a sync point, at which
 * every channel has written all it took, and then a SYNC packet. So two versions of a page never overtake each other
 * (WIRE.md 3.4). What is found about pages (zeros that are not listed in packets, damage) comes back with the job, and is
 * told on the migration thread.
 *
 * All calls are the migration thread's. Each gives 0 or -errno; a channel's failure has its reason in
 * multifd_source_why(), all others in ERR. -EAGAIN: MULTIFD_WAIT_MS passed; see to other things, and call again.
 */
#ifndef MIGD_ENGINE_MULTIFD_SOURCE_H
#define MIGD_ENGINE_MULTIFD_SOURCE_H

#include "engine/multifd-send.h"

#define MULTIFD_WAIT_MS 50

struct multifd_source;

/* What the channels found out. */
struct multifd_findings {
	void (*zero)(void *opaque, struct ram_file *b, uint64_t page, uint64_t n);
	int (*damaged)(void *opaque, struct ram_file *b, uint64_t page, struct merr *err);
	int (*unreadable)(void *opaque, struct ram_file *b, uint64_t page, int error, struct merr *err);
	void *opaque;
};

struct multifd_options {
	unsigned int n;			/* channels */
	enum multi_fd_compression codec;
	unsigned int level;
	bool zero_copy;			/* capability zero-copy-send */
	struct rate *rate;		/* borrowed, as STATS */
	struct stats_page *stats;
	int cancel_fd;			/* ends waits */
};

/*
 * Take over O->n CHANS (also when it fails) and send each its hello, with its number for an id. NULL with ERR.
 */
struct multifd_source *multifd_source_new(const struct multifd_options *o, struct chan **chans,
					  const struct multifd_hello *hello, struct merr *err);
/* Ends the threads, whatever they wait for, and closes the channels. NULL is fine; returns NULL. */
struct multifd_source *multifd_source_free(struct multifd_source *s);

void multifd_source_on(struct multifd_source *s, const struct multifd_findings *f);

/* Between two sync points. LIST: tell of zeros in packets, which a QEMU before 9.0 does not see. */
void multifd_source_zeros(struct multifd_source *s, bool find, bool list);

/* Hand N pages (at most MULTIFD_JOB_PAGES) over, to be read from now on until the next sync point. DENSE: none is a hole. */
int multifd_source_send(struct multifd_source *s, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
			struct merr *err);

/* A sync point: all is written. The caller then tells the main stream. */
int multifd_source_sync(struct multifd_source *s, struct merr *err);

/* A channel failed: true, and why in ERR unless that has an error already. */
bool multifd_source_why(struct multifd_source *s, struct merr *err);

/* Now and then: the channels' speeds, for the statistics. */
void multifd_source_tick(struct multifd_source *s);

#endif
