/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the return path. */
#include "engine/return-path.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define SEND_TIMEOUT_MS 10000

int rp_read(struct in *in, struct rp_msg *ret)
{
	ret->type = in_be16(in);
	ret->len = in_be16(in);
	if (in_error(in))
		return in_error(in);
	if (ret->type == WIRE_TLS_ALERT)
		return in_fail(in, -EPROTO, "the destination speaks TLS, and this side does not: set tls-creds on both sides, or "
			       "on neither");
	if (ret->len > sizeof(ret->body))
		return in_fail(in, -EBADMSG, "return path: message %u of %u bytes (at most %u)",
			       ret->type, ret->len, WIRE_RP_LEN_MAX);
	return in_bytes(in, ret->body, ret->len);
}

int rp_check_id(struct in *in, const struct rp_msg *m, const uint8_t id[ATTACH_ID_LEN])
{
	if (m->len < ATTACH_ID_LEN || memcmp(m->body, id, ATTACH_ID_LEN) != 0)
		return in_fail(in, -EBADMSG, "return path: message 0x%x is about another handover",
			       m->type);
	return 0;
}

int rp_send(struct chan *chan, uint16_t type, const void *body, size_t len)
{
	uint8_t head[4];
	struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)body, len } };

	store_be16(head, type);
	store_be16(head + 2, (uint16_t)len);
	return chan_write(chan, iov, 2, false, clock_now_ns() + SEND_TIMEOUT_MS * NS_PER_MS);
}

int rp_send_be32(struct chan *chan, uint16_t type, uint32_t v)
{
	uint8_t b[4];

	store_be32(b, v);
	return rp_send(chan, type, b, sizeof(b));
}

int rp_send_id(struct chan *chan, uint16_t type, const uint8_t id[ATTACH_ID_LEN])
{
	return rp_send(chan, type, id, ATTACH_ID_LEN);
}

int rp_send_id_be64(struct chan *chan, uint16_t type, const uint8_t id[ATTACH_ID_LEN], uint64_t v)
{
	uint8_t b[ATTACH_ID_LEN + 8];

	memcpy(b, id, ATTACH_ID_LEN);
	store_be64(b + ATTACH_ID_LEN, v);
	return rp_send(chan, type, b, sizeof(b));
}

void rp_send_error(struct chan *chan, const struct merr *err)
{
	const char *text = merr_msg(err);

	/* The peer may be gone: then there is nobody to tell. */
	if (rp_send(chan, WIRE_RP_ERROR, text, strnlen(text, WIRE_RP_LEN_MAX)) == 0)
		(void)rp_send_be32(chan, WIRE_RP_SHUT, 1);
}
