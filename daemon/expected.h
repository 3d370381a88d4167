/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that other hosts announce (docs/evacuation.md): heard by a herald, checked, given a VMM, armed, and the source is told
 * that it can begin:
 *
 *     HEARING > STARTING (the hook) > ARMING > READY > its source has come, or nobody did in EXPECTED_UNUSED_MS
 *
 * Whatever goes wrong ends what was started, and the source is told why. Who may announce is decided as it is for migrations:
 * by TLS where the host has it. What can be going on at once is bounded, altogether and for each source address.
 */
#ifndef MIGD_DAEMON_EXPECTED_H
#define MIGD_DAEMON_EXPECTED_H

#include <stddef.h>
#include <stdint.h>

#include "schema/types.h"
#include "transport/greeting.h"

/* At once, until they are READY; and those that have not said yet which guest it is. */
#define EXPECTED_MAX	     64U
#define EXPECTED_HEARING_MAX 32U
/* Of one source address: at once, and in EXPECTED_PERIOD_MS. */
#define EXPECTED_BY_SOURCE_MAX 24U
#define EXPECTED_RATE_MAX      512U
#define EXPECTED_PERIOD_MS     10000U
#define EXPECTED_UNUSED_MS     60000U

struct daemon;
struct expected;
struct guest;

struct expected *expected_new(struct daemon *d);
/* Sources lose their connection, and keep their guests. What hooks started stays. */
struct expected *expected_free(struct expected *x);

/*
 * The connection FD begins with G, which announces. SOURCE, LEN bytes of at most EXPECTED_SOURCE_MAX: whom it comes from; all
 * zero: nobody in particular. 0: FD is taken over; else why it is to be sent away.
 */
#define EXPECTED_SOURCE_MAX 16U
enum host_refusal expected_hear(struct expected *x, int fd, const struct greeting *g, const uint8_t *source, size_t len);

/* A VMM has attached as G. */
void expected_attached(struct daemon *d, struct guest *g);

#endif
