/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stream begins, and how two migds recognise each other in it (DESIGN.md "The wire").
 *
 *   S>D  magic, version, configuration, OPEN_RETURN_PATH, PING "migd"
 *   D>S  HELLO (version, features), PONG "migd"           QEMU answers the PONG alone
 *   S>D  HELLO (version, features both have, handover id, guest's name)
 *
 * A connection made to ask about a handover in doubt begins in the same way. QEMU's PING has another value, or there is
 * none, or no return path: the section `ram` comes next, and with it it is clear that this is a QEMU's migration.
 */
#ifndef MIGD_ENGINE_OPENING_H
#define MIGD_ENGINE_OPENING_H

#include "attach/proto.h"
#include "engine/configuration.h"
#include "engine/handler.h"
#include "engine/in.h"
#include "engine/out.h"
#include "engine/peer.h"

#define HELLO_VERSION 1

enum hello_feature {
	HELLO_FEATURE_RUNS = 1 << 0,	 /* page records for runs of pages (WIRE_RAM_RUN) */
	HELLO_FEATURE_HANDOVER = 1 << 1, /* the two-phase commit; both must have it */
	HELLO_FEATURE_PREFLIGHT = 1 << 2, /* engine/preflight.h */
	HELLO_FEATURE_CPR = 1 << 4,	 /* memory that is handed over, not sent (engine/cpr.h) */
	HELLO_FEATURE_POISON = 1 << 6,	 /* records for damaged pages (WIRE_RAM_POISON) */
	HELLO_FEATURE_POSTCOPY = 1 << 7, /* POSTCOPY_RUN alone as the commit; ASK answered by INCOMPLETE; recovery */
	HELLO_FEATURE_RESUME = 1 << 8,	 /* pre-copy goes on over a new connection (WIRE_CMD_PRECOPY_RESUME) */
};
#define HELLO_FEATURES_ALL                                                                       \
	((uint64_t)HELLO_FEATURE_CPR | HELLO_FEATURE_RUNS | HELLO_FEATURE_HANDOVER |             \
	 HELLO_FEATURE_PREFLIGHT | HELLO_FEATURE_POISON | HELLO_FEATURE_POSTCOPY |        \
	 HELLO_FEATURE_RESUME)

/* The peer has this long for each message of the opening. */
#define OPENING_TIMEOUT_MS 10000

struct hello {
	enum peer_kind peer;
	struct configuration configuration;
	struct section_head head;	/* peer is no migd: its first section, whose body comes next */
	bool advised;			/* likewise: POSTCOPY_ADVISE, and what it says */
	uint64_t page_sizes, page_size;
	/* PEER_MIGD */
	uint16_t version;
	uint64_t features;
	uint8_t handover_id[ATTACH_ID_LEN];
	char guest[256];	/* of the source */
};

struct opening {
	/* What the source says. */
	const uint8_t *handover_id;
	const char *guest;
	const struct configuration *configuration;
	uint64_t offers;		/* enum hello_feature */
	/* What it learns. */
	enum peer_kind peer;
	uint64_t features;		/* enum hello_feature, of both sides; 0 unless PEER_MIGD */
	bool switchover_acked;		/* QEMU's SWITCHOVER_ACK comes ahead of its PONG */
};

/* Source: everything up to HELLO. IN: the return path; NULL: there is none, and so PEER_NONE. */
int opening_send(struct out *out, struct in *in, struct opening *o, struct merr *err);

/* Destination: the same from the other end. Errors are IN's. With BIDIRECTIONAL false nothing is answered. OFFERS: features. */
int opening_receive(struct in *in, struct chan *chan, bool bidirectional, uint64_t offers, struct hello *ret);

/* Commands: be16 number, be16 length. A section type byte comes first. */
void command_begin(struct out *out, uint16_t command, uint16_t len);
/* Read number and length of a command whose type byte was read. */
int command_read(struct in *in, uint16_t *ret_command, uint16_t *ret_len);
/* -EBADMSG unless the length is what the command has. */
int command_expect(struct in *in, uint16_t command, uint16_t len, uint16_t want);

#endif
