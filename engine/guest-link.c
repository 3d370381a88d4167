/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of the migration channel. */
#include "engine/guest-link.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/codec.h"
#include "base/bitmap.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"

uint64_t guest_call_deadline(uint64_t ms)
{
	return clock_now_ns() + ms * NS_PER_MS;
}

/* Events that end a migration, and how they read. A cause explains the failure of a request; an effect follows from it. */
static const struct {
	enum attach_event kind;
	bool is_cause;
	const char *text;
} fatal_events[] = {
	{ ATTACH_EVENT_SHUTDOWN, true, "the guest powered off while it was being migrated" },
	{ ATTACH_EVENT_PANIC, true, "the guest crashed while it was being migrated" },
	{ ATTACH_EVENT_ROLLED_BACK, false, "the guest's library took the guest back" },
	{ ATTACH_EVENT_RING_BROKEN, true, "KVM's dirty ring lost entries: use the dirty bitmap" },
};

static void on_event(void *opaque, struct conn_msg *m)
{
	struct guest_link *g = opaque;
	struct attach_event_body ev;
	struct merr err = MERR_INIT;

	if (m->type != ATTACH_EVENT)
		return;
	if (attach_event_body_decode(&m->body, &ev, &err) < 0) {
		(void)merr_copy(&g->event, &err);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fatal_events); i++)
		if (fatal_events[i].kind == ev.kind) {
			g->event_is_cause |= fatal_events[i].is_cause;
			(void)merr_set(&g->event, -ESHUTDOWN, "%s%s%s", fatal_events[i].text,
				       ev.text[0] ? ": " : "", ev.text);
		}
}

int guest_link_init(struct guest_link *g, int fd, int cancel_fd)
{
	*g = (struct guest_link){ .cancel_fd = cancel_fd };
	g->conn = conn_new(fd);
	if (!g->conn)
		return -ENOMEM;
	conn_on_event(g->conn, on_event, g);
	return 0;
}

void guest_link_done(struct guest_link *g)
{
	g->conn = conn_free(g->conn);
}

void guest_link_no_cancel(struct guest_link *g)
{
	g->cancel_fd = -1;
}

int guest_link_poll(struct guest_link *g, struct merr *err)
{
	struct conn_msg m;
	int r;

	for (;;) {
		r = conn_recv(g->conn, &m, err);
		if (r == -ENOTCONN)
			return merr_set(err, r, "the VMM is gone");
		if (r < 0)
			return r;
		if (r == 0)
			return merr_copy(err, merr_is_set(&g->event) ? &g->event : NULL);
		on_event(g, &m);
		conn_msg_done(&m);
	}
}

/* Every request goes through here: the library's own words, or what became of the VMM. */
static int explain(struct guest_link *g, int r, const char *what, struct merr *err)
{
	if (r >= 0)
		return r;
	if (merr_is_set(&g->event) && (g->event_is_cause || !merr_is_set(err))) {
		merr_clear(err);
		return merr_copy(err, &g->event);
	}
	if (merr_is_set(err)) {
		(void)merr_prefix(err, "guest library: %s", what);
		return r;
	}
	if (r == -ENOTCONN)
		return merr_set(err, r, "the VMM is gone (%s)", what);
	if (r == -ETIMEDOUT)
		return merr_set(err, r, "the guest library did not answer within %u ms (%s)",
				GUEST_CALL_MS, what);
	if (r == -ECANCELED)
		return merr_set(err, r, "cancelled");
	return merr_set_errno(err, r, "guest library: %s", what);
}

int guest_link_explain(struct guest_link *g, int r, const char *what, struct merr *err)
{
	return explain(g, r, what, err);
}

