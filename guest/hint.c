/* SPDX-License-Identifier: Apache-2.0 */
/* Free-page hints: from the VMM into the shared maps. */
#include "guest/hint.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/dispatch.h"

/* Pages of one KVM_CLEAR_DIRTY_LOG; a multiple of 64. */
#define CHUNK_PAGES 4096U

/* ---- on and off: service thread ---- */

static void stop(struct migd_guest *g)
{
	struct hints *h = &g->hints;

	if (!__atomic_load_n(&h->on, __ATOMIC_RELAXED))
		return;
	if (g->hooks.hints)
		g->hooks.hints(g->opaque, false);
	__atomic_store_n(&h->on, false, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&h->users, __ATOMIC_SEQ_CST))
		(void)sched_yield();
	for (size_t i = 0; i < g->tables.n_blocks; i++)
		dirty_map_done(&h->maps[i]);
}

int handle_hint_start(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	struct hints *h = &g->hints;
	struct attach_empty req;
	int r;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (__atomic_load_n(&h->on, __ATOMIC_RELAXED))
		return merr_set(err, -EBADFD, "HINT_START: hints are being taken already");
	c->owns_fds = true;
	for (size_t i = 0; i < t->n_blocks; i++) {
		r = dirty_map_create(t->blocks[i].len / DIRTY_PAGE_SIZE, &h->maps[i], &c->fds[c->n_fds]);
		if (r < 0) {
			for (size_t k = 0; k < i; k++)
				dirty_map_done(&h->maps[k]);
			return merr_set_errno(err, r, "hint map of RAM block '%s'", t->blocks[i].name);
		}
		c->n_fds++;
	}
	__atomic_store_n(&h->on, true, __ATOMIC_SEQ_CST);
	undo_push(&g->mig.undo, stop);
	if (g->hooks.hints)
		g->hooks.hints(g->opaque, true);
	return 0;
}

/* ---- hints: any thread ---- */

static bool use_begin(struct hints *h)
{
	(void)__atomic_fetch_add(&h->users, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->on, __ATOMIC_SEQ_CST))
		return true;
	(void)__atomic_fetch_sub(&h->users, 1, __ATOMIC_RELEASE);
	return false;
}

static void use_end(struct hints *h)
{
	(void)__atomic_fetch_sub(&h->users, 1, __ATOMIC_RELEASE);
}

/* Drop pages [first, end) of slot S from KVM's log. KVM takes groups of 64 pages, or up to the slot's end. */
static int clear_log(const struct migd_guest *g, const struct ram_slot *s, uint64_t first, uint64_t end)
{
	uint64_t n_pages = s->len / DIRTY_PAGE_SIZE, bits[CHUNK_PAGES / 64], lo, hi;
	struct kvm_clear_dirty_log clear = { .slot = s->slot, .dirty_bitmap = bits };

	for (lo = first / 64 * 64; lo < end; lo = hi) {
		hi = min_u64(n_pages, lo + CHUNK_PAGES);
		memset(bits, 0, sizeof(bits));
		bitmap_set_range(bits, max_u64(lo, first) - lo, min_u64(hi, end) - max_u64(lo, first));
		for (size_t i = 0; i < CHUNK_PAGES / 64; i++)
			bits[i] = htole64(bits[i]);
		clear.first_page = lo;
		clear.num_pages = (uint32_t)(hi - lo);
		if (ioctl(g->tables.kvm.vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
			return -errno;
	}
	return 0;
}

/* The whole pages of [gpa, end) that slot S shows. */
static int hint_slot(struct migd_guest *g, const struct ram_slot *s, uint64_t gpa, uint64_t end)
{
	uint64_t lo = round_up(max_u64(gpa, s->gpa), DIRTY_PAGE_SIZE) - s->gpa;
	uint64_t hi = min_u64(end, s->gpa + s->len) - s->gpa;
	uint64_t first = lo / DIRTY_PAGE_SIZE, stop_at = hi / DIRTY_PAGE_SIZE;
	int r = 0;

	if (first >= stop_at || g->tables.blocks[s->block].flags & MIGD_GUEST_RAM_READONLY)
		return 0;
	/* Without manual protection, or with rings, KVM re-protects what it reports: it may report these once more. */
	if (g->dirty.engine == DIRTY_BITMAP && g->dirty.manual_protect)
		r = clear_log(g, s, first, stop_at);
	if (r == 0)
		bitmap_atomic_or_range(g->hints.maps[s->block].bits, s->offset / DIRTY_PAGE_SIZE + first,
				       stop_at - first);
	return r;
}

int migd_guest_hint_free(struct migd_guest *guest, uint64_t gpa, uint64_t len)
{
	const struct guest_tables *t = &guest->tables;
	uint64_t end;
	int r = 0;

	if (!add_ok(gpa, len, &end))
		return guest_failf(-EINVAL, "%" PRIu64 " bytes at 0x%" PRIx64 " are no range", len, gpa);
	if (!use_begin(&guest->hints))
		return guest_failf(-EBADFD, "no migration wants hints now");
	for (size_t i = 0; r == 0 && i < t->n_slots; i++)
		if (gpa < t->slots[i].gpa + t->slots[i].len && end > t->slots[i].gpa)
			r = hint_slot(guest, &t->slots[i], gpa, end);
	use_end(&guest->hints);
	return r < 0 ? guest_failf(r, "cannot re-protect free pages: %s", strerror(-r)) : 0;
}
