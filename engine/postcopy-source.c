/* SPDX-License-Identifier: Apache-2.0 */
/* The source's switch to post-copy. */
#include "engine/postcopy-source.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/cpr.h"
#include "engine/multifd-gather.h"
#include "engine/page-server.h"
#include "engine/postcopy-memo.h"
#include "engine/postcopy-recover.h"
#include "engine/switchover.h"

/* A QEMU takes no more ranges in one RAM_DISCARD (WIRE.md 6.1); a command has at most 65535 bytes. */
#define DISCARDS_QEMU 12U
#define DISCARDS_MIGD 4000U

/* The value of the PING that a QEMU answers when it has loaded all devices. */
#define PING_LOADED 3U

/* A package has no more commands of the engine's than these. */
#define COMMANDS_LEN_MAX 64U

static bool is_possible(const struct source *s)
{
	return migration_has_capability(s->m, MIGRATION_CAPABILITY_POSTCOPY_RAM) && !cpr_has_no_passes(s);
}

bool postcopy_is_wanted(const struct source *s)
{
	return atomic_load(&s->m->start_postcopy) && s->ram.postcopy;
}

/* Post-copy needs a peer that asks for pages, and one that does not stop doing so because of something else. */
static int check_peer(struct source *s)
{
	if (s->peer == PEER_NONE)
		return merr_set(&s->err, -EOPNOTSUPP, "capability postcopy-ram needs a destination that can ask for pages, which "
				"a file, a pipe or a command is not: turn it off, or migrate to a socket");
	if (s->peer == PEER_MIGD && !(s->features & HELLO_FEATURE_POSTCOPY))
		return merr_set(&s->err, -EOPNOTSUPP, "the destination's migd cannot do post-copy: update it, or turn capability "
				"postcopy-ram off");
	if (s->peer == PEER_QEMU && multifd_is_on(s->m))
		return merr_set(&s->err, -EOPNOTSUPP, "post-copy with multifd is not safe with every QEMU: towards a QEMU turn "
				"one of the capabilities postcopy-ram and multifd off");
	return 0;
}

int postcopy_check(struct source *s)
{
	if (!is_possible(s) || dialect_of(PEER_QEMU, &s->m->start.parameters)->late_preempt ||
	    !migration_has_capability(s->m, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT))
		return 0;
	return merr_set(&s->err, -EOPNOTSUPP, "a QEMU before 8.0 (parameter peer-version) wants the channel of capability "
			"postcopy-preempt in another way, and waits for it: turn that off");
}

int postcopy_advise(struct source *s)
{
	uint64_t page_sizes = 0;
	int r;

	if (!is_possible(s))
		return 0;
	r = check_peer(s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->ram.n_blocks; i++)
		page_sizes |= s->ram.blocks[i].page_size;
	s->ram.postcopy = true;
	command_begin(s->out, WIRE_CMD_POSTCOPY_ADVISE, 16);
	out_be64(s->out, page_sizes);
	out_be64(s->out, WIRE_PAGE_SIZE);
	FAULT_POINT("postcopy.advised");
	return 0;
}

/* ---- what is missing over there ---- */

static void send_discard(struct source *s, const struct ram_file *b, const struct buf *ranges)
{
	if (ranges->len == 0)
		return;
	command_begin(s->out, WIRE_CMD_POSTCOPY_RAM_DISCARD, (uint16_t)(3 + strlen(b->name) + ranges->len));
	out_u8(s->out, 0);
	out_str8(s->out, b->name);
	out_u8(s->out, 0);
	out_bytes(s->out, ranges->data, ranges->len);
}

static int discard_block(struct source *s, const struct ram_file *b)
{
	size_t most = 16 * (size_t)(s->peer == PEER_MIGD ? DISCARDS_MIGD : DISCARDS_QEMU);
	struct buf ranges = { 0 };
	uint64_t page = 0, end;
	int r;

	for (; (page = bitmap_next_set(b->todo, b->n_pages, page)) < b->n_pages; page = end) {
		end = bitmap_next_clear(b->todo, b->n_pages, page);
		buf_be64(&ranges, page * WIRE_PAGE_SIZE);
		buf_be64(&ranges, (end - page) * WIRE_PAGE_SIZE);
		if (ranges.len == most) {
			send_discard(s, b, &ranges);
			ranges.len = 0;
		}
	}
	send_discard(s, b, &ranges);
	r = ranges.error;
	buf_done(&ranges);
	return r < 0 ? merr_set_errno(&s->err, r, "the list of missing pages") : out_error(s->out);
}

/* What is damaged is not missing: the target makes it so that it is damaged there. */
static void tell_damage(struct source *s)
{
	const struct handler *ram = handlers_find(&s->handlers, WIRE_RAM_IDSTR, 0);

	section_begin(s->out, ram, WIRE_SECTION_PART);
	ram_source_tell_damage(s->sender);
	section_end(s->out, ram);
}

static int end_precopy(struct source *s, struct blackout *b)
{
	bool damage = ram_source_leave(s->sender);
	int r;

	switchover_announce(s);
	r = handlers_complete(&s->handlers, s->out, true, &s->err);
	if (r < 0)
		return r;
	if (damage)
		tell_damage(s);
	for (size_t i = 0; r == 0 && i < s->ram.n_blocks; i++)
		r = discard_block(s, &s->ram.blocks[i]);
	if (r == 0)
		r = out_flush(s->out);
	FAULT_POINT("postcopy.missing-told");
	stats_set(s->m->stats, blackout_ram_us, blackout_lap_us(b));
	return r;
}

/* ---- the package ---- */

static void put_command(struct buf *b, uint16_t command, uint16_t len)
{
	buf_u8(b, WIRE_COMMAND);
	buf_be16(b, command);
	buf_be16(b, len);
}

