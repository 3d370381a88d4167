/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that takes post-copy over from one that died (mode `settle`): the library has the guest's memory, its userfaultfd, which
 * pages were received, and the memo (engine/postcopy-memo.h). All else is told by the other side when the two meet again.
 */
#ifndef MIGD_ENGINE_POSTCOPY_SUCCEED_H
#define MIGD_ENGINE_POSTCOPY_SUCCEED_H

struct source;
struct target;

/*
 * 1: post-copy goes on: by postcopy_recover(), or postcopy_target_finish(). 0: there is none, or it is over. -errno with the
 * side's error.
 */
int postcopy_succeed_source(struct source *s);
int postcopy_succeed_target(struct target *t);

#endif
