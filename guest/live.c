/* SPDX-License-Identifier: Apache-2.0 */
/* LIVE_*: state that is sent while the guest runs. Handlers, service thread. */
#include "guest/live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/dispatch.h"

/* ---- the shared area ---- */

void live_session_init(struct live_session *s)
{
	*s = (struct live_session){ .area_fd = -1 };
}

void live_close_area(struct migd_guest *g)
{
	struct live_session *s = &g->mig.live;

	if (s->area)
		(void)munmap(s->area, ATTACH_LIVE_CHUNK_MAX);
	s->area = NULL;
	s->area_fd = close_fd(s->area_fd);
	free(s->copy);
	s->copy = NULL;
}

static int open_area(struct migd_guest *g, struct merr *err)
{
	struct live_session *s = &g->mig.live;
	void *p = MAP_FAILED;

	if (s->area)
		return 0;
	s->copy = malloc(ATTACH_LIVE_CHUNK_MAX);
	s->area_fd = fd_memfd("migd-live", ATTACH_LIVE_CHUNK_MAX);
	if (s->area_fd >= 0)
		p = mmap(NULL, ATTACH_LIVE_CHUNK_MAX, PROT_READ | PROT_WRITE, MAP_SHARED,
			 s->area_fd, 0);
	if (p != MAP_FAILED)
		s->area = p;
	if (s->area && s->copy)
		return 0;
	live_close_area(g);
	return merr_set(err, -ENOMEM, "LIVE_TABLE: no memory for the shared area");
}

/* ---- the table ---- */

static uint8_t flags_of(const struct migd_live *l)
{
	return (uint8_t)((l->iterate ? ATTACH_LIVE_SENT : 0) |
			 (l->unplug_pending ? ATTACH_LIVE_UNPLUG : 0) |
			 (l->load_ready ? ATTACH_LIVE_READY : 0));
}

int handle_live_table(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	uint8_t rows[ATTACH_LIVE_DEVICES_MAX * 160];
	struct wcur w = wcur_of(rows, sizeof(rows));
	struct attach_empty req;
	int r;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < t->n_live; i++) {
		const struct migd_live *l = &t->live[i].ops;
		struct attach_live_device row = { .instance = l->instance,
						  .version = l->version,
						  .minimum_version = l->minimum_version,
						  .flags = flags_of(l) };

		memcpy(row.name, l->name, strlen(l->name));
		(void)attach_live_device_encode(&w, &row);
	}
	if (w.bad)
		return merr_set(err, -EMSGSIZE, "LIVE_TABLE: the table is too long");
	if (t->n_live) {
		r = open_area(g, err);
		if (r < 0)
			return r;
		c->fds[c->n_fds++] = g->mig.live.area_fd;
	}
	return CALL_REPLY(c, live_table_reply, .n = (uint32_t)t->n_live,
			  .area_len = t->n_live ? ATTACH_LIVE_CHUNK_MAX : 0,
			  .devices = { .data = rows, .len = (uint32_t)w.len });
}

/* ---- helpers ---- */

/* NULL: no such device, or one that this message is not for. */
static const struct migd_live *device(const struct migd_guest *g, uint32_t index, bool sent,
				      const char *message, struct merr *err)
{
	const struct guest_tables *t = &g->tables;

	if (index < t->n_live && (!sent || live_is_sent(&t->live[index])))
		return &t->live[index].ops;
	(void)merr_set(err, -EPROTO, "%s: field 'index': %" PRIu32 " of %zu live devices%s",
		       message, index, t->n_live, sent ? ", or one without such state" : "");
	return NULL;
}

static int refused(const struct migd_live *l, const char *callback, int r, struct merr *err)
{
	return merr_set_errno(err, r, "device '%s' instance %" PRIu32 ": %s", l->name, l->instance,
			      callback);
}

static int check_role(const struct migd_guest *g, bool target, const char *message,
		      struct merr *err)
{
	if (g->mig.is_target == target)
		return 0;
	return merr_set(err, -EBADFD, "%s: this is the %s", message, target ? "source" : "target");
}

