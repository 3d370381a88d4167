/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration under TLS, as the daemon sees it: which credentials it uses, what its worker is told of them, and the
 * questions that a worker asks since it has no private key (WIRE.md 10, QMP.md 2.7).
 *
 * Which credentials those are is decided when a migration begins to connect or to listen: by its guest's parameter
 * tls-creds, else, over a network, by the host's. From then on the ids stay; what they stand for may be replaced.
 */
#ifndef MIGD_DAEMON_TLS_H
#define MIGD_DAEMON_TLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/err.h"
#include "schema/types.h"

struct conn;
struct daemon;
struct migration;
struct tls_creds;

struct migration_tls {
	char *creds_id;
	char *authz_id; /* incoming: who may connect; NULL: whose certificate holds */
	char *hostname; /* outgoing: to be in the server's certificate; NULL: there is no name */
	/* As its worker knows them, and before: it may be in the middle of a handshake with those. */
	struct tls_creds *creds, *creds_before;
	struct budget budget;
};

/*
 * Decide M's m->tls: NULL, or credentials that fit. Once: later calls change nothing. For local streams after they are open.
 * -EPERM: the host demands TLS; -EINVAL, -ENOENT, ... what is wrong with the credentials, or that the stream cannot be
 * encrypted; ERR says what to do.
 */
int tls_prepare(struct migration *m, struct merr *err);

/* M was taken over with START: the same again. A failure is logged: the worker can finish without its daemon's help. */
void tls_adopt(struct migration *m, const struct worker_start *start);

/*
 * For an announcement to this host: *RET is NULL, or the host's credentials for what comes in. *RET_REQUIRED: it must be under
 * TLS, if they are there or not. Errors as tls_prepare().
 */
int tls_prepare_hearing(const struct daemon *d, struct migration_tls **ret, struct merr *err);

struct migration_tls *tls_free(struct migration_tls *t);

/* Tell M's worker its credentials. 0 if it is not under TLS. */
int tls_send(struct migration *m, struct merr *err);
/* Tell the process at C of T. SERVER_NAME: outgoing, for a port that is shared; or NULL. */
int tls_send_to(const struct migration_tls *t, const char *server_name, struct conn *c, struct merr *err);

/* The object ID was made anew: tell the workers that use it. */
void tls_object_changed(struct daemon *d, const char *id);

/* A check of the host's parameters (daemon/host.c). */
int tls_check_host(const struct daemon *d, const struct host_parameters *p, struct merr *err);

/* -EBUSY with ERR: a migration, or the host's parameters, use the object ID. */
int tls_check_unused(const struct daemon *d, const char *id, struct merr *err);

/* ---- questions of workers (daemon/tls-answer.c) ---- */

int tls_on_sign(struct migration *m, json_t *body, struct merr *err);
int tls_on_authorize(struct migration *m, json_t *body, struct merr *err);

/*
 * The answers, SIGNED and AUTHORIZED, to the questions BODY of a process that uses T; NULL: it breaks the link's rules, ERR
 * says how. WHO it is, for the log.
 */
json_t *tls_answer_sign(struct migration_tls *t, bool server, const char *who, json_t *body, struct merr *err);
json_t *tls_answer_authorize(struct migration_tls *t, const struct daemon *d, const char *who, json_t *body, struct merr *err);

#endif
