/* SPDX-License-Identifier: Apache-2.0 */
/* How a stream begins. */
#include "engine/opening.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/return-path.h"
#include "engine/wire.h"

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

static void send_header(struct out *out)
{
	out_be32(out, WIRE_MAGIC);
	out_be32(out, WIRE_VERSION);
	out_u8(out, WIRE_CONFIGURATION);
	out_be32(out, strlen(WIRE_MACHINE_NAME));
	out_bytes(out, WIRE_MACHINE_NAME, strlen(WIRE_MACHINE_NAME));
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
	*ret_features = features & HELLO_FEATURES_ALL;
	return 0;
}

/* Read up to the PONG; a HELLO ahead of it gives the features. */
static int await_pong(struct in *in, uint64_t *ret_features)
{
	struct rp_msg m;

	*ret_features = 0;
	for (;;) {
		if (rp_read(in, &m) < 0)
			return in_error(in);
		if (m.type == WIRE_RP_HELLO) {
			if (take_hello(in, &m, ret_features) < 0)
				return in_error(in);
		} else if (m.type == WIRE_RP_PONG) {
			return 0;
		} else if (m.type == WIRE_RP_ERROR) {
			return in_fail(in, -ECONNREFUSED, "the destination refused: %.*s", m.len,
				       (const char *)m.body);
		} else if (m.type == WIRE_RP_SHUT) {
			return in_fail(in, -ECONNREFUSED, "the destination closed the return path");
		}
	}
}

int opening_send(struct out *out, struct in *in, const uint8_t handover_id[ATTACH_ID_LEN],
		 const char *guest, uint64_t *ret_features, struct merr *err)
{
	int r;

	send_header(out);
	r = out_flush(out);
	if (r < 0)
		return merr_set_errno(err, r, "opening the stream");
	in_timeout(in, OPENING_TIMEOUT_MS);
	r = await_pong(in, ret_features);
	in_timeout(in, 0);
	if (r < 0)
		return r;
	if (!(*ret_features & HELLO_FEATURE_HANDOVER))
		return merr_set(err, -EPROTONOSUPPORT,
				"the peer is not a migd that can hand a guest over in two phases: a live "
				"migration to it could lose the guest or run it twice; point the URI at a "
				"migd's migrate-incoming address");
	send_hello(out, *ret_features, handover_id, guest);
	r = out_flush(out);
	return r < 0 ? merr_set_errno(err, r, "opening the stream") : 0;
}

static int receive_header(struct in *in)
{
	char name[WIRE_NAME_MAX + 1];
	uint32_t magic = in_be32(in), version = in_be32(in), len;

	if (in_error(in))
		return in_error(in);
	if (magic != WIRE_MAGIC)
		return in_fail(in, -EBADMSG, "this is no migration stream: magic 0x%08x instead of 0x%08x",
			       magic, WIRE_MAGIC);
	if (version != WIRE_VERSION)
		return in_fail(in, -EBADMSG, "stream version %u instead of %u", version, WIRE_VERSION);
	if (in_u8(in) != WIRE_CONFIGURATION)
		return in_fail(in, -EBADMSG, "no configuration section after the header");
	len = in_be32(in);
	if (!in_error(in) && len > WIRE_NAME_MAX)
		return in_fail(in, -EBADMSG, "configuration: machine name of %u bytes (at most %u)", len,
			       WIRE_NAME_MAX);
	if (in_bytes(in, name, len) < 0)
		return in_error(in);
	if (len != strlen(WIRE_MACHINE_NAME) || memcmp(name, WIRE_MACHINE_NAME, len) != 0)
		return in_fail(in, -EBADMSG, "configuration: machine '%.*s' instead of '%s'", (int)len,
			       name, WIRE_MACHINE_NAME);
	return 0;
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

static int send_welcome(struct in *in, struct chan *chan)
{
	uint8_t b[10];
	int r;

	store_be16(b, HELLO_VERSION);
	store_be64(b + 2, HELLO_FEATURES_ALL);
	r = rp_send(chan, WIRE_RP_HELLO, b, sizeof(b));
	if (r == 0)
		r = rp_send_be32(chan, WIRE_RP_PONG, WIRE_PING_MIGD);
	return r < 0 ? in_fail(in, r, "answering the source: %s", strerror(-r)) : 0;
}

static int receive_hello(struct in *in, struct hello *ret)
{
	uint16_t len;

	if (expect_command(in, WIRE_CMD_HELLO, &len) < 0)
		return in_error(in);
	ret->version = in_be16(in);
	ret->features = in_be64(in);
	(void)in_bytes(in, ret->handover_id, sizeof(ret->handover_id));
	if (in_str8(in, "guest name", ret->guest) < 0)
		return in_error(in);
	if (len != 2 + 8 + ATTACH_ID_LEN + 1 + strlen(ret->guest))
		return in_fail(in, -EBADMSG, "hello of %u bytes", len);
	if (ret->version != HELLO_VERSION || ret->features & ~HELLO_FEATURES_ALL ||
	    !(ret->features & HELLO_FEATURE_HANDOVER))
		return in_fail(in, -EBADMSG, "hello: version %u with features 0x%llx", ret->version,
			       (unsigned long long)ret->features);
	return 0;
}

int opening_receive(struct in *in, struct chan *chan, struct hello *ret)
{
	uint16_t len;

	in_timeout(in, OPENING_TIMEOUT_MS);
	if (receive_header(in) < 0 || expect_command(in, WIRE_CMD_OPEN_RETURN_PATH, &len) < 0 ||
	    command_expect(in, WIRE_CMD_OPEN_RETURN_PATH, len, 0) < 0 ||
	    expect_command(in, WIRE_CMD_PING, &len) < 0 ||
	    command_expect(in, WIRE_CMD_PING, len, 4) < 0)
		return in_error(in);
	if (in_be32(in) != WIRE_PING_MIGD)
		return in_fail(in, -EPROTONOSUPPORT, "the source is not a migd");
	if (send_welcome(in, chan) < 0 || receive_hello(in, ret) < 0)
		return in_error(in);
	in_timeout(in, 0);
	return 0;
}
