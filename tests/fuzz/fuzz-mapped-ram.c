/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of mapped-ram files: the list of blocks with their headers and bitmaps, and the sections behind it. The input's
 * first two bytes say how many pages the file is longer than the rest of it, which begins the file. All ones: it is the
 * beginning of a whole one, of a guest with 16 MiB, and in it only zeroes follow.
 */
/* LIBS: migd_engine */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "engine/opening.h"
#include "engine/ram-target.h"

#define INPUT_MAX 65536
/* Two blocks, as small as they can be and still have bits beyond their last page. */
#define BLOCK_PAGES 3U
#define WHOLE       UINT16_MAX
#define WHOLE_BYTES (16 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram ram, whole;
static struct stats_page stats;

static void ram_once(void)
{
	struct attach_ram_block row = { .name = "a", .len = BLOCK_PAGES * WIRE_PAGE_SIZE, .page_size = WIRE_PAGE_SIZE };
	struct attach_ram_block all = { .name = "ram", .len = WHOLE_BYTES, .page_size = WIRE_PAGE_SIZE };

	for (; ram.n_blocks < 2; row.name[0]++)
		if (ram_add(&ram, &row, fd_memfd("fuzz", row.len), NULL) < 0)
			abort();
	if (!ram.blocks[0].filled && ram_target_init(&ram) < 0)
		abort();
	if (!whole.n_blocks && (ram_add(&whole, &all, fd_memfd("fuzz", all.len), NULL) < 0 || ram_target_init(&whole) < 0))
		abort();
}

/* In a file, from its beginning; -1: there is no such file. */
static int make_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	uint64_t extra = load_be16(data) == WHOLE ? 2 * WHOLE_BYTES : (uint64_t)load_be16(data) * WIRE_PAGE_SIZE;

	if (fd < 0 || ftruncate(fd, (off_t)(size - 2 + extra)) < 0 || fd_pwrite_full(fd, data + 2, size - 2, 0) < 0)
		abort();
	return fd;
}

/* From the magic on, up to where RAM begins. */
static bool open_file(struct in *in, struct chan *chan)
{
	struct hello hello;

	return opening_receive(in, chan, false, HELLO_FEATURES_ALL, &hello) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mapped_source_file file = { .direct_fd = -1, .n_threads = 1, .cancel_fd = -1 };
	bool is_whole = size >= 2 && load_be16(data) == WHOLE;
	struct ram_target t = { .ram = is_whole ? &whole : &ram };
	struct merr err = MERR_INIT;
	struct chan *chan;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	ram_once();
	if (ram_target_clear(t.ram, &err) < 0)
		abort();
	file.fd = make_file(data, size);
	chan = chan_new(fd_dup(file.fd), -1);
	t.in = in_new(chan, &stats, &err);
	if (!t.in || mapped_reader_new(&file, &stats, &t.mapped, &err) < 0)
		abort();
	if ((!is_whole || open_file(t.in, chan)) && ram_target_receive(&t, true) == 0)
		(void)ram_target_receive(&t, false);
	/* Whatever is wrong, it says where. */
	if (in_error(t.in) && !strstr(err.msg, "stream offset"))
		abort();
	t.mapped = mapped_reader_free(t.mapped);
	t.in = in_free(t.in);
	chan = chan_free(chan);
	(void)close(file.fd);
	return 0;
}
