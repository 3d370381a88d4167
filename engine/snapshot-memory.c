/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as it was at one instant. */
#include "engine/snapshot-memory.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/short-slice.h"
#include "engine/ram-units.h"
#include "engine/snapshot-queue.h"
#include "engine/uffd.h"

/* Of one request to protect, and between two ticks: 1 GiB, some 15 ms. */
#define PROTECT_PAGES 262144U

/*
 * A page that the guest writes to is copied with the aligned group of so many pages that it is in, and the guest goes on; then
 * come the others of the same copy, which it will most likely write to next. Copying one page takes 1.4 us, 64 take 47 us.
 */
#define NEIGHBOURS 8U

/* The writer looks whether the maker has ended. */
#define WAIT_NS (20 * NS_PER_MS)

#define FAULTS_MAX 16U

struct snapshot_memory {
	struct ram *ram;
	struct stats_page *stats;
	int uffd;
	int stop_fd;		/* wake: no more faults are to be served */
	struct snapshot_queue *queue;
	pthread_t thread;
	/* Pages are put on `todo` and protected, or taken off it, at once: one that is taken off before it is protected would stay so. */
	pthread_mutex_t lock;
	uint64_t *data[ATTACH_RAM_BLOCKS_MAX];	/* found touched before the instant */
	uint64_t *zeros[ATTACH_RAM_BLOCKS_MAX];	/* holes to be told */
};

/* Copies that the migration thread makes before it hands them on: a huge page of 2 MiB. */
#define OWN_COPIES 8U

/* Of the two that save pages: where it copies to, and what it does with a copy. */
struct saver {
	struct snapshot_memory *m;
	/* -ECANCELED: nobody wants a copy any more. */
	int (*room)(struct saver *s, struct snapshot_copy **ret, struct merr *err);
	/* Takes C over, with or without a page in it. */
	void (*done)(struct saver *s, struct snapshot_copy *c);
	/* Migration thread only. */
	const struct snapshot_sink *sink;
	struct snapshot_copy own[OWN_COPIES];
	size_t n_own;
};

/* ---- one page, once ---- */

/* Those pages of MASK that were still to be saved: from here on they are the caller's to save. */
static uint64_t claim(struct snapshot_memory *m, struct ram_file *b, uint64_t page, uint64_t mask)
{
	LOCK_SCOPE(&m->lock);

	return __atomic_fetch_and(&b->todo[page / BITMAP_WORD_BITS], ~mask, __ATOMIC_ACQ_REL) & mask;
}

/* All of the word that PAGE is in: nothing is ever added once the instant is over. */
static bool is_saved(const struct ram_file *b, uint64_t page)
{
	return __atomic_load_n(&b->todo[page / BITMAP_WORD_BITS], __ATOMIC_RELAXED) == 0;
}

/* The next run of set bits in MASK, from *FROM on: its length, or 0; *FROM is where it begins. */
static unsigned int next_run(uint64_t mask, unsigned int *from)
{
	uint64_t rest = *from < BITMAP_WORD_BITS ? mask >> *from << *from : 0;
	uint64_t behind;

	if (rest == 0)
		return 0;
	*from = (unsigned int)__builtin_ctzll(rest);
	behind = ~(rest >> *from);
	return behind ? (unsigned int)__builtin_ctzll(behind) : BITMAP_WORD_BITS;
}

static int read_copy(const struct snapshot_copy *c, struct merr *err)
{
	const struct ram_file *b = c->block;
	uint64_t page;
	int r = 0;

	for (unsigned int from = 0, n; r == 0 && (n = next_run(c->mask, &from)) > 0; from += n) {
		page = c->page + from;
		r = fd_pread_full(b->fd, c->data + (uint64_t)from * WIRE_PAGE_SIZE, (uint64_t)n * WIRE_PAGE_SIZE,
				  b->fd_offset + page * WIRE_PAGE_SIZE);
		if (r < 0)
			return merr_set_errno(err, r, "reading guest memory '%s' at page %" PRIu64, b->name, page);
	}
	return r;
}

/* Pages that were copied may be written to again. A VMM that is gone (-ESRCH) writes nothing: its memory is still here. */
static int let_write(struct snapshot_memory *m, const struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	int r = uffd_protect(m->uffd, b->host_base + page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE, false);

	return r == 0 || r == -ESRCH ? 0 : merr_set_errno(err, r, "lifting the write protection of '%s' at page %" PRIu64,
							  b->name, page);
}

