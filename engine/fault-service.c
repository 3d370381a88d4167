/* SPDX-License-Identifier: Apache-2.0 */
/* Serving the faults of a guest whose pages are not all here. */
#include "engine/fault-service.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/short-slice.h"
#include "engine/fault-waits.h"
#include "engine/ram-fill.h"
#include "engine/received.h"
#include "engine/uffd.h"

/* A fault on a page that is here shows what is here around it, inside such a stretch. */
#define NEIGHBOURHOOD_BYTES (2 * MIB)

#define FAULTS_PER_READ 16

/* What is known of a block, beside its `received`. Bits of pages, set for whole pages of the block's own size. */
struct watched {
	uint64_t *requested;	/* wanted, and somebody waits */
	uint64_t *shown;	/* by this worker: not again */
};

struct fault_service {
	struct ram *ram;
	struct fault_waits *waits;
	const struct fault_ops *ops;
	void *opaque;
	int uffd;
	int stop_fd;	/* wake */
	int failed_fd;	/* wake */
	pthread_t thread;
	bool started;
	atomic_bool gave_up;

	pthread_mutex_t lock;
	struct merr failure;	/* under `lock`: the first */

	struct watched blocks[ATTACH_RAM_BLOCKS_MAX];
};

static struct watched *watched(struct fault_service *s, const struct ram_file *b)
{
	return &s->blocks[b - s->ram->blocks];
}

static uint64_t unit_pages(const struct ram_file *b)
{
	return b->page_size / WIRE_PAGE_SIZE;
}

static int fail(struct fault_service *s, const struct ram_file *b, uint64_t page, int r)
{
	LOCK_SCOPE(&s->lock);

	/* What its VMM's end is, others are told by the VMM's process. */
	if (r == -ESRCH)
		return r;
	(void)merr_set_errno(&s->failure, r, "block '%s': showing the guest its page at 0x%" PRIx64, b->name,
			     page * WIRE_PAGE_SIZE);
	wake_raise(s->failed_fd);
	return r;
}

/* ---- showing ---- */

/* One page of the block's own size that its file does not have. */
static int show_hole(struct fault_service *s, struct ram_file *b, uint64_t page)
{
	uint64_t address = b->host_base + page * WIRE_PAGE_SIZE, done;
	int r;

	if (!ram_is_huge(b))
		return uffd_zero(s->uffd, address, b->page_size);
	r = ram_fill_populate(b, page * WIRE_PAGE_SIZE);
	return r < 0 ? r : uffd_continue(s->uffd, address, b->page_size, b->page_size, &done);
}

/* Pages [page, +n), up to the first that the file does not have: *ret_n of them. 0, -ENOENT or -errno. */
static int show_data(struct fault_service *s, struct ram_file *b, uint64_t page, uint64_t n, uint64_t *ret_n)
{
	uint64_t done = 0;
	int r = uffd_continue(s->uffd, b->host_base + page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE, b->page_size, &done);

	*ret_n = done / WIRE_PAGE_SIZE;
	if (*ret_n)
		bitmap_atomic_or_range(watched(s, b)->shown, page, *ret_n);
	return r;
}

/* Nobody waits for these any more. */
static void served(struct fault_service *s, const struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t *requested = watched(s, b)->requested;

	if (!bitmap_atomic_any(requested, page, n))
		return;
	(void)bitmap_atomic_clear_range(requested, page, n);
	fault_waits_end(s->waits, b, page, n, clock_now_ns());
}

int fault_service_show(struct fault_service *s, struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t at = page, done;
	int r;

	while (at < page + n) {
		r = show_data(s, b, at, page + n - at, &done);
		at += done;
		if (r == -ENOENT) {
			r = show_hole(s, b, at);
			at += unit_pages(b);
		}
		if (r < 0)
			return fail(s, b, at, r);
	}
	FAULT_POINT("postcopy.page-shown");
	served(s, b, page, n);
	return 0;
}

int fault_service_show_holes(struct fault_service *s, struct ram_file *b, uint64_t page, uint64_t n)
{
	const uint64_t *requested = watched(s, b)->requested;
	uint64_t end = page + n;
	int r = 0;

	if (!bitmap_atomic_any(requested, page, n))
		return 0;
	while (r == 0 && (page = bitmap_next_set(requested, end, page)) < end) {
		page -= page % unit_pages(b);
		r = fault_service_show(s, b, page, unit_pages(b));
		page += unit_pages(b);
	}
	return r;
}

