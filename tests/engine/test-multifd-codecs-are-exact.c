/* SPDX-License-Identifier: Apache-2.0 */
/* multifd's codecs: what goes in comes out, packet by packet; hostile payloads are refused and cost nothing else. */
/* LIBS: migd_engine pthread */
/* LABELS: quick */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/multifd-codec.h"

#define PAGE 4096U
#define PAGES (MULTIFD_CODEC_RAW_MAX / PAGE)

static const enum multi_fd_compression kinds[] = { MULTI_FD_COMPRESSION_ZLIB, MULTI_FD_COMPRESSION_ZSTD };
static const unsigned int level_max[] = { 9, 20 };

static uint8_t sent[MULTIFD_CODEC_RAW_MAX];

struct pair {
	struct multifd_encoder *e;
	struct multifd_decoder *d;
};

static struct pair open_pair(enum multi_fd_compression kind, unsigned int level)
{
	struct merr err = MERR_INIT;
	struct pair p = { multifd_encoder_new(kind, level, &err), multifd_decoder_new(kind, &err) };

	if (!p.e || !p.d)
		fail_msg("%s", merr_msg(&err));
	return p;
}

static void close_pair(struct pair *p)
{
	p->e = multifd_encoder_free(p->e);
	p->d = multifd_decoder_free(p->d);
}

/* A generator of our own: rand()'s is not the same everywhere. */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void fill_random(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(next_random(&seed) >> 32);
}

static void fill_text(uint8_t *p, size_t len, uint64_t seed)
{
	static const char *const words[] = { "guest ", "page ", "migrates ", "dirty ", "0123 " };
	const char *w;

	for (size_t at = 0; at < len; at += strlen(w)) {
		w = words[next_random(&seed) % ARRAY_SIZE(words)];
		memcpy(p + at, w, min_u64(strlen(w), len - at));
	}
}

static size_t encode(struct pair *p, const struct iovec *iov, size_t n, const void **ret_payload)
{
	struct merr err = MERR_INIT;
	size_t len = 0;

	if (multifd_encode(p->e, iov, n, ret_payload, &len, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	assert_in_range(len, 1, MULTIFD_CODEC_PAYLOAD_MAX);
	return len;
}

/* From copies of exactly the right size: a sanitizer sees a step outside. */
static int decode(struct multifd_decoder *d, const void *payload, size_t len, uint8_t *got, size_t n_pages,
		  struct merr *err)
{
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);
	struct iovec iov[PAGES];
	size_t n = 0;

	assert_non_null(copy);
	memcpy(copy, payload, len);
	/* In pieces: a page, the next two, the next three. */
	for (size_t at = 0, run; at < n_pages; at += run, n++) {
		run = min_u64(n % 3 + 1, n_pages - at);
		iov[n] = (struct iovec){ got + at * PAGE, run * PAGE };
	}
	return multifd_decode(d, copy, len, iov, n, err);
}

static size_t one_packet(struct pair *p, size_t n_pages)
{
	_cleanup_free_ uint8_t *got = malloc(n_pages * PAGE);
	struct iovec iov = { sent, n_pages * PAGE };
	struct merr err = MERR_INIT;
	const void *payload;
	size_t len = encode(p, &iov, 1, &payload);

	assert_non_null(got);
	if (decode(p->d, payload, len, got, n_pages, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	assert_memory_equal(got, sent, n_pages * PAGE);
	return len;
}

static void every_level_gives_back_what_it_got(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned int level = 0; level <= level_max[k]; level++) {
			struct pair p = open_pair(kinds[k], level);

			fill_text(sent, sizeof(sent), 1 + level);
			(void)one_packet(&p, PAGES);
			memset(sent, 0, sizeof(sent));
			(void)one_packet(&p, PAGES);
			fill_random(sent, sizeof(sent), 7 + level);
			(void)one_packet(&p, 5);
			close_pair(&p);
		}
	}
}

static void levels_mean_something(void **state)
{
	size_t len[3];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		fill_text(sent, sizeof(sent), 99);
		for (unsigned int i = 0; i < 3; i++) {
			struct pair p = open_pair(kinds[k], i == 2 ? level_max[k] : i);

			len[i] = one_packet(&p, PAGES);
			close_pair(&p);
		}
		assert_true(len[2] < len[1]);
		assert_true(len[1] < sizeof(sent) / 2);
		/* zlib: stored. zstd: the library's default, 3. */
		if (kinds[k] == MULTI_FD_COMPRESSION_ZLIB)
			assert_true(len[0] >= sizeof(sent));
		else
			assert_true(len[0] < len[1]);
	}
}