/* Copy those pages of MASK that were still to be saved. */
static int copy_pages(struct saver *s, struct ram_file *b, uint64_t page, uint64_t mask, struct snapshot_copy **ret,
		      struct merr *err)
{
	int r = s->room(s, ret, err);

	if (r < 0)
		return r;
	(*ret)->block = b;
	(*ret)->page = page;
	(*ret)->mask = claim(s->m, b, page, mask);
	return read_copy(*ret, err);
}

static int save_pages(struct saver *s, struct ram_file *b, uint64_t page, uint64_t mask, struct merr *err)
{
	struct snapshot_copy *c;
	int r = copy_pages(s, b, page, mask, &c, err);

	if (r < 0)
		return r;
	for (unsigned int from = 0, n; r == 0 && (n = next_run(c->mask, &from)) > 0; from += n)
		r = let_write(s->m, b, page + from, n, err);
	s->done(s, c);
	return r;
}

/* A huge page is protected as one: it belongs to whoever gets its first word, and is released when all of it was copied. */
static int save_huge_page(struct saver *s, struct ram_file *b, uint64_t first, struct merr *err)
{
	uint64_t n = min_u64(b->page_size / WIRE_PAGE_SIZE, b->n_pages - first);
	struct snapshot_copy *c;
	bool mine = true;
	int r = 0;

	for (uint64_t page = first; mine && page < first + n; page += SNAPSHOT_COPY_PAGES) {
		r = copy_pages(s, b, page, UINT64_MAX, &c, err);
		if (r < 0)
			return r;
		mine = page > first || c->mask;
		s->done(s, c);
	}
	return mine ? let_write(s->m, b, first, n, err) : 0;
}

/* ---- faults ---- */

static int room_in_queue(struct saver *s, struct snapshot_copy **ret, struct merr *err)
{
	(void)err;
	*ret = snapshot_queue_room(s->m->queue);
	return *ret ? 0 : -ECANCELED;
}

static void into_queue(struct saver *s, struct snapshot_copy *c)
{
	if (c->mask)
		snapshot_queue_push(s->m->queue, c);
	else
		snapshot_queue_return(s->m->queue, c);
}

static struct ram_file *find_block(struct ram *ram, uint64_t address)
{
	for (size_t i = 0; i < ram->n_blocks; i++)
		if (address >= ram->blocks[i].host_base && address - ram->blocks[i].host_base < ram->blocks[i].len)
			return &ram->blocks[i];
	return NULL;
}

/* Somebody wrote to PAGE, and waits until it is copied; or it is by now, and whoever did that has woken him. */
static int save_for_guest(struct saver *s, struct ram_file *b, uint64_t page, struct merr *err)
{
	uint64_t huge = b->page_size / WIRE_PAGE_SIZE, group = page % SNAPSHOT_COPY_PAGES / NEIGHBOURS * NEIGHBOURS;

	if (ram_is_huge(b))
		return save_huge_page(s, b, page / huge * huge, err);
	return save_pages(s, b, page - page % SNAPSHOT_COPY_PAGES, ((1ULL << NEIGHBOURS) - 1) << group, err);
}

static int serve(struct saver *s, const struct uffd_fault *f, struct merr *err)
{
	struct ram_file *b = find_block(s->m->ram, f->address);
	uint64_t since_ns = clock_now_ns(), page;
	int r;

	if (!b)
		return merr_set(err, -EBADMSG, "a write to 0x%" PRIx64 ", where the VMM has no RAM block", f->address);
	page = (f->address - b->host_base) / WIRE_PAGE_SIZE;
	r = save_for_guest(s, b, page, err);
	stats_add(s->m->stats, snapshot_faults, 1);
	stats_add(s->m->stats, snapshot_faults_us, (clock_now_ns() - since_ns) / NS_PER_US);
	if (r == 0 && !ram_is_huge(b) && !is_saved(b, page))
		r = save_pages(s, b, page - page % SNAPSHOT_COPY_PAGES, UINT64_MAX, err);
	return r;
}

