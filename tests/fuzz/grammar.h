/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs made from a grammar: what a blind mutation hardly hits. A grammar is rows of a name and a
 * text; rows of the same name are alternatives. In a text
 *
 *   <X>      stands for a row of the name X (one letter), <X*> for none to three
 *   <#4>     for a number of 4 bytes, most significant first, often one at an edge
 *   <=4 A>   for the length, in 4 bytes, of what a row of the name A gives, and that
 *   <00 ff>  for these bytes
 *
 * and everything else for itself.
 */
#ifndef MIGD_TESTS_FUZZ_GRAMMAR_H
#define MIGD_TESTS_FUZZ_GRAMMAR_H

#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Deeper ones are cut off. */
#define GRAMMAR_DEPTH_MAX 12
#define GRAMMAR_PIECE_MAX 16384

struct grammar_row {
	char name;
	const char *text;
};

/* libFuzzer's own; not there in the program that only replays. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static inline uint32_t fuzz_random(unsigned int *seed)
{
	*seed = *seed * 1103515245U + 12345U;
	return *seed >> 8;
}

static inline uint64_t fuzz_number(unsigned int *seed)
{
	static const uint64_t edges[] = { 0,    1,         2,          4,         8,
					  4096, 8192,      65535,      65536,     MIB - 4096,
					  MIB,  INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX };
	uint32_t r = fuzz_random(seed);

	return r % 4 ? r / 4 % 16 : edges[r / 4 % (sizeof(edges) / sizeof(edges[0]))];
}

static inline void grammar_number(struct wcur *w, uint64_t v, unsigned int len)
{
	while (len-- > 0)
		wcur_u8(w, len < 8 ? (uint8_t)(v >> 8 * len) : 0);
}

static inline void grammar_make(const struct grammar_row *rows, char name, unsigned int depth,
				unsigned int *seed, struct wcur *w);

/* What is between < and >, of LEN bytes. */
static inline void grammar_item(const struct grammar_row *rows, const char *item, size_t len,
				unsigned int depth, unsigned int *seed, struct wcur *w)
{
	uint8_t piece[GRAMMAR_PIECE_MAX];
	struct wcur inner = wcur_of(piece, sizeof(piece));

	if (item[0] == '#') {
		grammar_number(w, fuzz_number(seed), (unsigned int)atoi(item + 1));
	} else if (item[0] == '=') {
		grammar_make(rows, item[len - 1], depth, seed, &inner);
		grammar_number(w, inner.len, (unsigned int)atoi(item + 1));
		wcur_bytes(w, piece, inner.len);
	} else if (len == 1 || item[1] == '*') {
		for (uint32_t n = len == 1 ? 1 : fuzz_random(seed) % 4; n > 0; n--)
			grammar_make(rows, item[0], depth, seed, w);
	} else {
		for (; len >= 2; item += 3, len -= len > 2 ? 3 : 2)
			wcur_u8(w, (uint8_t)strtoul(item, NULL, 16));
	}
}

static inline void grammar_text(const struct grammar_row *rows, const char *text,
				unsigned int depth, unsigned int *seed, struct wcur *w)
{
	const char *end;

	for (; *text; text = end + 1) {
		end = *text == '<' ? strchr(text, '>') : text;
		if (*text == '<')
			grammar_item(rows, text + 1, (size_t)(end - text - 1), depth, seed, w);
		else
			wcur_u8(w, (uint8_t)*text);
	}
}

/* Any of the rows called NAME, appended to W. */
static inline void grammar_make(const struct grammar_row *rows, char name, unsigned int depth,
				unsigned int *seed, struct wcur *w)
{
	uint32_t n = 0;

	for (const struct grammar_row *r = rows; r->name; r++)
		n += r->name == name;
	if (n == 0 || depth >= GRAMMAR_DEPTH_MAX)
		return;
	n = fuzz_random(seed) % n;
	for (const struct grammar_row *r = rows; r->name; r++)
		if (r->name == name && n-- == 0)
			grammar_text(rows, r->text, depth + 1, seed, w);
}

/* PIECE in place of REPLACED bytes at AT, as far as there is room. */
static inline size_t fuzz_splice(uint8_t *data, size_t size, size_t max_size, size_t at,
				 size_t replaced, const struct wcur *piece)
{
	size_t rest = size - at - replaced;

	if (at + piece->len + rest > max_size)
		return size;
	memmove(data + at + piece->len, data + at + replaced, rest);
	memcpy(data + at, piece->p, piece->len);
	return at + piece->len + rest;
}

/*
 * A mutator: mostly libFuzzer's own, now and then something of the rows called ANY between the
 * bytes there are, or a whole input, START, behind the first KEPT bytes.
 */
static inline size_t grammar_mutate(const struct grammar_row *rows, char start, char any,
				    size_t kept, uint8_t *data, size_t size, size_t max_size,
				    unsigned int seed)
{
	uint8_t piece[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(piece, sizeof(piece));
	uint32_t what = fuzz_random(&seed) % 8;

	if (what > 3 || size < kept || max_size < kept)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	if (what == 0) {
		grammar_make(rows, start, 0, &seed, &w);
		return fuzz_splice(data, size, max_size, kept, size - kept, &w);
	}
	grammar_make(rows, any, 0, &seed, &w);
	return fuzz_splice(data, size, max_size, kept + fuzz_random(&seed) % (size - kept + 1), 0,
			   &w);
}

#endif
