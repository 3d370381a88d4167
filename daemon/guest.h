/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest: what its VMM said about it, its control connection, its settings, its migration.
 *
 * A guest is *attached* while its VMM's control connection is there. One that is not is kept only
 * for its migration: until that is settled, and then for a while, so that the outcome can be asked
 * for.
 */
#ifndef MIGD_DAEMON_GUEST_H
#define MIGD_DAEMON_GUEST_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "attach/conn.h"
#include "attach/proto.h"
#include "base/err.h"
#include "schema/types.h"

#define GUEST_BLOCKERS_MAX 16 /* reasons that are kept and shown */

struct announcer;
struct daemon;
struct log_scope;
struct decision_page;
struct guest_request;
struct guest_socket;
struct migration;

struct guest {
	TAILQ_ENTRY(guest) entry;
	struct daemon *daemon;
	char name[ATTACH_STR_MAX + 1];

	/* As HELLO said, and events since. */
	uint8_t uuid[ATTACH_ID_LEN];
	uint8_t role;           /* enum migd_guest_role */
	uint8_t run_state;      /* enum migd_guest_run_state */
	uint8_t handover_state; /* enum handover_state of attach/handover.h */
	uint8_t handover_id[ATTACH_ID_LEN];
	uint32_t n_vcpus;
	bool has_dirty_ring; /* its VM was made with KVM's dirty rings */
	uint64_t ram_bytes;
	uint32_t epoch;
	int pid;                 /* of the VMM, by SO_PEERCRED */
	uint64_t pid_start_time; /* with it: process_lives() */
	bool stopped_told;       /* the last of STOP and RESUME was STOP */

	char *attach_path; /* the VMM's own socket, if it is attached by guest-attach */
	struct conn *conn; /* NULL: not attached */
	bool draining;     /* its messages are being handled */
	char *blockers[GUEST_BLOCKERS_MAX]; /* why it cannot be migrated, as its VMM says */
	size_t n_blockers;
	struct event *readable;
	TAILQ_HEAD(guest_request_list, guest_request) requests;
	int decision_fd; /* outlives the VMM; -1: never attached */
	const struct decision_page *decision;

	struct migration_parameters parameters;
	bool capabilities[MIGRATION_CAPABILITY__MAX];
	bool has_preflight; /* of the last migration, or of a preflight alone */
	struct migration_preflight preflight;
	struct migration *migration; /* the one that runs, or else the last; NULL: there was none */
	/* Earlier ones that are over, but whose workers still answer the peer (daemon/settle.h). */
	TAILQ_HEAD(migration_list, migration) lingering;
	TAILQ_HEAD(announcer_list, announcer) announcers; /* daemon/announce.h */
	struct event *expiry; /* of a record without a VMM */
	TAILQ_HEAD(guest_socket_list, guest_socket) sockets; /* daemon/guest-socket.h */
	unsigned int n_sockets;
	uint32_t rank, ranks; /* its migration's place in the queue, of so many: only while query-migrations is answered */
};

struct guest *guest_new(struct daemon *d, const char *name);
struct guest *guest_free(struct guest *g);

/* Log lines are about G until S is left (base/log.h). */
void guest_log_scope(struct log_scope *s, const struct guest *g);

/* ---- connection (daemon/guest-conn.c) ---- */

static inline bool guest_attached(const struct guest *g)
{
	return g->conn != NULL;
}

/*
 * HELLO was accepted. CONN is taken over on success, DECISION_FD always. Sends GUEST_ATTACHED. G
 * must not be attached.
 */
int guest_connect(struct guest *g, struct conn *conn, const struct attach_hello *hello,
		  int decision_fd, struct merr *err);

/* FD (taken over, always) is the page of G's VMM's library that says who may run the guest, in place of one that was there. */
int guest_take_decision(struct guest *g, int fd, struct merr *err);

/*
 * Close the connection; requests that wait fail. Sends GUEST_DETACHED with REASON unless that is
 * NULL. The record of a guest that has nothing to be asked about is freed later, from the event
 * loop: G stays valid in its caller.
 */
void guest_disconnect(struct guest *g, const char *reason);

/*
 * The answer to a request: ERR is NULL and BODY the reply's, or ERR says why it failed (also when
 * the connection went, or TIMEOUT_MS passed). Called once, from the event loop or from
 * guest_disconnect(), never from guest_request().
 */
typedef void (*guest_reply_fn)(void *opaque, struct rcur *body, const struct merr *err);

/* Send a request. On failure FN is not called. FDS are borrowed. */
int guest_request(struct guest *g, uint16_t type, const void *body, size_t len, const int *fds,
		  size_t n_fds, unsigned int timeout_ms, guest_reply_fn fn, void *opaque,
		  struct merr *err);

/* Whoever waits as OPAQUE does not want its answers any more. */
void guest_forget_requests(struct guest *g, const void *opaque);

/* Handle every message that has arrived by now. The guest may be detached afterwards. */
void guest_drain(struct guest *g);

/* The VMM said nothing yet about what keeps its guest from being migrated. */
void guest_forget_blockers(struct guest *g);

/* ---- state (daemon/guest-state.c) ---- */

/*
 * A message that is an event: note what it says, and tell QMP's clients. -EBADMSG with ERR if it is
 * none.
 */
int guest_on_event(struct guest *g, struct conn_msg *m, struct merr *err);

/*
 * Who may run the guest: enum handover_state, from the decision page where there is one (it is
 * right also after the VMM died), else as last told. *RET_ID (16 bytes, may be NULL): of which
 * handover.
 */
uint8_t guest_handover(const struct guest *g, uint8_t *ret_id);

enum run_state guest_run_state(const struct guest *g);

/* What query-guests says; free with guest_info_done(). -ENOMEM. */
int guest_describe(const struct guest *g, struct guest_info *ret);

/* "0102...-..." as QMP shows it. */
#define UUID_TEXT_LEN 37
void uuid_format(const uint8_t uuid[ATTACH_ID_LEN], char ret[UUID_TEXT_LEN]);

/*
 * Look again whether the record is still needed. Call it after anything that settles a migration.
 */
void guest_review(struct guest *g);

#endif
