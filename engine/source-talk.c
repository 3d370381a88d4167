/* SPDX-License-Identifier: Apache-2.0 */
/* The outgoing side's connection, and what is said over it: commands and questions one way, the return path the other. */
#include <errno.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/page-server.h"
#include "engine/source.h"

/* A destination gives up on a source that says nothing for a minute. */
#define KEEP_ALIVE_NS (5 * NS_PER_SEC)

void source_disconnect(struct source *s)
{
	/* What was sent so far counts on. */
	if (s->out)
		stats_add(s->m->stats, beside_bytes, out_offset(s->out));
	s->server = page_server_free(s->server);
	s->out = out_free(s->out);
	s->in = in_free(s->in);
	s->chan = chan_free(s->chan);
}

int source_connect(struct source *s, int fd, int cancel_fd)
{
	int r;

	source_disconnect(s);
	r = migration_channel(s->m, fd, cancel_fd, &s->chan, &s->err);
	if (r < 0)
		return r;
	s->out = out_new(s->chan, &s->m->rate, s->m->stats, cancel_fd);
	s->in = in_new(s->chan, NULL, &s->err);
	if (!s->out || !s->in)
		return merr_set_errno(&s->err, -ENOMEM, "stream");
	return 0;
}

void source_command(struct source *s, uint16_t command)
{
	command_begin(s->out, command, ATTACH_ID_LEN);
	out_bytes(s->out, s->m->handover_id, ATTACH_ID_LEN);
	(void)out_flush(s->out);
}

uint32_t source_ask(struct source *s)
{
	s->asked++;
	command_begin(s->out, WIRE_CMD_PING, 4);
	out_be32(s->out, s->asked);
	return s->asked;
}

/* Others than those of our questions say nothing (engine/turn.h). */
static int take_pong(struct source *s, const struct rp_msg *m)
{
	uint32_t number;

	if (m->len != 4)
		return in_fail(s->in, -EBADMSG, "return path: PONG of %u bytes", m->len);
	number = load_be32(m->body);
	if (number - s->answered - 1 < s->asked - s->answered) {
		s->answered = number;
		unacked_answered(&s->unacked, number, number == s->drained);
		if (s->server)
			page_server_answered(s->server, number);
	}
	return 0;
}

/* What may come unasked on the return path: a failure. Anything else there is a breach of protocol. */
int source_take_message(struct source *s, const struct rp_msg *m)
{
	switch (m->type) {
	case WIRE_RP_ERROR:
		return merr_set(&s->err, -EREMOTEIO, "the destination failed: %.*s", m->len,
				(const char *)m->body);
	case WIRE_RP_SHUT:
		return merr_set(&s->err, -EREMOTEIO, "the destination closed the migration%s",
				s->peer == PEER_QEMU ? ": its log says why" : "");
	case WIRE_RP_PONG:
		return take_pong(s, m);
	case WIRE_RP_SWITCHOVER_ACK:
		if (m->len)
			return in_fail(s->in, -EBADMSG, "return path: SWITCHOVER_ACK of %u bytes", m->len);
		s->switchover_acked = true;
		return 0;
	case WIRE_RP_REQ_PAGES:
	case WIRE_RP_REQ_PAGES_ID:
		if (s->server)
			return page_server_take(s->server, m);
		/* fall through */
	default:
		return in_fail(s->in, -EBADMSG, "return path: message 0x%x out of place", m->type);
	}
}

int source_await(struct source *s, uint16_t type, uint64_t timeout_ms, struct rp_msg *ret)
{
	int r;

	in_timeout(s->in, timeout_ms);
	do {
		r = s->server ? page_server_answer(s->server) : 0;
		if (r == 0)
			r = rp_read(s->in, ret);
		if (r == 0 && ret->type != type)
			r = source_take_message(s, ret);
	} while (r == 0 && ret->type != type);
	in_timeout(s->in, 0);
	return r;
}

int source_take_input(void *opaque)
{
	struct source *s = opaque;
	struct rp_msg m;
	int r;

	if (s->server && !page_server_has_room(s->server))
		return 1;
	r = rp_read(s->in, &m);
	if (r == 0)
		r = source_take_message(s, &m);
	return r == 0 && s->server ? page_server_answer_at_once(s->server) : r;
}

void source_listen(struct source *s)
{
	if (s->peer != PEER_NONE)
		out_on_input(s->out, source_take_input, s);
}

/* Write failures of the stream have no text of their own; the peer's last words are better than "broken pipe". */
int source_stream_failed(struct source *s, int r)
{
	while (s->peer != PEER_NONE && !merr_is_set(&s->err) && r != -ECANCELED && in_ready(s->in))
		if (source_take_input(s) != 0)
			break;
	if (r == -ECANCELED)
		return merr_set(&s->err, r, "cancelled");
	return chan_fail(s->chan, r, "writing to the destination", &s->err);
}

int source_drain(struct source *s, uint64_t timeout_ms)
{
	struct rp_msg pong;
	int r;

	if (s->peer == PEER_NONE)
		return out_flush(s->out);
	s->drained = source_ask(s);
	r = out_flush(s->out);
	while (r == 0 && s->answered != s->drained) {
		r = source_await(s, WIRE_RP_PONG, timeout_ms, &pong);
		if (r == 0)
			r = take_pong(s, &pong);
	}
	return r;
}

int source_keep_alive(struct source *s)
{
	uint64_t now = clock_now_ns();

	if (s->peer == PEER_NONE || now - s->last_alive_ns < KEEP_ALIVE_NS)
		return 0;
	s->last_alive_ns = now;
	(void)source_ask(s);
	return out_flush(s->out);
}
