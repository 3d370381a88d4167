/* SPDX-License-Identifier: Apache-2.0 */
/* A channel of multifd at the destination, with each codec: what packets say and what their payloads are must agree. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/multifd-receive.h"
#include "engine/ram-target.h"
#include "engine/wire.h"

#define PAGE	    WIRE_PAGE_SIZE
#define BLOCK_BYTES (1 * MIB)
#define AT_FLAGS    8
#define AT_NORMAL   16
#define AT_SIZE	    20
#define AT_ZERO	    32

static const enum multi_fd_compression kinds[] = { MULTI_FD_COMPRESSION_ZLIB, MULTI_FD_COMPRESSION_ZSTD };

static struct ram ram;
static struct stats_page stats;

struct fixture {
	enum multi_fd_compression kind;
	struct multifd_encoder *encoder;
	int source;		/* what is written here the channel reads */
	struct chan *chan;
	struct multifd_receiver *receiver;
	struct merr err;
	uint8_t bytes[MULTIFD_HEADER_LEN + MULTIFD_CODEC_PAYLOAD_MAX];
	size_t len;
};

static void fresh_ram(void)
{
	struct attach_ram_block row = { .name = "r0", .len = BLOCK_BYTES, .page_size = PAGE };

	ram_done(&ram);
	assert_true(ram_add(&ram, &row, fd_memfd("ram", BLOCK_BYTES), NULL) >= 0);
	assert_int_equal(ram_target_init(&ram), 0);
}

static struct fixture *open_channel(enum multi_fd_compression kind)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2], size = 2 * 1024 * 1024;

	assert_non_null(f);
	fresh_ram();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	f->kind = kind;
	f->source = fds[0];
	f->chan = chan_new(fds[1], -1);
	f->encoder = multifd_encoder_new(kind, 1, NULL);
	f->receiver = multifd_receiver_new(f->chan, &ram, &stats, kind, &f->err);
	assert_true(f->chan && f->encoder && f->receiver);
	return f;
}

static void close_channel(struct fixture *f)
{
	multifd_receiver_free(f->receiver);
	chan_free(f->chan);
	multifd_encoder_free(f->encoder);
	(void)close_fd(f->source);
	free(f);
}

/* A page's contents: text that says which. */
static void page_text(uint8_t page[PAGE], unsigned int which)
{
	for (size_t i = 0; i < PAGE; i++)
		page[i] = (uint8_t)("page of a guest "[i % 16] + which);
}

/* A packet of N pages, every second one of the block from page FIRST on, and of one zero page behind them. */
static void make_packet(struct fixture *f, uint32_t n, uint32_t first, uint32_t flags)
{
	struct multifd_packet p = { .flags = flags | multifd_codec_flag(f->kind), .n_normal = n, .n_zero = 1,
				    .block = &ram.blocks[0] };
	static uint8_t pages[8][PAGE];
	struct iovec iov = { pages, (size_t)n * PAGE };
	const void *payload = NULL;
	size_t len = 0;

	for (uint32_t i = 0; i < n; i++) {
		page_text(pages[i], first + i);
		p.offsets[i] = (first + 2 * i) * (uint64_t)PAGE;
	}
	p.offsets[n] = 200 * (uint64_t)PAGE;
	if (n)
		assert_int_equal(multifd_encode(f->encoder, &iov, 1, &payload, &len, NULL), 0);
	p.payload_bytes = (uint32_t)len;
	multifd_packet_put(&p, f->bytes);
	if (len)
		memcpy(f->bytes + MULTIFD_HEADER_LEN, payload, len);
	f->len = MULTIFD_HEADER_LEN + len;
}

static void send_bytes(struct fixture *f)
{
	assert_int_equal(fd_write_full(f->source, f->bytes, f->len), 0);
}

static int receive(struct fixture *f)
{
	return multifd_receive(f->receiver);
}

static void expect_pages(uint32_t n, uint32_t first)
{
	uint8_t want[PAGE], got[PAGE];

	for (uint32_t i = 0; i < n; i++) {
		page_text(want, first + i);
		assert_int_equal(fd_pread_full(ram.blocks[0].fd, got, PAGE, (first + 2 * i) * (uint64_t)PAGE), 0);
		assert_memory_equal(got, want, PAGE);
	}
}

