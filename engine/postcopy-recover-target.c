/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy's target without a connection. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/postcopy-recover.h"
#include "engine/recv-bitmap.h"
#include "engine/return-path.h"
#include "engine/target.h"
#include "engine/urgent-channel.h"

/* For each command: the source has nothing to wait for but answers. */
#define COMMAND_TIMEOUT_MS 10000

/* ---- what a source says ---- */

static int answered(struct target *t, int r)
{
	return r < 0 ? in_fail(t->in, r, "answering the source: %s", strerror(-r)) : 0;
}

static int answer_ask(struct target *t, uint16_t len)
{
	uint8_t id[ATTACH_ID_LEN];

	if (command_expect(t->in, WIRE_CMD_ASK, len, ATTACH_ID_LEN) < 0 || in_bytes(t->in, id, sizeof(id)) < 0)
		return in_error(t->in);
	if (memcmp(id, t->guest.id, sizeof(id)) != 0)
		return in_fail(t->in, -EBADMSG, "command ASK is about another handover");
	FAULT_POINT("postcopy.recover-received");
	return answered(t, rp_send_id(t->chan, WIRE_RP_INCOMPLETE, t->guest.id));
}

static int answer_ping(struct target *t, uint16_t len)
{
	uint32_t value;

	if (command_expect(t->in, WIRE_CMD_PING, len, 4) < 0)
		return in_error(t->in);
	value = in_be32(t->in);
	return in_error(t->in) ? in_error(t->in) : answered(t, rp_send_be32(t->chan, WIRE_RP_PONG, value));
}

static int answer_bitmap(struct target *t, uint16_t len)
{
	const struct ram_file *b;
	char name[256];

	if (in_str8(t->in, "RAM block name", name) < 0)
		return in_error(t->in);
	b = ram_find(&t->ram, name);
	if (!b || !b->received.bits || len != 1 + strlen(name))
		return in_fail(t->in, -EBADMSG, "command RECV_BITMAP: length %u, block '%s'", len, name);
	FAULT_POINT("postcopy.bitmap-sending");
	return answered(t, recv_bitmap_send(t->chan, b));
}

/* 1: both sides know what is missing. */
static int answer_resume(struct target *t, uint16_t len)
{
	if (command_expect(t->in, WIRE_CMD_POSTCOPY_RESUME, len, 0) < 0)
		return in_error(t->in);
	if (postcopy_target_reopen(t) < 0)
		return t->err.code;
	FAULT_POINT("postcopy.resume-received");
	return answered(t, rp_send_be32(t->chan, WIRE_RP_RESUME_ACK, 1)) < 0 ? in_error(t->in) : 1;
}

static int converse(struct target *t)
{
	uint16_t command, len;

	if (in_u8(t->in) != WIRE_COMMAND || command_read(t->in, &command, &len) < 0)
		return in_fail(t->in, -EBADMSG, "a command of post-copy's recovery was expected");
	switch (command) {
	case WIRE_CMD_ASK:
		return answer_ask(t, len);
	case WIRE_CMD_PING:
		return answer_ping(t, len);
	case WIRE_CMD_RECV_BITMAP:
		return answer_bitmap(t, len);
	case WIRE_CMD_POSTCOPY_RESUME:
		return answer_resume(t, len);
	default:
		return in_fail(t->in, -EBADMSG, "command 0x%x in post-copy's recovery", command);
	}
}

/* ---- connections ---- */

/* A QEMU says nothing about itself, nor which guest it is about. */
static int accept_qemu(struct target *t)
{
	struct chan *chan = reception_take(t->reception, ARRIVAL_MAIN);
	struct in *in = in_new(chan, t->m->stats, &t->err);

	target_disconnect(t);
	merr_clear(&t->err);
	t->chan = chan;
	t->in = in;
	if (!in)
		return merr_set_errno(&t->err, -ENOMEM, "stream");
	in_set_err(in, &t->err);
	chan_set_cancel(chan, t->m->pause_fd);
	return 0;
}

static int accept_source(struct target *t)
{
	int r;

	if (t->hello.peer == PEER_QEMU)
		return accept_qemu(t);
	r = target_accept(t, t->m->pause_fd);
	if (r < 0)
		return merr_is_set(&t->err) ? r : merr_copy(&t->err, &t->refusal);
	if (t->hello.peer != PEER_MIGD || memcmp(t->hello.handover_id, t->guest.id, ATTACH_ID_LEN) != 0)
		return merr_set(&t->err, -EACCES, "a connection that is about another guest's migration");
	return 0;
}

/* A connection came: 0: it is what post-copy goes on over. */
static int agree(struct target *t)
{
	int r;

	report_status(t->m, MIGRATION_STATUS_POSTCOPY_RECOVER);
	r = accept_source(t);
	if (r < 0)
		return r;
	FAULT_POINT("postcopy.source-is-back");
	in_timeout(t->in, COMMAND_TIMEOUT_MS);
	do {
		r = urgent_channel_watch(t, clock_now_ns() + COMMAND_TIMEOUT_MS * NS_PER_MS);
		if (r == 0)
			r = converse(t);
	} while (r == 0);
	in_timeout(t->in, 0);
	return r < 0 ? r : 0;
}

/* ---- waiting ---- */

static void take_operators_socket(struct target *t)
{
	int fd = migration_take_recovery(t->m);

	if (fd >= 0)
		reception_replace(t->reception, fd);
}

/* Until somebody connects. -ESRCH: the VMM is gone. */
static int await_connection(struct target *t)
{
	while (reception_count(t->reception, ARRIVAL_MAIN) == 0) {
		struct pollfd p[] = {
			{ .fd = reception_fd(t->reception), .events = POLLIN },
			{ .fd = t->m->answer_fd, .events = POLLIN },
			{ .fd = t->m->vmm_fd, .events = POLLIN },
		};

		(void)poll(p, ARRAY_SIZE(p), clock_poll_ms(reception_deadline(t->reception)));
		if (p[2].revents)
			return merr_set(&t->err, -ESRCH, "the guest's VMM ended");
		wake_drain(t->m->answer_fd);
		take_operators_socket(t);
		reception_work(t->reception);
	}
	return 0;
}

static int reconnect(struct target *t)
{
	int r;

	for (;;) {
		postcopy_target_pause(t);
		target_disconnect(t);
		r = await_connection(t);
		if (r < 0)
			return r;
		if (agree(t) == 0)
			return 0;
	}
}

int postcopy_target_finish(struct target *t)
{
	int r = t->chan ? postcopy_target_serve(t) : -ENOTCONN;

	while (r < 0) {
		r = r == -ESRCH ? r : reconnect(t);
		if (r < 0)
			return r;
		log_info("post-copy goes on over a new connection guest=\"%s\"", t->m->start.guest);
		stats_add(t->m->stats, recoveries, 1);
		report_status(t->m, MIGRATION_STATUS_POSTCOPY_ACTIVE);
		r = postcopy_target_serve(t);
	}
	return 0;
}