static void put_end(const struct source *s, struct buf *b)
{
	if (s->peer == PEER_MIGD) {
		buf_u8(b, WIRE_EOF);
		return;
	}
	put_command(b, WIRE_CMD_PING, 4);
	buf_be32(b, PING_LOADED);
	put_command(b, WIRE_CMD_POSTCOPY_RUN, 0);
}

static int send_package(struct source *s, const struct blackout *b)
{
	struct buf head = { .max = COMMANDS_LEN_MAX }, tail = { .max = COMMANDS_LEN_MAX };
	int r;

	put_command(&head, WIRE_CMD_POSTCOPY_LISTEN, 0);
	put_end(s, &tail);
	r = head.error ? head.error : tail.error;
	r = r < 0 ? merr_set_errno(&s->err, r, "the package") : switchover_send_package(s, b, &head, &tail);
	buf_done(&head);
	buf_done(&tail);
	if (r == 0)
		r = out_flush(s->out);
	FAULT_POINT("postcopy.package-sent");
	if (r == 0) {
		s->doubt_status = MIGRATION_STATUS_POSTCOPY_DEVICE;
		report_status(s->m, s->doubt_status);
	}
	return r;
}

/* For a successor of this worker. */
static int leave_memo(struct source *s)
{
	const struct postcopy_memo memo = {
		.peer = s->peer,
		.features = s->features,
		.ram_section = handlers_find(&s->handlers, WIRE_RAM_IDSTR, 0)->section_id,
		.release_ram = migration_has_capability(s->m, MIGRATION_CAPABILITY_RELEASE_RAM),
	};

	return postcopy_memo_set(&s->guest, &memo, &s->err);
}

/* From the pause to all that is revocable. The last pass has left nothing of note on its way. */
static int prepare(struct source *s, struct blackout *b)
{
	int r;

	s->server = page_server_new(s);
	if (!s->server)
		return s->err.code;
	r = leave_memo(s);
	if (r == 0)
		r = switchover_pause(s, b);
	if (r == 0)
		r = switchover_save(s, b);
	if (r == 0)
		r = end_precopy(s, b);
	if (r < 0)
		return r;
	if (s->peer != PEER_MIGD)
		return source_drain(s, LOADED_TIMEOUT_MS);
	r = send_package(s, b);
	s->stream_ended = r == 0;
	return r < 0 ? r : switchover_await_loaded(s, b);
}

/* ---- after RELEASE ---- */

/* All pages were sent: the target says that they are in place. */
static int finish(struct source *s)
{
	struct rp_msg m = { 0 };
	struct rcur c;
	int r;

	r = handlers_complete(&s->handlers, s->out, false, &s->err);
	out_u8(s->out, WIRE_EOF);
	if (r == 0)
		r = out_flush(s->out);
	FAULT_POINT("postcopy.end-sent");
	if (r == 0)
		r = source_await(s, WIRE_RP_SHUT, 0, &m);
	if (r < 0)
		return r;
	c = rcur_of(m.body, m.len);
	if (rcur_be32(&c) != 0 || c.bad)
		return merr_set(&s->err, -EREMOTEIO, "the destination failed before it had all pages; its log says why");
	return 0;
}

int postcopy_serve(struct source *s)
{
	int r;

	s->stats.postcopy = true;
	source_throttle_ended(s);
	report_status(s->m, MIGRATION_STATUS_POSTCOPY_ACTIVE);
	FAULT_POINT("postcopy.switched");
	r = page_server_run(s->server);
	return r < 0 ? r : finish(s);
}

static enum source_end serve(struct source *s)
{
	return postcopy_serve(s) < 0 ? postcopy_recover(s, true) : source_retire(s);
}

static enum source_end hand_over(struct source *s, struct blackout *b)
{
	int r = switchover_release(s);

	if (r < 0)
		return SOURCE_REVOKED;
	if (r > 0)
		/* POSTCOPY_RUN was not sent, so the target does not run. */
		return postcopy_recover(s, false);
	page_server_released(s->server);
	command_begin(s->out, WIRE_CMD_POSTCOPY_RUN, 0);
	(void)out_flush(s->out);
	FAULT_POINT("postcopy.run-sent");
	return switchover_await_active(s, b) == 0 ? serve(s) : postcopy_recover(s, false);
}

/* A QEMU that gives up before it has loaded all says so, and does not run. */
static enum source_end not_loaded(struct source *s)
{
	if (s->err.code == -EREMOTEIO)
		return source_reclaim(s, "the destination could not load the guest; its log says why");
	return postcopy_recover(s, false);
}

static enum source_end hand_over_to_qemu(struct source *s, struct blackout *b)
{
	struct rp_msg pong;
	int r;

	stats_set(s->m->stats, blackout_transfer_us, blackout_lap_us(b));
	r = switchover_release(s);
	if (r < 0)
		return SOURCE_REVOKED;
	if (r > 0)
		return source_reclaim(s, "its library did not answer, and the device state was not sent");
	page_server_released(s->server);
	r = send_package(s, b);
	if (r == 0)
		r = source_await(s, WIRE_RP_PONG, LOADED_TIMEOUT_MS, &pong);
	if (r < 0)
		return not_loaded(s);
	stats_set(s->m->stats, blackout_load_us, blackout_lap_us(b));
	blackout_over(s, b);
	return serve(s);
}

enum source_end source_postcopy(struct source *s)
{
	struct blackout b = BLACKOUT_INIT;
	enum source_end end = SOURCE_REVOKED;

	if (prepare(s, &b) == 0)
		end = s->peer == PEER_MIGD ? hand_over(s, &b) : hand_over_to_qemu(s, &b);
	blackout_done(&b);
	return end;
}
