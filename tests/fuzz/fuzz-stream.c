/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers of a peer's stream: opening, sections of the engine's handlers, RAM records, a QEMU's stream from its magic on. The input's first byte chooses the parser and how the rest
 * is cut into pieces; the pieces arrive over a real socket.
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

#define BLOCK_BYTES (1 * MIB)
/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536
#define PIECES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram ram;

static void ram_once(void)
{
	struct attach_ram_block row = { .name = "ram", .len = BLOCK_BYTES, .page_size = 4096 };

	if (ram.n_blocks)
		return;
	if (ram_add(&ram, &row, fd_memfd("fuzz", BLOCK_BYTES), NULL) < 0 || ram_target_init(&ram) < 0)
		abort();
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

/* From the magic on, as a QEMU sends it. */
static void parse_qemu(struct in *in, struct chan *chan, struct ram_target *t)
{
	struct configuration ours = { .has_uuid = true };
	struct hello hello;

	if (opening_receive(in, chan, true, HELLO_FEATURES_ALL, &hello) < 0 || hello.peer == PEER_MIGD ||
	    configuration_check(in, &hello.configuration, &ours) < 0)
		return;
	parse_sections(in, t, &hello.head);
}

static void parse(unsigned int which, struct in *in, struct chan *chan)
{
	struct ram_target t = { .ram = &ram, .in = in, .runs = which & 4 };
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
		if (ram_target_receive(&t, true) == 0)
			(void)ram_target_receive(&t, false);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct merr err = MERR_INIT;
	struct chan *chan;
	struct in *in;
	size_t piece;
	int fds[2];

	if (size < 2 || size > INPUT_MAX)
		return 0;
	ram_once();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		abort();
	/* Not too many: each takes room in the socket, which nobody reads meanwhile. */
	piece = (size_t)(data[0] >> 3) * 16 + 1 + size / PIECES_MAX;
	for (size_t at = 1; at < size; at += piece)
		if (fd_write_full(fds[1], data + at, min_u64(piece, size - at)) < 0)
			abort();
	(void)shutdown(fds[1], SHUT_WR);
	chan = chan_new(fds[0], -1);
	in = in_new(chan, NULL, &err);
	if (!in)
		abort();
	parse(data[0] & 7, in, chan);
	/* Whatever is wrong, it says where. */
	if (in_error(in) && !strstr(err.msg, "stream offset"))
		abort();
	in_free(in);
	chan_free(chan);
	(void)close(fds[1]);
	return 0;
}
