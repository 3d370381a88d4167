/* SPDX-License-Identifier: Apache-2.0 */
/* Large devices, received. Hostile input: the framing is checked here, what is in the chunks by the device. */
#include <errno.h>
#include <inttypes.h>

#include "engine/live.h"

/* What the library refuses, with where it was. */
static int load_part(struct live_section *s, struct in *in, uint32_t version, enum attach_live_part part,
		     uint32_t len)
{
	struct merr why = MERR_INIT;
	int r;

	r = live_load(s, version, part, len, &why);
	if (r == 0 || r == -ECANCELED)
		return r;
	if (part == ATTACH_LIVE_CHUNK)
		return in_fail(in, r, "section '%s': field 'chunk' %" PRIu64 " of %u bytes: %s",
			       s->device.name, s->n_chunks, len, merr_msg(&why));
	return in_fail(in, r, "section '%s': %s", s->device.name, merr_msg(&why));
}

static int load_setup(void *opaque, struct in *in, uint32_t version)
{
	struct live_section *s = opaque;
	uint16_t format = in_be16(in);

	if (!in_error(in) && format != LIVE_FORMAT)
		return in_fail(in, -EBADMSG, "section '%s': field 'format': %u instead of %u",
			       s->device.name, format, LIVE_FORMAT);
	if (in_error(in))
		return in_error(in);
	return load_part(s, in, version, ATTACH_LIVE_START, 0);
}

static int load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	struct live_section *s = opaque;
	uint32_t len;
	int r = 0;

	while ((len = in_be32(in)) > 0 && r == 0) {
		if (len > ATTACH_LIVE_CHUNK_MAX)
			return in_fail(in, -EBADMSG, "section '%s': field 'chunk length': %u (at most %u)",
				       s->device.name, len, ATTACH_LIVE_CHUNK_MAX);
		if (in_bytes(in, s->live->area, len) < 0)
			return in_error(in);
		r = load_part(s, in, version, ATTACH_LIVE_CHUNK, len);
		s->n_chunks++;
	}
	if (r == 0)
		r = in_error(in);
	return r < 0 || part != WIRE_SECTION_END ? r : load_part(s, in, version, ATTACH_LIVE_END, 0);
}

static int load_done(void *opaque, struct in *in, bool seen)
{
	const struct live_section *s = opaque;

	return seen || !s->live->required ? 0 : in_fail(in, -EBADMSG, "the stream ended without a section '%s' instance %u",
				  s->device.name, s->device.instance);
}

static const struct handler_ops ops = {
	.load_setup = load_setup,
	.load = load,
	.load_done = load_done,
};

int live_target_register(struct handlers *hs, struct live *l, bool required, struct merr *err)
{
	int r = 0;

	l->required = required;
	for (size_t i = 0; i < l->n && r == 0; i++) {
		struct live_section *s = &l->sections[i];
		struct handler h = live_handler(s, &ops);

		if (s->device.flags & ATTACH_LIVE_SENT)
			r = handlers_add(hs, &h, err);
	}
	return r;
}

int live_ready(struct live *l, bool *ret, struct merr *err)
{
	struct attach_live_state_reply state;
	int r;

	*ret = true;
	for (size_t i = 0; i < l->n && *ret; i++) {
		if (!(l->sections[i].device.flags & ATTACH_LIVE_READY))
			continue;
		r = live_state(&l->sections[i], &state, err);
		if (r < 0)
			return r;
		*ret = state.ready;
	}
	return 0;
}
