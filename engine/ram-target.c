/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving RAM. */
#include "engine/ram-target.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "engine/lazy-restore.h"
#include "engine/ram-fill.h"
#include "engine/ram-poison.h"
#include "engine/return-path.h"
#include "engine/wire.h"
#include "engine/xbzrle.h"

int ram_target_clear(struct ram *ram, struct merr *err)
{
	int r;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		if (ram->blocks[i].handed || ram->blocks[i].ignored)
			continue;
		r = ram_fill_punch(&ram->blocks[i], 0, ram->blocks[i].len);
		if (r < 0)
			return merr_set_errno(err, r, "clearing RAM block '%s'", ram->blocks[i].name);
	}
	return 0;
}

/* A difference to what the page holds now. */
static int receive_xbzrle(struct ram_target *t, struct ram_file *b, uint64_t offset)
{
	uint8_t code[XBZRLE_PAGE], page[XBZRLE_PAGE];
	uint8_t codec = in_u8(t->in);
	uint16_t len = in_be16(t->in);
	const char *why;
	size_t at;
	int r;

	if (in_error(t->in))
		return in_error(t->in);
	if (codec != XBZRLE_CODEC)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'xbzrle codec' is %u, not %u", codec,
			       XBZRLE_CODEC);
	if (len == 0 || len > sizeof(code))
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'xbzrle length': %u (1 to %u)", len,
			       XBZRLE_PAGE);
	if (in_bytes(t->in, code, len) < 0)
		return in_error(t->in);
	r = fd_pread_full(b->fd, page, sizeof(page), b->fd_offset + offset);
	if (r < 0)
		return in_fail(t->in, r, "block '%s': reading a page: %s", b->name, strerror(-r));
	if (xbzrle_decode(code, len, page, &why, &at) < 0)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'xbzrle data' of the page at 0x%" PRIx64
			       " %s, at byte %zu of %u", offset, why, at, len);
	return ram_fill_bytes(t->in, b, offset, page, sizeof(page));
}

/* Damaged at the source: the VMM is to make the pages so here. What was received of them is given back. */
static int receive_poison(struct ram_target *t, struct ram_file *b, uint64_t page, uint64_t n)
{
	struct merr why = MERR_INIT;
	bool fresh = false;
	int r;

	r = ram_poison_mark(b, page, n, &fresh);
	if (r < 0)
		return in_fail(t->in, r, "block '%s': no memory for the list of damaged pages", b->name);
	if (!fresh)
		return 0;
	r = ram_fill_zero(t->in, b, page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE);
	if (r < 0)
		return r;
	r = guest_ram_poison_set(t->guest, (uint32_t)(b - t->ram->blocks), page, n, &why);
	return r < 0 ? in_fail(t->in, r, "block '%s': %s", b->name, merr_msg(&why)) : 0;
}

/* A ZERO record: one of a single page has a fill byte, which is 0. */
static int receive_fill_byte(struct ram_target *t, bool run)
{
	if (!run && in_u8(t->in) != 0 && !in_error(t->in))
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'fill' is not 0");
	return in_error(t->in);
}

/* Of a block that both sides have, the guest must see the same at the same place. */
static int receive_address(struct ram_target *t, const struct ram_file *b)
{
	uint64_t gpa = in_be64(t->in);

	if (!in_error(t->in) && b->ignored && gpa != b->gpa)
		return in_fail(t->in, -EINVAL, "section 'ram': shared block '%s' is at address 0x%" PRIx64
			       " at the source and at 0x%" PRIx64 " here", b->name, gpa, b->gpa);
	return in_error(t->in);
}

/* Of a block in huge pages, they must be the same: what is waited for is one of them. */
static int receive_page_size(struct ram_target *t, const struct ram_file *b)
{
	uint64_t size = in_be64(t->in);

	if (!in_error(t->in) && size != b->page_size)
		return in_fail(t->in, -EINVAL, "section 'ram': block '%s' is in pages of %" PRIu64 " bytes at the source and of %"
			       PRIu64 " here: with post-copy they must be the same", b->name, size, b->page_size);
	return in_error(t->in);
}

/* In a mapped-ram file a block's memory comes with its entry. */
static int receive_mapped(struct ram_target *t, struct ram_file *b)
{
	if (t->lazy)
		return lazy_restore_block(t->lazy, t->in, b);
	return t->mapped ? mapped_reader_block(t->mapped, t->in, b) : 0;
}

