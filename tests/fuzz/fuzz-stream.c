/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers of a peer's stream: opening, sections of the engine's handlers, RAM records, a QEMU's stream from its magic on. The
 * input's first byte chooses the parser and how the rest is cut into pieces; the pieces arrive over a real socket. Before RAM
 * records with settings (3) comes a byte of these.
 */
/* LIBS: migd_engine */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/globalstate.h"
#include "engine/opening.h"
#include "engine/ram-handler.h"
#include "engine/timer.h"
#include "grammar.h"

#define BLOCK_BYTES (1 * MIB)
/* As small as a VMM's can be: that of captured streams, which the first byte's highest bit says that it is. */
#define WHOLE_BYTES (16 * MIB)
/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536
#define PIECES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram small, whole;
static struct stats_page stats;

static struct ram *ram_once(struct ram *ram, uint64_t len)
{
	struct attach_ram_block row = { .name = "ram", .len = len, .page_size = 4096 };

	if (!ram->n_blocks && (ram_add(ram, &row, fd_memfd("fuzz", len), NULL) < 0 || ram_target_init(ram) < 0))
		abort();
	return ram;
}

/* The next section's head; a command of no meaning here may come before it. */
static bool next_section(struct in *in, struct section_head *ret)
{
	uint16_t command, len;

	if (in_peek(in) == WIRE_COMMAND) {
		(void)in_u8(in);
		if (command_read(in, &command, &len) < 0 || command_expect(in, command, len, 0) < 0)
			return false;
	}
	if (in_peek(in) < WIRE_SECTION_START || in_peek(in) > WIRE_SECTION_FULL)
		return false;
	return section_head_read(in, in_u8(in), ret) == 0;
}

/* Sections one after the other, and their end. FIRST, unless NULL, was read already. */
static void parse_sections(struct in *in, struct ram_target *t, const struct section_head *first)
{
	struct globalstate g = { .live = true, .required = !first };
	struct handlers hs = { 0 };
	struct section_head head;

	if (ram_target_register(&hs, t, NULL) < 0 || globalstate_register(&hs, &g, NULL) < 0 ||
	    timer_register(&hs, NULL) < 0)
		abort();
	if (!first || handlers_load(&hs, in, first) == 1)
		while (next_section(in, &head) && handlers_load(&hs, in, &head) == 1)
			;
	(void)handlers_load_done(&hs, in, false);
	handlers_done(&hs);
}

/* What describes the stream (WIRE.md 1.2), which nobody reads, and nothing behind it. */
static void parse_end(struct in *in)
{
	if (in_peek(in) == WIRE_EOF) {
		(void)in_u8(in);
		if (in_peek(in) == WIRE_VMDESCRIPTION) {
			(void)in_u8(in);
			(void)in_skip(in, in_be32(in));
		}
	}
	(void)in_at_end(in);
}

/* From the magic on, as a QEMU or a migd sends it. */
static void parse_qemu(struct in *in, struct chan *chan, struct ram_target *t)
{
	struct configuration ours = { .has_uuid = true };
	struct hello hello;

	if (opening_receive(in, chan, true, HELLO_FEATURES_ALL, &hello) < 0 ||
	    configuration_check(in, &hello.configuration, &ours) < 0)
		return;
	parse_sections(in, t, hello.peer == PEER_MIGD ? NULL : &hello.head);
	parse_end(in);
}

enum { SHARED = 1, HUGE_SIZES = 2, POISON = 4, MARKS = 8, HANDED = 16 };

/* RAM records as they are with capabilities, and a library that is gone. */
static void parse_ram(unsigned int settings, struct ram_target *t, struct chan *chan)
{
	struct guest_link guest = { .cancel_fd = -1 };
	int fds[2] = { -1, -1 };

	if (settings & POISON) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0 || guest_link_init(&guest, fds[0], -1) < 0)
			abort();
		(void)close(fds[1]);
		t->guest = &guest;
	}
	small.ignore_shared = small.blocks[0].ignored = settings & SHARED;
	small.postcopy = t->page_sizes = settings & HUGE_SIZES;
	t->marks = settings & MARKS ? chan : NULL;
	t->handed = settings & HANDED;
	if (ram_target_receive(t, true) == 0)
		(void)ram_target_receive(t, false);
	small.ignore_shared = small.blocks[0].ignored = small.postcopy = false;
	guest_link_done(&guest);
}

