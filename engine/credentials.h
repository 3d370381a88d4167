/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS, as a worker has it: the daemon's bundle (LINK_TLS), which may be replaced at any time for handshakes that come later;
 * and the two questions a handshake has for the daemon, which has the private keys and knows who may connect:
 *
 *     SIGN > SIGNED          AUTHORIZE > AUTHORIZED
 *
 * A question waits for its answer, also over the daemon's end and a successor's coming, but not beyond the handshake's
 * deadline. One is asked at a time, whatever the number of threads that shake hands.
 */
#ifndef MIGD_ENGINE_CREDENTIALS_H
#define MIGD_ENGINE_CREDENTIALS_H

#include <jansson.h>

#include "base/err.h"
#include "engine/link.h"
#include "transport/chan.h"
#include "transport/tls.h"

struct migration;
struct credentials;

/* For a whole handshake, questions to the daemon and all. */
#define HANDSHAKE_TIMEOUT_MS 10000

/* M's, whose lifetime it shares; M's START was read. NULL: out of memory or descriptors. */
struct credentials *credentials_new(struct migration *m);
/* Returns NULL. */
struct credentials *credentials_free(struct credentials *c);

/*
 * Control thread: a new bundle (LINK_TLS). Handshakes that have begun go on with the one before. One that is no good ends no
 * migration that has another; without any, each handshake fails and says why. -errno with ERR: it was none.
 */
int credentials_receive(struct migration *m, struct conn_msg *msg, struct merr *err);
/* Control thread: the question that waits, to be sent to a daemon: its message, or NULL; *ret_type says which. */
json_t *credentials_question(struct credentials *c, enum link_type *ret_type);
/* Control thread: answers. One to a question that was given up is dropped. */
void credentials_signed(struct credentials *c, const struct worker_signed *answer);
void credentials_authorized(struct credentials *c, const struct worker_authorized *answer);

/*
 * Encrypt CHAN if M's connections are; chan_handshake() comes next. Any thread. 0; -errno with ERR: it must not be used.
 */
int credentials_start(struct migration *m, struct chan *chan, struct merr *err);

#endif
