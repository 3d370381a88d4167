/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestmem: fills, sums, compares and describes the memory file of a VMM (--memory-file), from
 * outside.
 *
 * Sums and comparisons are of contents: a hole equals a page of zeros, and neither is read where
 * the file system says where its holes are (hugetlbfs does not). The sum is made of a 64-bit hash
 * of each page that is not zero and of its place, so that the sums of two files are equal exactly
 * if (but for chance) their contents are.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/payload-abi.h"

#define PAGE_BYTES  4096u
#define PAGE_WORDS  (PAGE_BYTES / 8)
#define CHUNK_BYTES (1u << 20) /* read at a time */
/* Mapped at a time; a multiple of 2 MiB, for hugetlbfs. */
#define WINDOW_BYTES          (64u << 20)
#define MAX_DIFFERENCES_SHOWN 8

/* The range of a file that a command works on. */
struct span {
	const char *path;
	int fd;
	uint64_t from, to;
	uint64_t file_bytes;
};

static int complain(const char *path, const char *what)
{
	fprintf(stderr, "guestmem: '%s': %s: %s\n", path, what, strerror(errno));
	return 1;
}

/* A number with an optional suffix K, M or G. */
static bool parse_size(const char *s, uint64_t *ret_value)
{
	static const char suffixes[] = "KMG";
	const char *suffix;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	*ret_value = strtoull(s, &end, 0);
	if (errno || end == s || *s == '-')
		return false;
	suffix = *end ? strchr(suffixes, *end) : NULL;
	if (suffix) {
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		end++;
	}
	if (*end || *ret_value > UINT64_MAX >> shift)
		return false;
	*ret_value <<= shift;
	return true;
}

/* Opens path; from and to are pages' ends and default to the whole file. */
static bool span_open(struct span *s, const char *path, int flags, const char *from, const char *to)
{
	struct stat st;

	s->path = path;
	s->fd = open(path, flags | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) < 0) {
		complain(path, "open");
		return false;
	}
	s->file_bytes = (uint64_t)st.st_size;
	s->from = 0;
	s->to = s->file_bytes;
	if ((from && !parse_size(from, &s->from)) || (to && !parse_size(to, &s->to)) ||
	    s->from > s->to || s->to > s->file_bytes || s->from % PAGE_BYTES ||
	    s->to % PAGE_BYTES) {
		fprintf(stderr,
			"guestmem: '%s': range %s to %s: expected page-aligned, ordered and within "
			"%" PRIu64 " bytes\n",
			path, from ? from : "start", to ? to : "end", s->file_bytes);
		return false;
	}
	return true;
}

/* The next stretch of data at or after pos, where the file system knows; false at the end. */
static bool next_data(const struct span *s, uint64_t pos, uint64_t *ret_from, uint64_t *ret_to)
{
	off_t data = lseek(s->fd, (off_t)pos, SEEK_DATA);
	off_t hole;

	if (pos >= s->to || (data < 0 && errno == ENXIO))
		return false;
	hole = data < 0 ? -1 : lseek(s->fd, data, SEEK_HOLE);
	*ret_from = data < 0 ? pos : (uint64_t)data;
	*ret_to = hole < 0 || (uint64_t)hole > s->to ? s->to : (uint64_t)hole;
	return *ret_from < s->to;
}

static bool read_exactly(const struct span *s, void *buf, size_t len, uint64_t offset)
{
	ssize_t n;

	for (size_t done = 0; done < len; done += (size_t)n) {
		n = pread(s->fd, (char *)buf + done, len - done, (off_t)(offset + done));
		if (n > 0)
			continue;
		errno = n == 0 ? ENODATA : errno;
		complain(s->path, "read");
		return false;
	}
	return true;
}

/* A chunk of data that begins at pos or later. 1, 0 at the end, -1 on errors. */
static int next_chunk(const struct span *s, uint64_t pos, void *buf, uint64_t *ret_from,
		      uint64_t *ret_to)
{
	if (!next_data(s, pos, ret_from, ret_to))
		return 0;
	if (*ret_to - *ret_from > CHUNK_BYTES)
		*ret_to = *ret_from + CHUNK_BYTES;
	return read_exactly(s, buf, *ret_to - *ret_from, *ret_from) ? 1 : -1;
}

static bool is_zero_page(const uint64_t *words)
{
	return words[0] == 0 && memcmp(words, words + 1, PAGE_BYTES - sizeof(*words)) == 0;
}

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9fb21c651e98df25u;
	return h ^ h >> 32;
}

