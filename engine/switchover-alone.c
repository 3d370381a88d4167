/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's switchover to a peer that is no migd. Nobody loads the guest revocably there: whoever reads the end of the
 * stream runs it. So that is the commit point, and RELEASE comes before it.
 *
 *     all sections > PING, PONG > RELEASE > EOF, description > SHUT 0 > RETIRE     QEMU
 *     all sections > EOF, description > durable > RELEASE, RETIRE                  nobody answers: a file, a pipe, a command
 *
 * PONG says that all was loaded: from there on nothing of the guest can be refused any more. What is lost between a
 * QEMU's end of stream and its SHUT leaves the guest stopped here, for an operator to decide.
 */
#include "engine/switchover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/cpr.h"
#include "engine/stream-commit.h"

/* A QEMU that is loading says nothing until that is done; and nothing again until its guest runs. */
#define LOAD_TIMEOUT_MS 30000
#define SHUT_TIMEOUT_MS 30000

/* More would be a library that describes something else than it sent. */
#define DESCRIPTION_MAX (16U * 1024 * 1024)

int source_send_state_alone(struct source *s, struct blackout *b)
{
	struct buf own = { 0 };
	int r;

	r = handlers_save(&s->handlers, &own, &b->devices, &s->err);
	if (r == 0) {
		out_bytes(s->out, own.data, own.len);
		r = out_flush(s->out);
	}
	buf_done(&own);
	return r < 0 ? r : switchover_send_library_state(s, b);
}

/* The entries of the library's sections, as it made them. */
static int add_library_devices(struct buf *json, const struct blackout *b)
{
	uint8_t *room;

	if (b->state.vmdesc_len == 0 || b->state.vmdesc_len > DESCRIPTION_MAX)
		return b->state.vmdesc_len ? -E2BIG : 0;
	if (b->devices.len > 0)
		buf_add_str(json, ", ");
	room = buf_room(json, b->state.vmdesc_len);
	return room ? fd_pread_full(b->state_fd, room, b->state.vmdesc_len, b->state.len) : json->error;
}

/* True if QEMU's analyser would take a byte of LEN for the JSON's first brace (WIRE.md 1.4). */
static bool has_brace(size_t len)
{
	return (len & 0xff) == '{' || (len >> 8 & 0xff) == '{';
}

static int describe(struct source *s, const struct blackout *b, struct buf *json)
{
	struct configuration c = migration_configuration(s->m);
	int r;

	buf_add_str(json, "{\"configuration\": {");
	configuration_describe(json, &c);
	buf_printf(json, "}, \"page_size\": %u, \"devices\": [", WIRE_PAGE_SIZE);
	buf_add(json, b->devices.data, b->devices.len);
	r = add_library_devices(json, b);
	if (r < 0)
		return r;
	buf_add_str(json, "]");
	while (has_brace(json->len + 1))
		buf_add_str(json, " ");
	buf_add_str(json, "}");
	return json->error;
}

/* The commit: EOF, and the description with it. */
int source_send_end(struct source *s, const struct blackout *b)
{
	struct buf json = { .max = DESCRIPTION_MAX };
	int r;

	r = describe(s, b, &json);
	/* It is for people and scripts: nothing depends on it. */
	out_u8(s->out, WIRE_EOF);
	if (r == 0) {
		out_u8(s->out, WIRE_VMDESCRIPTION);
		out_be32(s->out, (uint32_t)json.len);
		out_ref(s->out, json.data, json.len);
	}
	r = out_flush(s->out);
	buf_done(&json);
	return r;
}

static void publish_downtime(struct source *s, struct blackout *b)
{
	stats_set(s->m->stats, blackout_commit_us, blackout_lap_us(b));
	blackout_over(s, b);
}

static enum source_end retire(struct source *s, struct blackout *b)
{
	struct merr ignored = MERR_INIT;

	publish_downtime(s, b);
	/* Not fatal: the library stays RELEASED, which never runs either. */
	(void)guest_retire(&s->guest, &ignored);
	return SOURCE_RETIRED;
}

/* EOF was sent, or part of it: only the peer knows. */
static enum source_end await_shut(struct source *s, struct blackout *b)
{
	struct rp_msg m;
	struct rcur c;
	int r;

	r = source_await(s, WIRE_RP_SHUT, SHUT_TIMEOUT_MS, &m);
	if (r < 0)
		return switchover_in_doubt(s);
	c = rcur_of(m.body, m.len);
	if (rcur_be32(&c) != 0 || c.bad)
		return source_reclaim(s, "the destination could not load the guest; its log says why");
	return retire(s, b);
}

static enum source_end commit_to_qemu(struct source *s, struct blackout *b)
{
	int r;

	r = source_drain(s, LOAD_TIMEOUT_MS);
	if (r < 0)
		return SOURCE_REVOKED;
	stats_set(s->m->stats, blackout_transfer_us, blackout_lap_us(b));
	r = switchover_release(s);
	if (r < 0)
		return SOURCE_REVOKED;
	if (r > 0)
		return source_reclaim(s, "its library did not answer, and the stream was not ended");
	(void)source_send_end(s, b);
	return await_shut(s, b);
}

/*
 * Mode cpr-exec: the VMM itself goes on with what was saved, as another program. It is told when everybody knows that the
 * migration completed, since nothing is told after that; if it cannot, the guest goes on in the old program.
 */
static enum source_end pass_on(struct source *s, struct blackout *b)
{
	struct merr why = MERR_INIT;

	if (!cpr_is_exec(s))
		return retire(s, b);
	publish_downtime(s, b);
	report_status(s->m, MIGRATION_STATUS_COMPLETED);
	if (cpr_exec(s))
		return SOURCE_RETIRED;
	why = s->err;
	return source_reclaim(s, merr_msg(&why));
}

static enum source_end commit_to_nobody(struct source *s, struct blackout *b)
{
	int r;

	/* The last moment at which a cancel counts. */
	if (fd_wait(s->m->cancel_fd, POLLIN, -1, 0) > 0)
		return SOURCE_REVOKED;
	r = source_send_end(s, b);
	if (r == 0)
		r = stream_commit(s->m, s->chan, source_tick, s, &s->err);
	if (r < 0)
		return SOURCE_REVOKED;
	guest_link_no_cancel(&s->guest);
	r = guest_release(&s->guest, &s->err);
	if (r < 0) {
		(void)merr_prefix(&s->err, "the stream is complete, but the guest was not given away");
		return SOURCE_REVOKED;
	}
	report_handover(s->m, HANDOVER_RELEASED, false);
	FAULT_POINT("file.released");
	return pass_on(s, b);
}

enum source_end source_commit_alone(struct source *s, struct blackout *b)
{
	return s->peer == PEER_QEMU ? commit_to_qemu(s, b) : commit_to_nobody(s, b);
}
