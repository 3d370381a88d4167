/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The greeter's link: daemon <-> greeter, as the worker link (engine/link.h), with bodies of fixed fields, big-endian.
 *
 *   daemon -> greeter   LOOK   u32 id + a connection   whose first bytes are to be looked at, and left where they are
 *   greeter -> daemon   SAYS   struct greeter_says     once for each
 *
 * Connections are answered in any order. To end one early the daemon shuts it down, and is told GREETER_CLOSED. The greeter
 * knows no time and no guest: deadlines, limits, and who is there to be named are the daemon's. It ends with its link.
 */
#ifndef MIGD_ENGINE_GREETER_LINK_H
#define MIGD_ENGINE_GREETER_LINK_H

#include <stdint.h>

#include "attach/conn.h"
#include "base/err.h"
#include "transport/greeting.h"

/* More are a breach of the rules, and the greeter ends. */
#define GREETER_CONNECTIONS_MAX 1024U

enum greeter_message {
	GREETER_LOOK = 300,
	GREETER_SAYS,
};

/* What it says about a connection: a greeting_verdict other than GREETING_MORE, or this. */
enum greeter_verdict {
	GREETER_CLOSED = GREETING_N_VERDICTS,	/* it ended, or broke, before it was known */
	GREETER_N_VERDICTS,
};

struct greeter_says {
	uint32_t id;
	uint8_t verdict;
	struct greeting greeting;	/* GREETING_NAMED */
};

/* Errors as conn_send(). */
int greeter_send_look(struct conn *c, uint32_t id, int fd);
int greeter_send_says(struct conn *c, const struct greeter_says *s);
/* -EBADMSG with ERR. */
int greeter_read_look(struct conn_msg *m, uint32_t *ret_id, int *ret_fd, struct merr *err);
int greeter_read_says(const struct conn_msg *m, struct greeter_says *ret, struct merr *err);

/*
 * What a peer that is sent away understands: TEXT as the destination's error, or, under TLS, an alert. Returns how many
 * bytes were stored.
 */
#define GREETER_REFUSAL_MAX 1040U
size_t greeter_refusal(bool tls, const char *text, uint8_t ret[GREETER_REFUSAL_MAX]);

/* The greeter's main(): called by the executable's main() when argv[0] is "migd-greeter". Returns the exit status. */
#define GREETER_ARGV0 "migd-greeter"
int greeter_main(void);

#endif