/* 0: go on; 1: that is enough. */
static int serve_some(struct saver *s, struct merr *err)
{
	struct pollfd p[] = { { .fd = s->m->uffd, .events = POLLIN }, { .fd = s->m->stop_fd, .events = POLLIN } };
	struct uffd_fault faults[FAULTS_MAX];
	int n, r = 0;

	if (poll(p, ARRAY_SIZE(p), -1) < 0)
		return errno == EINTR ? 0 : merr_set_errno(err, -errno, "waiting for the guest's writes");
	if (p[1].revents)
		return 1;
	n = uffd_read(s->m->uffd, faults, FAULTS_MAX);
	if (n < 0)
		return merr_set_errno(err, n, "waiting for the guest's writes");
	for (int i = 0; i < n && r == 0; i++)
		r = serve(s, &faults[i], err);
	return r;
}

/* The image is lost, and the guest need not wait until the migration thread, which may wait for a file, has seen that. */
static void let_all_write(struct snapshot_memory *m)
{
	const struct ram_file *b = m->ram->blocks;

	for (; b < m->ram->blocks + m->ram->n_blocks; b++)
		(void)uffd_protect(m->uffd, b->host_base, b->len, false);
}

static void *fault_thread(void *opaque)
{
	struct saver s = { .m = opaque, .room = room_in_queue, .done = into_queue };
	struct merr err = MERR_INIT;

	(void)pthread_setname_np(pthread_self(), "mig/snap/fault");
	short_slice();
	while (serve_some(&s, &err) == 0)
		;
	if (merr_is_set(&err))
		let_all_write(s.m);
	snapshot_queue_end(s.m->queue, &err);
	return NULL;
}

/* ---- the instant ---- */

/* Holes [first, end): those in the same unit as memory that was touched are told as zeros. Returns how many are not. */
static uint64_t note_hole(const struct ram_file *b, uint64_t *zeros, uint64_t first, uint64_t end)
{
	uint64_t head_end = min_u64(end, round_up(first, RAM_UNIT_PAGES)), tail = end / RAM_UNIT_PAGES * RAM_UNIT_PAGES;

	bitmap_set_range(zeros, first, head_end - first);
	tail = end < b->n_pages ? max_u64(tail, head_end) : end;
	bitmap_set_range(zeros, tail, end - tail);
	return tail - head_end;
}

static int protect_some(struct snapshot_memory *m, struct ram_file *b, uint64_t first, uint64_t n, struct merr *err)
{
	LOCK_SCOPE(&m->lock);
	int r;

	bitmap_atomic_or_range(b->todo, first, n);
	stats_add(m->stats, remaining_bytes, n * WIRE_PAGE_SIZE);
	stats_add(m->stats, snapshot_pages, n);
	r = uffd_protect(m->uffd, b->host_base + first * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE, true);
	return r < 0 ? merr_set_errno(err, r, "write-protecting RAM block '%s'", b->name) : 0;
}

/* The instant, and who wants to be called now and then. */
struct instant {
	struct snapshot_memory *m;
	int (*tick)(void *opaque);
	void *opaque;
};

/* Pages [first, end) hold something. */
static int protect_run(const struct instant *t, struct ram_file *b, uint64_t first, uint64_t end, struct merr *err)
{
	uint64_t n;
	int r = 0;

	for (; r == 0 && first < end; first += n) {
		n = min_u64(end - first, PROTECT_PAGES);
		r = protect_some(t->m, b, first, n, err);
		if (r == 0)
			r = t->tick(t->opaque);
	}
	return r;
}

/* Pages [first, end) were a hole when they were looked at last. */
static int protect_hole(const struct instant *t, struct ram_file *b, uint64_t *zeros, uint64_t first, uint64_t end,
			struct merr *err)
{
	uint64_t stop;
	int r = 0;

	for (; r == 0 && first < end; first = stop) {
		bool touched = ram_is_data(b, first, &stop);

		stop = min_u64(stop, end);
		if (touched)
			r = protect_run(t, b, first, stop, err);
		else
			stats_add(t->m->stats, hole_pages, note_hole(b, zeros, first, stop));
	}
	return r;
}