/* Later packets refer to earlier ones: it is one stream. */
static void a_channel_is_one_stream(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pair p = open_pair(kinds[k], 1);
		size_t first, again;

		fill_random(sent, sizeof(sent), 3);
		first = one_packet(&p, 4);
		again = one_packet(&p, 4);
		assert_true(first > 4 * PAGE && again < first / 4);
		for (uint64_t i = 1; i <= 150; i++) {
			if (i % 3)
				fill_text(sent, sizeof(sent), i);
			else
				fill_random(sent, sizeof(sent), i);
			(void)one_packet(&p, i % 7 == 0 ? PAGES : i % PAGES + 1);
		}
		close_pair(&p);
	}
}

/* What WIRE.md says QEMU's packets grow to; and far below what is read. */
static void growth_is_small(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned int level = 0; level <= level_max[k]; level++) {
			struct pair p = open_pair(kinds[k], level);

			for (uint64_t i = 0; i < 3; i++) {
				fill_random(sent, sizeof(sent), 1000 * level + i + 1);
				assert_in_range(one_packet(&p, PAGES), sizeof(sent), sizeof(sent) + 2048);
			}
			close_pair(&p);
		}
	}
}

static atomic_bool stop;

/* A guest races with whoever reads its memory. */
__attribute__((no_sanitize("thread"))) static void *guest_writes(void *arg)
{
	volatile uint8_t *ram = arg;

	for (uint64_t seed = 5; !atomic_load(&stop);)
		for (size_t i = 0; i < 64; i++)
			ram[next_random(&seed) % sizeof(sent)] = (uint8_t)seed;
	return NULL;
}

/* Each packet decodes, to whatever was read of it, and the stream goes on: what it says later is not garbled. */
static void a_guest_that_writes_spoils_nothing(void **state)
{
	_cleanup_free_ uint8_t *got = malloc(sizeof(sent));
	struct iovec iov = { sent, sizeof(sent) };
	struct merr err = MERR_INIT;
	const void *payload;
	pthread_t guest;
	size_t len;

	(void)state;
	assert_non_null(got);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pair p = open_pair(kinds[k], 1);

		fill_text(sent, sizeof(sent), 17);
		atomic_store(&stop, false);
		assert_int_equal(pthread_create(&guest, NULL, guest_writes, sent), 0);
		for (int i = 0; i < 60; i++) {
			len = encode(&p, &iov, 1, &payload);
			if (decode(p.d, payload, len, got, PAGES, &err) < 0)
				fail_msg("packet %d: %s", i, merr_msg(&err));
		}
		atomic_store(&stop, true);
		assert_int_equal(pthread_join(guest, NULL), 0);
		(void)one_packet(&p, PAGES);
		close_pair(&p);
	}
}

static void expect_refused(enum multi_fd_compression kind, const void *payload, size_t len, size_t n_pages,
			   const char *text)
{
	_cleanup_free_ uint8_t *got = malloc(n_pages * PAGE);
	struct multifd_decoder *d = multifd_decoder_new(kind, NULL);
	struct merr err = MERR_INIT;

	assert_non_null(d);
	assert_non_null(got);
	assert_int_equal(decode(d, payload, len, got, n_pages, &err), -EPROTO);
	if (!strstr(merr_msg(&err), text) || !strstr(merr_msg(&err), multi_fd_compression_str(kind)))
		fail_msg("expected '%s' in: %s", text, merr_msg(&err));
	multifd_decoder_free(d);
}

static void payloads_are_exactly_their_pages(void **state)
{
	static uint8_t longer[MULTIFD_CODEC_PAYLOAD_MAX + 1];
	struct iovec iov = { sent, 3 * (size_t)PAGE };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pair p = open_pair(kinds[k], 1);
		const void *payload;
		size_t len;

		fill_text(sent, sizeof(sent), 4);
		len = encode(&p, &iov, 1, &payload);
		memcpy(longer, payload, len);
		expect_refused(kinds[k], longer, len, 4, "decodes to less");
		expect_refused(kinds[k], longer, len, 2, "decodes to more");
		expect_refused(kinds[k], longer, len - len / 3, 3, "decodes to less");
		expect_refused(kinds[k], longer, sizeof(longer), 3, "is longer than 1048576");
		expect_refused(kinds[k], longer, 0, 3, kinds[k] == MULTI_FD_COMPRESSION_ZLIB ? "less" : "begin");
		memset(longer + len, 0x55, 1000);
		expect_refused(kinds[k], longer, len + 1000, 3, "at byte");
		close_pair(&p);
	}
}

