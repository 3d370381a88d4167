/* SPDX-License-Identifier: Apache-2.0 */
/* A herald process, as the daemon sees it: started for one connection, asked or told, gone (engine/herald-link.h). */
#ifndef MIGD_DAEMON_HERALD_H
#define MIGD_DAEMON_HERALD_H

#include "base/err.h"
#include "schema/types.h"

struct daemon;
struct herald;
struct migration_tls;

/* Called from the event loop; the first and the last are each the last call. */
struct herald_handler {
	/* Announcing: the guest can go there, or ERR says why not. */
	void (*heard)(void *opaque, const struct merr *err);
	/* Hearing: D (borrowed) is what was announced. An answer is expected. */
	void (*says)(void *opaque, const struct guest_description *d);
	/* Hearing: the source gave up, or said nothing of use; ERR. */
	void (*gone)(void *opaque, const struct merr *err);
};

/* What it is for. All is borrowed; TLS until the herald is gone. */
struct herald_task {
	const char *guest; /* under which name it comes */
	const char *peer;  /* for messages */
	const struct guest_description *description; /* announcing; NULL: hearing */
	bool greeted; /* hearing: FD begins with a preamble */
	struct migration_tls *tls; /* NULL: in the clear */
	const char *server_name;   /* announcing, with TLS */
};

/*
 * Start one on FD (borrowed), which is connected: nothing is said yet but the preamble. HANDLER and OPAQUE are borrowed. -errno
 * with ERR.
 */
int herald_start(struct daemon *d, int fd, const struct herald_task *task, const struct herald_handler *handler, void *opaque,
		 struct herald **ret, struct merr *err);

/* Hearing, after says(): pass the answer on: ERR, or NULL: the guest can come. H is gone afterwards; returns NULL. */
struct herald *herald_answer(struct herald *h, const struct merr *err);

/* End it; nothing is called any more. NULL is fine; returns NULL. May be called from its handler. */
struct herald *herald_cancel(struct herald *h);

#endif