/* The block list: every block once, lengths equal to ours, the sum as announced. */
static int receive_list(struct ram_target *t, uint64_t total)
{
	bool seen[ATTACH_RAM_BLOCKS_MAX] = { false };
	uint64_t left = total, len;
	struct ram_file *b;
	char name[256];

	while (left > 0) {
		if (in_str8(t->in, "RAM block name", name) < 0)
			return in_error(t->in);
		len = in_be64(t->in);
		if (in_error(t->in))
			return in_error(t->in);
		b = ram_find(t->ram, name);
		if (!b)
			return in_fail(t->in, -EINVAL,
				       "section 'ram': the source has a RAM block '%s' that this guest does "
				       "not have: start the target VMM with the same memory", name);
		if (len != b->len || len > left)
			return in_fail(t->in, -EINVAL,
				       "section 'ram': block '%s' has %" PRIu64 " bytes at the source and %"
				       PRIu64 " here: start the target VMM with the same memory",
				       name, len, b->len);
		if (seen[b - t->ram->blocks])
			return in_fail(t->in, -EBADMSG, "section 'ram': block '%s' is listed twice", name);
		if (t->page_sizes && ram_is_huge(b) && receive_page_size(t, b) < 0)
			return in_error(t->in);
		if (t->ram->ignore_shared && receive_address(t, b) < 0)
			return in_error(t->in);
		if (receive_mapped(t, b) < 0)
			return in_error(t->in);
		seen[b - t->ram->blocks] = true;
		left -= len;
	}
	for (size_t i = 0; i < t->ram->n_blocks; i++)
		if (!seen[i])
			return in_fail(t->in, -EINVAL,
				       "section 'ram': the source has no RAM block '%s': start the target "
				       "VMM with the same memory", t->ram->blocks[i].name);
	t->listed = true;
	return t->lazy ? lazy_restore_begin(t->lazy, t->in) : 0;
}

static int record_block(struct ram_target *t, uint64_t flags)
{
	char name[256];

	if (flags & WIRE_RAM_CONTINUE) {
		if (!t->last)
			return in_fail(t->in, -EBADMSG, "section 'ram': field 'flags': CONTINUE without a "
				       "block before it");
		return 0;
	}
	if (in_str8(t->in, "RAM block name", name) < 0)
		return in_error(t->in);
	t->last = ram_find(t->ram, name);
	if (!t->last)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'block': unknown block '%s'", name);
	if (t->last->ignored)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'block': a page of '%s', which is shared "
			       "memory here: x-ignore-shared must be on on both sides, and the VMMs must "
			       "agree on what is shared", name);
	atomic_store_explicit(&t->last->named, true, memory_order_relaxed);
	return 0;
}

/* Which flags beside CONTINUE make a page record. */
static bool is_page_kind(const struct ram_target *t, uint64_t kind, bool run)
{
	if (kind == WIRE_RAM_XBZRLE)
		return !run && !t->placer;
	if (kind == WIRE_RAM_POISON)
		return run && t->guest && !t->placer;
	return (kind == WIRE_RAM_PAGE || kind == WIRE_RAM_ZERO) && (!run || t->runs);
}

/* What a record that was checked says, in pre-copy. */
static int fill_pages(struct ram_target *t, uint64_t offset, uint64_t len, uint64_t kind, bool run)
{
	switch (kind) {
	case WIRE_RAM_PAGE:
		return ram_fill_stream(t->in, t->last, offset, len);
	case WIRE_RAM_XBZRLE:
		return receive_xbzrle(t, t->last, offset);
	case WIRE_RAM_POISON:
		return receive_poison(t, t->last, offset / WIRE_PAGE_SIZE, len / WIRE_PAGE_SIZE);
	default:
		return receive_fill_byte(t, run) < 0 ? in_error(t->in) : ram_fill_zero(t->in, t->last, offset, len);
	}
}

/* The same in post-copy. */
static int place_pages(struct ram_target *t, uint64_t offset, uint64_t len, uint64_t kind, bool run)
{
	if (kind == WIRE_RAM_PAGE)
		return placer_stream(t->placer, t->last, offset, len);
	if (receive_fill_byte(t, run) < 0)
		return in_error(t->in);
	return placer_zero(t->placer, t->last, offset, len);
}

