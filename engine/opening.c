/* SPDX-License-Identifier: Apache-2.0 */
/* How a stream begins. */
#include "engine/opening.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/return-path.h"
#include "engine/wire.h"

/* A source needs two; a stranger gets no more of our time. */
#define COMMANDS_MAX 16U

void command_begin(struct out *out, uint16_t command, uint16_t len)
{
	out_u8(out, WIRE_COMMAND);
	out_be16(out, command);
	out_be16(out, len);
}

int command_read(struct in *in, uint16_t *ret_command, uint16_t *ret_len)
{
	*ret_command = in_be16(in);
	*ret_len = in_be16(in);
	return in_error(in);
}

int command_expect(struct in *in, uint16_t command, uint16_t len, uint16_t want)
{
	if (!in_error(in) && len != want)
		return in_fail(in, -EBADMSG, "command 0x%x: length %u instead of %u", command, len,
			       want);
	return in_error(in);
}

static void send_header(struct out *out, const struct configuration *c, bool return_path)
{
	configuration_send(out, c);
	if (!return_path)
		return;
	command_begin(out, WIRE_CMD_OPEN_RETURN_PATH, 0);
	command_begin(out, WIRE_CMD_PING, 4);
	out_be32(out, WIRE_PING_MIGD);
}

static void send_hello(struct out *out, uint64_t features, const uint8_t *handover_id,
		       const char *guest)
{
	command_begin(out, WIRE_CMD_HELLO, (uint16_t)(2 + 8 + ATTACH_ID_LEN + 1 + strlen(guest)));
	out_be16(out, HELLO_VERSION);
	out_be64(out, features);
	out_bytes(out, handover_id, ATTACH_ID_LEN);
	out_str8(out, guest);
}

static int take_hello(struct in *in, const struct rp_msg *m, uint64_t *ret_features)
{
	struct rcur c = rcur_of(m->body, m->len);
	uint16_t version = rcur_be16(&c);
	uint64_t features = rcur_be64(&c);

	if (c.bad || version < HELLO_VERSION)
		return in_fail(in, -EBADMSG, "the peer's hello is malformed (version %u, %u bytes)",
			       version, m->len);
	*ret_features = features;
	return 0;
}

/* Read up to the PONG; a HELLO ahead of it gives the features. */
static int await_pong(struct in *in, struct opening *o)
{
	struct rp_msg m;

	o->peer = PEER_QEMU;
	for (;;) {
		if (rp_read(in, &m) < 0)
			return in_error(in);
		if (m.type == WIRE_RP_HELLO) {
			o->peer = PEER_MIGD;
			if (take_hello(in, &m, &o->features) < 0)
				return in_error(in);
		} else if (m.type == WIRE_RP_PONG) {
			return 0;
		} else if (m.type == WIRE_RP_SWITCHOVER_ACK) {
			o->switchover_acked = true;
		} else if (m.type == WIRE_RP_ERROR) {
			return in_fail(in, -ECONNREFUSED, "the destination refused: %.*s", m.len,
				       (const char *)m.body);
		} else if (m.type == WIRE_RP_SHUT) {
			return in_fail(in, -ECONNREFUSED, "the destination closed the return path");
		}
	}
}

int opening_send(struct out *out, struct in *in, struct opening *o, struct merr *err)
{
	int r;

	o->peer = PEER_NONE;
	o->features = 0;
	send_header(out, o->configuration, in != NULL);
	r = out_flush(out);
	if (r < 0)
		return out_fail(out, r, "opening the stream", err);
	if (!in)
		return 0;
	in_timeout(in, OPENING_TIMEOUT_MS);
	r = await_pong(in, o);
	in_timeout(in, 0);
	o->features &= o->offers;
	if (r < 0 || o->peer != PEER_MIGD)
		return r;
	if (!(o->features & HELLO_FEATURE_HANDOVER))
		return merr_set(err, -EPROTONOSUPPORT,
				"the peer is a migd that cannot hand a guest over in two phases: a live "
				"migration to it could lose the guest or run it twice; update it");
	send_hello(out, o->features, o->handover_id, o->guest);
	r = out_flush(out);
	return r < 0 ? out_fail(out, r, "opening the stream", err) : 0;
}

/* The type byte and number of a command that must come now. */
static int expect_command(struct in *in, uint16_t command, uint16_t *ret_len)
{
	uint16_t got = 0;
	uint8_t type = in_u8(in);

	if (!in_error(in) && type != WIRE_COMMAND)
		return in_fail(in, -EBADMSG, "section type 0x%02x in the opening", type);
	if (command_read(in, &got, ret_len) < 0)
		return in_error(in);
	if (got != command)
		return in_fail(in, -EPROTONOSUPPORT,
			       "command 0x%x instead of 0x%x in the opening: the source is not a migd, or "
			       "one of another kind", got, command);
	return 0;
}

static int send_welcome(struct in *in, struct chan *chan, uint64_t offers)
{
	uint8_t b[10];
	int r;

	store_be16(b, HELLO_VERSION);
	store_be64(b + 2, offers);
	r = rp_send(chan, WIRE_RP_HELLO, b, sizeof(b));
	if (r == 0)
		r = rp_send_be32(chan, WIRE_RP_PONG, WIRE_PING_MIGD);
	return r < 0 ? in_fail(in, r, "answering the source: %s", strerror(-r)) : 0;
}

