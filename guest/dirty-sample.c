/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring a dirty rate by sampled pages: hash, wait, hash again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/internal.h"

#define PAGES_PER_GIB (GIB / DIRTY_PAGE_SIZE)

struct dirty_sample {
	uint32_t block;
	uint64_t page;
	uint64_t hash;
};

uint64_t dirty_rate_samples_of(uint64_t n_pages, uint32_t per_gib)
{
	uint64_t n = n_pages / PAGES_PER_GIB * per_gib + n_pages % PAGES_PER_GIB * per_gib / PAGES_PER_GIB;

	return min_u64(max_u64(n, DIRTY_RATE_SAMPLES_MIN), n_pages);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9fb21c651e98df25ULL; /* odd: no bit is lost */
	return h ^ h >> 32;
}

uint64_t dirty_rate_hash(const void *p, size_t len)
{
	uint64_t lanes[4] = { 1, 2, 3, 4 }, words[4]; /* four, so that the multiplications overlap */
	const uint8_t *from = p;

	for (size_t i = 0; i < len; i += sizeof(words)) {
		memcpy(words, from + i, sizeof(words));
		for (size_t k = 0; k < 4; k++)
			lanes[k] = mix(lanes[k], words[k]);
	}
	return mix(mix(mix(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

/* A guest that knew the pages could dirty others: xorshift64, seeded by the kernel. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t samples_of(const struct migd_guest *g, size_t block, uint32_t per_gib)
{
	const struct ram_block *b = &g->tables.blocks[block];

	return b->flags & MIGD_GUEST_RAM_READONLY
		       ? 0
		       : dirty_rate_samples_of(b->len / DIRTY_PAGE_SIZE, per_gib);
}

/* Choose the pages. */
static int choose(struct migd_guest *g, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	uint32_t per_gib = m->req.sample_pages;
	uint64_t seed = 0, total = 0, n;

	for (size_t i = 0; i < g->tables.n_blocks; i++)
		total += samples_of(g, i, per_gib);
	if (total > DIRTY_RATE_SAMPLES_MAX)
		return merr_set(err, -EINVAL,
				"sample-pages: %u for each GiB are %llu in this guest, more than the %u "
				"that there may be: take fewer",
				per_gib, (unsigned long long)total, DIRTY_RATE_SAMPLES_MAX);
	m->samples = calloc(max_u64(total, 1), sizeof(*m->samples));
	if (!m->samples)
		return merr_set(err, -ENOMEM, "no memory for %llu samples", (unsigned long long)total);
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0 || !seed)
		seed = clock_now_ns() | 1;
	for (size_t i = 0; i < g->tables.n_blocks; i++) {
		n = samples_of(g, i, per_gib);
		m->taken[i] = (uint32_t)n;
		for (uint64_t k = 0; k < n; k++)
			m->samples[m->n_samples++] = (struct dirty_sample){
				.block = (uint32_t)i,
				.page = next_random(&seed) % (g->tables.blocks[i].len / DIRTY_PAGE_SIZE),
			};
	}
	return 0;
}

/* Hash of the next sample's page as it is now. */
static int look(const struct migd_guest *g, const struct dirty_sample *s, uint64_t *ret, struct merr *err)
{
	const struct ram_block *b = &g->tables.blocks[s->block];
	uint64_t page[DIRTY_PAGE_SIZE / sizeof(uint64_t)];
	int r = fd_pread_full(b->fd, page, sizeof(page), b->fd_offset + s->page * DIRTY_PAGE_SIZE);

	if (r < 0)
		return merr_set_errno(err, r, "cannot read page %llu of RAM block '%s'",
				      (unsigned long long)s->page, b->name);
	*ret = dirty_rate_hash(page, sizeof(page));
	return 0;
}

int dirty_sample_prepare(struct migd_guest *g, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	int r = m->samples ? 0 : choose(g, err);

	for (unsigned int i = 0; r == 0 && i < DIRTY_RATE_SLICE_PAGES; i++) {
		if (m->at == m->n_samples)
			return 1;
		r = look(g, &m->samples[m->at], &m->samples[m->at].hash, err);
		m->at++;
	}
	return r;
}

int dirty_sample_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	uint64_t hash;
	int r;

	for (unsigned int i = 0; i < DIRTY_RATE_SLICE_PAGES && m->at < m->n_samples; i++, m->at++) {
		r = look(g, &m->samples[m->at], &hash, err);
		if (r < 0)
			return r;
		m->changed[m->samples[m->at].block] += hash != m->samples[m->at].hash;
	}
	if (m->at < m->n_samples)
		return 0;
	*ret_pages = 0;
	for (size_t i = 0; i < g->tables.n_blocks; i++)
		if (m->taken[i])
			*ret_pages += g->tables.blocks[i].len / DIRTY_PAGE_SIZE * m->changed[i] /
				      m->taken[i];
	return 1;
}