/* A page record, of one page or of a run. */
static int receive_pages(struct ram_target *t, uint64_t offset, uint64_t flags)
{
	uint64_t kind = flags & ~(uint64_t)(WIRE_RAM_CONTINUE | WIRE_RAM_RUN);
	bool run = flags & WIRE_RAM_RUN;
	uint64_t n = 1, len;

	if (t->mapped || t->lazy)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'flags': 0x%" PRIx64 " is a record, and with "
			       "mapped-ram there are none", flags);
	if (!is_page_kind(t, kind, run))
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'flags': 0x%" PRIx64
			       " is not a kind of record this side knows%s", flags,
			       t->placer ? " in post-copy" : "");
	if (!t->listed)
		return in_fail(t->in, -EBADMSG, "section 'ram': a page before the block list");
	if (record_block(t, flags) < 0)
		return in_error(t->in);
	if (!in_error(t->in) && t->last->handed)
		return in_fail(t->in, -EBADMSG, "section 'ram': a page of block '%s', which was handed over",
			       t->last->name);
	if (run)
		n = in_be32(t->in);
	if (!in_error(t->in) && (n == 0 || n > WIRE_RUN_PAGES_MAX))
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'run length': %" PRIu64
			       " pages (1 to %u)", n, WIRE_RUN_PAGES_MAX);
	len = n * WIRE_PAGE_SIZE;
	if (!in_error(t->in) && !range_ok(offset, len, t->last->len))
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'address': %" PRIu64 " pages at 0x%"
			       PRIx64 " are outside block '%s' of %" PRIu64 " bytes", n, offset,
			       t->last->name, t->last->len);
	if (in_error(t->in))
		return in_error(t->in);
	return t->placer ? place_pages(t, offset, len, kind, run) : fill_pages(t, offset, len, kind, run);
}

/* Whatever came over the channels before is in memory afterwards. A channel's own error is better than that there was one. */
static int sync_channels(struct ram_target *t)
{
	int r = multifd_target_sync(t->multifd);

	return r < 0 ? in_fail(t->in, r, "section 'ram': a sync point of multifd was not reached") : 0;
}

static int receive_flush(struct ram_target *t)
{
	if (t->placer)
		return in_fail(t->in, -EBADMSG, "section 'ram': a sync point of multifd in post-copy");
	if (!t->multifd || t->sync_by_section)
		return in_fail(t->in, -EBADMSG, "section 'ram': a sync point of multifd, which %s",
			       t->multifd ? "the source has at the end of sections" : "is off here");
	return sync_channels(t);
}

/* A source of today syncs before the block list's section ends; one that does not, does it by that end (WIRE.md 3.4). */
static int receive_end(struct ram_target *t, bool setup, bool flushed)
{
	if (!t->listed)
		return in_fail(t->in, -EBADMSG, "section 'ram': no block list");
	if (setup && t->multifd)
		t->sync_by_section = !flushed;
	return t->sync_by_section && !t->placer ? sync_channels(t) : 0;
}

/* All before it was written: what is in the file is there for the guest. */
static int answer_mark(struct ram_target *t, uint64_t number)
{
	int r;

	if (!t->marks || number > UINT32_MAX)
		return in_fail(t->in, -EBADMSG, "section 'ram': field 'flags': a mark, number 0x%" PRIx64 ", which %s", number,
			       t->marks ? "is too large" : "was not agreed on");
	r = rp_send_be32(t->marks, WIRE_RP_PONG, (uint32_t)number);
	return r < 0 ? in_fail_answer(t->in, r) : 0;
}

int ram_target_record(struct ram_target *t, uint64_t w, bool setup)
{
	uint64_t flags = w & ~WIRE_PAGE_MASK;

	if (flags == WIRE_RAM_MULTIFD_FLUSH)
		return receive_flush(t);
	if (flags == WIRE_RAM_MARK)
		return answer_mark(t, w >> WIRE_PAGE_SHIFT);
	if (flags != WIRE_RAM_MEM_SIZE)
		return receive_pages(t, w & WIRE_PAGE_MASK, flags);
	if (!setup || t->listed)
		return in_fail(t->in, -EBADMSG, "section 'ram': a second block list");
	return receive_list(t, w & WIRE_PAGE_MASK);
}

int ram_target_receive(struct ram_target *t, bool setup)
{
	bool flushed = false;
	uint64_t w;
	int r;

	for (;;) {
		w = in_be64(t->in);
		if (in_error(t->in))
			return in_error(t->in);
		if ((w & ~WIRE_PAGE_MASK) == WIRE_RAM_EOS)
			return receive_end(t, setup, flushed);
		r = ram_target_record(t, w, setup);
		if (r < 0)
			return r;
		flushed |= (w & ~WIRE_PAGE_MASK) == WIRE_RAM_MULTIFD_FLUSH;
	}
}

int ram_target_check_named(const struct ram_target *t)
{
	const struct ram_file *b;

	for (size_t i = 0; t->ram->ignore_shared && !t->handed && i < t->ram->n_blocks; i++) {
		b = &t->ram->blocks[i];
		if (!b->ignored && !b->named)
			return in_fail(t->in, -EINVAL, "section 'ram': nothing of block '%s' came: the source takes "
				       "it for shared memory (x-ignore-shared), and it is none here: start the target "
				       "VMM with the source's memory file, or turn the capability off", b->name);
	}
	return 0;
}
