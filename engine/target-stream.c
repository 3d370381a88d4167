/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The incoming stream, section by section, up to its EOF. What is the engine's goes to the registry's handlers; a package
 * ends with the library's sections, which go to it as they are.
 */
#include "engine/target.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/cpr.h"
#include "engine/postcopy-call.h"
#include "engine/return-path.h"
#include "engine/switchover-ack.h"
#include "engine/urgent-channel.h"

/* QEMU sends its description together with the end of the stream. */
#define DESCRIPTION_TIMEOUT_MS 1000

/* The body of a section of the library's, in pieces: it carries no length, only the library knows its fields. */
static int feed_body(struct target *t, const struct section_head *head)
{
	const struct guest_section section = { head->idstr, head->instance, head->version };
	const struct guest_section *begin = &section;
	struct guest_feed_result res = { .needs = 1 };
	const uint8_t *p;
	size_t len;
	int r;

	while (!res.done) {
		p = in_view(t->in, res.needs, &len);
		if (!p)
			return in_error(t->in);
		len = min_u64(len, ATTACH_FEED_MAX);
		r = guest_state_feed(&t->guest, begin, in_offset(t->in), p, len, &res, &t->err);
		if (r < 0)
			return r;
		if (!res.done && res.needs > IN_VIEW_MAX)
			return in_fail(t->in, -EBADMSG, "section '%s': a field of %u bytes", head->idstr,
				       res.needs);
		(void)in_skip(t->in, res.consumed);
		/* At least one byte more than there was, or nothing would come of it. */
		res.needs = max_u64(res.needs, len - res.consumed + 1);
		begin = NULL;
	}
	return 0;
}

static int feed_section(struct target *t, const struct section_head *head)
{
	int r;

	if (head->type != WIRE_SECTION_FULL || t->hello.peer == PEER_MIGD || t->state_given)
		return in_fail(t->in, -EBADMSG, "unknown section '%s' instance %u", head->idstr,
			       head->instance);
	t->state_fed = true;
	r = feed_body(t, head);
	return r < 0 ? r : section_footer_check(t->in, head->idstr, head->id);
}

static int load_section(struct target *t, const struct section_head *head)
{
	int r = handlers_load(&t->handlers, t->in, head);

	if (r == 0)
		return feed_section(t, head);
	FAULT_POINT("stream.section-loaded");
	return r < 0 ? r : 0;
}

static int receive_section(struct target *t, uint8_t type)
{
	struct section_head head;

	if (postcopy_target_listens(t) && (type == WIRE_SECTION_START || type == WIRE_SECTION_FULL))
		return in_fail(t->in, -EBADMSG, "section type 0x%02x in post-copy, behind the package", type);
	if (section_head_read(t->in, type, &head) < 0)
		return in_error(t->in);
	return load_section(t, &head);
}

/* What the library is given. */
struct sections {
	int fd;
	uint64_t len;
	uint64_t load_us;
};

static int load_sections(struct target *t, void *opaque, struct merr *err)
{
	struct sections *s = opaque;

	return s->len == 0 ? guest_state_feed_end(&t->guest, false, &s->load_us, err) :
			     guest_state_give(&t->guest, s->fd, s->len, &s->load_us, err);
}

/* The library's sections: HEAD, which was read already, and LEN bytes that follow it. */
static int give_state(struct target *t, const struct buf *head, uint64_t len)
{
	_cleanup_close_ int fd = fd_memfd("migd-state", max_u64(head->len + len, 1));
	struct sections sections = { .fd = fd, .len = head->len + len };
	uint64_t start;
	int r;

	if (fd < 0)
		return in_fail(t->in, fd, "device state: %s", strerror(-fd));
	r = fd_pwrite_full(fd, head->data, head->len, 0);
	if (r < 0)
		return in_fail(t->in, r, "device state: %s", strerror(-r));
	if (in_to_file(t->in, fd, head->len, len, "device state") < 0)
		return in_error(t->in);
	FAULT_POINT("stream.state-received");
	if (in_u8(t->in) != WIRE_EOF)
		return in_fail(t->in, -EBADMSG, "package: no end mark");
	stats_set(t->m->stats, blackout_transfer_us, target_lap_us(t));
	start = clock_now_ns();
	r = postcopy_call(t, load_sections, &sections, false);
	/* The call included: that is what the guest waits for. */
	t->load_us = (clock_now_ns() - start) / NS_PER_US;
	t->mark_ns = clock_now_ns();
	FAULT_POINT("attach.state-loaded");
	t->state_given = r == 0;
	return r;
}

/* What is left of a package of LEN bytes that began at START; -EBADMSG: more of it was read than there is. */
static int64_t package_left(struct target *t, uint64_t start, uint32_t len)
{
	uint64_t used = in_offset(t->in) - start;

	if (in_error(t->in))
		return in_error(t->in);
	if (used > len)
		return in_fail(t->in, -EBADMSG, "package: a section goes beyond its %u bytes", len);
	return (int64_t)(len - used);
}

