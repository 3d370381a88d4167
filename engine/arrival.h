/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection of an incoming migration is, by its first bytes: WIRE.md 1.1, 5.1, 7.4, 7.5. */
#ifndef MIGD_ENGINE_ARRIVAL_H
#define MIGD_ENGINE_ARRIVAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/wire.h"

enum arrival {
	ARRIVAL_MAIN = 1,	/* or anything else: the opening will tell */
	ARRIVAL_MULTIFD,	/* its hello is there to be read: engine/multifd-packet.h */
	ARRIVAL_URGENT,		/* a migd's; its hello, too: engine/urgent-channel.h */
};

#define ARRIVAL_MAGIC_LEN 4
/* Of a main stream: magic, version. */
#define ARRIVAL_HEADER_LEN 8
/* So many have to be looked at: header, configuration with a machine's name, and what follows. */
#define ARRIVAL_HEAD_LEN (ARRIVAL_HEADER_LEN + 5 + WIRE_NAME_MAX + 1)

/*
 * What N bytes begin (-errno: none), and how many of them must be there. A main stream that was begun has to go on behind its
 * configuration: the opening takes one connection at a time, and whoever connects and stops there would hold up the source.
 * A TLS peer, which had to show who it is (ENCRYPTED), sends records: what is in the next one cannot be seen, and not be waited
 * for.
 */
enum arrival arrival_kind(const uint8_t *head, ssize_t n, bool encrypted, ssize_t *ret_needs);

#endif
