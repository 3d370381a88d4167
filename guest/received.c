/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker leaves for its successor: the received maps, and a memo. Service thread. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

static int make_maps(struct migd_guest *g, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	struct received *m = &g->received;
	struct dirty_map map;
	int r;

	for (; m->n < t->n_blocks; m->n++) {
		r = dirty_map_create(t->blocks[m->n].len / DIRTY_PAGE_SIZE, &map, &m->fds[m->n]);
		if (r < 0)
			return merr_set_errno(err, r, "received map of RAM block '%s'", t->blocks[m->n].name);
		dirty_map_done(&map);
	}
	return 0;
}

int handle_received_maps(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct received *m = &g->received;
	struct attach_empty req;
	int r;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (!m->n && decision_get(&g->decision) == HANDOVER_RUNNING)
		return merr_set(err, -EBADFD, "RECEIVED_MAPS: the guest runs, and does not wait for pages");
	r = make_maps(g, err);
	if (r < 0) {
		while (m->n > 0)
			(void)close_fd(m->fds[--m->n]);
		return r;
	}
	memcpy(c->fds, m->fds, m->n * sizeof(m->fds[0]));
	c->n_fds = m->n;
	return 0;
}

int handle_memo_set(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_memo req;

	if (CALL_DECODE(c, memo, &req, err) < 0)
		return -EBADMSG;
	if (req.memo.len > sizeof(g->memo.bytes))
		return merr_set(err, -EINVAL, "MEMO_SET: %u bytes (at most %zu)", req.memo.len, sizeof(g->memo.bytes));
	memcpy(g->memo.bytes, req.memo.data, req.memo.len);
	g->memo.len = req.memo.len;
	return 0;
}

int handle_memo_get(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	return CALL_REPLY(c, memo, .memo = { .data = g->memo.bytes, .len = g->memo.len });
}
