/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody may have meant. */
#ifndef MIGD_DAEMON_NEAREST_H
#define MIGD_DAEMON_NEAREST_H

#include <stddef.h>

/* How many letters have to be put in, taken out or replaced to make A of B, which does not care for case; long ones: many. */
size_t nearest_distance(const char *a, const char *b);

/* Whether somebody who wrote WORD may have meant one that is so far from it. */
int nearest_is_likely(const char *word, size_t distance);

#endif
