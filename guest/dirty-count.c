/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring a dirty rate by what KVM logs: the bits of its log, or the entries of its rings. */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/internal.h"

/* ---- the log ---- */

static uint64_t slot_pages(const struct ram_slot *s)
{
	return s->len / DIRTY_PAGE_SIZE;
}

static int begin_log(struct migd_guest *g, struct merr *err)
{
	uint64_t most = DIRTY_RATE_SLICE_CLEAR;

	for (size_t i = 0; i < g->tables.n_slots; i++)
		most = max_u64(most, slot_pages(&g->tables.slots[i]));
	g->rate.bits = calloc(bitmap_words(most), sizeof(uint64_t));
	if (!g->rate.bits)
		return merr_set(err, -ENOMEM, "no memory for a slot's bitmap");
	memset(g->rate.bits, 0xff, DIRTY_RATE_SLICE_CLEAR / 8);
	return dirty_log_get(&g->dirty, &g->gate, DIRTY_USER_RATE, err);
}

static int fetch(struct migd_guest *g, const struct ram_slot *s, struct merr *err)
{
	struct kvm_dirty_log log = { .slot = s->slot, .dirty_bitmap = g->rate.bits };

	if (ioctl(g->tables.kvm.vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return merr_set_errno(err, -errno, "KVM_GET_DIRTY_LOG of memory slot %" PRIu32, s->slot);
	return 0;
}

/* Re-protect the next stretch of the slot at hand. */
static int clear_some(struct migd_guest *g, const struct ram_slot *s, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	uint64_t n = min_u64(slot_pages(s) - m->at, DIRTY_RATE_SLICE_CLEAR);
	struct kvm_clear_dirty_log clear = { .slot = s->slot,
					     .first_page = m->at,
					     .num_pages = (uint32_t)n,
					     .dirty_bitmap = m->bits };

	if (ioctl(g->tables.kvm.vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
		return merr_set_errno(err, -errno, "KVM_CLEAR_DIRTY_LOG of memory slot %" PRIu32, s->slot);
	m->at += n;
	return 0;
}

int dirty_bitmap_prepare(struct migd_guest *g, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	const struct ram_slot *s;
	int r = m->bits ? 0 : begin_log(g, err);

	while (r >= 0 && m->slot < g->tables.n_slots) {
		s = &g->tables.slots[m->slot];
		if (dirty_slot_is_logged(&g->dirty, s)) {
			/* Without manual protection fetching is what clears. */
			r = g->dirty.manual_protect ? clear_some(g, s, err) : fetch(g, s, err);
			if (r < 0 || (g->dirty.manual_protect && m->at < slot_pages(s)))
				return r;
		}
		m->slot++;
		m->at = 0;
	}
	return r < 0 ? r : 1;
}

int dirty_bitmap_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err)
{
	uint64_t pages = 0;
	int r;

	for (size_t i = 0; i < g->tables.n_slots; i++) {
		const struct ram_slot *s = &g->tables.slots[i];

		if (!dirty_slot_is_logged(&g->dirty, s))
			continue;
		r = fetch(g, s, err);
		if (r < 0)
			return r;
		pages += bitmap_count_range(g->rate.bits, 0, slot_pages(s));
	}
	*ret_pages = pages;
	return 1;
}

/* ---- the rings ---- */

int dirty_rings_prepare(struct migd_guest *g, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	int r;

	m->vcpus = calloc(max_u64(g->gate.n_vcpus, 1), sizeof(*m->vcpus));
	if (!m->vcpus)
		return merr_set(err, -ENOMEM, "no memory for the vCPUs' rates");
	r = dirty_log_get(&g->dirty, &g->gate, DIRTY_USER_RATE, err);
	if (r >= 0)
		r = dirty_rings_harvest(&g->dirty, &g->gate, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		m->vcpus[i] = dirty_ring_harvested(g->gate.vcpus[i]->ring);
	return 1;
}

int dirty_rings_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err)
{
	struct dirty_rate *m = &g->rate;
	int r = dirty_rings_harvest(&g->dirty, &g->gate, err);
	uint64_t pages;

	if (r < 0)
		return r;
	*ret_pages = 0;
	for (size_t i = 0; i < g->gate.n_vcpus; i++) {
		pages = dirty_ring_harvested(g->gate.vcpus[i]->ring) - m->vcpus[i];
		m->vcpus[i] = dirty_rate_mib(pages, m->ended_ns - m->began_ns);
		*ret_pages += pages;
	}
	return 1;
}
