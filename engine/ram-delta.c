/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of RAM as differences from what was sent before. */
#include "engine/ram-delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/xbzrle-cache.h"

struct ram_delta {
	struct xbzrle_cache *cache;
	uint64_t n_pages;	/* of all blocks */
	const _Atomic uint64_t *wanted_bytes;
	uint64_t cache_bytes;	/* as it was wanted when the cache got its size */
	uint64_t generation;	/* passes begun */
	struct stats_page *stats;
	/* Of this pass, for the rates. */
	uint64_t hits, misses, coded_pages, coded_bytes;
	uint8_t code[XBZRLE_PAGE];
};

struct ram_delta *ram_delta_new(uint64_t n_pages, const _Atomic uint64_t *cache_bytes,
				struct stats_page *stats)
{
	struct ram_delta *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->stats = stats;
	d->n_pages = n_pages;
	d->wanted_bytes = cache_bytes;
	d->cache_bytes = atomic_load(cache_bytes);
	d->cache = xbzrle_cache_new(d->cache_bytes, n_pages);
	if (!d->cache)
		return ram_delta_free(d);
	stats_set(stats, xbzrle_cache_bytes, d->cache_bytes);
	return d;
}

int ram_delta_forget(struct ram_delta *d)
{
	struct xbzrle_cache *fresh = xbzrle_cache_new(d->cache_bytes, d->n_pages);

	if (!fresh)
		return -ENOMEM;
	(void)xbzrle_cache_free(d->cache);
	d->cache = fresh;
	return 0;
}

struct ram_delta *ram_delta_free(struct ram_delta *d)
{
	if (d)
		d->cache = xbzrle_cache_free(d->cache);
	free(d);
	return NULL;
}

/* Of the pass that ended; none looked at: as they were. */
static void publish_rates(struct ram_delta *d)
{
	uint64_t looked_at = d->hits + d->misses;

	if (looked_at == 0)
		return;
	stats_set(d->stats, xbzrle_miss_ppm, d->misses * 1000000 / looked_at);
	stats_set(d->stats, xbzrle_encoding_milli,
		  d->coded_bytes ? d->coded_pages * XBZRLE_PAGE * 1000 / d->coded_bytes : 0);
	d->hits = d->misses = d->coded_pages = d->coded_bytes = 0;
}

void ram_delta_pass(struct ram_delta *d)
{
	publish_rates(d);
	d->generation++;
	ram_delta_adapt(d);
}

bool ram_delta_is_on(const struct ram_delta *d)
{
	return d->generation > 1;
}

void ram_delta_adapt(struct ram_delta *d)
{
	uint64_t wanted = atomic_load_explicit(d->wanted_bytes, memory_order_relaxed);

	if (wanted == d->cache_bytes)
		return;
	if (xbzrle_cache_resize(d->cache, wanted) == 0)
		stats_set(d->stats, xbzrle_cache_bytes, wanted);
	d->cache_bytes = wanted;
}

static enum delta_form miss(struct ram_delta *d, uint64_t page, const uint8_t *data)
{
	d->misses++;
	stats_add(d->stats, xbzrle_misses, 1);
	(void)xbzrle_cache_insert(d->cache, page, d->generation, data);
	return DELTA_FULL;
}

enum delta_form ram_delta_page(struct ram_delta *d, uint64_t page, uint8_t *data, size_t *ret_len)
{
	uint8_t *cached = xbzrle_cache_find(d->cache, page, d->generation);
	int n;

	if (!cached)
		return miss(d, page, data);
	d->hits++;
	stats_add(d->stats, xbzrle_pages, 1);
	n = xbzrle_encode(kernels_best(), cached, data, d->code);
	if (n == 0)
		return DELTA_NONE;
	memcpy(cached, data, XBZRLE_PAGE);
	if (n < 0) {
		stats_add(d->stats, xbzrle_overflow, 1);
		return DELTA_FULL;
	}
	d->coded_pages++;
	d->coded_bytes += (uint64_t)n;
	stats_add(d->stats, xbzrle_bytes, n);
	memcpy(data, d->code, (size_t)n);
	*ret_len = (size_t)n;
	return DELTA_CODE;
}

void ram_delta_zero(struct ram_delta *d, uint64_t page, uint64_t n)
{
	uint8_t *cached;

	for (uint64_t end = page + n; page < end; page++) {
		cached = xbzrle_cache_find(d->cache, page, d->generation);
		if (cached)
			memset(cached, 0, XBZRLE_PAGE);
	}
}