/* The source waits until all before the PING is in memory. */
static int answer_ping(struct target *t, uint16_t len)
{
	uint32_t value;
	int r;

	if (command_expect(t->in, WIRE_CMD_PING, len, sizeof(value)) < 0)
		return in_error(t->in);
	if (t->hello.peer == PEER_NONE)
		return in_fail(t->in, -EBADMSG, "command PING without a return path");
	FAULT_POINT("stream.pass-received");
	value = in_be32(t->in);
	if (in_error(t->in))
		return in_error(t->in);
	r = rp_send_be32(t->chan, WIRE_RP_PONG, value);
	return r < 0 ? in_fail_answer(t->in, r) : 0;
}

/* What is being read of a package. */
struct package {
	struct buf unread;	/* the head of the library's first section */
	bool runs;		/* POSTCOPY_RUN came, which ends it */
};

/* In post-copy. A QEMU's ends with RUN, between migds that comes later, alone. */
static int receive_packaged_command(struct target *t, struct package *p)
{
	uint16_t command, len;

	if (command_read(t->in, &command, &len) < 0)
		return in_error(t->in);
	if (command == WIRE_CMD_POSTCOPY_LISTEN)
		return postcopy_target_listen(t, len);
	if (command == WIRE_CMD_PING)
		return answer_ping(t, len);
	if (command != WIRE_CMD_POSTCOPY_RUN || t->hello.peer == PEER_MIGD || !postcopy_target_listens(t))
		return in_fail(t->in, -EBADMSG, "package: command 0x%x out of place", command);
	p->runs = true;
	return command_expect(t->in, command, len, 0);
}

/* One section or command in a package. 1: go on; 0: it ended, or the library's first section begins. */
static int receive_packaged(struct target *t, struct package *p)
{
	uint8_t type = in_u8(t->in);
	struct section_head head;
	int r;

	if (!in_error(t->in) && type == WIRE_COMMAND) {
		r = receive_packaged_command(t, p);
		return r < 0 ? r : !p->runs;
	}
	if (!in_error(t->in) && (type < WIRE_SECTION_START || type > WIRE_SECTION_FULL))
		return in_fail(t->in, -EBADMSG, "package: section type 0x%02x", type);
	if (section_head_read(t->in, type, &head) < 0)
		return in_error(t->in);
	r = handlers_load(&t->handlers, t->in, &head);
	if (r != 0)
		return r;
	if (t->hello.peer != PEER_MIGD) {
		r = feed_section(t, &head);
		return r < 0 ? r : 1;
	}
	section_head_put(&p->unread, &head);
	return 0;
}

/* A package that RUN ended: there is nothing behind, and the library says what is missing. */
static int end_run_package(struct target *t, int64_t left)
{
	if (left != 0)
		return in_fail(t->in, -EBADMSG, "package: %" PRIi64 " bytes behind its POSTCOPY_RUN", left);
	return guest_state_feed_end(&t->guest, !t->state_fed, &t->load_us, &t->err);
}

/* PACKAGED: sections of the engine's, sections of the library's, EOF; a QEMU's in post-copy: sections, RUN. */
static int receive_package(struct target *t)
{
	uint32_t len = in_be32(t->in);
	uint64_t start = in_offset(t->in);
	struct package p = { .runs = false };
	int64_t left;
	int r = 1;

	if (!in_error(t->in) && (len > WIRE_PACKAGE_MAX || len == 0))
		return in_fail(t->in, -EBADMSG, "package: field 'length': %u bytes (1 to %u)", len,
			       WIRE_PACKAGE_MAX);
	for (;;) {
		left = package_left(t, start, len);
		if (left <= 1 || r <= 0)
			break;
		r = receive_packaged(t, &p);
	}
	if (left < 1 && !p.runs && !in_error(t->in))
		(void)in_fail(t->in, -EBADMSG, "package: no end mark");
	if (!in_error(t->in) && p.unread.error)
		(void)in_fail(t->in, p.unread.error, "package: out of memory");
	if (r >= 0)
		r = in_error(t->in);
	if (r == 0)
		r = p.runs ? end_run_package(t, left) : give_state(t, &p.unread, (uint64_t)left - 1);
	buf_done(&p.unread);
	return r;
}

/* All but memory came, for a guest that is to run while that still comes. */
static int end_of_package(struct target *t)
{
	if (!postcopy_target_listens(t))
		return 0;
	FAULT_POINT("postcopy.package-loaded");
	return handlers_load_done(&t->handlers, t->in, true) < 0 ? in_error(t->in) : 1;
}

