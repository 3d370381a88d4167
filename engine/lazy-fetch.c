/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing the pages of a file while the guest runs. */
#include "engine/lazy-fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/received.h"

/* What is read around a page that somebody waits for: little enough not to keep him waiting much longer than for it alone. */
#define AROUND_PAGES 64U

/* Pages that are waited for at once: of each thread of the VMM one. More of them come with the others. */
#define WANTED_MAX 1024U

/* While nothing can be read at all, so many pages are tried again at a time. */
#define RETRY_PAGES 64U

struct file_block {
	uint64_t pages_offset;
	uint64_t *bits;		/* pages that the file has; constant */
	/* Whole pages of the block's own size. Under the lock. */
	uint64_t *todo;		/* to be read, and nobody is at it */
	uint64_t *failed;	/* could not be read so far, and nobody is at it; in `todo` as well: to be tried again */
};

struct page_ref {
	struct ram_file *b;
	uint64_t page;
};

/* What one thread is to bring. */
struct piece {
	struct ram_file *b;
	uint64_t page, n;
	uint64_t n_failed;	/* of them, so far */
};

struct fetcher {
	struct lazy_fetch *fetch;
	pthread_t id;
	uint8_t *buffer;
	char name[16];
};

struct lazy_fetch {
	struct ram *ram;
	struct mapped_source_file file;
	struct rate *limit;
	struct stats_page *stats;
	struct fault_service *faults;
	struct file_block blocks[ATTACH_RAM_BLOCKS_MAX];
	int event_fd;
	unsigned int n_threads;
	struct fetcher fetchers[MAPPED_THREADS_MAX];

	pthread_mutex_t lock;
	pthread_cond_t work;
	/* Under the lock. */
	bool stop;
	uint64_t left;		/* pages */
	uint64_t n_failed;	/* of them; also those that are tried again just now */
	bool succeeds;		/* one that had failed came, since the last retry */
	struct merr failure;
	unsigned int n_background;	/* threads at work for nobody */
	size_t at_block;	/* where they go on */
	uint64_t at_page;
	struct page_ref wanted[WANTED_MAX];	/* a ring */
	size_t first_wanted, n_wanted;
};

static struct file_block *file_block(struct lazy_fetch *f, const struct ram_file *b)
{
	return &f->blocks[b - f->ram->blocks];
}

static uint64_t unit_pages(const struct ram_file *b)
{
	return b->page_size / WIRE_PAGE_SIZE;
}

/* ---- what is to be done next; under the lock ---- */

/* The end of the piece that begins at PAGE, which is to be read, and ends before LIMIT. One that failed goes alone. */
static uint64_t piece_end(const struct file_block *fb, const struct ram_file *b, uint64_t page, uint64_t limit)
{
	uint64_t own = unit_pages(b), end;

	if (own > 1 || bitmap_test(fb->failed, page))
		return page / own * own + own;
	end = bitmap_next_clear(fb->todo, limit, page);
	return bitmap_next_set(fb->failed, end, page);
}

/* Off both lists: whoever wants it meanwhile must not have it read again, over what the guest may have written by then. */
static void take(struct lazy_fetch *f, struct ram_file *b, uint64_t page, uint64_t end, struct piece *ret)
{
	struct file_block *fb = file_block(f, b);

	*ret = (struct piece){ .b = b, .page = page, .n = end - page };
	ret->n_failed = bitmap_count_range(fb->failed, page, ret->n);
	bitmap_clear_range(fb->todo, page, ret->n);
	bitmap_clear_range(fb->failed, page, ret->n);
}

/* PAGE, which somebody waits for, and what is to come on either side. */
static void take_around(struct lazy_fetch *f, struct ram_file *b, uint64_t page, struct piece *ret)
{
	const struct file_block *fb = file_block(f, b);
	uint64_t lo = page / AROUND_PAGES * AROUND_PAGES, first = page;
	bool alone = ram_is_huge(b) || bitmap_test(fb->failed, page);

	while (!alone && first > lo && bitmap_test(fb->todo, first - 1) && !bitmap_test(fb->failed, first - 1))
		first--;
	take(f, b, first, piece_end(fb, b, first, min_u64(lo + AROUND_PAGES, b->n_pages)), ret);
	f->at_block = (size_t)(b - f->ram->blocks);
	f->at_page = ret->page + ret->n;
}

