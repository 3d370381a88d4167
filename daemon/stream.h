/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that are there at once: descriptors that a client passed, commands, files (QMP.md 6.3).
 */
#ifndef MIGD_DAEMON_STREAM_H
#define MIGD_DAEMON_STREAM_H

#include <stdbool.h>

#include "base/err.h"

struct migration;
struct qmp_call;

/*
 * Open M's address, which is no network's: its stream_fd (or listen_fd), return_path and
 * publication are set. Names of descriptors are CALL's session's. The text says what is wrong and
 * what to do; then nothing is left open.
 */
int stream_open(struct migration *m, struct qmp_call *call, struct merr *err);

/* The stream socket that is called NAME in CALL's session, connected, or (incoming) listening too; the caller's. */
int stream_take_socket(const struct migration *m, const char *name, struct qmp_call *call, int *ret_fd, struct merr *err);

#endif
