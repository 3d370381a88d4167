/* SPDX-License-Identifier: Apache-2.0 */
/* Sending RAM to its places in a file. */
#include "engine/mapped-writer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/writeback.h"
#include "engine/kernels/kernels.h"
#include "engine/mapped-layout.h"

/* A shorter run is read by pread(): that costs less than a mapping. */
#define MAP_MIN_PAGES 64U

/*
 * ext4 takes memory for the page cache in blocks as large as the write. Those of 2 MiB are hard to come by where memory is
 * fragmented, and in a virtual machine the host faults them in. Measured there, GB/s until durable: 0.4 by writes of 2 MiB,
 * 1.7 of 256 KiB, 1.9 of 64 KiB, 1.3 of 16 KiB.
 */
#define CACHED_WRITE_BYTES (64U * 1024)

struct place {
	struct mapped_layout layout;
	uint64_t *bits;		/* under `lock` once there are threads */
};

struct writer {
	struct ram_sink sink;
	struct ram *ram;
	struct mapped_target_file file;
	struct rate *rate;
	struct stats_page *stats;
	const struct kernels *kernels;
	struct mapped_pool *pool;
	struct place places[ATTACH_RAM_BLOCKS_MAX];
	struct writeback writeback[MAPPED_THREADS_MAX];	/* each thread's own */
	pthread_mutex_t lock;
};

static struct writer *writer_of(struct ram_sink *k)
{
	return (struct writer *)k;
}

static struct place *place_of(struct writer *w, const struct ram_file *b)
{
	return &w->places[b - w->ram->blocks];
}

static void mark(struct writer *w, const struct ram_file *b, uint64_t page, uint64_t n, bool zero)
{
	LOCK_SCOPE(&w->lock);

	if (zero)
		bitmap_clear_range(place_of(w, b)->bits, page, n);
	else
		bitmap_set_range(place_of(w, b)->bits, page, n);
}

/* ---- on the pool's threads ---- */

static int write_cached(int fd, const uint8_t *data, uint64_t len, uint64_t at)
{
	uint64_t n;
	int r = 0;

	for (; r == 0 && len > 0; data += n, at += n, len -= n) {
		n = min_u64(len, CACHED_WRITE_BYTES);
		r = fd_pwrite_full(fd, data, n, at);
	}
	return r;
}

static int put(struct writer *w, struct mapped_thread *t, const struct ram_file *b, uint64_t page, uint64_t n,
	       const uint8_t *data, struct merr *err)
{
	uint64_t len = n * WIRE_PAGE_SIZE, at = place_of(w, b)->layout.pages_offset + page * WIRE_PAGE_SIZE;
	bool direct = w->file.direct_fd >= 0;
	int r;

	r = rate_spend(w->rate, len, w->file.cancel_fd);
	if (r == 0)
		r = FAULT_FAILS("file.page-write");
	if (r == 0)
		r = direct ? fd_pwrite_full(w->file.direct_fd, data, len, at)
			   : write_cached(w->file.fd, data, len, at);
	if (r == 0 && !direct)
		r = writeback_wrote(&w->writeback[t->index], w->file.fd, at, len);
	if (r < 0)
		return merr_set_errno(err, r, "writing RAM block '%s' to the file at offset %" PRIu64 "%s", b->name,
				      at, direct ? " with direct I/O" : "");
	stats_add(w->stats, transferred_bytes, len);
	stats_add(w->stats, beside_bytes, len);
	if (w->file.multifd) {
		stats_add(w->stats, multifd_bytes, len);
		stats_channel_set(w->stats, t->index, thread_id, t->tid);
		stats_channel_add(w->stats, t->index, bytes, len);
	}
	return 0;
}

static bool is_zero(const struct writer *w, const uint8_t *page)
{
	return !w->file.all_in_full && w->kernels->is_zero(page, WIRE_PAGE_SIZE);
}

/* DATA is what the pages hold: find what is alike, and write what is not zero. */
static int sort_out(struct writer *w, struct mapped_thread *t, const struct mapped_run *run, const uint8_t *data,
		    struct merr *err)
{
	uint64_t from = 0, to;
	bool zero;
	int r = 0;

	for (; r == 0 && from < run->n; from = to) {
		zero = is_zero(w, data + from * WIRE_PAGE_SIZE);
		for (to = from + 1; to < run->n; to++)
			if (is_zero(w, data + to * WIRE_PAGE_SIZE) != zero)
				break;
		if (!zero)
			r = put(w, t, run->b, run->page + from, to - from, data + from * WIRE_PAGE_SIZE, err);
		mark(w, run->b, run->page + from, to - from, zero);
		if (zero)
			stats_add(w->stats, duplicate_pages, to - from);
		else
			stats_add(w->stats, normal_pages, to - from);
	}
	return r;
}

static int copied(struct writer *w, struct mapped_thread *t, const struct mapped_run *run, struct merr *err)
{
	const struct ram_file *b = run->b;
	int r;

	r = fd_pread_full(b->fd, t->buffer, run->n * WIRE_PAGE_SIZE, b->fd_offset + run->page * WIRE_PAGE_SIZE);
	if (r < 0 && ram_check_sizes(w->ram, err) < 0)
		return -EBUSY;
	if (r < 0)
		return merr_set_errno(err, r, "reading guest memory '%s' at page %" PRIu64, b->name, run->page);
	return sort_out(w, t, run, t->buffer, err);
}

