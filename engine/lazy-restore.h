/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy restore: a guest from a mapped-ram file runs as soon as all but its memory was loaded, and its pages are read when it
 * needs them, the others meanwhile (engine/lazy-fetch.h). It waits for pages as in post-copy (engine/fault-service.h), and has
 * its states.
 *
 *     block list: which pages there are > faults are served > state of the devices > the guest runs > all pages are here
 *
 * A page that cannot be read before the guest runs fails the restore. Afterwards there is no way back: who needs it waits,
 * status postcopy-paused, and it is tried again every second, for ever.
 *
 * Where the pages are is in the memo, for the successor of a worker that died: it reads the same file again, and goes on.
 *
 * Migration thread.
 */
#ifndef MIGD_ENGINE_LAZY_RESTORE_H
#define MIGD_ENGINE_LAZY_RESTORE_H

#include <stdbool.h>

#include "engine/mapped-file.h"

struct lazy_restore;
struct target;

/* T's pages are in FILE. -errno with T's error. */
int lazy_restore_new(struct target *t, const struct mapped_source_file *file);
/* Who waits for a page goes on waiting. */
void lazy_restore_done(struct target *t);

/* As mapped_reader_block(), but nothing is read of B yet. Errors are IN's. */
int lazy_restore_block(struct lazy_restore *l, struct in *in, struct ram_file *b);
/* All blocks came: from here on faults are served, and pages come. Errors are IN's. */
int lazy_restore_begin(struct lazy_restore *l, struct in *in);

/* Before the guest runs: -errno with T's error if pages could not be read. */
int lazy_restore_check(struct target *t);
/* It will not run: nobody is kept waiting. If pages could not be read, that is the better error. */
void lazy_restore_let_go(struct target *t);

/* It runs: until all of its memory is here, or its VMM is gone. Reports the end. */
void lazy_restore_serve(struct target *t);

/*
 * In place of a worker that died when the guest was loaded, or ran: go on, and activate it if that was not done; up to the
 * end. True: it runs here.
 */
bool lazy_restore_succeed(struct target *t);

#endif
