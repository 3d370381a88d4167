/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory: what the next daemon needs to go on with what this one began.
 *
 *   lock                  held by the daemon that uses the directory
 *   migrations/ID.json    one journal a migration, version 1; replaced as a whole
 *   settings/NAME         a guest's settings (daemon/settings-store.h); replaced as a whole
 *   settings/host         the host's (daemon/host.h)
 *   records/ID.json       what is known of one migration (daemon/record-file.h); replaced as a whole
 *   workers/ID.sock       where its worker can be reached (engine/link.h)
 *
 * Journals are advice: who may run a guest is known by its library.
 */
#ifndef MIGD_DAEMON_STATE_DIR_H
#define MIGD_DAEMON_STATE_DIR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define JOURNAL_VERSION 1

/* A migration's id as text, NUL included. */
#define STATE_DIR_ID_LEN 33U

struct state_dir;

/* Strings are borrowed. */
struct journal {
	const char *id; /* of the migration, 32 hex digits */
	const char *guest;
	bool outgoing;
	bool exit_on_error;
	const char *uri;
	const char *handover_id; /* 32 hex digits */
	const char *listen;      /* incoming: the URI really listened on, or "" */
	int worker_pid;
	uint64_t worker_start_time; /* of /proc/PID/stat */
	int vmm_pid;
	uint64_t vmm_start_time;
	/* What follows may not be there: a former migd knew no queue. */
	int priority;
	bool waits;	       /* in the queue: no worker was started yet */
	bool allow_weak_handover;
	uint64_t arrival;      /* its number in the queue, or 0 */
	bool postcopy;	       /* it got so far; lazy: from the start */
	const char *strategy;  /* or "" */
	uint64_t deadline_ms;
	bool start_postcopy;
	bool start_remote;
	bool peer_waits;       /* a successor of the worker has a word to say to it */
};

/*
 * Make PATH if it is not there (its parent must be), and lock it. -EBUSY: another daemon uses it.
 */
int state_dir_open(const char *path, struct state_dir **ret, struct merr *err);
struct state_dir *state_dir_free(struct state_dir *s);

/* A listening socket for the worker of migration ID. */
int state_dir_worker_socket(struct state_dir *s, const char *id, int *ret_fd, struct merr *err);

/* Connect to the worker of migration ID. -ECONNREFUSED, -ENOENT: it is gone. */
int state_dir_worker_connect(struct state_dir *s, const char *id, int *ret_fd);

/*
 * Write the journal: it is there as a whole or not at all. It is not synced to the disk, which would hold up everybody: what
 * a crash of the host takes with it, it takes with the worker and the VMM that it is about.
 */
int state_dir_record(struct state_dir *s, const struct journal *j, struct merr *err);

/* Remove the journal and the socket of migration ID, if they are there. */
void state_dir_forget(struct state_dir *s, const char *id);

/*
 * Call FN for each journal that can be read, and remove sockets without journal. J is valid during
 * the call.
 */
void state_dir_scan(struct state_dir *s, void (*fn)(void *opaque, const struct journal *j),
		    void *opaque);

/*
 * Settings: one JSON object under NAME. -ENOENT: there is none. A guest's are not synced to the disk: what a crash of the
 * host takes with it, it takes with the guest. DURABLE: they are.
 */
int state_dir_save(struct state_dir *s, const char *name, const json_t *o, bool durable, struct merr *err);
int state_dir_load(struct state_dir *s, const char *name, json_t **ret, struct merr *err);
void state_dir_remove(struct state_dir *s, const char *name);
/* Remove those of which FN says that they are stale. */
void state_dir_prune(struct state_dir *s, bool (*fn)(void *opaque, json_t *o), void *opaque);

/*
 * Records: one text under a migration's id. Not synced to the disk, which would stop the event loop: what a crash of the host
 * takes with it are the last seconds' records.
 */
int state_dir_record_write(struct state_dir *s, const char *id, const char *text, struct merr *err);
/* All of it, or no more than the first MAX bytes if HEAD. A NUL follows. Freed by the caller. */
int state_dir_record_read(struct state_dir *s, const char *id, size_t max, bool head, char **ret, struct merr *err);
void state_dir_record_remove(struct state_dir *s, const char *id);
/* Call FN for the id of each, in no order. What a crash left half written is removed. */
void state_dir_record_scan(struct state_dir *s, void (*fn)(void *opaque, const char *id), void *opaque);

#endif
