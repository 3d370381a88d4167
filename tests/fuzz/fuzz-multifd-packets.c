/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel of multifd at the destination: hello and packets, over a real socket, into guest memory. The input's first byte
 * chooses the compression; the rest is the channel. tests/fuzz/capture-multifd makes seeds from real ones.
 */
/* LIBS: migd_engine */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "engine/multifd-receive.h"
#include "engine/ram-target.h"

#define BLOCK_BYTES (1 * MIB)
/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum multi_fd_compression codecs[] = { MULTI_FD_COMPRESSION_NONE, MULTI_FD_COMPRESSION_ZLIB,
						    MULTI_FD_COMPRESSION_ZSTD };

static struct ram ram;
static struct stats_page stats;

static void ram_once(void)
{
	struct attach_ram_block row = { .name = "r0", .len = BLOCK_BYTES, .page_size = 4096 };

	if (ram.n_blocks)
		return;
	if (ram_add(&ram, &row, fd_memfd("fuzz", BLOCK_BYTES), NULL) < 0 || ram_target_init(&ram) < 0)
		abort();
}

static void receive_all(int fd, enum multi_fd_compression codec)
{
	struct merr err = MERR_INIT;
	struct chan *chan = chan_new(fd, -1);
	struct multifd_receiver *r = multifd_receiver_new(chan, &ram, &stats, codec, &err);
	int got;

	if (!chan || !r)
		abort();
	do {
		got = multifd_receive(r);
		if (got == MULTIFD_RECEIVED_SYNC)
			multifd_receiver_mark_named(r);
	} while (got == MULTIFD_RECEIVED_SYNC || got == MULTIFD_RECEIVED_PACKET);
	/* The input ends: that is an error with a text, unless it ends behind a SYNC. */
	if (got < 0 && !merr_is_set(&err))
		abort();
	multifd_receiver_free(r);
	chan_free(chan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct multifd_hello hello;
	struct merr err = MERR_INIT;
	int fds[2];

	if (size < 1 + MULTIFD_HELLO_LEN || size > INPUT_MAX)
		return 0;
	ram_once();
	if (multifd_hello_parse(data + 1, &hello, &err) < 0 && !merr_is_set(&err))
		abort();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    fd_write_full(fds[0], data + 1 + MULTIFD_HELLO_LEN, size - 1 - MULTIFD_HELLO_LEN) < 0)
		abort();
	close(fds[0]);
	receive_all(fds[1], codecs[data[0] % 3]);
	return 0;
}
