/* SPDX-License-Identifier: Apache-2.0 */
/* The source's statistics while it sends: speeds by window, bytes by whether the guest ran when they went (QMP.md 9). */
#ifndef MIGD_ENGINE_SOURCE_STATS_H
#define MIGD_ENGINE_SOURCE_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct source;

/* Part of struct source. */
struct source_stats {
	uint64_t window_ns, window_bytes, window_pages;	/* at the window's start */
	uint64_t rate_ns, rate_pages;	/* at the last computation of dirty-pages-rate */
	uint64_t pass_ns;	/* the last pass began; 0: none did */
	uint64_t ram_offset;	/* in the stream: RAM's bytes up to here are attributed */
	bool sending_ram;
	bool tells_remaining;	/* whoever sends says how much remains: not what is on `todo` */
	bool stopped;		/* the guest did not run at the last sync */
	bool postcopy;		/* it runs on the target */
};

/* Before the first byte of RAM. */
void source_stats_begin(struct source *s);

/* Between these two all that is written is RAM. */
void source_stats_ram_begin(struct source *s);
void source_stats_ram_end(struct source *s);

/* Often, while sending. */
void source_stats_tick(struct source *s);

/* After a sync of the dirty bitmap. */
void source_stats_synced(struct source *s);

/* The daemon is told that the next pass begins; after source_stats_synced(). */
void source_stats_tell_pass(struct source *s);

/* The guest is stopped, and all that its last pass had to send was written. */
void source_stats_last_pass_over(struct source *s);

/* Bytes sent so far, in the stream (queued ones included) and beside it. */
uint64_t source_stats_bytes(const struct source *s);

/* Pages sent so far, as pages-per-second counts them. */
uint64_t source_stats_pages(const struct source *s);

#endif
