/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to handlers, by table: a row has the message's type, the handover states in which it is
 * legal, and the handler. The control connection and the migration channel each have a table.
 * Service thread.
 */
#ifndef MIGD_GUEST_DISPATCH_H
#define MIGD_GUEST_DISPATCH_H

#include "attach/codec.h"
#include "guest/internal.h"

/* A request on its way to its reply. */
struct call {
	struct migd_guest *guest;
	struct conn *conn;
	struct conn_msg *msg;
	struct wcur reply;       /* over guest->body */
	int fds[ATTACH_FDS_MAX]; /* to send with the reply */
	size_t n_fds;
	bool owns_fds;  /* close them after the reply */
	bool later;     /* the handler will reply, not the dispatcher */
	bool malformed; /* the body was no such message: the connection ends */
	/*
	 * Runs after the reply is on its way, for what may end the process (hooks retire and
	 * discard).
	 */
	void (*after)(struct migd_guest *g);
};

/* 0, or a negative errno with ERR, which becomes the error reply. */
typedef int (*call_fn)(struct migd_guest *g, struct call *c, struct merr *err);

struct call_row {
	uint16_t type;
	uint32_t states; /* IN(a) | IN(b): legal handover states */
	call_fn handle;
};

#define IN(state) (1U << HANDOVER_##state)
#define IN_ANY    UINT32_MAX

/*
 * Handle one request of CONN by TABLE. Negative: the connection cannot go on (malformed body, or
 * the reply could not be sent).
 */
int dispatch(struct migd_guest *g, struct conn *conn, struct conn_msg *m,
	     const struct call_row *table, size_t n_rows, struct merr *err);

/* Decode the body of a request; a failure marks the call as malformed. */
#define CALL_DECODE(c, body_type, ret, err)                                                        \
	(attach_##body_type##_decode(&(c)->msg->body, (ret), (err)) < 0                            \
		 ? ((c)->malformed = true, -EBADMSG)                                               \
		 : 0)
/* Encode the body of the reply. */
#define CALL_REPLY(c, body_type, ...)                                                              \
	attach_##body_type##_encode(&(c)->reply, &(const struct attach_##body_type){ __VA_ARGS__ })

/* QUERY and HEARTBEAT, the same on both connections. */
int handle_query(struct migd_guest *g, struct call *c, struct merr *err);
int handle_heartbeat(struct migd_guest *g, struct call *c, struct merr *err);

/* handover.c */
int handle_handover_begin(struct migd_guest *g, struct call *c, struct merr *err);
int handle_mig_pause(struct migd_guest *g, struct call *c, struct merr *err);
int handle_mig_abort(struct migd_guest *g, struct call *c, struct merr *err);
int handle_handover_loaded(struct migd_guest *g, struct call *c, struct merr *err);
int handle_release(struct migd_guest *g, struct call *c, struct merr *err);
int handle_activate(struct migd_guest *g, struct call *c, struct merr *err);
int handle_retire(struct migd_guest *g, struct call *c, struct merr *err);
int handle_reclaim(struct migd_guest *g, struct call *c, struct merr *err);
int handle_resolve(struct migd_guest *g, struct call *c, struct merr *err);
int handle_discard(struct migd_guest *g, struct call *c, struct merr *err);

/* live.c */
int handle_live_table(struct migd_guest *g, struct call *c, struct merr *err);
int handle_live_setup(struct migd_guest *g, struct call *c, struct merr *err);
int handle_live_pending(struct migd_guest *g, struct call *c, struct merr *err);
int handle_live_read(struct migd_guest *g, struct call *c, struct merr *err);
int handle_live_load(struct migd_guest *g, struct call *c, struct merr *err);
int handle_live_state(struct migd_guest *g, struct call *c, struct merr *err);

/* announce.c */
int handle_announce(struct migd_guest *g, struct call *c, struct merr *err);

/* dirty-rate.c, dirty-limit.c */
int handle_dirty_rate(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_query(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_limit(struct migd_guest *g, struct call *c, struct merr *err);
int handle_mig_dirty_limit(struct migd_guest *g, struct call *c, struct merr *err);
int handle_mig_dirty_limit_stats(struct migd_guest *g, struct call *c, struct merr *err);

/* hint.c */
int handle_hint_start(struct migd_guest *g, struct call *c, struct merr *err);

/* poison.c */
int handle_ram_poison(struct migd_guest *g, struct call *c, struct merr *err);
int handle_ram_poison_set(struct migd_guest *g, struct call *c, struct merr *err);

/* transfer.c */
int handle_ram_table(struct migd_guest *g, struct call *c, struct merr *err);
int handle_config_get(struct migd_guest *g, struct call *c, struct merr *err);
int handle_config_check(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_start(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_sync(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_clear(struct migd_guest *g, struct call *c, struct merr *err);
int handle_dirty_stop(struct migd_guest *g, struct call *c, struct merr *err);
int handle_state_save(struct migd_guest *g, struct call *c, struct merr *err);
int handle_state_load(struct migd_guest *g, struct call *c, struct merr *err);
int handle_throttle(struct migd_guest *g, struct call *c, struct merr *err);
/* Hold the vCPUs for a moment, so that their descriptors can be asked; let them go in any case. */
int transfer_hold_vcpus(struct migd_guest *g, struct merr *err);
void transfer_let_vcpus_go(struct migd_guest *g);
/* Log what the last save or load went on from. */
void transfer_log_notes(struct migd_guest *g);

/* feed.c */
int handle_state_feed(struct migd_guest *g, struct call *c, struct merr *err);
int handle_state_feed_end(struct migd_guest *g, struct call *c, struct merr *err);

/* uffd.c, received.c */
int handle_uffd_open(struct migd_guest *g, struct call *c, struct merr *err);
int handle_uffd_end(struct migd_guest *g, struct call *c, struct merr *err);
int handle_received_maps(struct migd_guest *g, struct call *c, struct merr *err);
int handle_memo_set(struct migd_guest *g, struct call *c, struct merr *err);
int handle_memo_get(struct migd_guest *g, struct call *c, struct merr *err);

/* Block I as a row of RAM_TABLE and RAM_OFFER. */
int transfer_encode_block(struct wcur *w, const struct guest_tables *t, size_t i);

/* FD, which came with MESSAGE, must be a socket that a conn can be made of. */
int channel_check(int fd, const char *message, struct merr *err);

/* cpr-offer.c */
/* A RAM_OFFER of all blocks: its body, and their descriptors, borrowed. */
int cpr_encode_offer(const struct guest_tables *t, const uint8_t *id, struct wcur *w,
		     int fds[ATTACH_FDS_MAX], struct merr *err);
int handle_cpr_offer(struct migd_guest *g, struct call *c, struct merr *err);

/* cpr-exec.c */
int handle_cpr_exec(struct migd_guest *g, struct call *c, struct merr *err);

#endif
