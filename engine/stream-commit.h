/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a stream that nobody answers: a file, a pipe, a command. */
#ifndef MIGD_ENGINE_STREAM_COMMIT_H
#define MIGD_ENGINE_STREAM_COMMIT_H

#include "base/err.h"

struct chan;
struct migration;

/*
 * What was written to C, all of it, is a whole stream: make that durable and, if START says so, let
 * the daemon publish it. This is the commit point of a migration without return path: on 0 the
 * source may give its guest away; any failure leaves nothing that looks whole. TICK is called
 * several times a second, for the guest's lease; its failure ends this.
 */
int stream_commit(struct migration *m, struct chan *c, int (*tick)(void *opaque), void *opaque,
		  struct merr *err);

#endif