/* ---- source ---- */

void live_source_end(struct migd_guest *g, bool moved)
{
	struct live_session *s = &g->mig.live;

	for (size_t i = g->tables.n_live; i > 0; i--) {
		const struct migd_live *l = &g->tables.live[i - 1].ops;

		if (s->set_up & 1U << (i - 1) && l->cleanup)
			l->cleanup(l->opaque, moved);
	}
	s->set_up = 0;
}

static void undo_setup(struct migd_guest *g)
{
	live_source_end(g, false);
}

/* Ask the guest for a device that it has to give up, and tell of it. */
static int begin_unplug(struct migd_guest *g, const struct migd_live *l, struct merr *err)
{
	int r;

	if (!l->unplug_pending || !l->unplug_pending(l->opaque))
		return 0;
	r = l->unplug ? l->unplug(l->opaque) : 0;
	if (r < 0)
		return refused(l, "unplug", r, err);
	events_send(g, ATTACH_EVENT_UNPLUG, l->instance, l->name);
	return 0;
}

int handle_live_setup(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct live_session *s = &g->mig.live;
	const struct migd_live *l;
	struct attach_live req;
	int r;

	if (CALL_DECODE(c, live, &req, err) < 0)
		return -EBADMSG;
	l = device(g, req.index, false, "LIVE_SETUP", err);
	r = l ? check_role(g, false, "LIVE_SETUP", err) : -EPROTO;
	if (r < 0)
		return r;
	if (s->set_up & 1U << req.index)
		return merr_set(err, -EBADFD, "LIVE_SETUP: device '%s' is set up already", l->name);
	undo_push(&g->mig.undo, undo_setup);
	s->set_up |= 1U << req.index;
	r = l->setup ? l->setup(l->opaque) : 0;
	return r < 0 ? refused(l, "setup", r, err) : begin_unplug(g, l, err);
}

static int check_set_up(const struct migd_guest *g, uint32_t index, const char *message,
			struct merr *err)
{
	if (g->mig.live.set_up & 1U << index)
		return 0;
	return merr_set(err, -EBADFD, "%s: device '%s' was not set up", message,
			g->tables.live[index].name);
}

int handle_live_pending(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_live_pending req;
	const struct migd_live *l;
	uint64_t bytes = 0;
	int r;

	if (CALL_DECODE(c, live_pending, &req, err) < 0)
		return -EBADMSG;
	l = device(g, req.index, true, "LIVE_PENDING", err);
	r = l ? check_set_up(g, req.index, "LIVE_PENDING", err) : -EPROTO;
	if (r >= 0 && l->pending && (r = l->pending(l->opaque, req.exact, &bytes)) < 0)
		return refused(l, "pending", r, err);
	return r < 0 ? r : CALL_REPLY(c, live_pending_reply, .bytes = bytes);
}

int handle_live_read(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct migd_live_chunk chunk = { .data = g->mig.live.area, .cap = ATTACH_LIVE_CHUNK_MAX };
	struct attach_live_read req;
	const struct migd_live *l;
	int r;

	if (CALL_DECODE(c, live_read, &req, err) < 0)
		return -EBADMSG;
	l = device(g, req.index, true, "LIVE_READ", err);
	r = l ? check_set_up(g, req.index, "LIVE_READ", err) : -EPROTO;
	if (r < 0)
		return r;
	if (!chunk.data || (req.complete && decision_get(&g->decision) != HANDOVER_PAUSED))
		return merr_set(err, -EBADFD, "LIVE_READ: %s",
				chunk.data ? "the guest is not stopped" : "there was no LIVE_TABLE");
	r = req.complete ? l->complete(l->opaque, &chunk) : l->iterate(l->opaque, &chunk);
	if (r < 0)
		return refused(l, req.complete ? "complete" : "iterate", r, err);
	if (chunk.len > ATTACH_LIVE_CHUNK_MAX)
		return merr_set(err, -EOVERFLOW, "device '%s': a chunk of %zu bytes, %u fit",
				l->name, chunk.len, ATTACH_LIVE_CHUNK_MAX);
	return CALL_REPLY(c, live_read_reply, .len = (uint32_t)chunk.len, .more = chunk.more);
}

