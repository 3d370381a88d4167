/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's objects (object-add): what they are said to be, and what was made of that. One namespace for all guests, as
 * the files they name are the host's.
 *
 * Files may be replaced at any time. They are read again when they were changed: before each use, by inotify
 * (daemon/object-watch.h), at SIGHUP. New files that cannot be used leave what was made of the old ones, with a word in
 * the log and in the object's error.
 *
 * What an object is said to be is kept in the state directory, so that the next daemon can go on signing for the workers of
 * this one; but never a secret that came in a command.
 */
#ifndef MIGD_DAEMON_OBJECT_H
#define MIGD_DAEMON_OBJECT_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/err.h"
#include "daemon/cred-file.h"
#include "schema/types.h"

#define OBJECTS_MAX	  256U
#define OBJECT_ID_MAX_LEN 255U

struct authz;
struct state_dir;
struct tls_creds;

struct object {
	TAILQ_ENTRY(object) entry;
	struct object_options options;
	struct cred_files files; /* as the last attempt found them */
	void *made;		 /* what its kind makes; NULL: nothing could be made yet */
	struct merr error;	 /* of the last attempt */
};

/* It was made anew. ID is valid during the call. */
typedef void (*object_changed_fn)(void *opaque, const char *id);

struct objects {
	struct state_dir *state; /* borrowed */
	object_changed_fn on_changed;
	void *opaque;
	TAILQ_HEAD(object_list, object) list; /* the oldest first */
	size_t n;
};

/* With those that a former daemon kept in STATE; what cannot be made now is tried again later. NULL: out of memory. */
struct objects *objects_new(struct state_dir *state, object_changed_fn fn, void *opaque);
struct objects *objects_free(struct objects *os);

/* Make one as O (copied) says. A negative errno with ERR: nothing is left behind. */
int objects_add(struct objects *os, const struct object_options *o, struct merr *err);

/* -ENOENT; -EBUSY: another object needs it. Whether a migration uses it is the caller's to know. */
int objects_del(struct objects *os, const char *id, struct merr *err);

struct object *objects_find(const struct objects *os, const char *id);

/* Make those anew whose files were changed, or that have an error. */
void objects_refresh(struct objects *os);

/*
 * The credentials, or the rules, that ID stands for, as its files are now; the caller may take a reference. -ENOENT: there
 * is no such object; -EINVAL: it is of another kind; or why it could not be made, and never was.
 */
int objects_tls_creds(struct objects *os, const char *id, struct tls_creds **ret, struct merr *err);
int objects_authz(struct objects *os, const char *id, const struct authz **ret, struct merr *err);

bool object_is_tls_creds(const struct object *o);

#endif
