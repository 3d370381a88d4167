/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault's memory, sent while the guest runs: what migd/live.h asks of a device. A chunk is be32 number of pages of the
 * vault (in a migration's first chunk only), then pages: be32 index and its bytes.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "vmm/device.h"
#include "vmm/util.h"
#include "vmm/vault.h"

#define RECORD (4 + VAULT_PAGE)

static void put_be32(uint8_t *p, uint32_t value)
{
	value = htobe32(value);
	memcpy(p, &value, sizeof(value));
}

static uint32_t get_be32(const uint8_t *p)
{
	uint32_t value;
	memcpy(&value, p, sizeof(value));
	return be32toh(value);
}

/* ---- source ---- */

/* All that was ever written is to be sent. */
static int setup(void *opaque)
{
	struct device *dev = opaque;
	struct vault *v = dev->state;
	(void)pthread_mutex_lock(&dev->lock);
	v->n_dirty = v->cursor = 0;
	v->opened = false;
	for (uint32_t i = 0; i < v->n_pages; i++) {
		v->flags[i] &= VAULT_WRITTEN;
		if (v->flags[i])
			vault_mark(v, i);
	}
	(void)pthread_mutex_unlock(&dev->lock);
	return 0;
}

static int pending(void *opaque, bool exact, uint64_t *ret_bytes)
{
	struct device *dev = opaque;
	const struct vault *v = dev->state;
	(void)exact; /* it is always known */
	(void)pthread_mutex_lock(&dev->lock);
	*ret_bytes = (uint64_t)v->n_dirty * RECORD;
	(void)pthread_mutex_unlock(&dev->lock);
	return 0;
}

/* There is a dirty page. */
static uint32_t next_dirty(struct vault *v)
{
	while (!(v->flags[v->cursor] & VAULT_DIRTY))
		v->cursor = (v->cursor + 1) % v->n_pages;
	return v->cursor;
}

static void fill(struct vault *v, struct migd_live_chunk *chunk)
{
	if (!v->opened) {
		put_be32(chunk->data, v->n_pages);
		chunk->len = 4;
		v->opened = true;
	}
	while (v->n_dirty > 0 && chunk->cap - chunk->len >= RECORD) {
		uint32_t index = next_dirty(v);
		put_be32(chunk->data + chunk->len, index);
		memcpy(chunk->data + chunk->len + 4, v->memory + (uint64_t)index * VAULT_PAGE,
		       VAULT_PAGE);
		chunk->len += RECORD;
		v->flags[index] &= (uint8_t)~VAULT_DIRTY;
		v->n_dirty--;
	}
	chunk->more = v->n_dirty > 0;
}

static int iterate(void *opaque, struct migd_live_chunk *chunk)
{
	struct device *dev = opaque;
	(void)pthread_mutex_lock(&dev->lock);
	fill(dev->state, chunk);
	(void)pthread_mutex_unlock(&dev->lock);
	return 0;
}

static void cleanup(void *opaque, bool moved)
{
	const struct device *dev = opaque;
	note(LOG_INFO, "%s: the migration is over, the guest %s", dev->type->name,
	     moved ? "moved" : "stays");
}

/* ---- target ---- */

static int load_setup(void *opaque, uint32_t version)
{
	struct device *dev = opaque;
	struct vault *v = dev->state;
	(void)version;
	v->opened = false;
	v->chunks_loaded = 0;
	memset(v->memory, 0, (size_t)v->n_pages * VAULT_PAGE);
	memset(v->flags, 0, v->n_pages);
	return 0;
}

static int load_page(struct vault *v, const uint8_t *record)
{
	uint32_t index = get_be32(record);
	if (index >= v->n_pages)
		return fail(-EINVAL, "vault: page %u of %u arrived", index, v->n_pages);
	memcpy(v->memory + (uint64_t)index * VAULT_PAGE, record + 4, VAULT_PAGE);
	v->flags[index] = VAULT_WRITTEN;
	return 0;
}

static int load(void *opaque, const void *data, size_t len, uint32_t version)
{
	struct device *dev = opaque;
	struct vault *v = dev->state;
	const uint8_t *p = data, *end = p + len;
	(void)version;
	if (!v->opened) {
		if (len < 4 || get_be32(p) != v->n_pages)
			return fail(-EINVAL, "vault: another size than the source's %u pages",
				    len < 4 ? 0 : get_be32(p));
		v->opened = true;
		p += 4;
	}
	if ((size_t)(end - p) % RECORD)
		return fail(-EINVAL, "vault: a chunk of %zu bytes ends within a page", len);
	for (; p < end; p += RECORD) {
		int r = load_page(v, p);
		if (r < 0)
			return r;
	}
	v->chunks_loaded++;
	return 0;
}

static bool load_ready(void *opaque)
{
	const struct vault *v = ((struct device *)opaque)->state;
	return v->chunks_loaded >= v->ready_after;
}

const struct migd_live vault_live = {
	.size = sizeof(vault_live),
	.name = "vault-memory",
	.version = 1,
	.minimum_version = 1,
	.setup = setup,
	.pending = pending,
	.iterate = iterate,
	.complete = iterate, /* what is left, without a race any more */
	.cleanup = cleanup,
	.load_setup = load_setup,
	.load = load,
	.load_ready = load_ready,
};