/* ---- target ---- */

void live_target_end(struct migd_guest *g, bool arrived)
{
	struct live_session *s = &g->mig.live;

	for (size_t i = g->tables.n_live; i > 0; i--) {
		const struct migd_live *l = &g->tables.live[i - 1].ops;

		if (s->loading & 1U << (i - 1) && l->load_cleanup)
			l->load_cleanup(l->opaque, arrived);
	}
	s->loading = s->loaded = 0;
}

static int load_start(struct live_session *s, const struct migd_live *l,
		      const struct attach_live_load *req, struct merr *err)
{
	int r;

	if (s->loading & 1U << req->index)
		return merr_set(err, -EBADFD, "LIVE_LOAD: device '%s' is being loaded already",
				l->name);
	if (req->version > l->version || req->version < l->minimum_version)
		return merr_set(err, -EINVAL,
				"device '%s': field 'version': %" PRIu32 ", %" PRIu32
				" to %" PRIu32 " can be loaded",
				l->name, req->version, l->minimum_version, l->version);
	s->loading |= 1U << req->index;
	r = l->load_setup ? l->load_setup(l->opaque, req->version) : 0;
	return r < 0 ? refused(l, "load_setup", r, err) : 0;
}

static int load_chunk(struct live_session *s, const struct migd_live *l,
		      const struct attach_live_load *req, struct merr *err)
{
	int r;

	if (!s->area || req->len == 0 || req->len > ATTACH_LIVE_CHUNK_MAX)
		return merr_set(err, -EPROTO, "LIVE_LOAD: field 'len': %" PRIu32 ", 1 to %u expected",
				req->len, ATTACH_LIVE_CHUNK_MAX);
	memcpy(s->copy, s->area, req->len);
	r = l->load(l->opaque, s->copy, req->len, req->version);
	return r < 0 ? refused(l, "load", r, err) : 0;
}

static int load_end(struct live_session *s, const struct migd_live *l,
		    const struct attach_live_load *req, struct merr *err)
{
	int r = l->load_done ? l->load_done(l->opaque) : 0;

	if (r < 0)
		return refused(l, "load_done", r, err);
	s->loaded |= 1U << req->index;
	return 0;
}

static int load(struct migd_guest *g, const struct migd_live *l, const struct attach_live_load *req,
		struct merr *err)
{
	struct live_session *s = &g->mig.live;
	uint32_t bit = 1U << req->index;

	if (req->part == ATTACH_LIVE_START)
		return load_start(s, l, req, err);
	if (!(s->loading & bit) || s->loaded & bit)
		return merr_set(err, -EBADFD, "LIVE_LOAD: device '%s' is not being loaded", l->name);
	switch (req->part) {
	case ATTACH_LIVE_CHUNK:
		return load_chunk(s, l, req, err);
	case ATTACH_LIVE_END:
		return load_end(s, l, req, err);
	default:
		return merr_set(err, -EPROTO, "LIVE_LOAD: field 'part': %u", req->part);
	}
}

int handle_live_load(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_live_load req;
	const struct migd_live *l;
	int r;

	if (CALL_DECODE(c, live_load, &req, err) < 0)
		return -EBADMSG;
	l = device(g, req.index, true, "LIVE_LOAD", err);
	r = l ? check_role(g, true, "LIVE_LOAD", err) : -EPROTO;
	return r < 0 ? r : load(g, l, &req, err);
}

/* ---- both ---- */

int handle_live_state(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct migd_live *l;
	struct attach_live req;

	if (CALL_DECODE(c, live, &req, err) < 0)
		return -EBADMSG;
	l = device(g, req.index, false, "LIVE_STATE", err);
	if (!l)
		return -EPROTO;
	return CALL_REPLY(c, live_state_reply,
			  .unplug_pending = l->unplug_pending && l->unplug_pending(l->opaque),
			  .ready = !l->load_ready || l->load_ready(l->opaque));
}
