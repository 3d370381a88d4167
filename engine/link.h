/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker link: daemon <-> worker, a SOCK_SEQPACKET socketpair framed by attach/conn.h, with JSON bodies whose
 * types are in schema/worker.json. Version 1.
 *
 * The daemon starts the worker (its own executable from an open descriptor, argv[0] "migd-worker", the link
 * as descriptor 3, nothing else open but 0-2) and sends START at once. The link may break when the daemon
 * ends: the worker goes on. It listens on a socket that the daemon bound in the state directory
 * (STATE/workers/ID.sock); a successor daemon connects there, and gets ADOPT, then the same messages
 * as before.
 *
 *   daemon -> worker   START        WorkerStart      + descriptors, in the order of enum link_start_fd
 *                      PARAMETERS   WorkerParameters
 *                      CANCEL       {}
 *                      CONTINUE     {}               leave pre-switchover
 *                      CONNECTION   WorkerConnection + the connected socket, or an error
 *                      RESOLVE      WorkerResolve
 *                      PUBLISHED    WorkerPublished  the answer to PUBLISH
 *                      SHARE        WorkerShare      what the host's bandwidth budget leaves this migration
 *                      ARRIVAL      {} + a socket    incoming: a connection to the host's shared port
 *                      TLS          {} + a memfd     WorkerTls: after START, before anything else, if it says so; again
 *                                                    whenever the credentials were loaded anew
 *                      SIGNED       WorkerSigned     the answer to SIGN
 *                      AUTHORIZED   WorkerAuthorized the answer to AUTHORIZE
 *                      ADMITTED     WorkerAdmit      the answer to ADMIT
 *                      START_POSTCOPY {}             outgoing: switch to post-copy as soon as possible
 *                      PAUSE        {}               post-copy: give the connection up, and wait for RECOVER
 *                      RECOVER      {} + a socket    post-copy, paused. Outgoing: connected to the target's new address;
 *                                                    incoming: listening there
 *                      FINISHED     {}               the outcome is recorded: the worker may exit
 *   worker -> daemon   STATE        WorkerState      status, error, handover: at each change
 *                      PASS         WorkerPass
 *                      PREFLIGHT    MigrationPreflight what keeps the guest from moving
 *                      RECONNECT    WorkerReconnect  the connection is lost, or the last attempt to have another one
 *                      CONNECT      {}               a (new) connection to the peer is wanted
 *                      PUBLISH      {} + the file    the stream is written and durable: give it its name
 *                      SIGN         WorkerSign       a TLS handshake takes a signature: the key stays in the daemon
 *                      AUTHORIZE    WorkerAuthorize  incoming: whether a client's certificate is allowed (tls-authz)
 *                      ADMIT        WorkerAdmit      incoming: a source is there: may it begin? Or it is gone again
 *                      DECISION     MigrationDecision what the engine decided by itself (strategy), and why
 *                      ADOPT        WorkerAdopt      + stats page: what START said, and the state now
 *                      DONE         WorkerOutcome    the last word; then it waits for FINISHED
 *   Nothing has a reply. All are events in conn's sense. Members that the reader does not know are passed over: an older
 *   daemon, or worker, goes on with a newer one's.
 */
#ifndef MIGD_ENGINE_LINK_H
#define MIGD_ENGINE_LINK_H

#include <jansson.h>
#include <stddef.h>

#include "attach/conn.h"
#include "base/err.h"
#include "schema/types.h"

#define LINK_VERSION 1
#define LINK_FD 3	/* where the worker finds its end */

enum link_type {
	LINK_START = 200,
	LINK_PARAMETERS,
	LINK_CANCEL,
	LINK_CONTINUE,
	LINK_CONNECTION,
	LINK_RESOLVE,
	LINK_FINISHED,
	LINK_PUBLISHED,
	LINK_SHARE,
	LINK_ARRIVAL,
	LINK_SIGNED,
	LINK_AUTHORIZED,
	LINK_TLS,
	LINK_ADMITTED = 220,
	LINK_START_POSTCOPY,
	LINK_PAUSE,
	LINK_RECOVER,
	/* A herald's: engine/herald-link.h */
	LINK_HERALD_START = 225,
	LINK_HERALD_ANSWER,
	LINK_STATE = 230,
	LINK_PASS,
	LINK_CONNECT,
	LINK_ADOPT,
	LINK_DONE,
	LINK_PUBLISH,
	LINK_PREFLIGHT,
	LINK_SIGN,
	LINK_AUTHORIZE,
	LINK_ADMIT = 260,
	LINK_DECISION,
	LINK_RECONNECT,
	LINK_HERALD_SAYS = 265,
	LINK_HERALD_HEARD,
};

/* Descriptors of START. All are always sent; an absent one is /dev/null's. */
enum link_start_fd {
	LINK_START_FD_GUEST,	/* migration channel to the library; the other end went with MIG_OPEN */
	LINK_START_FD_STATS,	/* memfd of a struct stats_page (engine/stats-page.h) */
	LINK_START_FD_ADOPT,	/* listening socket in the state directory */
	LINK_START_FD_DECISION,	/* the guest's decision page */
	LINK_START_FD_STREAM,	/* outgoing: to write to; incoming: a listening socket, or what to read from */
	LINK_START_FD_DIRECT,	/* the file of STREAM once more, for direct I/O (parameter direct-io) */
	LINK_START_FD_VMM,	/* readable once the VMM's process is gone: a pidfd, or the like */
	LINK_START_FD_USERFAULTFD, /* /dev/userfaultfd, for VMMs that may not open it */
	LINK_START_N_FDS,
};

/* Decisions of one migration that are kept; the oldest go. */
#define LINK_DECISIONS_MAX 32U

/* Passes that ADOPT tells of. */
#define LINK_PASSES_MAX 64U

/* Send TYPE with BODY (borrowed, may be NULL: {}). Errors as conn_send(). */
int link_send(struct conn *c, enum link_type type, const json_t *body, const int *fds, size_t n_fds);

/* The JSON body of a received message; -EBADMSG with ERR if it is not one object. Caller decrefs. */
int link_body(const struct conn_msg *m, json_t **ret, struct merr *err);

/* A body that may be longer than a message, but not than MAX bytes: in a memfd. -E2BIG; else as link_send(), link_body(). */
int link_send_long(struct conn *c, enum link_type type, const json_t *body, size_t max);
int link_receive_long(struct conn_msg *m, size_t max, json_t **ret, struct merr *err);

/*
 * Credentials (LINK_TLS_MAX): link_receive_tls(): M is a TLS message; the
 * caller calls worker_tls_done().
 */
#define LINK_TLS_MAX (4U << 20)
int link_send_tls(struct conn *c, const struct worker_tls *tls);
int link_receive_tls(struct conn_msg *m, struct worker_tls *ret, struct merr *err);

/*
 * The worker's main(): called by the executable's main() when argv[0] is "migd-worker". Returns the exit status.
 */
#define WORKER_ARGV0 "migd-worker"
int worker_main(void);

#endif
