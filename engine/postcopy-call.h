/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy: calls to the library that look at the guest's memory, such as loading its state or making it run. What they look
 * at may still be at the source, and would never come if this side only waited for the call.
 */
#ifndef MIGD_ENGINE_POSTCOPY_CALL_H
#define MIGD_ENGINE_POSTCOPY_CALL_H

#include <stdbool.h>

#include "base/err.h"

struct target;

/* Errors are ERR's; nothing else of T is to be used but its guest link. */
typedef int (*postcopy_call_fn)(struct target *t, void *opaque, struct merr *err);

/*
 * FN on a thread of its own, while pages that come on T's connection are taken; without post-copy, just FN. What FN
 * returns, or why the connection broke before, then with T's error. MUST_END: once begun nothing takes the call back, and a
 * broken connection is no reason to give it up: whoever waits for a page may wait until the library is given up.
 */
int postcopy_call(struct target *t, postcopy_call_fn fn, void *opaque, bool must_end);

#endif
