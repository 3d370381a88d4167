/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers of a peer's stream: opening, sections of the engine's handlers, RAM records. The input's first byte chooses the parser and how the rest
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

#define BLOCK_BYTES (1 * MIB)
/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536

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

/* Sections one after the other, and their end. */
static void parse_sections(struct in *in, struct ram_target *t)
{
	struct globalstate g = { .live = true, .required = true };
	struct handlers hs = { 0 };
	struct section_head head;
	uint8_t type;

	if (ram_target_register(&hs, t, NULL) < 0 || globalstate_register(&hs, &g, NULL) < 0)
		abort();
	do {
		type = in_u8(in);
		if (type < WIRE_SECTION_START || type > WIRE_SECTION_FULL)
			break;
	} while (section_head_read(in, type, &head) == 0 && handlers_load(&hs, in, &head) == 1);
	(void)handlers_load_done(&hs, in);
	handlers_done(&hs);
}

static void parse(unsigned int which, struct in *in, struct chan *chan)
{
	struct ram_target t = { .ram = &ram, .in = in, .runs = which & 4 };
	struct hello hello;

	switch (which & 3) {
	case 0:
		(void)opening_receive(in, chan, which & 4, &hello);
		break;
	case 1:
		parse_sections(in, &t);
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
	piece = (size_t)(data[0] >> 3) * 16 + 1;
	for (size_t at = 1; at < size; at += piece)
		if (fd_write_full(fds[1], data + at, min_u64(piece, size - at)) < 0)
			abort();
	(void)shutdown(fds[1], SHUT_WR);
	chan = chan_new(fds[0], -1);
	in = in_new(chan, NULL, &err);
	if (!in)
		abort();
	parse(data[0] & 7, in, chan);
	in_free(in);
	chan_free(chan);
	(void)close(fds[1]);
	return 0;
}
