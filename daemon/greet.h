/* SPDX-License-Identifier: Apache-2.0 */
/* What an outgoing migration says at a host's shared port, on each of its connections, before anything else. */
#ifndef MIGD_DAEMON_GREET_H
#define MIGD_DAEMON_GREET_H

#include <stdbool.h>

#include "base/err.h"
#include "transport/greeting.h"

struct migration;

/*
 * Under TLS, what its worker's ClientHello has to say, if M's address asks for that; else false. ANNOUNCES: or a herald's, of
 * the connection on which M's guest is announced.
 */
bool greet_server_name(const struct migration *m, bool announces, char ret[GREETING_SERVER_NAME_MAX + 1]);

/*
 * In the clear: name M's guest on FD, which was just connected, if M's address asks for that; ANNOUNCES: as one that is
 * announced. -errno with ERR.
 */
int greet(const struct migration *m, bool announces, int fd, struct merr *err);
/* The name that it says. */
const char *greet_name(const struct migration *m);

#endif
