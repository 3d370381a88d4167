/* SPDX-License-Identifier: Apache-2.0 */
/* STATE_FEED, STATE_FEED_END: the state outside RAM from a stream that is not packaged. Handlers, service thread. */
#include <errno.h>

#include "guest/dispatch.h"

/* A failed load leaves a guest that nobody may run: the handover ends here. */
static int give_up(struct migd_guest *g, int code, struct merr *err)
{
	g->mig.feed = state_feed_free(g->mig.feed);
	/* The event arrives before the reply, so it has to say why as well. */
	handover_roll_back(g, merr_msg(err));
	return code;
}

static int check_piece(const struct migd_guest *g, const struct attach_state_feed *req, struct merr *err)
{
	if (g->mig.state_loaded)
		return merr_set(err, -EBADFD, "STATE_FEED: the state was loaded already");
	if (req->bytes.len > ATTACH_FEED_MAX)
		return merr_set(err, -EPROTO, "STATE_FEED: field 'bytes': %u of them, at most %u expected",
				req->bytes.len, ATTACH_FEED_MAX);
	return 0;
}

/* With the vCPUs held, as the descriptions' hooks are promised. */
static int feed(struct migd_guest *g, const struct attach_state_feed *req, struct rcur *in, size_t *ret_needs,
		struct merr *err)
{
	int r = 0;

	if (!g->mig.feed)
		r = state_feed_new(g->arch, &g->tables, &g->mig.feed, err);
	if (r == 0 && req->first)
		r = state_feed_begin(g->mig.feed, req->name, req->instance, req->version, req->offset, err);
	if (r == 0)
		r = state_feed_bytes(g->mig.feed, in, ret_needs, err);
	return r;
}

int handle_state_feed(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_state_feed req;
	struct rcur in;
	size_t needs = 0;
	int r;

	if (CALL_DECODE(c, state_feed, &req, err) < 0)
		return -EBADMSG;
	r = check_piece(g, &req, err);
	if (r < 0)
		return r;
	in = rcur_of(req.bytes.data, req.bytes.len);
	r = transfer_hold_vcpus(g, err);
	if (r >= 0)
		r = feed(g, &req, &in, &needs, err);
	transfer_let_vcpus_go(g);
	if (r < 0 && r != -EAGAIN)
		return give_up(g, r, err);
	return CALL_REPLY(c, state_feed_reply, .done = r == 0,
			  .consumed = (uint32_t)(req.bytes.len - in.left), .needs = (uint32_t)needs);
}

static int end(struct migd_guest *g, bool ram_only, struct merr *err)
{
	int r = transfer_hold_vcpus(g, err);

	if (r >= 0 && !g->mig.feed)
		r = state_feed_new(g->arch, &g->tables, &g->mig.feed, err);
	if (r >= 0)
		r = state_feed_end(g->mig.feed, ram_only, err);
	transfer_let_vcpus_go(g);
	transfer_log_notes(g);
	return r;
}

int handle_state_feed_end(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_state_feed_end req;
	uint64_t began = clock_now_ns();
	int r;

	if (CALL_DECODE(c, state_feed_end, &req, err) < 0)
		return -EBADMSG;
	if (g->mig.state_loaded)
		return merr_set(err, -EBADFD, "STATE_FEED_END: the state was loaded already");
	r = end(g, req.ram_only, err);
	if (r < 0)
		return give_up(g, r, err);
	g->mig.feed = state_feed_free(g->mig.feed);
	g->mig.state_loaded = true;
	return CALL_REPLY(c, state_load_reply, .took_us = (clock_now_ns() - began) / NS_PER_US);
}
