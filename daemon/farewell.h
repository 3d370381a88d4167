/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A last word to a peer that is sent away. A socket that is closed with bytes unread resets the connection, and the peer,
 * which is still sending, sees that before it reads why: so what it sends is taken, and dropped unseen, until it ends or
 * FAREWELL_MS are over.
 */
#ifndef MIGD_DAEMON_FAREWELL_H
#define MIGD_DAEMON_FAREWELL_H

#include <event2/event.h>
#include <stdbool.h>

#define FAREWELL_MS 2000U
/* At most so many at once; others are closed at once. */
#define FAREWELLS_MAX 64U

struct farewells;

struct farewells *farewells_new(struct event_base *base);
struct farewells *farewells_free(struct farewells *fs);

/*
 * To the peer of FD (taken over): TEXT, or under TLS an alert. READS: its bytes are taken. Those of a QEMU must not be: it takes
 * that for success, and its guest would be lost.
 */
void farewell(struct farewells *fs, int fd, bool tls, bool reads, const char *text);

#endif