/* The received pages around PAGE, which is one, that were not shown yet: [*ret_first, return value). */
static uint64_t neighbourhood(struct fault_service *s, const struct ram_file *b, uint64_t page, uint64_t *ret_first)
{
	const uint64_t *shown = watched(s, b)->shown;
	uint64_t span = max_u64(NEIGHBOURHOOD_BYTES, b->page_size) / WIRE_PAGE_SIZE, own = unit_pages(b);
	uint64_t lo = page / span * span, hi = min_u64(lo + span, b->n_pages), first = page, end = page + own;

	while (first > lo && received_has(b, first - own) && !bitmap_atomic_test(shown, first - own))
		first -= own;
	while (end < hi && received_has(b, end) && !bitmap_atomic_test(shown, end))
		end += own;
	*ret_first = first;
	return end;
}

/* PAGE is here, and somebody looks at it: first it, with what follows, then what is before it, up to holes. */
static void show_around(struct fault_service *s, struct ram_file *b, uint64_t page)
{
	uint64_t first, end = neighbourhood(s, b, page, &first), done;
	int r = show_data(s, b, page, end - page, &done);

	if (r == -ENOENT && done == 0)
		r = show_hole(s, b, page);
	if (r < 0 && r != -ENOENT) {
		(void)fail(s, b, page, r);
		return;
	}
	served(s, b, page, max_u64(done, unit_pages(b)));
	if (first < page)
		(void)show_data(s, b, first, page - first, &done);
}

/* ---- faults ---- */

static struct ram_file *find_block(struct fault_service *s, uint64_t address)
{
	struct ram_file *b;

	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		b = &s->ram->blocks[i];
		if (address >= b->host_base && address - b->host_base < b->len)
			return b;
	}
	return NULL;
}

static bool is_here(struct fault_service *s, const struct ram_file *b, uint64_t page)
{
	return received_has(b, page) || atomic_load(&s->gave_up);
}

static void take_fault(struct fault_service *s, const struct uffd_fault *f, uint64_t now_ns)
{
	struct ram_file *b = find_block(s, f->address);
	uint64_t page, fresh;

	if (!b) {
		log_warning("a page fault at 0x%" PRIx64 ", where the VMM has no RAM block", f->address);
		return;
	}
	page = (f->address - b->host_base) / b->page_size * unit_pages(b);
	if (!is_here(s, b, page)) {
		fault_waits_begin(s->waits, b, page, f->thread_id, now_ns);
		fresh = bitmap_atomic_claim_range(watched(s, b)->requested, page, unit_pages(b));
		if (!is_here(s, b, page)) {
			FAULT_POINT("postcopy.page-wanted");
			if (fresh)
				s->ops->want(s->opaque, b, page, unit_pages(b));
			return;
		}
	}
	show_around(s, b, page);
}

static void *serve(void *opaque)
{
	struct fault_service *s = opaque;
	struct uffd_fault faults[FAULTS_PER_READ];
	uint64_t now_ns;
	int n, r;

	(void)pthread_setname_np(pthread_self(), "mig/dst/fault");
	short_slice();
	for (;;) {
		r = fd_wait(s->uffd, POLLIN, s->stop_fd, DEADLINE_NONE);
		if (r == -ECANCELED)
			return NULL;
		n = uffd_read(s->uffd, faults, FAULTS_PER_READ);
		if (r < 0 || n < 0 || (n == 0 && (r & (POLLERR | POLLHUP)))) {
			(void)fail(s, &s->ram->blocks[0], 0, n < 0 ? n : -EIO);
			return NULL;
		}
		now_ns = clock_now_ns();
		for (int i = 0; i < n; i++)
			take_fault(s, &faults[i], now_ns);
	}
}

/* ---- for others ---- */