static int receive_command(struct target *t)
{
	uint16_t command, len;
	int r;

	if (command_read(t->in, &command, &len) < 0)
		return in_error(t->in);
	switch (command) {
	case WIRE_CMD_SWITCHOVER_START:
		FAULT_POINT("stream.last-pass-received");
		t->mark_ns = clock_now_ns();
		stats_set(t->m->stats, blackout_start_ns, t->mark_ns);
		/* Its guest is stopped, and it will send all: from then on it asks, or tells, what becomes of it. */
		if (t->hello.peer == PEER_MIGD)
			report_peer_waits(t->m);
		return command_expect(t->in, command, len, 0);
	case WIRE_CMD_PING:
		return answer_ping(t, len);
	case WIRE_CMD_CPR_RAM:
		return cpr_receive_ram(&t->receiver, len);
	case WIRE_CMD_PACKAGED:
		if (t->state_given || t->state_fed || postcopy_target_listens(t) || command_expect(t->in, command, len, 4) < 0)
			return in_fail(t->in, -EBADMSG, "a second package");
		stats_set(t->m->stats, blackout_ram_us, target_lap_us(t));
		r = receive_package(t);
		return r < 0 ? r : end_of_package(t);
	case WIRE_CMD_POSTCOPY_ADVISE:
		return postcopy_target_advise(t, len);
	case WIRE_CMD_POSTCOPY_RAM_DISCARD:
		return postcopy_target_discard(t, len);
	default:
		return in_fail(t->in, -EBADMSG, "command 0x%x out of place", command);
	}
}

static int receive_end(struct target *t)
{
	int r;

	/* The end of post-copy is looked at there. */
	if (postcopy_target_listens(t))
		return 0;
	if (handlers_load_done(&t->handlers, t->in, false) < 0)
		return in_error(t->in);
	r = postcopy_target_unused(t);
	if (r < 0)
		return r;
	if (t->state_given)
		return 0;
	if (t->hello.peer == PEER_MIGD)
		return in_fail(t->in, -EBADMSG, "the stream ended without device state");
	/* The library says what is missing. */
	return guest_state_feed_end(&t->guest, false, &t->load_us, &t->err);
}

/*
 * The stream's description of itself, behind its end: of no use here, but a peer that is cut off while it sends it takes
 * that for a failure. Nothing that is wrong with it counts.
 */
static void skip_description(struct target *t)
{
	struct merr ignored = MERR_INIT;
	uint32_t len;

	in_set_err(t->in, &ignored);
	in_timeout(t->in, DESCRIPTION_TIMEOUT_MS);
	if (in_peek(t->in) != WIRE_VMDESCRIPTION)
		return;
	(void)in_u8(t->in);
	len = in_be32(t->in);
	if (len <= WIRE_VMDESCRIPTION_MAX)
		(void)in_skip(t->in, len);
}

/* The type byte of what comes next. */
static uint8_t next_type(struct target *t)
{
	if (postcopy_target_awaits_urgent(t) && urgent_channel_watch(t, DEADLINE_NONE) < 0)
		return 0;
	return in_u8(t->in);
}

int target_receive_one(struct target *t)
{
	uint8_t type;
	int r;

	r = guest_link_poll(&t->guest, &t->err);
	if (r == 0)
		r = switchover_ack_check(t);
	if (r < 0)
		return r;
	type = next_type(t);
	if (in_error(t->in))
		return in_error(t->in);
	switch (type) {
	case WIRE_SECTION_START:
	case WIRE_SECTION_PART:
	case WIRE_SECTION_END:
	case WIRE_SECTION_FULL:
		return receive_section(t, type);
	case WIRE_COMMAND:
		return receive_command(t);
	case WIRE_EOF:
		FAULT_POINT("stream.end-received");
		r = receive_end(t);
		if (r == 0 && t->hello.peer != PEER_MIGD && !postcopy_target_listens(t))
			skip_description(t);
		return r < 0 ? r : 1;
	default:
		return in_fail(t->in, -EBADMSG, "section type 0x%02x is unknown", type);
	}
}

int target_receive_pages(struct target *t)
{
	uint8_t type = in_u8(t->in);

	if (!in_error(t->in) && type != WIRE_SECTION_PART)
		return in_fail(t->in, -EBADMSG, "section type 0x%02x, where only pages may come: the guest does not run yet", type);
	return in_error(t->in) ? in_error(t->in) : receive_section(t, type);
}

int target_receive_stream(struct target *t)
{
	int r;

	if (postcopy_target_awaits_urgent(t))
		urgent_channel_mind(t, TARGET_IDLE_TIMEOUT_MS);
	else
		in_timeout(t->in, t->hello.features & HELLO_FEATURE_RESUME ? TARGET_LOOK_MS : TARGET_IDLE_TIMEOUT_MS);
	r = t->hello.peer == PEER_MIGD ? 0 : load_section(t, &t->hello.head);
	while (r == 0)
		r = target_receive_one(t);
	return r < 0 ? r : 0;
}