static bool take_wanted(struct lazy_fetch *f, struct piece *ret)
{
	struct page_ref *w;

	while (f->n_wanted > 0) {
		w = &f->wanted[f->first_wanted];
		f->first_wanted = (f->first_wanted + 1) % WANTED_MAX;
		f->n_wanted--;
		/* Or else it is being read already, or came. */
		if (!bitmap_test(file_block(f, w->b)->todo, w->page))
			continue;
		take_around(f, w->b, w->page, ret);
		return true;
	}
	return false;
}

/* What nobody waits for: where it went on last, or from there on. False: nothing is on the list. */
static bool find_next(struct lazy_fetch *f)
{
	struct ram_file *b;

	/* The block where it goes on twice: from there, and up to there. */
	for (size_t i = 0; i <= f->ram->n_blocks; i++) {
		b = &f->ram->blocks[f->at_block];
		f->at_page = bitmap_next_set(f->blocks[f->at_block].todo, b->n_pages, f->at_page);
		if (f->at_page < b->n_pages)
			return true;
		f->at_block = (f->at_block + 1) % f->ram->n_blocks;
		f->at_page = 0;
	}
	return false;
}

/* A thread is left for who has to wait. *RET_UNTIL_NS: the limit may allow it then. */
static bool take_next(struct lazy_fetch *f, struct piece *ret, uint64_t *ret_until_ns)
{
	struct ram_file *b;
	uint64_t end;

	if (f->n_background >= max_u64(1, f->n_threads - 1) || !find_next(f))
		return false;
	b = &f->ram->blocks[f->at_block];
	end = piece_end(file_block(f, b), b, f->at_page, mapped_file_piece_end(b, f->at_page, b->n_pages));
	if (!rate_try_spend(f->limit, (end - f->at_page) * WIRE_PAGE_SIZE, ret_until_ns))
		return false;
	take(f, b, f->at_page, end, ret);
	f->at_page = end;
	return true;
}

static void came(struct lazy_fetch *f, const struct piece *p)
{
	bool last;

	f->left -= p->n;
	f->n_failed -= p->n_failed;
	f->succeeds |= p->n_failed > 0;
	last = p->n_failed > 0 && f->n_failed == 0;
	if (last)
		merr_clear(&f->failure);
	if (f->left == 0 || last)
		wake_raise(f->event_fd);
	if (f->stats)
		stats_set(f->stats, missing_pages, f->left);
}

static void failed(struct lazy_fetch *f, const struct piece *p, const struct merr *why)
{
	f->n_failed += p->n - p->n_failed;
	bitmap_set_range(file_block(f, p->b)->failed, p->page, p->n);
	if (merr_is_set(&f->failure))
		return;
	(void)merr_copy(&f->failure, why);
	wake_raise(f->event_fd);
}

/* ---- reading ---- */

/* Of a huge page the file may have parts: the others are zero. */
static int read_piece(struct fetcher *t, const struct piece *p, struct merr *err)
{
	struct lazy_fetch *f = t->fetch;
	const struct file_block *fb = file_block(f, p->b);
	uint64_t end = p->page + p->n, page = p->page, run_end;
	struct mapped_run run = { .b = p->b };
	int r = 0;

	while (r == 0 && (page = bitmap_next_set(fb->bits, end, page)) < end) {
		run_end = bitmap_next_clear(fb->bits, end, page);
		for (; r == 0 && page < run_end; page += run.n) {
			run.page = page;
			run.n = mapped_file_piece_end(p->b, page, run_end) - page;
			r = mapped_file_read(&f->file, fb->pages_offset, &run, t->buffer, err);
			if (r == 0 && f->stats)
				stats_add(f->stats, received_bytes, run.n * WIRE_PAGE_SIZE);
		}
	}
	return r < 0 ? merr_prefix(err, "block '%s'", p->b->name) : 0;
}

/* Into the file, `received`, shown: engine/fault-service.h. What cannot be shown is that one's to tell. */
static int bring(struct fetcher *t, const struct piece *p, struct merr *err)
{
	int r = read_piece(t, p, err);

	FAULT_POINT("lazy.page-read");
	if (r < 0)
		return r;
	(void)received_add(p->b, p->page, p->n);
	(void)fault_service_show(t->fetch->faults, p->b, p->page, p->n);
	return 0;
}