static int write_run(void *opaque, struct mapped_thread *t, const struct mapped_run *run, struct merr *err)
{
	const struct ram_file *b = run->b;
	size_t len = run->n * WIRE_PAGE_SIZE;
	struct writer *w = opaque;
	uint8_t *p = MAP_FAILED;
	int r;

	if (run->dense && run->n >= MAP_MIN_PAGES)
		p = mmap(NULL, len, PROT_READ, MAP_SHARED, b->fd,
			 (off_t)(b->fd_offset + run->page * WIRE_PAGE_SIZE));
	if (p == MAP_FAILED)
		return copied(w, t, run, err);
	r = madvise(p, len, MADV_POPULATE_READ) == 0 ? sort_out(w, t, run, p, err) : copied(w, t, run, err);
	(void)munmap(p, len);
	return r;
}

/* ---- the sink ---- */

static int list_block(struct ram_sink *k, struct out *out, struct ram_file *b, struct merr *err)
{
	struct place *p = place_of(writer_of(k), b);
	uint8_t header[MAPPED_HEADER_LEN];
	uint64_t at;
	int r;

	r = out_tell(out, &at);
	if (r < 0)
		return r == -ESPIPE ? merr_set(err, r, "capability 'mapped-ram' needs a regular file") : r;
	r = mapped_layout(at, b->n_pages, &p->layout);
	if (r < 0)
		return merr_set(err, r, "RAM block '%s' does not fit a file from offset %" PRIu64 " on", b->name, at);
	mapped_header_put(&p->layout, header);
	out_bytes(out, header, sizeof(header));
	return out_seek(out, p->layout.end);
}

static int pages(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, bool dense, struct merr *err)
{
	const struct mapped_run run = { .b = b, .page = page, .n = n, .dense = dense };

	return mapped_pool_add(writer_of(k)->pool, &run, err);
}

/* On the migration thread itself: the pool's threads have nothing else to do then, and the first one's place is free. */
static int copies(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data,
		  struct merr *err)
{
	const struct mapped_run run = { .b = b, .page = page, .n = n };
	struct mapped_thread here = { .index = 0, .tid = gettid() };

	return sort_out(writer_of(k), &here, &run, data, err);
}

static int zero(struct ram_sink *k, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	(void)err;
	mark(writer_of(k), b, page, n, true);
	stats_add(writer_of(k)->stats, duplicate_pages, n);
	return 0;
}

static int drain(struct ram_sink *k, struct merr *err)
{
	return mapped_pool_drain(writer_of(k)->pool, err);
}

/*
 * With x-ignore-shared a block of zeros alone would look like one that was left out: so its first page is there, a zero
 * one. (What was in its place before may be older.)
 */
static int name_block(struct writer *w, const struct ram_file *b, const struct place *p)
{
	static const uint8_t zeros[WIRE_PAGE_SIZE];

	if (!w->ram->ignore_shared || b->ignored || bitmap_next_set(p->bits, b->n_pages, 0) < b->n_pages)
		return 0;
	bitmap_set(p->bits, 0);
	return fd_pwrite_full(w->file.fd, zeros, sizeof(zeros), p->layout.pages_offset);
}

/* Drained: nobody else looks at the bitmaps. */
static int end_pass(struct ram_sink *k, struct out *out, bool stopped, struct merr *err)
{
	struct writer *w = writer_of(k);
	const struct place *p;
	int r = 0;

	(void)out;
	for (size_t i = 0; stopped && r == 0 && i < w->ram->n_blocks; i++) {
		p = &w->places[i];
		r = name_block(w, &w->ram->blocks[i], p);
		if (r == 0)
			r = FAULT_FAILS("file.bitmap-write");
		if (r == 0)
			r = fd_pwrite_full(w->file.fd, p->bits, p->layout.bitmap_len, p->layout.bitmap_offset);
		if (r < 0)
			return merr_set_errno(err, r, "writing the bitmap of RAM block '%s' to the file",
					      w->ram->blocks[i].name);
	}
	return r;
}

static void writer_free(struct ram_sink *k)
{
	struct writer *w = writer_of(k);

	w->pool = mapped_pool_free(w->pool);
	for (unsigned int i = 0; w->file.multifd && i < MAPPED_THREADS_MAX; i++)
		stats_channel_set(w->stats, i, thread_id, 0);
	for (size_t i = 0; i < w->ram->n_blocks; i++)
		w->places[i].bits = ram_bits_free(w->places[i].bits, w->ram->blocks[i].n_pages);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

static const struct ram_sink_ops ops = {
	.list_block = list_block,
	.pages = pages,
	.copies = copies,
	.zero = zero,
	.drain = drain,
	.end_pass = end_pass,
	.free = writer_free,
};

int mapped_writer_new(struct ram *ram, const struct mapped_target_file *file, struct rate *rate,
		      struct stats_page *stats, struct ram_sink **ret, struct merr *err)
{
	struct writer *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return merr_set_errno(err, -ENOMEM, "mapped-ram");
	w->sink.ops = &ops;
	w->ram = ram;
	w->file = *file;
	w->rate = rate;
	w->stats = stats;
	w->kernels = kernels_best();
	(void)pthread_mutex_init(&w->lock, NULL);
	for (size_t i = 0; r == 0 && i < ram->n_blocks; i++) {
		w->places[i].bits = ram_bits_new(ram->blocks[i].n_pages);
		r = w->places[i].bits ? 0 : merr_set_errno(err, -ENOMEM, "bitmaps of mapped-ram");
	}
	if (r == 0)
		r = mapped_pool_new("mig/src/send_", file->n_threads, write_run, w, file->cancel_fd, &w->pool, err);
	if (r < 0)
		writer_free(&w->sink);
	else
		*ret = &w->sink;
	return r;
}
