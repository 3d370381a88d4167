/* SPDX-License-Identifier: Apache-2.0 */
/* Large devices, sent. */
#include <errno.h>

#include "base/bytes.h"
#include "engine/live.h"

int live_begin(struct live *l, struct merr *err)
{
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++)
		r = live_setup(&l->sections[i], err);
	return r;
}

static int setup(void *opaque, struct out *out, struct merr *err)
{
	(void)opaque;
	(void)err;
	out_be16(out, LIVE_FORMAT);
	return 0;
}

static int pending_estimate(void *opaque, uint64_t *ret_bytes, struct merr *err)
{
	return live_pending(opaque, false, ret_bytes, err);
}

static int pending_exact(void *opaque, uint64_t *ret_bytes, struct merr *err)
{
	return live_pending(opaque, true, ret_bytes, err);
}

/* One chunk, framed; the area may be filled again afterwards. */
static int send_chunk(struct live_section *s, bool complete, struct out *out, uint32_t *ret_len,
		      bool *ret_more, struct merr *err)
{
	int r;

	r = live_read(s, complete, ret_len, ret_more, err);
	if (r < 0 || *ret_len == 0)
		return r;
	out_be32(out, *ret_len);
	out_ref(out, s->live->area, *ret_len);
	return out_flush(out);
}

/* A device that changes faster than it can be sent does not hold up the others, nor the decision to stop the guest. */
static int begin_pass(struct live_section *s, struct merr *err)
{
	int r;

	if (s->in_pass)
		return 0;
	r = live_pending(s, false, &s->budget_bytes, err);
	s->budget_bytes = max_u64(s->budget_bytes, ATTACH_LIVE_CHUNK_MAX);
	s->in_pass = r == 0;
	return r;
}

static int iterate(void *opaque, struct out *out, struct merr *err)
{
	struct live_section *s = opaque;
	uint64_t batch = out_batch_bytes(out), sent = 0;
	uint32_t len = 0;
	bool more = true;
	int r;

	r = begin_pass(s, err);
	do {
		if (r == 0)
			r = send_chunk(s, false, out, &len, &more, err);
		if (r < 0)
			return r;
		sent += len;
		s->budget_bytes -= min_u64(len, s->budget_bytes);
		more = more && len > 0 && s->budget_bytes > 0;
	} while (more && sent < batch);
	out_be32(out, 0);
	s->in_pass = more;
	return more ? 0 : 1;
}

static int complete(void *opaque, struct out *out, struct merr *err)
{
	struct live_section *s = opaque;
	uint32_t len;
	bool more;
	int r;

	do {
		r = send_chunk(s, true, out, &len, &more, err);
		if (r < 0)
			return r;
		if (more && len == 0)
			return merr_set(err, -EPROTO, "device '%s': no bytes, but more to come",
					s->device.name);
	} while (more);
	out_be32(out, 0);
	return 0;
}

/* A library that cannot say fails the next request, too, and that one has a way to tell. */
static bool unplug_pending(void *opaque)
{
	struct attach_live_state_reply state;
	struct merr ignored = MERR_INIT;

	return live_state(opaque, &state, &ignored) == 0 && state.unplug_pending;
}

static const struct handler_ops sent_ops = {
	.setup = setup,
	.pending_estimate = pending_estimate,
	.pending_exact = pending_exact,
	.iterate = iterate,
	.complete = complete,
}, unplugged_ops = {
	.unplug_pending = unplug_pending,
}, sent_and_unplugged_ops = {
	.setup = setup,
	.pending_estimate = pending_estimate,
	.pending_exact = pending_exact,
	.iterate = iterate,
	.complete = complete,
	.unplug_pending = unplug_pending,
};

/* By ATTACH_LIVE_SENT and ATTACH_LIVE_UNPLUG. */
static const struct handler_ops *const ops_by_flags[] = { NULL, &sent_ops, &unplugged_ops,
							  &sent_and_unplugged_ops };

int live_source_register(struct handlers *hs, struct live *l, struct merr *err)
{
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++) {
		struct live_section *s = &l->sections[i];
		struct handler h = live_handler(s, ops_by_flags[s->device.flags & (ATTACH_LIVE_SENT | ATTACH_LIVE_UNPLUG)]);

		if (h.ops)
			r = handlers_add(hs, &h, err);
	}
	return r;
}
