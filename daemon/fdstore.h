/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that the service manager keeps for the next daemon (FDSTORE=1 of sd_notify(3)), which claims them from
 * daemon/passed.h under the same kind and id. What is kept:
 *
 *   port URI        a shared port: who connects between two daemons waits, and is not refused
 *   listen ID       where the incoming migration ID is found, for a successor of its worker
 *   decision ID     the decision page of migration ID's guest: what it says holds also if its VMM ends between two daemons
 *
 * All of it is for the better only: without a service manager, or store, the next daemon goes on with its state directory and
 * with what VMMs and workers tell.
 */
#ifndef MIGD_DAEMON_FDSTORE_H
#define MIGD_DAEMON_FDSTORE_H

struct passed;

/* FD stays the caller's. One that is there already, under that name, is no error. -1: nothing is done. */
void fdstore_put(const char *kind, const char *id, int fd);
/* Nobody will need it. */
void fdstore_drop(const char *kind, const char *id);
/* A former daemon's, which is the caller's from now on, and stays in the store as well; -ENOENT. P may be NULL. */
int fdstore_claim(struct passed *p, const char *kind, const char *id);
/* One under a whole name: it came from the store, and nobody knows it. */
void fdstore_forget(const char *name);

#endif