static void parse(unsigned int which, struct ram *ram, struct in *in, struct chan *chan)
{
	struct ram_target t = { .ram = ram, .in = in, .runs = which & 4 };
	struct hello hello;

	switch (which & 3) {
	case 0:
		(void)opening_receive(in, chan, which & 4, HELLO_FEATURES_ALL, &hello);
		break;
	case 1:
		if (which & 4)
			parse_qemu(in, chan, &t);
		else
			parse_sections(in, &t, NULL);
		break;
	default:
		parse_ram(which & 1 ? in_u8(in) : 0, &t, chan);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_whole = size && data[0] & 0x80 && (data[0] & 7) == 5;
	struct merr err = MERR_INIT;
	struct chan *chan;
	struct in *in;
	size_t piece;
	int fds[2];

	if (size < 2 || size > INPUT_MAX)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		abort();
	/* Not too many: each takes room in the socket, which nobody reads meanwhile. */
	piece = (size_t)(data[0] >> 3) * 16 + 1 + size / PIECES_MAX;
	for (size_t at = 1; at < size; at += piece)
		if (fd_write_full(fds[1], data + at, min_u64(piece, size - at)) < 0)
			abort();
	(void)shutdown(fds[1], SHUT_WR);
	chan = chan_new(fds[0], -1);
	in = in_new(chan, &stats, &err);
	if (!in)
		abort();
	parse(data[0] & 7, is_whole ? ram_once(&whole, WHOLE_BYTES) : ram_once(&small, BLOCK_BYTES), in, chan);
	/* Whatever is wrong, it says where. */
	if (in_error(in) && !strstr(err.msg, "stream offset"))
		abort();
	in_free(in);
	chan_free(chan);
	(void)close(fds[1]);
	return 0;
}

/* A: an address up to its last 12 bits, P: a RAM record, R: a section, K: a command of the opening. */
static const struct grammar_row rows[] = {
	{ 'S', "QEVM<00 00 00 03><07><=4 N><X*><K*><T><R*><E>" },
	{ 'S', "<T><R*><E>" },
	{ 'S', "<L><P*><#8><P*>" },
	{ 'N', "none" },
	{ 'N', "pc" },
	{ 'N', "ram" },
	{ 'N', "globalstate" },
	{ 'N', "timer" },
	{ 'X', "<05><12>configuration/uuid<00 00 00 01><#16>" },
	{ 'X', "<05><1a>configuration/capabilities<00 00 00 01><0f>x-ignore-shared" },
	{ 'X', "<05><1e>configuration/target-page-bits<00 00 00 01><00 00 00 0c>" },
	{ 'K', "<08><00 01><00 00>" },
	{ 'K', "<08><00 02><00 04><#4>" },
	{ 'K', "<08><00 02><00 04>migd<08><4d 01><=2 H>" },
	{ 'K', "<08><00 03><00 10><#8><00 00 00 00 00 00 10 00>" },
	{ 'K', "<08><#2><=2 N>" },
	{ 'H', "<00 01><00 00 00 00 00 00 00 03>iiiiiiiiiiiiiiii<=1 N>" },
	{ 'T', "<01><00 00 00 02><03>ram<00 00 00 00><00 00 00 04><L><P*><00 00 00 00 00 00 00 10><F>" },
	{ 'R', "<02><00 00 00 02><P*><00 00 00 00 00 00 00 10><F>" },
	{ 'R', "<03><00 00 00 02><P*><00 00 00 00 00 00 00 10><F>" },
	{ 'R', "<04><00 00 00 02><0b>globalstate<00 00 00 00><00 00 00 01><00 00 00 08>running<00><#92><#8><F>" },
	{ 'R', "<04><00 00 00 02><05>timer<00 00 00 00><00 00 00 02><#24><F>" },
	{ 'R', "<04><#4><=1 N><#4><#4><F>" },
	{ 'R', "<K>" },
	{ 'F', "<7e><00 00 00 02>" },
	{ 'F', "<7e><#4>" },
	{ 'E', "<00>" },
	{ 'E', "<00><06><=4 J>" },
	{ 'J', "{\"page_size\": 4096, \"devices\": []}" },
	{ 'L', "<00 00 00 00 00 10 00 04><03>ram<00 00 00 00 00 10 00 00>" },
	{ 'L', "<00 00 00 00 00 10 00 04><03>ram<00 00 00 00 00 10 00 00><#8>" },
	{ 'A', "<00 00 00 00 00 00>" },
	{ 'A', "<00 00 00 00 00 0f>" },
	{ 'A', "<00 00 00 00 00 10>" },
	{ 'P', "<A><00 02><03>ram<00>" },
	{ 'P', "<A><f0 22><00>" },
	{ 'P', "<A><10 22><#1>" },
	{ 'P', "<A><20 08><03>ram<#4096>" },
	{ 'P', "<A><20 28><#4096>" },
	{ 'P', "<A><04 02><03>ram<#4>" },
	{ 'P', "<A><04 08><03>ram<00 00 00 02><#8192>" },
	{ 'P', "<A><0c 20><#4>" },
	{ 'P', "<A><0c 00><03>ram<#4>" },
	{ 'P', "<A><00 60><01><=2 D>" },
	{ 'P', "<A><00 40><=1 N><01><=2 D>" },
	{ 'P', "<00 00 00 00 00 00 01 00><#8>" },
	{ 'P', "<00 00 00 00 00 00 02 00>" },
	{ 'P', "<00 00 00 00 00 00><#2>" },
	/* Deltas: so many that stay, so many that change. */
	{ 'D', "<00><08><#8>" },
	{ 'D', "<ff 1f><01><01>" },
	{ 'D', "<#2><#1><#1>" },
	{ 0, NULL },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return grammar_mutate(rows, 'S', fuzz_random(&seed) % 2 ? 'P' : 'R', 1, data, size, max_size, seed);
}
