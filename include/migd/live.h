/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large devices: state that is sent piece by piece while the guest runs, as its RAM is, because all of it would take too
 * long while the guest is stopped. A device that has some such state (private memory, say) registers it here, besides
 * describing its registers with migd_guest_add_device(). Include through <migd/guest.h>.
 *
 * What happens on the source, in this order:
 *
 *     setup                       begin to note what the guest changes; everything counts as changed
 *     pending, iterate, ...       pass after pass, while the guest runs
 *     complete, ...               the guest is stopped, and its devices' descriptions were saved: the rest
 *     cleanup                     once, however the migration ended; not before a setup
 *
 * and on the target:
 *
 *     load_setup                  it begins
 *     load, ...                   what iterate and complete made, chunk by chunk, in the same order
 *     load_done                   there is no more; check it as a whole. Registers are loaded after it
 *     load_cleanup                once, however it ended; not before a load_setup
 *
 * All run on the service thread, like other callbacks. While one runs, nothing else of the library does: no pause, no
 * heartbeat, no cancel. So the work of one call is bounded by its chunk (256 KiB at most), and none may wait for
 * anything. vCPUs run meanwhile, up to `complete`: the device locks what it shares with them.
 */
#ifndef MIGD_LIVE_H
#define MIGD_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct migd_guest;

/* A buffer to be filled. Only to be written: the worker sees it as well. */
struct migd_live_chunk {
	uint8_t *data;
	size_t cap;	/* bytes that fit, 64 KiB or more */
	size_t len;	/* set it: bytes that were put there; 0: nothing to send just now */
	bool more;	/* set it: false: all that was pending has been sent */
};

/* Functions that return int: 0, or a negative errno that fails the migration. NULL where the comment says so. */
struct migd_live {
	size_t size;			/* sizeof(struct migd_live) */
	/* 1..127 bytes; with INSTANCE unique among these and the devices of migd_guest_add_device(). */
	const char *name;
	uint32_t instance;
	uint32_t version;		/* of what iterate and complete make; a greater one is refused on load */
	uint32_t minimum_version;	/* a smaller one is refused on load */
	void *opaque;			/* first argument of each */

	/* Source. setup, pending and cleanup may be NULL. */
	int (*setup)(void *opaque);
	/*
	 * About how many bytes iterate and complete would still give. The guest is stopped once this, with everything else,
	 * can be sent within the downtime limit. EXACT: take a good look; else what is known.
	 */
	int (*pending)(void *opaque, bool exact, uint64_t *ret_bytes);
	/* Fill a chunk with what changed since it was last sent. Chunks reach `load` as they are, whole. */
	int (*iterate)(void *opaque, struct migd_live_chunk *chunk);
	/* The same while the guest is stopped; called until `more` is false. */
	int (*complete)(void *opaque, struct migd_live_chunk *chunk);
	/* MOVED: the guest runs on the target now. Else it goes on here. */
	void (*cleanup)(void *opaque, bool moved);

	/* Target. All but load may be NULL. What is loaded is a peer's: check every byte. */
	int (*load_setup)(void *opaque, uint32_t version);
	int (*load)(void *opaque, const void *data, size_t len, uint32_t version);
	int (*load_done)(void *opaque);
	/* ARRIVED: the guest runs here now. Else it will not. */
	void (*load_cleanup)(void *opaque, bool arrived);
	/*
	 * False: this device has to prepare, or to receive, more before the guest may be stopped on the source. Asked again and
	 * again; matters only with the capability switchover-ack on both sides. NULL: always ready.
	 */
	bool (*load_ready)(void *opaque);

	/*
	 * For a device that the guest must give up before it can be migrated (a passed-through one with a stand-in). When a
	 * migration begins and unplug_pending says true, unplug is called, once, to ask the guest for it, and the migration waits
	 * in the state `wait-unplug`, without a time limit, until unplug_pending says false. cleanup may plug it in again. A
	 * device may have these two only, without iterate, complete and load: then nothing of it is sent.
	 */
	bool (*unplug_pending)(void *opaque);
	int (*unplug)(void *opaque);
};

/*
 * Register state that is sent while the guest runs. *LIVE is copied, NAME too. Before migd_guest_start(). -EINVAL: a
 * callback is missing, or a version or name wrong; -EEXIST: the name is taken; -EBUSY: started; -E2BIG: more than 32.
 */
int migd_guest_add_live(struct migd_guest *guest, const struct migd_live *live);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
