/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dirty tracking by KVM's dirty log: start, sync, clear, stop. Theory of operation in dirty.h,
 * costs in KVM.md 5.
 */
#include "guest/dirty.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/gate.h"

static uint64_t pages_of(uint64_t bytes)
{
	return bytes / DIRTY_PAGE_SIZE;
}

bool dirty_slot_is_logged(const struct dirty *d, const struct ram_slot *s)
{
	return !(d->tables->blocks[s->block].flags & MIGD_GUEST_RAM_READONLY);
}

/* ---- what KVM has ---- */

int dirty_init(struct dirty *d, const struct guest_tables *t, struct merr *err)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	int have;

	*d = (struct dirty){ .tables = t };
	d->engine = t->kvm.dirty_ring_entries ? DIRTY_RING : DIRTY_BITMAP;
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (d->engine == DIRTY_RING)
		return 0;
	have = ioctl(t->kvm.vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	if (have <= 0)
		return 0; /* an older KVM: GET_DIRTY_LOG re-protects everything itself */
	cap.args[0] = (uint64_t)have &
		      (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	if (ioctl(t->kvm.vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return merr_set_errno(err, -errno, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	d->manual_protect = true;
	return 0;
}

/* ---- the maps ---- */

/*
 * After `tracking` changed: every thread passes a full barrier, so that a writer that saw it unset
 * has its data in memory before the first page is read (mark_dirty() itself has no fence while
 * nobody migrates). Where the call is missing, the many system calls until then do the same.
 */
static void barrier_everywhere(void)
{
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static void close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fds[i] = close_fd(fds[i]);
}

static void free_maps(struct dirty *d)
{
	__atomic_store_n(&d->tracking, false, __ATOMIC_SEQ_CST);
	/*
	 * A writer holds on for an OR or a ring's length at most; its thread may have lost the CPU,
	 * though.
	 */
	while (__atomic_load_n(&d->writers, __ATOMIC_SEQ_CST))
		(void)sched_yield();
	for (size_t i = 0; i < d->tables->n_blocks; i++)
		dirty_map_done(&d->maps[i]);
	free(TAKE_PTR(d->scratch));
}

static int make_maps(struct dirty *d, int *fds, struct merr *err)
{
	const struct guest_tables *t = d->tables;
	uint64_t n_pages;
	int r;

	for (size_t i = 0; i < t->n_blocks; i++) {
		n_pages = pages_of(t->blocks[i].len);
		r = dirty_map_create(n_pages, &d->maps[i], &fds[i]);
		if (r < 0) {
			close_fds(fds, i);
			return merr_set_errno(err, r, "dirty map of RAM block '%s'",
					      t->blocks[i].name);
		}
		bitmap_set_range(d->maps[i].bits, 0, n_pages);
	}
	return 0;
}

static int make_scratch(struct dirty *d, struct merr *err)
{
	uint64_t most = 1;

	for (size_t i = 0; i < d->tables->n_slots; i++)
		most = max_u64(most, pages_of(d->tables->slots[i].len));
	d->scratch = calloc(bitmap_words(most), sizeof(uint64_t));
	return d->scratch ? 0 : merr_set(err, -ENOMEM, "dirty log: no memory for a slot's bitmap");
}

bool dirty_write_begin(struct dirty *d)
{
	(void)__atomic_fetch_add(&d->writers, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&d->tracking, __ATOMIC_SEQ_CST))
		return true;
	dirty_write_end(d);
	return false;
}

void dirty_write_end(struct dirty *d)
{
	(void)__atomic_fetch_sub(&d->writers, 1, __ATOMIC_RELEASE);
}

/* ---- KVM's log on and off ---- */

static int set_logging(struct dirty *d, const struct ram_slot *s, bool on)
{
	const struct ram_block *b = &d->tables->blocks[s->block];
	struct kvm_userspace_memory_region region = {
		.slot = s->slot,
		.flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = s->gpa,
		.memory_size = s->len,
		.userspace_addr = (uint64_t)(uintptr_t)(b->host + s->offset),
	};

	return ioctl(d->tables->kvm.vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* Off, for the first N slots. */
static void stop_logging(struct dirty *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (dirty_slot_is_logged(d, &d->tables->slots[i]))
			(void)set_logging(d, &d->tables->slots[i], false);
}

static int start_logging(struct dirty *d, struct merr *err)
{
	const struct guest_tables *t = d->tables;
	int r;

	for (size_t i = 0; i < t->n_slots; i++) {
		if (!dirty_slot_is_logged(d, &t->slots[i]))
			continue;
		r = set_logging(d, &t->slots[i], true);
		if (r < 0) {
			stop_logging(d, i);
			return merr_set_errno(err, r,
					      "cannot log dirty pages of memory slot %" PRIu32,
					      t->slots[i].slot);
		}
	}
	return 0;
}

int dirty_log_get(struct dirty *d, struct gate *gate, enum dirty_user user, struct merr *err)
{
	int r;

	if (!d->users) {
		/* What a ring still holds from earlier has no meaning any more. */
		r = d->engine == DIRTY_RING ? dirty_rings_harvest(d, gate, err) : 0;
		if (r >= 0)
			r = start_logging(d, err);
		if (r < 0)
			return r;
	}
	d->users |= user;
	return 0;
}

void dirty_log_put(struct dirty *d, struct gate *gate, enum dirty_user user)
{
	if (!(d->users & user))
		return;
	d->users &= ~(unsigned int)user;
	if (d->users)
		return;
	stop_logging(d, d->tables->n_slots);
	if (d->engine == DIRTY_RING)
		(void)dirty_rings_harvest(d, gate, NULL);
}

int dirty_start(struct dirty *d, struct gate *gate, int ret_fds[ATTACH_RAM_BLOCKS_MAX],
		struct merr *err)
{
	int r;

	if (dirty_is_tracking(d))
		return merr_set(err, -EBADFD, "dirty pages are being tracked already");
	r = make_maps(d, ret_fds, err);
	if (r < 0) {
		free_maps(d);
		return r;
	}
	r = make_scratch(d, err);
	if (r >= 0) {
		__atomic_store_n(&d->tracking, true, __ATOMIC_SEQ_CST);
		barrier_everywhere();
		r = dirty_log_get(d, gate, DIRTY_USER_MIGRATION, err);
	}
	if (r < 0) {
		close_fds(ret_fds, d->tables->n_blocks);
		free_maps(d);
		return r;
	}
	return 0;
}

void dirty_stop(struct dirty *d, struct gate *gate)
{
	if (!dirty_is_tracking(d))
		return;
	dirty_log_put(d, gate, DIRTY_USER_MIGRATION);
	free_maps(d);
}

/* ---- sync ---- */

/*
 * OR WORD, whose bit 0 stands for page FIRST of the block, into MAP; bits beyond its end are no
 * pages.
 */
static void or_word(const struct dirty_map *map, uint64_t first, uint64_t word)
{
	uint64_t i = first / BITMAP_WORD_BITS, shift = first % BITMAP_WORD_BITS;

	(void)__atomic_fetch_or(&map->bits[i], word << shift, __ATOMIC_RELEASE);
	if (shift && word >> (BITMAP_WORD_BITS - shift))
		(void)__atomic_fetch_or(&map->bits[i + 1], word >> (BITMAP_WORD_BITS - shift),
					__ATOMIC_RELEASE);
}

static void merge_slot(struct dirty *d, const struct ram_slot *s)
{
	const struct dirty_map *map = &d->maps[s->block];
	uint64_t n = pages_of(s->len), first = pages_of(s->offset), tail = n % BITMAP_WORD_BITS;
	uint64_t words = bitmap_words(n);

	if (tail)
		d->scratch[words - 1] &= (1ULL << tail) - 1;
	for (uint64_t w = 0; w < words; w++)
		if (d->scratch[w])
			or_word(map, first + w * BITMAP_WORD_BITS, le64toh(d->scratch[w]));
}

static int sync_slot(struct dirty *d, const struct ram_slot *s, struct merr *err)
{
	struct kvm_dirty_log log = { .slot = s->slot, .dirty_bitmap = d->scratch };

	if (ioctl(d->tables->kvm.vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return merr_set_errno(err, -errno, "KVM_GET_DIRTY_LOG of memory slot %" PRIu32,
				      s->slot);
	merge_slot(d, s);
	return 0;
}

int dirty_sync(struct dirty *d, struct gate *gate, struct merr *err)
{
	const struct guest_tables *t = d->tables;
	int r;

	if (!dirty_is_tracking(d))
		return merr_set(err, -EBADFD, "dirty pages are not being tracked");
	if (d->engine == DIRTY_RING)
		return dirty_rings_harvest(d, gate, err);
	for (size_t i = 0; i < t->n_slots; i++) {
		if (!dirty_slot_is_logged(d, &t->slots[i]))
			continue;
		r = sync_slot(d, &t->slots[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- clear ---- */

/* The pages of a DIRTY_CLEAR: bit k of `bits` is page first + k of the block. */
struct clear_set {
	uint64_t first;
	uint64_t n;
	const uint8_t *bits;
};

/*
 * The 64 bits from page PAGE of the block on (PAGE may lie before the set: then modulo 2^64); 0
 * outside the set.
 */
static uint64_t bits_from(const struct clear_set *c, uint64_t page)
{
	int64_t at = (int64_t)(page - c->first);
	uint64_t word = 0;
	int64_t shift, i;

	shift = ((at % 64) + 64) % 64;
	i = (at - shift) / 64;
	if (i >= 0 && (uint64_t)i < c->n / 64)
		word = load_le64(c->bits + 8 * i) >> shift;
	if (shift && i + 1 >= 0 && (uint64_t)(i + 1) < c->n / 64)
		word |= load_le64(c->bits + 8 * (i + 1)) << (64 - shift);
	return word;
}

/* Clear the part of C that slot S shows; KVM takes bits by groups of 64 pages of the slot. */
static int clear_slot(struct dirty *d, const struct ram_slot *s, const struct clear_set *c,
		      struct merr *err)
{
	uint64_t off = pages_of(s->offset), n = pages_of(s->len), lo, hi, any = 0, word;
	struct kvm_clear_dirty_log clear = { .slot = s->slot, .dirty_bitmap = d->scratch };

	lo = max_u64(c->first, off);
	hi = min_u64(c->first + c->n, off + n);
	if (lo >= hi)
		return 0;
	lo = (lo - off) / 64 * 64;
	hi = min_u64(round_up(hi - off, 64), n);
	for (uint64_t p = lo; p < hi; p += 64) {
		word = bits_from(c, off + p);
		if (hi - p < 64)
			word &= (1ULL << (hi - p)) - 1;
		d->scratch[(p - lo) / 64] = htole64(word);
		any |= word;
	}
	if (!any)
		return 0;
	clear.first_page = lo;
	clear.num_pages = (uint32_t)(hi - lo);
	if (ioctl(d->tables->kvm.vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
		return merr_set_errno(err, -errno, "KVM_CLEAR_DIRTY_LOG of memory slot %" PRIu32,
				      s->slot);
	return 0;
}

static int check_clear(const struct dirty *d, const struct attach_dirty_clear *req,
		       struct merr *err)
{
	uint64_t n_pages, n = (uint64_t)req->bits.len * 8;

	if (req->block >= d->tables->n_blocks)
		return merr_set(err, -EBADMSG, "DIRTY_CLEAR: field 'block': %" PRIu32 " of %zu",
				req->block, d->tables->n_blocks);
	n_pages = pages_of(d->tables->blocks[req->block].len);
	if (req->first_page % 64 || req->first_page >= n_pages)
		return merr_set(err, -EBADMSG,
				"DIRTY_CLEAR: field 'first_page': %" PRIu64
				" is no multiple of 64 below %" PRIu64,
				req->first_page, n_pages);
	if (req->bits.len % 8 || n > ATTACH_CLEAR_PAGES_MAX ||
	    n > round_up(n_pages, 64) - req->first_page)
		return merr_set(err, -EBADMSG,
				"DIRTY_CLEAR: field 'bits': %" PRIu32 " bytes from page %" PRIu64
				" of a block of %" PRIu64 " pages",
				req->bits.len, req->first_page, n_pages);
	return 0;
}

int dirty_clear(struct dirty *d, const struct attach_dirty_clear *req, struct merr *err)
{
	struct clear_set c = { .first = req->first_page,
			       .n = (uint64_t)req->bits.len * 8,
			       .bits = req->bits.data };
	const struct guest_tables *t = d->tables;
	int r;

	if (!dirty_is_tracking(d))
		return merr_set(err, -EBADFD, "dirty pages are not being tracked");
	r = check_clear(d, req, err);
	if (r < 0 || !d->manual_protect)
		return r;
	for (size_t i = 0; i < t->n_slots; i++) {
		if (t->slots[i].block != req->block || !dirty_slot_is_logged(d, &t->slots[i]))
			continue;
		r = clear_slot(d, &t->slots[i], &c, err);
		if (r < 0)
			return r;
	}
	return 0;
}