/* Four lanes, so that the multiplications overlap. */
static uint64_t page_sum(const uint64_t *words, uint64_t offset)
{
	uint64_t lanes[4] = { offset, ~offset, offset << 1, offset << 2 };

	for (unsigned int i = 0; i < PAGE_WORDS; i += 4) {
		for (unsigned int lane = 0; lane < 4; lane++)
			lanes[lane] = mix(lanes[lane], words[i + lane]);
	}
	return mix(mix(mix(mix(offset, lanes[0]), lanes[1]), lanes[2]), lanes[3]);
}

static int command_sum(char **args)
{
	_cleanup_free_ uint64_t *buf = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
	uint64_t sum = 0, n_pages = 0, from, to;
	struct span s;
	int r;

	if (!buf || !span_open(&s, args[0], O_RDONLY, args[1], args[1] ? args[2] : NULL))
		return 1;
	for (uint64_t pos = s.from; (r = next_chunk(&s, pos, buf, &from, &to)) > 0; pos = to) {
		for (uint64_t o = from; o < to; o += PAGE_BYTES) {
			const uint64_t *page = buf + (o - from) / 8;

			if (is_zero_page(page))
				continue;
			sum += page_sum(page, o);
			n_pages++;
		}
	}
	if (r == 0)
		printf("{\"sum\": \"%016" PRIx64 "\", \"nonzero_pages\": %" PRIu64 "}\n", sum,
		       n_pages);
	close(s.fd);
	return r == 0 ? 0 : 1;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Counts the pages of a chunk that differ, and shows the first few of all. */
static void compare_chunk(const uint64_t *a, const uint64_t *b, uint64_t from, uint64_t to,
			  uint64_t *n_different)
{
	for (uint64_t o = from; o < to; o += PAGE_BYTES) {
		const uint64_t *pa = a + (o - from) / 8, *pb = b + (o - from) / 8;
		unsigned int word = 0;

		if (memcmp(pa, pb, PAGE_BYTES) == 0)
			continue;
		while (pa[word] == pb[word])
			word++;
		if ((*n_different)++ < MAX_DIFFERENCES_SHOWN)
			fprintf(stderr,
				"guestmem: page at 0x%" PRIx64
				" differs from byte %u on: %016" PRIx64 " %016" PRIx64 "\n",
				o, word * 8, pa[word], pb[word]);
	}
}

static int command_compare(char **args)
{
	_cleanup_free_ uint64_t *a = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
	_cleanup_free_ uint64_t *b = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
	uint64_t n_different = 0, from_a, to_a, from_b, to_b;
	struct span sa, sb;

	if (!a || !b || !span_open(&sa, args[0], O_RDONLY, args[2], args[2] ? args[3] : NULL) ||
	    !span_open(&sb, args[1], O_RDONLY, args[2], args[2] ? args[3] : NULL))
		return 2;
	if (sa.to != sb.to) {
		fprintf(stderr, "guestmem: '%s' has %" PRIu64 " bytes, '%s' has %" PRIu64 "\n",
			sa.path, sa.to, sb.path, sb.to);
		return 1;
	}
	for (uint64_t pos = sa.from; pos < sa.to;) {
		bool has_a = next_data(&sa, pos, &from_a, &to_a);
		bool has_b = next_data(&sb, pos, &from_b, &to_b);
		uint64_t from = smaller(has_a ? from_a : sa.to, has_b ? from_b : sa.to);
		uint64_t to = smaller(from + CHUNK_BYTES, sa.to);

		if (!read_exactly(&sa, a, to - from, from) ||
		    !read_exactly(&sb, b, to - from, from))
			return 2;
		compare_chunk(a, b, from, to, &n_different);
		pos = to;
	}
	printf("{\"different_pages\": %" PRIu64 "}\n", n_different);
	close(sa.fd);
	close(sb.fd);
	return n_different ? 1 : 0;
}

static int command_blocks(char **args)
{
	uint64_t n_extents = 0, from, to;
	struct stat st;
	struct span s;

	if (!span_open(&s, args[0], O_RDONLY, NULL, NULL) || fstat(s.fd, &st) < 0)
		return 1;
	for (uint64_t pos = 0; next_data(&s, pos, &from, &to); pos = to)
		n_extents++;
	printf("{\"size_bytes\": %" PRIu64 ", \"allocated_bytes\": %" PRIu64
	       ", \"data_extents\": %" PRIu64 "}\n",
	       s.file_bytes, (uint64_t)st.st_blocks * 512, n_extents);
	close(s.fd);
	return 0;
}

/* xorshift64*: no page of it compresses, and every page differs. */
static void fill_random(uint64_t *words, uint64_t n_words, uint64_t offset, uint64_t seed)
{
	uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15u ^ seed;

	for (uint64_t i = 0; i < n_words; i++) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		words[i] = x * 0x2545f4914f6cdd1du;
	}
}

