/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preflight: before anything moves, the destination compares what the source says about its guest and itself with what is
 * there, and answers with every mismatch at once.
 *
 *   S>D  PREFLIGHT (flags, the source's capabilities), CONFIG (the guest's description)
 *   D>S  MISMATCH for each that is told, PREFLIGHT (how many there are), then CONFIG_OK, ERROR, or, for a source that
 *        only wanted to know, nothing: the destination goes on waiting
 *
 * A peer without HELLO_FEATURE_PREFLIGHT compares the description alone, and tells its mismatches as one text.
 */
#ifndef MIGD_ENGINE_PREFLIGHT_H
#define MIGD_ENGINE_PREFLIGHT_H

#include "engine/source.h"
#include "engine/target.h"

/*
 * Source. 0: all fits, go on. 1: it was to compare only, and that is done. Negative: it does not fit, or cannot be
 * compared; in the source's error. The mismatches are reported to the daemon in any case.
 */
int preflight_source(struct source *s);

/* Source, another peer: 0 unless it was to compare only. */
int preflight_impossible(struct source *s);

/*
 * Destination, after the opening: whether the source only compares, and what it has turned on. Nothing is read from a source
 * that does not know preflights. Errors are IN's; -ESTALE: the source does not migrate, it asks about a handover of before.
 */
struct preflight {
	bool only;
	struct mismatches found;
};
int preflight_receive(struct target *t, struct preflight *ret);

/* Destination: take the description, compare, answer. 0 if all fits or the source only compares. */
int preflight_target(struct target *t, struct preflight *p);

#endif