static void ask_again(struct fault_service *s, struct ram_file *b)
{
	const uint64_t *requested = watched(s, b)->requested;
	uint64_t page = 0;

	while ((page = bitmap_next_set(requested, b->n_pages, page)) < b->n_pages) {
		page -= page % unit_pages(b);
		if (is_here(s, b, page))
			(void)fault_service_show(s, b, page, unit_pages(b));
		else
			s->ops->want(s->opaque, b, page, unit_pages(b));
		page += unit_pages(b);
	}
}

void fault_service_ask_again(struct fault_service *s)
{
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		ask_again(s, &s->ram->blocks[i]);
}

void fault_service_give_up(struct fault_service *s)
{
	atomic_store(&s->gave_up, true);
	fault_service_ask_again(s);
}

int fault_service_failed_fd(const struct fault_service *s)
{
	return s->failed_fd;
}

int fault_service_failure(struct fault_service *s, struct merr *err)
{
	LOCK_SCOPE(&s->lock);

	return merr_is_set(&s->failure) ? merr_copy(err, &s->failure) : 0;
}

void fault_service_recover(struct fault_service *s)
{
	pthread_mutex_lock(&s->lock);
	merr_clear(&s->failure);
	wake_drain(s->failed_fd);
	pthread_mutex_unlock(&s->lock);
	fault_service_ask_again(s);
}

bool fault_service_is_requested(struct fault_service *s, const struct ram_file *b, uint64_t page)
{
	return bitmap_atomic_test(watched(s, b)->requested, page);
}

uint64_t fault_service_requested(struct fault_service *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->ram->n_blocks; i++)
		n += bitmap_count_range(s->blocks[i].requested, 0, s->ram->blocks[i].n_pages);
	return n;
}

/* A predecessor read faults that nobody will serve: who still waits faults again. */
static int wake_everybody(struct fault_service *s, struct merr *err)
{
	const struct ram_file *b;
	int r;

	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		b = &s->ram->blocks[i];
		r = uffd_wake(s->uffd, b->host_base, b->len);
		if (r < 0)
			return merr_set_errno(err, r, "block '%s': waking who waits for its pages", b->name);
	}
	return 0;
}

static int begin(struct fault_service *s, const struct guest_uffd *uffd, struct merr *err)
{
	const struct ram_file *b;
	int r;

	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		b = &s->ram->blocks[i];
		s->blocks[i].requested = ram_bits_new(b->n_pages);
		s->blocks[i].shown = ram_bits_new(b->n_pages);
		if (!s->blocks[i].requested || !s->blocks[i].shown)
			return merr_set_errno(err, -ENOMEM, "bitmaps of page faults");
	}
	if (s->stop_fd < 0 || s->failed_fd < 0 || !s->waits)
		return merr_set_errno(err, -ENOMEM, "serving page faults");
	r = -pthread_create(&s->thread, NULL, serve, s);
	if (r < 0)
		return merr_set_errno(err, r, "a thread that serves page faults");
	s->started = true;
	return uffd->existing ? wake_everybody(s, err) : 0;
}

struct fault_service *fault_service_new(struct ram *ram, const struct guest_uffd *uffd, struct stats_page *stats,
					const struct fault_ops *ops, void *opaque, struct merr *err)
{
	struct fault_service *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)close_fd(uffd->fd);
		(void)merr_set_errno(err, -ENOMEM, "serving page faults");
		return NULL;
	}
	s->ram = ram;
	s->ops = ops;
	s->opaque = opaque;
	s->uffd = uffd->fd;
	s->stop_fd = wake_new();
	s->failed_fd = wake_new();
	s->waits = fault_waits_new(uffd, stats);
	(void)pthread_mutex_init(&s->lock, NULL);
	return begin(s, uffd, err) < 0 ? fault_service_free(s) : s;
}

struct fault_service *fault_service_free(struct fault_service *s)
{
	if (!s)
		return NULL;
	if (s->started) {
		wake_raise(s->stop_fd);
		(void)pthread_join(s->thread, NULL);
	}
	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		s->blocks[i].requested = ram_bits_free(s->blocks[i].requested, s->ram->blocks[i].n_pages);
		s->blocks[i].shown = ram_bits_free(s->blocks[i].shown, s->ram->blocks[i].n_pages);
	}
	(void)fault_waits_free(s->waits);
	(void)close_fd(s->uffd);
	(void)close_fd(s->stop_fd);
	(void)close_fd(s->failed_fd);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
