/* SPDX-License-Identifier: Apache-2.0 */
/* Handing this guest's memory to another VMM on this host: the source's side of cpr-transfer. Service thread. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

int cpr_encode_offer(const struct guest_tables *t, const uint8_t *id, struct wcur *w,
			int fds[ATTACH_FDS_MAX], struct merr *err)
{
	_cleanup_free_ uint8_t *bytes = malloc(ATTACH_BODY_MAX);
	struct wcur rows = wcur_of(bytes, ATTACH_BODY_MAX);
	struct attach_ram_offer offer = { .n = (uint32_t)t->n_blocks };
	int r = 0;

	if (!bytes)
		return merr_set(err, -ENOMEM, "no memory for the RAM table");
	for (size_t i = 0; i < t->n_blocks && r >= 0; i++) {
		r = transfer_encode_block(&rows, t, i);
		fds[i] = t->blocks[i].fd;
	}
	memcpy(offer.handover_id, id, sizeof(offer.handover_id));
	offer.blocks = (struct attach_blob){ .data = bytes, .len = (uint32_t)rows.len };
	if (r >= 0)
		r = attach_ram_offer_encode(w, &offer);
	return r < 0 ? merr_set(err, r, "the RAM table is too long") : 0;
}

/* The new VMM answers whoever made the connection; this side only sends. */
int handle_cpr_offer(struct migd_guest *g, struct call *c, struct merr *err)
{
	_cleanup_free_ uint8_t *body = malloc(ATTACH_BODY_MAX);
	struct wcur w = wcur_of(body, ATTACH_BODY_MAX);
	struct attach_handover req;
	int fds[ATTACH_FDS_MAX], fd, r;
	struct conn *conn;

	if (CALL_DECODE(c, handover, &req, err) < 0)
		return -EBADMSG;
	if (!body)
		return merr_set(err, -ENOMEM, "CPR_OFFER: no memory");
	if (g->mig.conn)
		return merr_set(err, -EBUSY, "CPR_OFFER: a migration of this guest is under way");
	fd = conn_msg_take_fd(c->msg, 0);
	r = channel_check(fd, "CPR_OFFER", err);
	if (r >= 0)
		r = cpr_encode_offer(&g->tables, req.handover_id, &w, fds, err);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	conn = conn_new(fd);
	if (!conn)
		return merr_set(err, -ENOMEM, "CPR_OFFER: no memory");
	r = conn_send(conn, ATTACH_RAM_OFFER, w.p, w.len, fds, g->tables.n_blocks, NULL);
	(void)conn_free(conn);
	return r < 0 ? merr_set_errno(err, r, "CPR_OFFER: the new VMM does not take the memory") : 0;
}
