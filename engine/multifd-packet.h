/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets of multifd's channels: WIRE.md 5.1, 5.2 and 5.4. Only bytes and numbers; hostile ones end here.
 *
 * A channel begins with one hello of MULTIFD_HELLO_LEN bytes; then come packets, each a header of MULTIFD_HEADER_LEN bytes
 * and, if it has pages that are not zero, their payload.
 */
#ifndef MIGD_ENGINE_MULTIFD_PACKET_H
#define MIGD_ENGINE_MULTIFD_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/proto.h"
#include "base/err.h"
#include "engine/multifd-codec.h"
#include "engine/ram.h"

#define MULTIFD_CHANNELS_MAX 255U	/* parameter multifd-channels */

#define MULTIFD_HELLO_LEN 64U
#define MULTIFD_PACKET_PAGES 128U	/* 512 KiB */
#define MULTIFD_HEADER_LEN (320U + 8U * MULTIFD_PACKET_PAGES)

#define MULTIFD_FLAG_SYNC 0x001U

/*
 * What a channel begins with. A migd says more than a QEMU, in bytes that a QEMU sends as zeros and does not look at: at 32
 * the handover id, at 48 the number of channels.
 */
struct multifd_hello {
	uint8_t uuid[ATTACH_ID_LEN];	/* the source's; zeros: it has none */
	uint8_t id;			/* of the channel, from 0 */
	uint8_t handover_id[ATTACH_ID_LEN];	/* zeros: not a migd */
	uint8_t n_channels;		/* 0: not a migd */
};

void multifd_hello_put(const struct multifd_hello *h, uint8_t to[MULTIFD_HELLO_LEN]);
/* -EBADMSG with ERR, naming the field. */
int multifd_hello_parse(const uint8_t from[MULTIFD_HELLO_LEN], struct multifd_hello *ret, struct merr *err);

struct multifd_packet {
	uint32_t flags;			/* SYNC, and the codec's (engine/multifd-codec.h) */
	uint32_t n_normal;		/* pages that are in the payload */
	uint32_t n_zero;		/* pages that are zero */
	uint32_t payload_bytes;		/* of the wire; 0 without normal pages */
	uint64_t number;		/* counts all packets of a source; informative */
	struct ram_file *block;		/* NULL: there are no pages */
	uint64_t offsets[MULTIFD_PACKET_PAGES];	/* bytes in the block: of the normal pages, then of the zero ones */
};

/* BLOCK may be NULL only without pages. */
void multifd_packet_put(const struct multifd_packet *p, uint8_t to[MULTIFD_HEADER_LEN]);

/*
 * Check a header against the blocks of RAM and CODEC, and take it apart. -EBADMSG with ERR, naming the field, for anything that
 * is not a packet for this guest: whatever *ret says after 0 can be relied on.
 */
int multifd_packet_parse(const uint8_t from[MULTIFD_HEADER_LEN], struct ram *ram, enum multi_fd_compression codec,
			 struct multifd_packet *ret, struct merr *err);

/* How many of the N offsets from FIRST on are consecutive pages. N is not 0. */
uint32_t multifd_packet_run(const uint64_t *first, uint32_t n);

#endif
