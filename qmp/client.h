/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking QMP client: for migctl and tests.
 *
 * One thread. Events that arrive while an answer is awaited are kept (the oldest
 * QMP_CLIENT_MAX_EVENTS are, later ones are dropped) and handed out by
 * qmp_client_next_event().
 */
#ifndef MIGD_QMP_CLIENT_H
#define MIGD_QMP_CLIENT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#define QMP_CLIENT_MAX_EVENTS 65536

struct qmp_client;

/*
 * Connect to the Unix socket PATH, read the greeting and finish negotiation (without oob).
 * -errno with ERR: nobody listens, not a QMP server, ...
 */
int qmp_client_connect(const char *path, struct qmp_client **ret, struct merr *err);

/* The same over a connected socket FD, which is taken over, also on failure. */
int qmp_client_new(int fd, struct qmp_client **ret, struct merr *err);

/* Closes the connection; C may be NULL. Returns NULL. */
struct qmp_client *qmp_client_free(struct qmp_client *c);
DEFINE_CLEANUP(struct qmp_client, qmp_client_free);

/* Longest wait for one answer, ns; 0 (as at the start): for ever. */
void qmp_client_set_timeout(struct qmp_client *c, uint64_t timeout_ns);

/* The greeting's object, {"QMP": {...}}; owned by C. */
const json_t *qmp_client_greeting(const struct qmp_client *c);

/*
 * Execute NAME with ARGS (borrowed; NULL: none) and wait for the answer. 0 with the value of
 * "return" in *RET (a new reference; RET may be NULL). Otherwise -errno with ERR: -EREMOTEIO for an
 * error that the server answered (ERR has its class and text), -ETIMEDOUT, -ENODATA when the server
 * closed the connection, -EPROTO for an answer that makes no sense.
 */
int qmp_client_execute(struct qmp_client *c, const char *name, json_t *args, json_t **ret,
		       struct merr *err);

/* The same, with the descriptor FD (borrowed; -1: none) sent along. */
int qmp_client_execute_fd(struct qmp_client *c, const char *name, json_t *args, int fd,
			  json_t **ret, struct merr *err);

/*
 * The next event (a new reference to the whole object), waiting for it until DEADLINE_NS
 * (CLOCK_MONOTONIC; 0: do not wait, DEADLINE_NONE: for ever). -ETIMEDOUT when none came, -ENODATA
 * when the server closed the connection.
 */
int qmp_client_next_event(struct qmp_client *c, uint64_t deadline_ns, json_t **ret,
			  struct merr *err);

/*
 * To poll for input. Poll only after qmp_client_next_event() with deadline 0 said -ETIMEDOUT. Owned
 * by C.
 */
int qmp_client_fd(const struct qmp_client *c);

/*
 * Raw access: send bytes as they are; receive the next object, whatever it is (kept events first).
 */
int qmp_client_send_raw(struct qmp_client *c, const void *data, size_t len, int fd,
			struct merr *err);
int qmp_client_receive(struct qmp_client *c, uint64_t deadline_ns, json_t **ret, struct merr *err);

#endif
