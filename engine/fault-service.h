/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving the faults of a guest whose pages are not all here: who waits for what, showing pages that came, and how long it
 * took. Where pages come from is somebody else's: `want` is told what is waited for, and whoever puts a page into its
 * block's file, and then sets its `received` bits, says so by fault_service_show().
 *
 *     fault thread    a fault > waits, `requested` bit > received? > shown, or else wanted, once
 *     whoever places  file, `received` bit > shown > requested? > no one waits any more
 *
 * Each side sets its own bit before it looks at the other's (sequentially consistent): no fault is forgotten in between.
 * Pages here are WIRE_PAGE_SIZE; what is waited for, wanted and shown are whole pages of the block's own size.
 */
#ifndef MIGD_ENGINE_FAULT_SERVICE_H
#define MIGD_ENGINE_FAULT_SERVICE_H

#include "engine/guest-link.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

struct fault_service;

struct fault_ops {
	/*
	 * Fault thread, or fault_service_ask_again(): N pages from PAGE on, one page of B's own size, are waited for. Once for
	 * each, until asked again. Whether they will come, and when, nobody is told.
	 */
	void (*want)(void *opaque, const struct ram_file *b, uint64_t page, uint64_t n);
};

/*
 * UFFD's descriptor is taken over, the rest borrowed; the blocks' `received` maps are there. A thread begins to serve at
 * once; with a predecessor's userfaultfd everybody who waits is asked to say so again. NULL with ERR.
 */
struct fault_service *fault_service_new(struct ram *ram, const struct guest_uffd *uffd, struct stats_page *stats,
					const struct fault_ops *ops, void *opaque, struct merr *err);
/* Ends the thread. Who waits goes on waiting, as long as the library has the userfaultfd. NULL is fine; returns NULL. */
struct fault_service *fault_service_free(struct fault_service *s);

/*
 * These pages are in their file, or are holes that the file has in their place, and are `received`. Any thread. 0; what
 * fails is also fault_service_failure()'s.
 */
int fault_service_show(struct fault_service *s, struct ram_file *b, uint64_t page, uint64_t n);
/* The same for what is known to be holes: they stay holes until somebody looks at them. */
int fault_service_show_holes(struct fault_service *s, struct ram_file *b, uint64_t page, uint64_t n);

/* Whoever was asked for pages may have forgotten: want them again. Those that came meanwhile are shown. Any thread. */
void fault_service_ask_again(struct fault_service *s);

/*
 * The guest will never run: whoever waits gets whatever there is, so that its VMM is not stuck. Not to be called once it
 * runs.
 */
void fault_service_give_up(struct fault_service *s);

/* Readable when a page could not be shown, or the userfaultfd not be read; why: 0 or -errno with ERR. */
int fault_service_failed_fd(const struct fault_service *s);
int fault_service_failure(struct fault_service *s, struct merr *err);
/* Try again: whoever waits for a page that is here gets it, or the next failure. */
void fault_service_recover(struct fault_service *s);

/* Somebody waits for this page. */
bool fault_service_is_requested(struct fault_service *s, const struct ram_file *b, uint64_t page);
/* Pages that are waited for just now. */
uint64_t fault_service_requested(struct fault_service *s);

#endif
