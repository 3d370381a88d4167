/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of an incoming migration, from accept() until it is known what they are: all are served at once, for
 * the first byte on the main one comes only after the others are connected (WIRE.md 5.1), and none may hold up another.
 *
 *     accept, or passed on > handshake > preamble, if any
 *         > first bytes: a hello of multifd, or of the urgent channel; or else the main stream, which has to go on
 *           behind its header (engine/arrival.h)
 *
 * Those that come by the host's shared port were accepted by the daemon, and say which guest they are for
 * (transport/greeting.h). A preamble is read here, on whatever way it comes: it has to name the guest that waits.
 *
 * A connection that does not get so far in RECEPTION_TIMEOUT_MS, or that takes longest when there are too many, is dropped,
 * with a word in the log and in query-migrate. One whose handshake failed is told so, and read out for a moment: bytes that
 * nobody read turn the close into a reset, which can overtake the word. Migration thread.
 */
#ifndef MIGD_ENGINE_RECEPTION_H
#define MIGD_ENGINE_RECEPTION_H

#include <stdbool.h>

#include "base/err.h"
#include "engine/arrival.h"
#include "transport/chan.h"

struct migration;
struct reception;

/* For the handshake, the preamble and the first bytes. */
#define RECEPTION_TIMEOUT_MS 10000
/* For reading it out. */
#define RECEPTION_GOODBYE_MS 2000

/*
 * At most so many connections wait here: the channels of one migration, and as many others. One that is too many is made room
 * for by where most come from (transport/origin.h).
 */
#define RECEPTION_MAX 512U

/* Told about a connection that is dropped. WHY may be changed. */
typedef void (*reception_refuse_fn)(void *opaque, struct merr *why);

/*
 * Of M's stream_fd: a listening socket, which stays M's, or the one connection there is, which is taken over; and of M's
 * arrivals, if it waits at the shared port. NULL: out of memory or descriptors.
 */
struct reception *reception_new(struct migration *m, reception_refuse_fn fn, void *opaque);
struct reception *reception_free(struct reception *r);

/*
 * FD (taken over): from now on it is this one that connections come by, or that is the connection; another listening socket,
 * M's stream_fd, is closed.
 */
void reception_replace(struct reception *r, int fd);

/* Readable when reception_work() has something to do; but see reception_deadline(). */
int reception_fd(const struct reception *r);
/* When reception_work() is to be called at the latest, monotonic ns. */
uint64_t reception_deadline(const struct reception *r);

/* Whether more connections can come. */
bool reception_open(const struct reception *r);
/* Whether one is, or will be, there to take: open, or the only one was not refused. */
bool reception_hopeful(const struct reception *r);

/* Whatever can be done without waiting. */
void reception_work(struct reception *r);

/* The longest waiting connection of KIND, whose first bytes are still to be read; the caller's. NULL: there is none. */
struct chan *reception_take(struct reception *r, enum arrival kind);

/*
 * A QEMU's urgent channel says nothing for as long as nobody needs it (WIRE.md 7.4): keep those that are silent, however long.
 * reception_take_silent(): the first of them, after its handshake; the caller's. NULL: there is none.
 */
void reception_keep_silent(struct reception *r);
struct chan *reception_take_silent(struct reception *r);

/* How many of KIND there are to take. */
unsigned int reception_count(const struct reception *r, enum arrival kind);

#endif