/* Written, hence allocated, zeros. */
static void fill_zeros(uint64_t *words, uint64_t n_words, uint64_t offset, uint64_t seed)
{
	(void)offset;
	(void)seed;
	memset(words, 0, n_words * 8);
}

/*
 * Each page holds its own file offset, plus one, in every word: compressible, and no two pages are
 * equal.
 */
static void fill_pattern(uint64_t *words, uint64_t n_words, uint64_t offset, uint64_t seed)
{
	for (uint64_t i = 0; i < n_words; i++)
		words[i] = (offset + 1) ^ seed;
}

static const struct {
	const char *name;
	void (*fill)(uint64_t *words, uint64_t n_words, uint64_t offset, uint64_t seed);
} fills[] = {
	{ "random", fill_random },
	{ "zeros", fill_zeros },
	{ "pattern", fill_pattern },
};

static int fill_range(const struct span *s, unsigned int how, uint64_t seed)
{
	uint64_t window = s->from / WINDOW_BYTES * WINDOW_BYTES;

	for (; window < s->to; window += WINDOW_BYTES) {
		uint64_t len = smaller(WINDOW_BYTES, s->file_bytes - window);
		uint64_t from = s->from > window ? s->from - window : 0;
		uint64_t to = smaller(s->to - window, len);
		char *map =
			mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, (off_t)window);

		if (map == MAP_FAILED)
			return complain(s->path, "map");
		for (uint64_t o = from; o < to; o += PAGE_BYTES)
			fills[how].fill((uint64_t *)(map + o), PAGE_WORDS, window + o, seed);
		munmap(map, len);
	}
	return 0;
}

static int command_fill(char **args)
{
	uint64_t seed = 0;
	struct span s;
	int r;

	for (unsigned int how = 0; how < sizeof(fills) / sizeof(fills[0]); how++) {
		if (strcmp(args[3], fills[how].name) != 0)
			continue;
		if (args[4] && !parse_size(args[4], &seed))
			return 2;
		if (!span_open(&s, args[0], O_RDWR, args[1], args[2]))
			return 1;
		r = fill_range(&s, how, seed);
		close(s.fd);
		return r;
	}
	fprintf(stderr, "guestmem: fill '%s': expected random, zeros or pattern\n", args[3]);
	return 2;
}

static void print_text(const char *text, size_t size)
{
	for (size_t i = 0; i < size && text[i]; i++) {
		if (text[i] >= ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\')
			putchar(text[i]);
	}
}

static int command_result(char **args)
{
	static const char *const statuses[] = { "starting", "running", "failed", "passed" };
	struct payload_result r;
	struct span s;

	if (!span_open(&s, args[0], O_RDONLY, NULL, NULL) ||
	    !read_exactly(&s, &r, sizeof(r), PAYLOAD_RESULT_GPA))
		return 1;
	close(s.fd);
	if (r.magic != PAYLOAD_MAGIC) {
		fprintf(stderr, "guestmem: '%s': no payload's result at 0x%x\n", args[0],
			PAYLOAD_RESULT_GPA);
		return 1;
	}
	printf("{\"status\": \"%s\", \"heartbeat\": %" PRIu64 ", \"checks\": %" PRIu64
	       ", \"failures\": %" PRIu64 ", \"text\": \"",
	       r.status < 4 ? statuses[r.status] : "invalid", r.heartbeat, r.checks, r.failures);
	print_text(r.text, sizeof(r.text));
	printf("\", \"detail\": [");
	for (unsigned int i = 0; i < 8; i++)
		printf("%s%" PRIu64, i ? ", " : "", r.detail[i]);
	printf("]}\n");
	return 0;
}

static const struct {
	const char *name;
	int min_args, max_args;
	int (*run)(char **args);
	const char *usage;
} commands[] = {
	{ "fill", 4, 5, command_fill, "FILE FROM TO random|zeros|pattern [SEED]: write the range" },
	{ "sum", 1, 3, command_sum, "FILE [FROM [TO]]: a checksum of the contents" },
	{ "compare", 2, 4, command_compare, "FILE FILE [FROM [TO]]: exit status 1 if they differ" },
	{ "blocks", 1, 1, command_blocks, "FILE: size, allocated bytes, data extents" },
	{ "result", 1, 1, command_result, "FILE: what the payload says about itself" },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int show_usage(FILE *to)
{
	fprintf(to, "usage: guestmem COMMAND ... ; sizes take K, M, G\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %s %s\n", commands[i].name, commands[i].usage);
	return 2;
}

int main(int argc, char **argv)
{
	int n_args = argc - 2;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		show_usage(stdout);
		return 0;
	}
	for (size_t i = 0; i < N_COMMANDS && argc >= 2; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (n_args < commands[i].min_args || n_args > commands[i].max_args)
			break;
		return commands[i].run(argv + 2);
	}
	return show_usage(stderr);
}
