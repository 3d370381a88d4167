/* SPDX-License-Identifier: Apache-2.0 */
/* What an outgoing migration says at a host's shared port, on each of its connections, before anything else. */
#ifndef MIGD_DAEMON_GREET_H
#define MIGD_DAEMON_GREET_H

#include <stdbool.h>

#include "base/err.h"
#include "transport/greeting.h"

struct migration;

/* Under TLS, what its worker's ClientHello has to say, if M's address asks for that; else false. */
bool greet_server_name(const struct migration *m, char ret[GREETING_SERVER_NAME_MAX + 1]);

/* In the clear: name M's guest on FD, which was just connected, if M's address asks for that. -errno with ERR. */
int greet(const struct migration *m, int fd, struct merr *err);

#endif