static int protect_block(const struct instant *t, size_t index, struct merr *err)
{
	struct ram_file *b = &t->m->ram->blocks[index];
	const uint64_t *data = t->m->data[index];
	uint64_t page = 0, end;
	int r = 0;

	for (; r == 0 && page < b->n_pages; page = end) {
		if (bitmap_test(data, page)) {
			end = bitmap_next_clear(data, b->n_pages, page);
			r = protect_run(t, b, page, end, err);
		} else {
			end = bitmap_next_set(data, b->n_pages, page);
			r = protect_hole(t, b, t->m->zeros[index], page, end, err);
		}
	}
	return r;
}

void snapshot_memory_look(struct snapshot_memory *m)
{
	uint64_t page, end;

	for (size_t i = 0; i < m->ram->n_blocks; i++)
		for (page = 0; page < m->ram->blocks[i].n_pages; page = end)
			if (ram_is_data(&m->ram->blocks[i], page, &end))
				bitmap_set_range(m->data[i], page, end - page);
}

int snapshot_memory_protect(struct snapshot_memory *m, int (*tick)(void *opaque), void *opaque, struct merr *err)
{
	const struct instant t = { .m = m, .tick = tick, .opaque = opaque };
	int r = 0;

	stats_set(m->stats, remaining_bytes, 0);
	stats_set(m->stats, hole_pages, 0);
	for (size_t i = 0; r == 0 && i < m->ram->n_blocks; i++)
		r = protect_block(&t, i, err);
	return r;
}

/* ---- saving: migration thread ---- */

static int hand_on(const struct saver *s, const struct snapshot_copy *c, struct merr *err)
{
	int r = 0;

	for (unsigned int from = 0, n; r == 0 && (n = next_run(c->mask, &from)) > 0; from += n)
		r = s->sink->copies(s->sink->opaque, c->block, c->page + from, n,
				    c->data + (uint64_t)from * WIRE_PAGE_SIZE, err);
	stats_add(s->m->stats, remaining_bytes, -(uint64_t)__builtin_popcountll(c->mask) * WIRE_PAGE_SIZE);
	return r;
}

/* Hand on what waits in the queue, and what comes until DEADLINE_NS. 0; -ENODATA: nothing more will come. */
static int drain(const struct saver *s, uint64_t deadline_ns, struct merr *err)
{
	struct snapshot_copy *c;
	int r;

	while ((r = snapshot_queue_take(s->m->queue, deadline_ns, &c, err)) > 0) {
		r = hand_on(s, c, err);
		snapshot_queue_return(s->m->queue, c);
		if (r < 0)
			return r;
	}
	return r;
}

/* What the guest waited for goes first: it needs the room. */
static int send_own(struct saver *s, struct merr *err)
{
	int r = drain(s, 0, err);

	for (size_t i = 0; r == 0 && i < s->n_own; i++)
		r = hand_on(s, &s->own[i], err);
	s->n_own = 0;
	return r;
}

/* In the middle of a page that is larger, they have to be sent before all of it is copied. */
static int room_of_own(struct saver *s, struct snapshot_copy **ret, struct merr *err)
{
	int r = s->n_own == OWN_COPIES ? send_own(s, err) : 0;

	*ret = &s->own[s->n_own];
	return r;
}

static void keep_own(struct saver *s, struct snapshot_copy *c)
{
	if (c->mask)
		s->n_own++;
}

static int tell_zeros(const struct saver *s, struct merr *err)
{
	const struct ram *ram = s->m->ram;
	uint64_t page, end;
	int r = 0;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		const uint64_t *zeros = s->m->zeros[i];
		struct ram_file *b = &s->m->ram->blocks[i];

		for (page = 0; r == 0 && (page = bitmap_next_set(zeros, b->n_pages, page)) < b->n_pages; page = end) {
			end = bitmap_next_clear(zeros, b->n_pages, page);
			r = s->sink->zeros(s->sink->opaque, b, page, end - page, err);
		}
	}
	return r;
}

static int save_block(struct saver *s, struct ram_file *b, struct merr *err)
{
	uint64_t step = max_u64(SNAPSHOT_COPY_PAGES, b->page_size / WIRE_PAGE_SIZE);
	int r = 0;

	for (uint64_t page = 0; r == 0 && page < b->n_pages; page += step) {
		if (is_saved(b, page))
			continue;
		r = ram_is_huge(b) ? save_huge_page(s, b, page, err) : save_pages(s, b, page, UINT64_MAX, err);
		if (r == 0)
			r = send_own(s, err);
	}
	return r;
}

