/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of pages that XBZRLE takes differences from. */
#include "engine/xbzrle-cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A page used in the generation before this one is still worth its place. */
#define LIFETIME_GENERATIONS 2U

struct entry {
	uint64_t page_plus_1;	/* 0: free */
	uint64_t used;		/* generation */
};

/* Both from the kernel: untouched parts cost nothing. */
struct table {
	uint64_t n_entries;	/* a power of two */
	struct entry *entries;
	uint8_t *data;
};

struct xbzrle_cache {
	uint64_t n_pages;
	struct table table;
};

static void *pages_new(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void table_done(struct table *t)
{
	if (t->entries)
		(void)munmap(t->entries, t->n_entries * sizeof(struct entry));
	if (t->data)
		(void)munmap(t->data, t->n_entries * XBZRLE_PAGE);
	*t = (struct table){ 0 };
}

/* The largest power of two that BYTES allow, and no more than there are pages. */
static uint64_t entries_for(uint64_t bytes, uint64_t n_pages)
{
	uint64_t n = 1;

	while (n < n_pages && n * 2 <= bytes / XBZRLE_PAGE)
		n *= 2;
	return n;
}

static int table_init(struct table *t, uint64_t n_entries)
{
	*t = (struct table){ .n_entries = n_entries };
	t->entries = pages_new(n_entries * sizeof(struct entry));
	t->data = pages_new(n_entries * XBZRLE_PAGE);
	if (t->entries && t->data)
		return 0;
	table_done(t);
	return -ENOMEM;
}

static uint64_t place_of(const struct table *t, uint64_t page)
{
	return page & (t->n_entries - 1);
}

static void put(struct table *t, uint64_t page, uint64_t used, const uint8_t *data)
{
	uint64_t place = place_of(t, page);

	t->entries[place] = (struct entry){ .page_plus_1 = page + 1, .used = used };
	memcpy(t->data + place * XBZRLE_PAGE, data, XBZRLE_PAGE);
}

struct xbzrle_cache *xbzrle_cache_new(uint64_t bytes, uint64_t n_pages)
{
	struct xbzrle_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->n_pages = n_pages;
	if (table_init(&c->table, entries_for(bytes, n_pages)) < 0)
		return xbzrle_cache_free(c);
	return c;
}

struct xbzrle_cache *xbzrle_cache_free(struct xbzrle_cache *c)
{
	if (c)
		table_done(&c->table);
	free(c);
	return NULL;
}

int xbzrle_cache_resize(struct xbzrle_cache *c, uint64_t bytes)
{
	uint64_t n_entries = entries_for(bytes, c->n_pages);
	const struct table *old = &c->table;
	const struct entry *e, *there;
	struct table new;

	if (n_entries == old->n_entries)
		return 0;
	if (table_init(&new, n_entries) < 0)
		return -ENOMEM;
	for (uint64_t i = 0; i < old->n_entries; i++) {
		e = &old->entries[i];
		if (!e->page_plus_1)
			continue;
		there = &new.entries[place_of(&new, e->page_plus_1 - 1)];
		if (!there->page_plus_1 || there->used < e->used)
			put(&new, e->page_plus_1 - 1, e->used, old->data + i * XBZRLE_PAGE);
	}
	table_done(&c->table);
	c->table = new;
	return 0;
}

static struct entry *find(struct xbzrle_cache *c, uint64_t page)
{
	struct entry *e = &c->table.entries[place_of(&c->table, page)];

	return e->page_plus_1 == page + 1 ? e : NULL;
}

uint8_t *xbzrle_cache_find(struct xbzrle_cache *c, uint64_t page, uint64_t generation)
{
	struct entry *e = find(c, page);

	if (!e)
		return NULL;
	e->used = generation;
	return c->table.data + (uint64_t)(e - c->table.entries) * XBZRLE_PAGE;
}

bool xbzrle_cache_insert(struct xbzrle_cache *c, uint64_t page, uint64_t generation,
			 const uint8_t *data)
{
	const struct entry *e = &c->table.entries[place_of(&c->table, page)];

	if (e->page_plus_1 && e->used + LIFETIME_GENERATIONS > generation)
		return false;
	put(&c->table, page, generation, data);
	return true;
}

void xbzrle_cache_drop(struct xbzrle_cache *c, uint64_t page)
{
	struct entry *e = find(c, page);

	if (e)
		*e = (struct entry){ 0 };
}