/* Until somebody wakes us, or UNTIL_NS. */
static void wait_work(struct lazy_fetch *f, uint64_t until_ns)
{
	struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC) };

	if (until_ns == DEADLINE_NONE)
		(void)pthread_cond_wait(&f->work, &f->lock);
	else
		(void)pthread_cond_timedwait(&f->work, &f->lock, &until);
}

static bool next_piece(struct lazy_fetch *f, struct piece *ret, bool *ret_background)
{
	uint64_t until_ns;

	for (; !f->stop; wait_work(f, until_ns)) {
		until_ns = DEADLINE_NONE;
		*ret_background = false;
		if (take_wanted(f, ret))
			return true;
		*ret_background = take_next(f, ret, &until_ns);
		if (*ret_background)
			return true;
	}
	return false;
}

static void *fetch_pages(void *opaque)
{
	struct fetcher *t = opaque;
	struct lazy_fetch *f = t->fetch;
	struct piece p;
	bool background;
	int r;

	(void)pthread_setname_np(pthread_self(), t->name);
	(void)pthread_mutex_lock(&f->lock);
	while (next_piece(f, &p, &background)) {
		struct merr why = MERR_INIT;

		f->n_background += background;
		(void)pthread_mutex_unlock(&f->lock);
		r = bring(t, &p, &why);
		(void)pthread_mutex_lock(&f->lock);
		f->n_background -= background;
		if (r < 0)
			failed(f, &p, &why);
		else
			came(f, &p);
		/* There may have been nobody left for what is next. */
		if (background)
			(void)pthread_cond_signal(&f->work);
	}
	(void)pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- for others ---- */

void lazy_fetch_want(void *opaque, const struct ram_file *b, uint64_t page, uint64_t n)
{
	struct lazy_fetch *f = opaque;
	struct file_block *fb = file_block(f, b);
	LOCK_SCOPE(&f->lock);

	if (bitmap_test(fb->failed, page))
		bitmap_set_range(fb->todo, page, n);
	if (f->n_wanted < WANTED_MAX)
		f->wanted[(f->first_wanted + f->n_wanted++) % WANTED_MAX] =
			(struct page_ref){ .b = &f->ram->blocks[b - f->ram->blocks], .page = page };
	(void)pthread_cond_signal(&f->work);
}

uint64_t lazy_fetch_left(struct lazy_fetch *f)
{
	LOCK_SCOPE(&f->lock);

	return f->left;
}

int lazy_fetch_event_fd(const struct lazy_fetch *f)
{
	return f->event_fd;
}

int lazy_fetch_failure(struct lazy_fetch *f, struct merr *err)
{
	LOCK_SCOPE(&f->lock);

	return merr_is_set(&f->failure) ? merr_copy(err, &f->failure) : 0;
}

void lazy_fetch_retry(struct lazy_fetch *f)
{
	LOCK_SCOPE(&f->lock);
	uint64_t budget = f->succeeds ? UINT64_MAX : RETRY_PAGES, page, own;

	for (size_t i = 0; budget > 0 && i < f->ram->n_blocks; i++) {
		const struct ram_file *b = &f->ram->blocks[i];
		struct file_block *fb = &f->blocks[i];

		own = unit_pages(b);
		for (page = 0; budget > 0 && (page = bitmap_next_set(fb->failed, b->n_pages, page)) < b->n_pages;
		     page += own, budget--)
			bitmap_set_range(fb->todo, page, own);
	}
	f->succeeds = false;
	(void)pthread_cond_broadcast(&f->work);
}

/* ---- begin and end ---- */

static void init_locks(struct lazy_fetch *f)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->work, &attr);
	(void)pthread_condattr_destroy(&attr);
}

struct lazy_fetch *lazy_fetch_new(struct ram *ram, const struct mapped_source_file *file, struct rate *limit,
				  struct stats_page *stats)
{
	struct lazy_fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ram = ram;
	f->file = *file;
	f->limit = limit;
	f->stats = stats;
	f->event_fd = wake_new();
	init_locks(f);
	return f->event_fd < 0 ? lazy_fetch_free(f) : f;
}

void lazy_fetch_add(struct lazy_fetch *f, struct ram_file *b, uint64_t pages_offset, uint64_t *bits)
{
	struct file_block *fb = file_block(f, b);

	fb->pages_offset = pages_offset;
	(void)ram_bits_free(fb->bits, b->n_pages);
	fb->bits = bits;
}

