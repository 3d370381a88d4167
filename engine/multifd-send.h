/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One channel of multifd at the source: reads guest memory, finds zeros, and writes packets. On the channel's own thread.
 *
 * Runs from 256 KiB up that have no holes are mapped, a job's worth at most, and sent by reference; all others are read into a
 * buffer. engine/ram-source.h says why.
 */
#ifndef MIGD_ENGINE_MULTIFD_SEND_H
#define MIGD_ENGINE_MULTIFD_SEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/multifd-packet.h"
#include "engine/ram.h"
#include "engine/rate.h"
#include "engine/stats-page.h"
#include "schema/types.h"
#include "transport/chan.h"

/* Pages of one job: 2 MiB, one page of page table. */
#define MULTIFD_JOB_PAGES 512U
#define MULTIFD_JOB_RUNS 64U

/* Pages to be sent. What became of them is set by the channel. */
struct multifd_job {
	struct ram_file *block;
	uint32_t n_pages, n_runs;
	struct {
		uint64_t page;
		uint32_t n;
		bool dense;	/* none of them is a hole */
	} runs[MULTIFD_JOB_RUNS];

	/* By place in the job. */
	uint64_t zero[MULTIFD_JOB_PAGES / 64];		/* zero, and not told to the peer */
	uint64_t damaged[MULTIFD_JOB_PAGES / 64];	/* the hardware has lost them: not sent */
	int error;		/* -errno: reading guest memory at `error_page` failed */
	uint64_t error_page;
};

/* What the channels of a migration have in common. Pointers are borrowed. */
struct multifd_common {
	struct rate *rate;
	struct stats_page *stats;
	int stop_fd;			/* wake: give up */
	enum multi_fd_compression codec;
	unsigned int level;
	unsigned int n_zero_copy;	/* channels that do without copies: all of them, or 0 */
	_Atomic uint64_t n_packets;
	/* The migration thread may change these between two sync points. */
	atomic_bool find_zeros;
	atomic_bool list_zeros;		/* in packets; otherwise in the job */
};

struct multifd_sender;

/* CHAN is taken over. NULL with ERR. */
struct multifd_sender *multifd_sender_new(struct multifd_common *common, struct chan *chan, unsigned int id,
					  struct merr *err);
struct multifd_sender *multifd_sender_free(struct multifd_sender *s);

/* Each 0 or -errno: the channel is of no use any more. */
int multifd_send_hello(struct multifd_sender *s, const struct multifd_hello *h);
int multifd_send_job(struct multifd_sender *s, struct multifd_job *job);
int multifd_send_sync(struct multifd_sender *s);

/* Why it failed. After that. */
const struct merr *multifd_sender_error(const struct multifd_sender *s);

/* Bytes written; any thread. */
uint64_t multifd_sender_bytes(const struct multifd_sender *s);

#endif