static void packets_arrive(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct fixture *f = open_channel(kinds[k]);

		for (uint32_t i = 0; i < 10; i++) {
			make_packet(f, i % 8 + 1, 3 * i, 0);
			send_bytes(f);
			assert_int_equal(receive(f), MULTIFD_RECEIVED_PACKET);
			expect_pages(i % 8 + 1, 3 * i);
		}
		close_channel(f);
	}
}

/* What sources before 9.0 do: a size that is an older packet's, without pages; a SYNC with pages. */
static void old_sources_are_understood(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct fixture *f = open_channel(kinds[k]);

		make_packet(f, 2, 1, 0);
		send_bytes(f);
		assert_int_equal(receive(f), MULTIFD_RECEIVED_PACKET);
		make_packet(f, 0, 0, 0);
		store_be32(f->bytes + AT_SIZE, 4096);
		send_bytes(f);
		store_be32(f->bytes + AT_SIZE, 0xffffffff);
		store_be32(f->bytes + AT_ZERO, 0);
		send_bytes(f);
		assert_int_equal(receive(f), MULTIFD_RECEIVED_PACKET);
		assert_int_equal(receive(f), MULTIFD_RECEIVED_PACKET);
		make_packet(f, 3, 50, MULTIFD_FLAG_SYNC);
		send_bytes(f);
		assert_int_equal(receive(f), MULTIFD_RECEIVED_SYNC);
		expect_pages(3, 50);
		close_channel(f);
	}
}

struct lie {
	const char *text;	/* of the error */
	void (*tell)(struct fixture *f);
};

static void unknown_flag(struct fixture *f)
{
	store_be32(f->bytes + AT_FLAGS, load_be32(f->bytes + AT_FLAGS) | 0x80);
}

static void device_state(struct fixture *f)
{
	store_be32(f->bytes + AT_FLAGS, 0x40);
}

static void no_codec(struct fixture *f)
{
	store_be32(f->bytes + AT_FLAGS, 0);
}

static void another_codec(struct fixture *f)
{
	store_be32(f->bytes + AT_FLAGS, MULTIFD_CODEC_FLAGS & ~load_be32(f->bytes + AT_FLAGS));
}

static void no_payload(struct fixture *f)
{
	store_be32(f->bytes + AT_SIZE, 0);
}

static void huge_payload(struct fixture *f)
{
	store_be32(f->bytes + AT_SIZE, MULTIFD_CODEC_PAYLOAD_MAX + 1);
}

/* So that all of the smaller payload is there, and damaged at its end. */
static void short_payload(struct fixture *f)
{
	store_be32(f->bytes + AT_SIZE, load_be32(f->bytes + AT_SIZE) / 2);
}

static void long_payload(struct fixture *f)
{
	uint32_t size = load_be32(f->bytes + AT_SIZE);

	store_be32(f->bytes + AT_SIZE, size + 100);
	memset(f->bytes + f->len, 0x55, 100);
	f->len += 100;
}

static void fewer_pages(struct fixture *f)
{
	store_be32(f->bytes + AT_NORMAL, 3);
	store_be32(f->bytes + AT_ZERO, 0);
}

static void more_pages(struct fixture *f)
{
	store_be32(f->bytes + AT_NORMAL, 5);
	store_be32(f->bytes + AT_ZERO, 0);
}

static void too_many_pages(struct fixture *f)
{
	store_be32(f->bytes + AT_NORMAL, 129);
}

static const struct lie lies[] = {
	{ "field 'flags': 0x", unknown_flag },
	{ "is not a kind of packet", device_state },
	{ "is another compression than", no_codec },
	{ "is another compression than", another_codec },
	{ "field 'next_packet_size': 0 bytes", no_payload },
	{ "field 'next_packet_size': 1048577 bytes", huge_payload },
	{ "compression '", short_payload },
	{ "compression '", long_payload },
	{ "decodes to more", fewer_pages },
	{ "decodes to less", more_pages },
	{ "field 'normal_pages'", too_many_pages },
};

static void lies_are_named(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
			struct fixture *f = open_channel(kinds[k]);

			make_packet(f, 4, 10, 0);
			lies[i].tell(f);
			send_bytes(f);
			f->source = close_fd(f->source);
			if (receive(f) >= 0)
				fail_msg("lie %zu was believed", i);
			if (!strstr(merr_msg(&f->err), lies[i].text))
				fail_msg("expected '%s' in: %s", lies[i].text, merr_msg(&f->err));
			close_channel(f);
		}
	}
	ram_done(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_arrive),
		cmocka_unit_test(old_sources_are_understood),
		cmocka_unit_test(lies_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