static int receive_hello(struct in *in, uint64_t offers, struct hello *ret)
{
	uint16_t len = 0;

	if (expect_command(in, WIRE_CMD_HELLO, &len) < 0)
		return in_error(in);
	ret->version = in_be16(in);
	ret->features = in_be64(in);
	(void)in_bytes(in, ret->handover_id, sizeof(ret->handover_id));
	if (in_str8(in, "guest name", ret->guest) < 0)
		return in_error(in);
	if (len != 2 + 8 + ATTACH_ID_LEN + 1 + strlen(ret->guest))
		return in_fail(in, -EBADMSG, "hello of %u bytes", len);
	if (ret->version != HELLO_VERSION || ret->features & ~offers ||
	    !(ret->features & HELLO_FEATURE_HANDOVER))
		return in_fail(in, -EBADMSG, "hello: version %u with features 0x%llx", ret->version,
			       (unsigned long long)ret->features);
	return 0;
}

/* A QEMU's first section. Commands may come before it. */
static int receive_first_section(struct in *in, struct hello *ret)
{
	uint8_t type = in_u8(in);

	if (!in_error(in) && type != WIRE_SECTION_START)
		return in_fail(in, -EBADMSG, "section type 0x%02x in the opening", type);
	if (section_head_read(in, type, &ret->head) < 0)
		return in_error(in);
	if (strcmp(ret->head.idstr, WIRE_RAM_IDSTR) != 0)
		return in_fail(in, -EBADMSG, "section '%s' in the opening: '%s' is the first to start",
			       ret->head.idstr, WIRE_RAM_IDSTR);
	return 0;
}

/* PING: a migd's value makes it one. */
static int receive_ping(struct in *in, struct chan *chan, uint16_t len, uint64_t offers, struct hello *ret)
{
	uint32_t value;
	int r;

	if (command_expect(in, WIRE_CMD_PING, len, 4) < 0)
		return in_error(in);
	if (ret->peer != PEER_QEMU)
		return in_fail(in, -EBADMSG, "command PING before a return path was opened");
	value = in_be32(in);
	if (in_error(in))
		return in_error(in);
	if (value == WIRE_PING_MIGD) {
		ret->peer = PEER_MIGD;
		return send_welcome(in, chan, offers) < 0 ? in_error(in) : receive_hello(in, offers, ret);
	}
	r = rp_send_be32(chan, WIRE_RP_PONG, value);
	return r < 0 ? in_fail(in, r, "answering the source: %s", strerror(-r)) : 0;
}

/* A QEMU announces post-copy before its first section. */
static int receive_advice(struct in *in, uint16_t len, struct hello *ret)
{
	if (ret->peer != PEER_QEMU || ret->advised)
		return in_fail(in, -EBADMSG, "command POSTCOPY_ADVISE %s", ret->advised ? "comes twice" :
			       "before a return path was opened");
	if (command_expect(in, WIRE_CMD_POSTCOPY_ADVISE, len, 16) < 0)
		return in_error(in);
	ret->advised = true;
	ret->page_sizes = in_be64(in);
	ret->page_size = in_be64(in);
	return in_error(in);
}

static int receive_first_command(struct in *in, struct chan *chan, bool bidirectional, uint64_t offers,
				 struct hello *ret)
{
	uint16_t command, len;

	(void)in_u8(in);
	if (command_read(in, &command, &len) < 0)
		return in_error(in);
	switch (command) {
	case WIRE_CMD_OPEN_RETURN_PATH:
		if (!bidirectional)
			return in_fail(in, -EBADMSG, "the stream opens a return path, and there is none here");
		ret->peer = PEER_QEMU;
		return command_expect(in, command, len, 0);
	case WIRE_CMD_PING:
		return receive_ping(in, chan, len, offers, ret);
	case WIRE_CMD_POSTCOPY_ADVISE:
		return receive_advice(in, len, ret);
	default:
		return in_fail(in, -EPROTONOSUPPORT, "command 0x%x in the opening: nothing that this side knows "
			       "begins so", command);
	}
}

int opening_receive(struct in *in, struct chan *chan, bool bidirectional, uint64_t offers, struct hello *ret)
{
	unsigned int n = 0;

	*ret = (struct hello){ .peer = PEER_NONE };
	in_timeout(in, OPENING_TIMEOUT_MS);
	if (configuration_receive(in, &ret->configuration) < 0)
		return in_error(in);
	while (in_peek(in) == WIRE_COMMAND) {
		if (++n > COMMANDS_MAX)
			return in_fail(in, -EBADMSG, "more than %u commands in the opening", COMMANDS_MAX);
		if (receive_first_command(in, chan, bidirectional, offers, ret) < 0)
			return in_error(in);
		if (ret->peer == PEER_MIGD)
			break;
	}
	if (ret->peer != PEER_MIGD && receive_first_section(in, ret) < 0)
		return in_error(in);
	in_timeout(in, 0);
	return in_error(in);
}
