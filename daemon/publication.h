/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a written stream count: a file gets its name, a command ends well. Until then, and if
 * the migration fails afterwards, nothing is left that looks whole.
 */
#ifndef MIGD_DAEMON_PUBLICATION_H
#define MIGD_DAEMON_PUBLICATION_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"

struct command;
struct publication;

/*
 * Make a new file beside PATH, to be written, that is to become it; migration ID. A symbolic link
 * is followed. Blocks as long as opening a file does. ERR names the path.
 */
int publication_of_file(struct event_base *base, const char *path, const char *id,
			struct publication **ret, int *ret_fd, struct merr *err);
/* The same for one that a former daemon made; NULL: it is not there any more. */
struct publication *publication_find(struct event_base *base, const char *path, const char *id);
/* The same once it has its name: if what is there under PATH is the file FD (borrowed); else NULL.
 */
struct publication *publication_find_renamed(struct event_base *base, const char *path,
					     const char *id, int fd);
/* C is taken over. NULL: no memory. */
struct publication *publication_of_command(struct event_base *base, struct command *c);

/*
 * The stream is written, and durable. FN is called once from the event loop: ERR is NULL when it is
 * there to stay, also after a crash of the host.
 */
typedef void (*publication_fn)(void *opaque, const struct merr *err);
void publication_publish(struct publication *p, publication_fn fn, void *opaque);

/*
 * The migration is over, or somebody else's from now on (KEEP). Without KEEP what was written is
 * removed, and the command ended. FN will not be called. NULL is fine; returns NULL.
 */
struct publication *publication_done(struct publication *p, bool keep);

#endif