static void streams_do_not_end_nor_begin_otherwise(void **state)
{
	/* A frame of one empty last block; one that wants 128 MiB; one that can be skipped; a finished empty zlib stream; one
	 * with a dictionary; gzip's. */
	static const uint8_t ended[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x48, 0x01, 0x00, 0x00 };
	static const uint8_t large[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00 };
	static const uint8_t skipped[] = { 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9 };
	static const uint8_t finished[] = { 0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01 };
	static const uint8_t dictionary[] = { 0x78, 0xbb, 0x12, 0x34, 0x56, 0x78, 0x03, 0x00 };
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0 };

	(void)state;
	expect_refused(MULTI_FD_COMPRESSION_ZSTD, ended, sizeof(ended), 1, "the frame ends");
	expect_refused(MULTI_FD_COMPRESSION_ZSTD, large, sizeof(large), 1, "too much memory");
	expect_refused(MULTI_FD_COMPRESSION_ZSTD, skipped, sizeof(skipped), 1, "does not begin with");
	expect_refused(MULTI_FD_COMPRESSION_ZLIB, finished, sizeof(finished), 1, "the stream ends");
	expect_refused(MULTI_FD_COMPRESSION_ZLIB, dictionary, sizeof(dictionary), 1, "a dictionary is asked for");
	expect_refused(MULTI_FD_COMPRESSION_ZLIB, gzip, sizeof(gzip), 1, "incorrect header check");
}

/* One wrong byte at each place: an error, or contents that are wrong; the packet behind it may fail as well. */
static void a_wrong_byte_anywhere_does_no_harm(void **state)
{
	_cleanup_free_ uint8_t *first = malloc(MULTIFD_CODEC_PAYLOAD_MAX), *got = malloc(4 * PAGE);
	struct iovec iov = { sent, 4 * (size_t)PAGE };
	const void *payload;
	size_t len, second, refused = 0;

	(void)state;
	assert_true(first && got);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct pair p = open_pair(kinds[k], 1);

		fill_text(sent, 2 * (size_t)PAGE, 5);
		fill_random(sent + 2 * (size_t)PAGE, 2 * (size_t)PAGE, 6);
		len = encode(&p, &iov, 1, &payload);
		memcpy(first, payload, len);
		second = encode(&p, &iov, 1, &payload);
		for (size_t at = 0; at < len; at++) {
			struct multifd_decoder *d = multifd_decoder_new(kinds[k], NULL);

			assert_non_null(d);
			first[at] ^= (uint8_t)(1U << at % 8);
			if (decode(d, first, len, got, 4, NULL) < 0)
				refused++;
			else
				(void)decode(d, payload, second, got, 4, NULL);
			first[at] ^= (uint8_t)(1U << at % 8);
			multifd_decoder_free(d);
		}
		close_pair(&p);
	}
	assert_true(refused > 100);
}

static void what_is_not_built_in_says_so(void **state)
{
	static const enum multi_fd_compression hardware[] = { MULTI_FD_COMPRESSION_QATZIP, MULTI_FD_COMPRESSION_QPL,
							      MULTI_FD_COMPRESSION_UADK };

	(void)state;
	assert_int_equal(multifd_codec_check(MULTI_FD_COMPRESSION_NONE, NULL), 0);
	assert_int_equal(multifd_codec_flag(MULTI_FD_COMPRESSION_NONE), 0);
	assert_int_equal(multifd_codec_flag(MULTI_FD_COMPRESSION_ZLIB), 2);
	assert_int_equal(multifd_codec_flag(MULTI_FD_COMPRESSION_ZSTD), 4);
	for (size_t i = 0; i < ARRAY_SIZE(hardware); i++) {
		struct merr err = MERR_INIT;

		assert_null(multifd_encoder_new(hardware[i], 1, &err));
		assert_int_equal(err.code, -ENOTSUP);
		assert_non_null(strstr(merr_msg(&err), multi_fd_compression_str(hardware[i])));
		assert_null(multifd_decoder_new(hardware[i], NULL));
	}
}

static void packets_have_bounds(void **state)
{
	struct pair p = open_pair(MULTI_FD_COMPRESSION_ZLIB, 1);
	struct iovec iov[2] = { { sent, sizeof(sent) }, { sent, 1 } };
	static uint8_t got[MULTIFD_CODEC_RAW_MAX];
	const void *payload;
	size_t len;

	(void)state;
	assert_int_equal(multifd_encode(p.e, iov, 2, &payload, &len, NULL), -EINVAL);
	assert_int_equal(multifd_encode(p.e, iov, 0, &payload, &len, NULL), -EINVAL);
	/* An empty piece at the end does not swallow the flush. */
	iov[1].iov_len = 0;
	len = encode(&p, iov, 2, &payload);
	assert_int_equal(decode(p.d, payload, len, got, PAGES, NULL), 0);
	(void)one_packet(&p, 1);
	close_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_level_gives_back_what_it_got),
		cmocka_unit_test(levels_mean_something),
		cmocka_unit_test(a_channel_is_one_stream),
		cmocka_unit_test(growth_is_small),
		cmocka_unit_test(a_guest_that_writes_spoils_nothing),
		cmocka_unit_test(payloads_are_exactly_their_pages),
		cmocka_unit_test(streams_do_not_end_nor_begin_otherwise),
		cmocka_unit_test(a_wrong_byte_anywhere_does_no_harm),
		cmocka_unit_test(what_is_not_built_in_says_so),
		cmocka_unit_test(packets_have_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