#define REQUEST(g, TYPE, req_body, req, rep_body, rep, err)                                        \
	explain(g,                                                                                 \
		conn_request((g)->conn, TYPE, req_body, req, rep_body, rep,                        \
			     guest_call_deadline(GUEST_CALL_MS), (g)->cancel_fd, err),                   \
		#TYPE, err)

int guest_call(struct guest_link *g, uint16_t type, const struct wcur *body, const int *fds, size_t n_fds,
	       struct conn_msg *ret, struct merr *err)
{
	if (body->bad)
		return merr_set(err, -EMSGSIZE, "the request does not fit a message");
	return conn_call(g->conn, type, body->p, body->len, fds, n_fds,
			 guest_call_deadline(GUEST_CALL_MS), g->cancel_fd, ret, err);
}

static int add_blocks(struct ram *ram, struct conn_msg *m, struct attach_ram_table_reply *rep,
		      struct merr *err)
{
	struct rcur c = rcur_of(rep->blocks.data, rep->blocks.len);
	struct attach_ram_block row;
	int r;

	if (rep->n != m->n_fds)
		return merr_set(err, -EBADMSG, "%u RAM blocks with %zu descriptors", rep->n,
				m->n_fds);
	for (uint32_t i = 0; i < rep->n; i++) {
		r = attach_ram_block_decode(&c, &row, err);
		if (r < 0)
			return r;
		r = ram_add(ram, &row, conn_msg_take_fd(m, i), err);
		if (r < 0)
			return r;
	}
	return attach_decode_end(&c, err);
}

/* One message's worth of the table; *ret_total: how many blocks there are. */
static int fetch_blocks(struct guest_link *g, struct ram *ram, uint32_t *ret_total, struct merr *err)
{
	struct attach_ram_table req = { .first = (uint32_t)ram->n_blocks };
	struct attach_ram_table_reply rep;
	struct conn_msg m;
	uint8_t body[16];
	struct wcur w = wcur_of(body, sizeof(body));
	int r;

	(void)attach_ram_table_encode(&w, &req);
	r = guest_call(g, ATTACH_RAM_TABLE, &w, NULL, 0, &m, err);
	if (r < 0)
		return r;
	r = attach_ram_table_reply_decode(&m.body, &rep, err);
	if (r == 0)
		r = add_blocks(ram, &m, &rep, err);
	if (r == 0 && (rep.n == 0 || rep.total > ATTACH_RAM_BLOCKS_MAX))
		r = merr_set(err, -EBADMSG, "a RAM table of %u blocks", rep.total);
	*ret_total = r == 0 ? rep.total : 0;
	conn_msg_done(&m);
	return r;
}

int guest_ram_table(struct guest_link *g, struct ram *ram, struct merr *err)
{
	uint32_t total;
	int r;

	do {
		r = fetch_blocks(g, ram, &total, err);
		if (r < 0)
			return explain(g, r, "RAM_TABLE", err);
	} while (ram->n_blocks < total);
	return 0;
}

int guest_config_fetch(struct guest_link *g, uint8_t *buf, size_t *ret_len, struct merr *err)
{
	struct attach_config config;
	struct wcur none = { 0 };
	struct conn_msg m;
	int r;

	r = guest_call(g, ATTACH_CONFIG_GET, &none, NULL, 0, &m, err);
	if (r < 0)
		return explain(g, r, "CONFIG_GET", err);
	r = attach_config_decode(&m.body, &config, err);
	if (r == 0 && config.config.len > ATTACH_CONFIG_MAX)
		r = merr_set(err, -EBADMSG, "a description of %u bytes", config.config.len);
	if (r == 0) {
		memcpy(buf, config.config.data, config.config.len);
		*ret_len = config.config.len;
	}
	conn_msg_done(&m);
	return explain(g, r, "CONFIG_GET", err);
}

int guest_config_compare(struct guest_link *g, const uint8_t *config, size_t len, struct mismatches *ret,
			 struct merr *err)
{
	_cleanup_free_ uint8_t *body = malloc(ATTACH_BODY_MAX);
	struct attach_config req = { .config = { .data = config, .len = (uint32_t)len } };
	struct wcur w = wcur_of(body, ATTACH_BODY_MAX);
	struct conn_msg m;
	int r;

	if (!body)
		return merr_set_errno(err, -ENOMEM, "guest description");
	if (attach_config_encode(&w, &req) < 0)
		return merr_set(err, -EBADMSG, "the source's guest description: %zu bytes (at most %u)", len,
				ATTACH_CONFIG_MAX);
	/* The text of a failure is for people on both sides: no prefix. */
	r = guest_call(g, ATTACH_CONFIG_CHECK, &w, NULL, 0, &m, err);
	if (r < 0)
		return r;
	r = mismatches_decode(&m.body, ret, err);
	conn_msg_done(&m);
	return explain(g, r, "CONFIG_CHECK", err);
}

int guest_dirty_sync(struct guest_link *g, struct merr *err)
{
	struct attach_dirty_sync_reply rep;
	struct attach_empty none = {};

	return REQUEST(g, DIRTY_SYNC, empty, &none, dirty_sync_reply, &rep, err);
}

int guest_dirty_clear(struct guest_link *g, unsigned int block, uint64_t first, const uint64_t *bits,
		      uint64_t n_pages, struct merr *err)
{
	uint64_t le[ATTACH_CLEAR_PAGES_MAX / BITMAP_WORD_BITS];
	uint8_t body[sizeof(le) + 64];
	struct wcur w = wcur_of(body, sizeof(body));
	uint64_t n_words = bitmap_words(n_pages);
	struct attach_dirty_clear req;
	struct conn_msg m;
	int r;

	if (n_words > ARRAY_SIZE(le))
		return merr_set(err, -EINVAL, "%" PRIu64 " pages in one DIRTY_CLEAR", n_pages);
	for (uint64_t i = 0; i < n_words; i++)
		le[i] = htole64(bits[i]);
	req = (struct attach_dirty_clear){
		.block = block,
		.first_page = first,
		.bits = { .data = (const uint8_t *)le, .len = (uint32_t)(n_words * sizeof(le[0])) },
	};
	(void)attach_dirty_clear_encode(&w, &req);
	r = guest_call(g, ATTACH_DIRTY_CLEAR, &w, NULL, 0, &m, err);
	if (r == 0)
		conn_msg_done(&m);
	return explain(g, r, "DIRTY_CLEAR", err);
}

int guest_pause(struct guest_link *g, uint64_t deadline_ms, struct attach_mig_pause_reply *ret,
		struct merr *err)
{
	struct attach_mig_pause req = { .deadline_ms = (uint32_t)deadline_ms };

	memcpy(req.handover_id, g->id, sizeof(req.handover_id));
	return explain(g,
		       conn_request(g->conn, MIG_PAUSE, mig_pause, &req, mig_pause_reply, ret,
				    guest_call_deadline(deadline_ms + GUEST_CALL_MS), g->cancel_fd, err),
		       "MIG_PAUSE", err);
}

int guest_state_fetch(struct guest_link *g, uint32_t first_section_id,
		      struct attach_state_save_reply *ret, int *ret_fd, struct merr *err)
{
	struct attach_state_save req = { .first_section_id = first_section_id };
	uint8_t body[8];
	struct wcur w = wcur_of(body, sizeof(body));
	struct conn_msg m;
	int r, fd;

	(void)attach_state_save_encode(&w, &req);
	r = guest_call(g, ATTACH_STATE_SAVE, &w, NULL, 0, &m, err);
	if (r < 0)
		return explain(g, r, "STATE_SAVE", err);
	r = attach_state_save_reply_decode(&m.body, ret, err);
	fd = conn_msg_take_fd(&m, 0);
	conn_msg_done(&m);
	if (r == 0 && (fd < 0 || ret->len > WIRE_PACKAGE_MAX))
		r = merr_set(err, -EBADMSG, "device state of %" PRIu64 " bytes%s", ret->len,
			     fd < 0 ? " without a descriptor" : "");
	if (r < 0)
		(void)close_fd(fd);
	else
		*ret_fd = fd;
	return explain(g, r, "STATE_SAVE", err);
}

int guest_state_give(struct guest_link *g, int fd, uint64_t len, uint64_t *ret_us, struct merr *err)
{
	struct attach_state_load req = { .len = len };
	struct attach_state_load_reply rep;
	uint8_t body[16];
	struct wcur w = wcur_of(body, sizeof(body));
	struct conn_msg m;
	int r;

	(void)attach_state_load_encode(&w, &req);
	r = guest_call(g, ATTACH_STATE_LOAD, &w, &fd, 1, &m, err);
	if (r == 0) {
		r = attach_state_load_reply_decode(&m.body, &rep, err);
		conn_msg_done(&m);
	}
	if (r == 0)
		*ret_us = rep.took_us;
	return explain(g, r, "STATE_LOAD", err);
}

static int feed_request(const struct guest_section *begin, struct attach_state_feed *req, struct merr *err)
{
	size_t len;

	if (!begin)
		return 0;
	len = strlen(begin->idstr);
	if (len > ATTACH_STR_MAX)
		return merr_set(err, -EINVAL,
				"section '%s' instance %" PRIu32 " at offset %" PRIu64 ": there is no such device here",
				begin->idstr, begin->instance, req->offset);
	req->first = 1;
	memcpy(req->name, begin->idstr, len + 1);
	req->instance = begin->instance;
	req->version = begin->version;
	return 0;
}

/* What the library says of a piece of LEN bytes, checked: the caller moves on by it. */
static int feed_reply(struct conn_msg *m, size_t len, struct guest_feed_result *ret, struct merr *err)
{
	struct attach_state_feed_reply rep;
	int r = attach_state_feed_reply_decode(&m->body, &rep, err);

	if (r < 0)
		return r;
	if (rep.consumed > len || rep.needs > ATTACH_FEED_MAX ||
	    (!rep.done && len - rep.consumed >= rep.needs))
		return merr_set(err, -EBADMSG, "consumed %u of %zu bytes and needs %u", rep.consumed, len, rep.needs);
	*ret = (struct guest_feed_result){ .done = rep.done, .consumed = rep.consumed, .needs = rep.needs };
	return 0;
}

int guest_state_feed(struct guest_link *g, const struct guest_section *begin, uint64_t offset, const uint8_t *bytes,
		     size_t len, struct guest_feed_result *ret, struct merr *err)
{
	struct attach_state_feed req = { .offset = offset, .bytes = { .data = bytes, .len = (uint32_t)len } };
	uint8_t body[ATTACH_FEED_MAX + 256];
	struct wcur w = wcur_of(body, sizeof(body));
	struct conn_msg m;
	int r;

	r = feed_request(begin, &req, err);
	if (r < 0)
		return r;
	(void)attach_state_feed_encode(&w, &req);
	r = guest_call(g, ATTACH_STATE_FEED, &w, NULL, 0, &m, err);
	if (r == 0) {
		r = feed_reply(&m, len, ret, err);
		conn_msg_done(&m);
	}
	return explain(g, r, "STATE_FEED", err);
}

int guest_state_feed_end(struct guest_link *g, bool ram_only, uint64_t *ret_us, struct merr *err)
{
	struct attach_state_feed_end req = { .ram_only = ram_only };
	struct attach_state_load_reply rep = { 0 };
	int r = REQUEST(g, STATE_FEED_END, state_feed_end, &req, state_load_reply, &rep, err);

	if (r == 0)
		*ret_us = rep.took_us;
	return r;
}

int guest_throttle(struct guest_link *g, unsigned int percent, struct merr *err)
{
	struct attach_throttle req = { .percent = (uint8_t)percent };
	struct attach_empty reply;

	return REQUEST(g, THROTTLE, throttle, &req, empty, &reply, err);
}

int guest_dirty_limit(struct guest_link *g, uint64_t limit_mib, uint64_t period_ms, struct merr *err)
{
	struct attach_dirty_limit req = {
		.vcpu = ATTACH_ALL_VCPUS,
		.limit_mib = limit_mib,
		.period_ms = (uint32_t)period_ms,
	};
	struct attach_empty reply;

	return REQUEST(g, MIG_DIRTY_LIMIT, dirty_limit, &req, empty, &reply, err);
}

int guest_dirty_limit_stats(struct guest_link *g, struct attach_mig_dirty_limit_reply *ret, struct merr *err)
{
	struct attach_empty none = {};

	return REQUEST(g, MIG_DIRTY_LIMIT_STATS, empty, &none, mig_dirty_limit_reply, ret, err);
}

int guest_ram_poison(struct guest_link *g, uint32_t index, struct attach_ram_poison_reply *ret,
		     struct merr *err)
{
	struct attach_ram_poison req = { .index = index };

	return REQUEST(g, RAM_POISON, ram_poison, &req, ram_poison_reply, ret, err);
}

int guest_ram_poison_set(struct guest_link *g, uint32_t block, uint64_t first_page, uint64_t n_pages,
			 struct merr *err)
{
	struct attach_ram_poison_set req = { .block = block, .first_page = first_page, .n_pages = n_pages };
	struct attach_empty none;

	return REQUEST(g, RAM_POISON_SET, ram_poison_set, &req, empty, &none, err);
}

int guest_heartbeat(struct guest_link *g, struct merr *err)
{
	struct attach_empty none = {}, reply;

	return REQUEST(g, HEARTBEAT, empty, &none, empty, &reply, err);
}

int guest_query(struct guest_link *g, struct attach_query_reply *ret, struct merr *err)
{
	struct attach_empty none = {};

	return REQUEST(g, QUERY, empty, &none, query_reply, ret, err);
}

int guest_exec(struct guest_link *g, char *const *argv, size_t n, struct merr *err)
{
	_cleanup_free_ uint8_t *body = malloc(ATTACH_BODY_MAX);
	struct buf words = { .max = ATTACH_BODY_MAX };
	struct wcur w = wcur_of(body, ATTACH_BODY_MAX);
	struct attach_cpr_exec req = { .check = n == 0 };
	struct conn_msg m;
	int r;

	for (size_t i = 0; i < n; i++)
		buf_add(&words, argv[i], strlen(argv[i]) + 1);
	req.argv = (struct attach_blob){ .data = words.data, .len = (uint32_t)words.len };
	r = !body ? -ENOMEM : words.error ? words.error : attach_cpr_exec_encode(&w, &req);
	if (r == 0)
		r = guest_call(g, ATTACH_CPR_EXEC, &w, NULL, 0, &m, err);
	if (r == 0)
		conn_msg_done(&m);
	buf_done(&words);
	return explain(g, r, "CPR_EXEC", err);
}

/* A move of the handover: the id goes with it. */
#define MOVE(g, TYPE, ret_reply, err)                                                              	({                                                                                         		struct attach_handover _move;                                                      		memcpy(_move.handover_id, (g)->id, sizeof(_move.handover_id));                     		REQUEST(g, TYPE, handover, &_move, handover_reply, ret_reply, err);                	})

int guest_begin(struct guest_link *g, struct merr *err)
{
	struct attach_handover_reply rep;

	return MOVE(g, HANDOVER_BEGIN, &rep, err);
}

int guest_abort(struct guest_link *g, enum handover_state *ret, struct merr *err)
{
	struct attach_handover_reply rep = { 0 };
	int r = MOVE(g, MIG_ABORT, &rep, err);

	if (r == 0 && ret)
		*ret = rep.handover_state;
	return r;
}

int guest_loaded(struct guest_link *g, bool paused, struct merr *err)
{
	struct attach_handover_loaded req = { .paused = paused };
	struct attach_handover_reply rep;

	memcpy(req.handover_id, g->id, sizeof(req.handover_id));
	return REQUEST(g, HANDOVER_LOADED, handover_loaded, &req, handover_reply, &rep, err);
}

int guest_release(struct guest_link *g, struct merr *err)
{
	struct attach_handover_reply rep;

	return MOVE(g, RELEASE, &rep, err);
}

int guest_activate(struct guest_link *g, uint64_t *ret_us, struct merr *err)
{
	struct attach_handover_reply rep = { 0 };
	int r = MOVE(g, ACTIVATE, &rep, err);

	if (r == 0 && ret_us)
		*ret_us = rep.took_us;
	return r;
}

int guest_retire(struct guest_link *g, struct merr *err)
{
	struct attach_handover_reply rep;

	return MOVE(g, RETIRE, &rep, err);
}

int guest_reclaim(struct guest_link *g, struct merr *err)
{
	struct attach_handover_reply rep;

	return MOVE(g, RECLAIM, &rep, err);
}
