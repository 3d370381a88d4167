/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the kernels of engine/kernels are, each on its own: looking for zero pages, and XBZRLE.
 *
 *	kernels			one JSON object a line and kernel that this CPU has
 *
 * zero_gbps: zero pages, which must be read to the end, out of memory that fits a core's second-level cache (as the sender's
 * buffer does). xbzrle_gbps: pages of which a few runs changed, old and new, encoded; of page bytes, not of code. GB is 1e9
 * bytes. The last line is the decoder, which needs no vectors.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/xbzrle.h"

#define N_PAGES 64U	/* 256 KiB */
#define MIN_SECONDS 0.1

struct pages {
	uint8_t *zero, *old, *new, *code;
	int code_len[N_PAGES];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint8_t *page_of(uint8_t *p, unsigned int i)
{
	return p + (size_t)i * KERNELS_PAGE;
}

/* A page in which a guest changed a few structures: 16 runs of 8 to 71 bytes. */
static void change(uint8_t *page, unsigned int *seed)
{
	for (int run = 0; run < 16; run++) {
		size_t at = (size_t)rand_r(seed) % (KERNELS_PAGE - 72), len = 8 + (size_t)rand_r(seed) % 64;

		for (size_t i = at; i < at + len; i++)
			page[i] = (uint8_t)rand_r(seed);
	}
}

static void make_pages(struct pages *p)
{
	unsigned int seed = 1;
	size_t len = (size_t)N_PAGES * KERNELS_PAGE;

	p->zero = aligned_alloc(KERNELS_PAGE, len);
	p->old = aligned_alloc(KERNELS_PAGE, len);
	p->new = aligned_alloc(KERNELS_PAGE, len);
	p->code = aligned_alloc(KERNELS_PAGE, len);
	if (!p->zero || !p->old || !p->new || !p->code) {
		fprintf(stderr, "kernels: out of memory\n");
		exit(1);
	}
	memset(p->zero, 0, len);
	for (size_t i = 0; i < len; i++)
		p->old[i] = (uint8_t)rand_r(&seed);
	memcpy(p->new, p->old, len);
	for (unsigned int i = 0; i < N_PAGES; i++)
		change(page_of(p->new, i), &seed);
}

/* One round over all pages; what it found, so that nothing is optimised away. */
typedef unsigned int (*round_fn)(const struct kernels *k, struct pages *p);

static unsigned int look_for_zeros(const struct kernels *k, struct pages *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_PAGES; i++)
		n += k->is_zero(page_of(p->zero, i), KERNELS_PAGE);
	return n;
}

static unsigned int encode(const struct kernels *k, struct pages *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_PAGES; i++) {
		p->code_len[i] = xbzrle_encode(k, page_of(p->old, i), page_of(p->new, i),
					       page_of(p->code, i));
		n += p->code_len[i] > 0;
	}
	return n;
}

/* After encode(). Onto the zero pages, which nobody needs any more. */
static unsigned int decode(const struct kernels *k, struct pages *p)
{
	unsigned int n = 0;
	const char *why;
	size_t at;

	(void)k;
	for (unsigned int i = 0; i < N_PAGES; i++)
		n += xbzrle_decode(page_of(p->code, i), (size_t)p->code_len[i], page_of(p->zero, i), &why,
				   &at) == 0;
	return n;
}

static double measure(round_fn fn, const struct kernels *k, struct pages *p)
{
	double start = now(), took;
	unsigned int rounds = 0;

	do {
		for (int i = 0; i < 50; i++, rounds++)
			if (fn(k, p) != N_PAGES) {
				fprintf(stderr, "kernels: '%s' gives a wrong result\n", k->name);
				exit(1);
			}
		took = now() - start;
	} while (took < MIN_SECONDS);
	return (double)rounds * N_PAGES * KERNELS_PAGE / took * 1e-9;
}

int main(void)
{
	struct pages p;
	double zero, xbzrle;

	make_pages(&p);
	for (const struct kernels *const *k = kernels_all(); *k; k++) {
		if (!(*k)->is_supported())
			continue;
		zero = measure(look_for_zeros, *k, &p);
		xbzrle = measure(encode, *k, &p);
		printf("{\"kernel\": \"%s\", \"zero_gbps\": %.4f, \"xbzrle_gbps\": %.4f}\n", (*k)->name,
		       zero, xbzrle);
	}
	printf("{\"kernel\": \"decode\", \"xbzrle_gbps\": %.4f}\n", measure(decode, &kernels_scalar, &p));
	free(p.zero);
	free(p.old);
	free(p.new);
	free(p.code);
	return 0;
}
