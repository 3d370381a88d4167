/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the host's shared ports, from accept() to a guest's worker:
 *
 *     accepted > the greeter says which guest it is for > that guest's worker gets it, untouched (ARRIVAL)
 *
 * Anybody can connect. What can be waiting is bounded, altogether and by source address, and has ARRIVAL_TIMEOUT_MS to say
 * what it is; when there are too many, the one that waits longest goes. So does whoever names a guest that does not
 * wait: it is told so, in what it speaks.
 */
#ifndef MIGD_DAEMON_ARRIVALS_H
#define MIGD_DAEMON_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/types.h"

#define ARRIVAL_TIMEOUT_MS 10000U
/* From one IPv4 address, IPv6 network of 64 bits, or vsock context: the channels of one migration. */
#define ARRIVALS_BY_SOURCE_MAX 256U

struct arrivals;
struct daemon;

/* What a shared port has seen. */
struct arrival_counts {
	uint64_t connections, passed;
	uint64_t refused[HOST_REFUSAL__MAX];
	uint32_t undecided;
};

/*
 * RESUME is called, from the loop, after arrivals_add() had to say that it takes no more. NULL: no memory.
 */
struct arrivals *arrivals_new(struct daemon *d, void (*resume)(struct daemon *d));
struct arrivals *arrivals_free(struct arrivals *as);

/* One more, on FD (taken over), counted in COUNTS, which stays until arrivals_forget(). */
void arrivals_add(struct arrivals *as, int fd, struct arrival_counts *counts);
/* False: no more can be looked at just now; leave them in the backlog until RESUME. */
bool arrivals_ready(const struct arrivals *as);

/* COUNTS' port is closed: drop what is undecided of it. */
void arrivals_forget(struct arrivals *as, const struct arrival_counts *counts);

#endif
