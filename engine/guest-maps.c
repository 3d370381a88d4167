/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of the migration channel: what is answered by a map of pages for each RAM block. */
#include <errno.h>
#include <stddef.h>

#include "attach/codec.h"
#include "engine/guest-link.h"

/* The descriptors of M: maps of the blocks, into the member at OFFSET. */
static int open_maps(struct ram *ram, const struct conn_msg *m, size_t offset, struct merr *err)
{
	int r = 0;

	if (m->n_fds != ram->n_blocks)
		return merr_set(err, -EBADMSG, "%zu maps for %zu RAM blocks", m->n_fds, ram->n_blocks);
	for (size_t i = 0; r == 0 && i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];
		struct dirty_map *map = (struct dirty_map *)(void *)((uint8_t *)b + offset);

		dirty_map_done(map);
		r = dirty_map_open(m->fds[i], b->n_pages, map, err);
	}
	return r;
}

int guest_maps(struct guest_link *g, uint16_t type, const struct wcur *body, struct ram *ram, size_t offset,
	       int (*check)(struct rcur *reply, struct merr *err), struct merr *err)
{
	struct conn_msg m;
	int r = guest_call(g, type, body, NULL, 0, &m, err);

	if (r == 0) {
		r = check(&m.body, err);
		if (r == 0)
			r = open_maps(ram, &m, offset, err);
		conn_msg_done(&m);
	}
	return guest_link_explain(g, r, attach_type_name(type), err);
}

/* The maps are the same whichever it is; one that is not known may fill them in another way. */
static int check_engine(struct rcur *reply, struct merr *err)
{
	enum { BITMAP = 1, RING = 2 };
	struct attach_dirty_start_reply rep;
	int r = attach_dirty_start_reply_decode(reply, &rep, err);

	if (r == 0 && rep.engine != BITMAP && rep.engine != RING)
		r = merr_set(err, -EBADMSG, "field 'engine': %u is neither bitmaps nor rings", rep.engine);
	return r;
}

int guest_check_empty(struct rcur *reply, struct merr *err)
{
	struct attach_empty none;

	return attach_empty_decode(reply, &none, err);
}

int guest_dirty_start(struct guest_link *g, struct ram *ram, struct merr *err)
{
	struct attach_dirty_start req = { .engine = 0 };
	uint8_t body[8];
	struct wcur w = wcur_of(body, sizeof(body));

	(void)attach_dirty_start_encode(&w, &req);
	return guest_maps(g, ATTACH_DIRTY_START, &w, ram, offsetof(struct ram_file, dirty), check_engine, err);
}

int guest_hint_start(struct guest_link *g, struct ram *ram, struct merr *err)
{
	struct wcur none = { 0 };

	return guest_maps(g, ATTACH_HINT_START, &none, ram, offsetof(struct ram_file, hints), guest_check_empty, err);
}