/* A huge page comes as a whole if the file has any of it. */
static uint64_t list_block(struct file_block *fb, struct ram_file *b)
{
	uint64_t own = unit_pages(b), n = 0, page = 0, end;

	while (fb->bits && (page = bitmap_next_set(fb->bits, b->n_pages, page)) < b->n_pages) {
		end = round_up(bitmap_next_clear(fb->bits, b->n_pages, page), own);
		for (page = page / own * own; page < end; page += own) {
			if (received_has(b, page))
				continue;
			bitmap_set_range(fb->todo, page, own);
			n += own;
		}
	}
	return n;
}

static void discard_block(const struct file_block *fb, struct ram_file *b)
{
	uint64_t own = unit_pages(b), page = 0, end;

	while (fb->bits && (page = bitmap_next_set(fb->bits, b->n_pages, page)) < b->n_pages) {
		end = round_up(bitmap_next_clear(fb->bits, b->n_pages, page), own);
		page = page / own * own;
		received_discard(b, page, end - page);
		page = end;
	}
}

int lazy_fetch_prepare(struct lazy_fetch *f, bool again)
{
	if (!again)
		received_set_all(f->ram);
	f->left = 0;
	for (size_t i = 0; i < f->ram->n_blocks; i++) {
		struct ram_file *b = &f->ram->blocks[i];
		struct file_block *fb = &f->blocks[i];

		(void)ram_bits_free(fb->todo, b->n_pages);
		(void)ram_bits_free(fb->failed, b->n_pages);
		fb->todo = ram_bits_new(b->n_pages);
		fb->failed = ram_bits_new(b->n_pages);
		if (!fb->todo || !fb->failed)
			return -ENOMEM;
		if (!again)
			discard_block(fb, b);
		f->left += list_block(fb, b);
	}
	if (f->stats)
		stats_set(f->stats, missing_pages, f->left);
	return 0;
}

static int start_thread(struct lazy_fetch *f)
{
	struct fetcher *t = &f->fetchers[f->n_threads];
	int r;

	t->fetch = f;
	(void)snprintf(t->name, sizeof(t->name), "mig/dst/lazy_%u", f->n_threads);
	t->buffer = aligned_alloc(WIRE_PAGE_SIZE, MAPPED_RUN_PAGES * WIRE_PAGE_SIZE);
	r = t->buffer ? -pthread_create(&t->id, NULL, fetch_pages, t) : -ENOMEM;
	if (r < 0) {
		free(t->buffer);
		return r;
	}
	f->n_threads++;
	return 0;
}

int lazy_fetch_start(struct lazy_fetch *f, struct fault_service *faults, struct merr *err)
{
	uint64_t n = min_u64(f->file.n_threads, MAPPED_THREADS_MAX);
	int r = 0;
	LOCK_SCOPE(&f->lock);

	f->faults = faults;
	while (r == 0 && f->n_threads < n)
		r = start_thread(f);
	if (f->left == 0)
		wake_raise(f->event_fd);
	return r < 0 ? merr_set_errno(err, r, "starting %" PRIu64 " threads for a file", n) : 0;
}

void lazy_fetch_stop(struct lazy_fetch *f)
{
	(void)pthread_mutex_lock(&f->lock);
	f->stop = true;
	(void)pthread_cond_broadcast(&f->work);
	(void)pthread_mutex_unlock(&f->lock);
	for (unsigned int i = 0; i < f->n_threads; i++) {
		(void)pthread_join(f->fetchers[i].id, NULL);
		free(f->fetchers[i].buffer);
	}
	f->n_threads = 0;
}

struct lazy_fetch *lazy_fetch_free(struct lazy_fetch *f)
{
	if (!f)
		return NULL;
	lazy_fetch_stop(f);
	for (size_t i = 0; i < f->ram->n_blocks; i++) {
		uint64_t n = f->ram->blocks[i].n_pages;

		(void)ram_bits_free(f->blocks[i].bits, n);
		(void)ram_bits_free(f->blocks[i].todo, n);
		(void)ram_bits_free(f->blocks[i].failed, n);
	}
	(void)close_fd(f->event_fd);
	(void)pthread_cond_destroy(&f->work);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}
