/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a connection to a port that several guests share: they name the guest (docs/shared-port.md, "On the
 * wire"). A plain connection begins with a preamble of GREETING_LEN bytes, one under TLS has a server name in its
 * ClientHello (RFC 6066, 3) that nobody looks up. Either also says whether the guest itself comes, or only word that it will
 * (engine/herald-link.h). Pure functions; what they read is a stranger's.
 */
#ifndef MIGD_TRANSPORT_GREETING_H
#define MIGD_TRANSPORT_GREETING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GREETING_NAME_MAX 127	/* bytes of a guest's name, as everywhere */
#define GREETING_ID_LEN   16	/* of a handover id */

#define GREETING_MAGIC	 0x4d694764U	/* "MiGd"; no stream, channel or TLS record begins so */
#define GREETING_VERSION 1
#define GREETING_LEN	 152U	/* of a preamble, whatever the name */

/* A ClientHello that is longer, or in so many records that it takes more bytes, is refused. */
#define GREETING_HELLO_MAX 16384U
#define GREETING_PEEK_MAX  32768U

#define GREETING_SERVER_NAME_MAX 253	/* RFC 1035 */

struct greeting {
	char guest[GREETING_NAME_MAX + 1];
	uint8_t handover_id[GREETING_ID_LEN];
	bool announces;	/* no migration: its guest is announced */
	bool tls;	/* read only: which of the two it was */
};

/* 1 to GREETING_NAME_MAX bytes, none of them a control character. */
bool greeting_is_name(const char *name);

/* The preamble. G's name must be one (greeting_is_name()). */
void greeting_write(const struct greeting *g, uint8_t ret[GREETING_LEN]);
/* The server name, at most GREETING_SERVER_NAME_MAX characters. */
void greeting_server_name(const struct greeting *g, char ret[GREETING_SERVER_NAME_MAX + 1]);

enum greeting_verdict {
	GREETING_MORE = 0,	/* so far, so good */
	GREETING_NAMED,		/* *ret is set */
	GREETING_STREAM,	/* a migration stream or channel that names nobody: a QEMU's, or a migd's that was not told to */
	GREETING_NO_NAME,	/* a ClientHello without a server name, or with another's */
	GREETING_TOO_LONG,	/* GREETING_HELLO_MAX, GREETING_PEEK_MAX */
	GREETING_GARBAGE,	/* anything else */
	GREETING_N_VERDICTS,
};

/* What the LEN bytes at P are, the first of a connection. With GREETING_PEEK_MAX bytes the answer is never GREETING_MORE. */
enum greeting_verdict greeting_read(const void *p, size_t len, struct greeting *ret);

#endif