int snapshot_memory_save(struct snapshot_memory *m, const struct snapshot_sink *sink, struct merr *err)
{
	_cleanup_free_ uint8_t *buffer = aligned_alloc(WIRE_PAGE_SIZE, OWN_COPIES * SNAPSHOT_COPY_BYTES);
	struct saver s = { .m = m, .room = room_of_own, .done = keep_own, .sink = sink };
	int r;

	if (!buffer)
		return merr_set_errno(err, -ENOMEM, "copies of guest memory");
	for (size_t i = 0; i < OWN_COPIES; i++)
		s.own[i].data = buffer + i * SNAPSHOT_COPY_BYTES;
	r = tell_zeros(&s, err);
	for (size_t i = 0; r == 0 && i < m->ram->n_blocks; i++)
		r = save_block(&s, &m->ram->blocks[i], err);
	if (r < 0)
		return r;
	/* Each page has somebody who saved it: the fault thread may just be at it. */
	wake_raise(m->stop_fd);
	while (r == 0)
		r = drain(&s, clock_now_ns() + WAIT_NS, err);
	return r == -ENODATA ? 0 : r;
}

/* ---- beginning and end ---- */

static void free_parts(struct snapshot_memory *m)
{
	/* The last one: protection ends with it. */
	(void)close_fd(m->uffd);
	(void)close_fd(m->stop_fd);
	(void)snapshot_queue_free(m->queue);
	for (size_t i = 0; i < m->ram->n_blocks; i++) {
		(void)ram_bits_free(m->data[i], m->ram->blocks[i].n_pages);
		(void)ram_bits_free(m->zeros[i], m->ram->blocks[i].n_pages);
	}
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

static int make_parts(struct snapshot_memory *m)
{
	m->stop_fd = wake_new();
	m->queue = snapshot_queue_new(SNAPSHOT_QUEUE_BYTES / SNAPSHOT_COPY_BYTES);
	if (m->stop_fd < 0 || !m->queue)
		return m->stop_fd < 0 ? m->stop_fd : -ENOMEM;
	for (size_t i = 0; i < m->ram->n_blocks; i++) {
		m->data[i] = ram_bits_new(m->ram->blocks[i].n_pages);
		m->zeros[i] = ram_bits_new(m->ram->blocks[i].n_pages);
		if (!m->data[i] || !m->zeros[i])
			return -ENOMEM;
	}
	return -pthread_create(&m->thread, NULL, fault_thread, m);
}

/* A copy is never of a part of a huge page and a part of another. */
static int check_page_sizes(const struct ram *ram, struct merr *err)
{
	const struct ram_file *b = ram->blocks;

	for (; b < ram->blocks + ram->n_blocks; b++)
		if (ram_is_huge(b) && b->page_size % SNAPSHOT_COPY_BYTES)
			return merr_set(err, -EOPNOTSUPP,
					"RAM block '%s' has pages of %" PRIu64 " bytes: a background snapshot can be of pages of 4096 "
					"bytes, and of multiples of %u", b->name, b->page_size, SNAPSHOT_COPY_BYTES);
	return 0;
}

int snapshot_memory_new(struct ram *ram, int uffd, struct stats_page *stats, struct snapshot_memory **ret,
			struct merr *err)
{
	struct snapshot_memory *m = calloc(1, sizeof(*m));
	int r = m ? check_page_sizes(ram, err) : merr_set_errno(err, -ENOMEM, "background snapshot");

	if (r < 0) {
		(void)close_fd(uffd);
		free(m);
		return r;
	}
	*m = (struct snapshot_memory){ .ram = ram, .stats = stats, .uffd = uffd, .stop_fd = -1 };
	(void)pthread_mutex_init(&m->lock, NULL);
	r = make_parts(m);
	if (r < 0) {
		free_parts(m);
		return merr_set_errno(err, r, "background snapshot");
	}
	*ret = m;
	return 0;
}

struct snapshot_memory *snapshot_memory_free(struct snapshot_memory *m)
{
	if (!m)
		return NULL;
	snapshot_queue_give_up(m->queue);
	wake_raise(m->stop_fd);
	(void)pthread_join(m->thread, NULL);
	free_parts(m);
	return NULL;
}
