/* SPDX-License-Identifier: Apache-2.0 */
/* One channel of multifd at the source. */
#include "engine/multifd-send.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/iov.h"
#include "engine/kernels/kernels.h"
#include "engine/wire.h"

/* Shorter runs are not worth a mapping. */
#define MAP_MIN_PAGES 64U

struct multifd_sender {
	struct multifd_common *common;
	struct chan *chan;
	unsigned int id;
	const struct kernels *kernels;
	struct multifd_encoder *encoder;	/* NULL: codec none */
	struct merr err;

	/* The packet that is being made. */
	struct ram_file *block;
	uint32_t n_normal, n_zero;
	uint64_t normal[MULTIFD_PACKET_PAGES], zero[MULTIFD_PACKET_PAGES];	/* offsets */
	size_t n_iov;
	struct iovec iov[1 + MULTIFD_PACKET_PAGES];	/* [0] is the header's */
	bool mapped;		/* the others are guest memory, and not the buffer, which is used anew */
	struct multifd_packet packet;
	uint8_t header[MULTIFD_HEADER_LEN];
	uint32_t buffered;	/* pages of the buffer that it refers to */
	uint8_t *buffer;	/* MULTIFD_PACKET_PAGES */
};

struct multifd_sender *multifd_sender_new(struct multifd_common *common, struct chan *chan, unsigned int id,
					  struct merr *err)
{
	struct multifd_sender *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)chan_free(chan);
		(void)merr_set(err, -ENOMEM, "multifd: no memory for a channel");
		return NULL;
	}
	s->common = common;
	s->chan = chan;
	s->id = id;
	s->kernels = kernels_best();
	s->n_iov = 1;
	chan_set_cancel(chan, common->stop_fd);
	s->buffer = aligned_alloc(WIRE_PAGE_SIZE, (size_t)MULTIFD_PACKET_PAGES * WIRE_PAGE_SIZE);
	if (common->n_zero_copy && chan_use_zero_copy(chan, common->n_zero_copy, err) < 0)
		return multifd_sender_free(s);
	if (common->codec != MULTI_FD_COMPRESSION_NONE)
		s->encoder = multifd_encoder_new(common->codec, common->level, err);
	if (s->buffer && (s->encoder || common->codec == MULTI_FD_COMPRESSION_NONE))
		return s;
	(void)merr_set(err, -ENOMEM, "multifd: no memory for a channel");
	return multifd_sender_free(s);
}

struct multifd_sender *multifd_sender_free(struct multifd_sender *s)
{
	if (!s)
		return NULL;
	(void)multifd_encoder_free(s->encoder);
	(void)chan_free(s->chan);
	free(s->buffer);
	free(s);
	return NULL;
}

const struct merr *multifd_sender_error(const struct multifd_sender *s)
{
	return &s->err;
}

uint64_t multifd_sender_bytes(const struct multifd_sender *s)
{
	return stats_channel_get(s->common->stats, s->id, bytes);
}

/* ---- bytes ---- */

static int write_bytes(struct multifd_sender *s, struct iovec *iov, size_t n, size_t n_mapped)
{
	int r;

	if (!s->common->n_zero_copy)
		return chan_write(s->chan, iov, n + n_mapped, false, DEADLINE_NONE);
	r = chan_write(s->chan, iov, n, false, DEADLINE_NONE);
	return r < 0 ? r : chan_write_by_reference(s->chan, iov + n, n_mapped, DEADLINE_NONE);
}

/* IOV, which is consumed: N buffers, and behind them N_MAPPED that are guest memory. */
static int write_all(struct multifd_sender *s, struct iovec *iov, size_t n, size_t n_mapped)
{
	struct multifd_common *c = s->common;
	size_t len = iov_len(iov, n + n_mapped);
	int r;

	r = rate_spend(c->rate, len, c->stop_fd);
	if (r == 0)
		r = write_bytes(s, iov, n, n_mapped);
	if (r < 0) {
		(void)chan_fail(s->chan, r, "writing to the destination", &s->err);
		(void)merr_prefix(&s->err, "multifd channel %u, offset %" PRIu64, s->id, multifd_sender_bytes(s));
		return r;
	}
	stats_channel_add(c->stats, s->id, bytes, len);
	stats_add(c->stats, multifd_bytes, len);
	stats_add(c->stats, beside_bytes, len);
	stats_add(c->stats, transferred_bytes, len);
	return 0;
}

int multifd_send_hello(struct multifd_sender *s, const struct multifd_hello *h)
{
	uint8_t bytes[MULTIFD_HELLO_LEN];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };

	multifd_hello_put(h, bytes);
	return write_all(s, &iov, 1, 0);
}

static int write_packet(struct multifd_sender *s)
{
	s->packet.number = atomic_fetch_add_explicit(&s->common->n_packets, 1, memory_order_relaxed);
	multifd_packet_put(&s->packet, s->header);
	s->iov[0] = (struct iovec){ .iov_base = s->header, .iov_len = sizeof(s->header) };
	return s->mapped && !s->encoder ? write_all(s, s->iov, 1, s->n_iov - 1) : write_all(s, s->iov, s->n_iov, 0);
}

int multifd_send_sync(struct multifd_sender *s)
{
	int r;

	s->packet = (struct multifd_packet){ .flags = MULTIFD_FLAG_SYNC };
	r = write_packet(s);
	/* Not waited for: the kernel holds pages that are still to be sent, and a SYNC is behind them all the same. */
	if (chan_end_zero_copy_round(s->chan))
		stats_add(s->common->stats, zero_copy_missed, 1);
	return r;
}

/* ---- packets ---- */

/* In place of the pages what they are compressed to. */
static int encode(struct multifd_sender *s, size_t *ret_len)
{
	const void *payload;
	int r;

	r = multifd_encode(s->encoder, s->iov + 1, s->n_iov - 1, &payload, ret_len, &s->err);
	if (r < 0)
		return merr_prefix(&s->err, "multifd channel %u", s->id);
	s->iov[1] = (struct iovec){ .iov_base = (void *)(uintptr_t)payload, .iov_len = *ret_len };
	s->n_iov = 2;
	return 0;
}

/* Write what was gathered; nothing refers to guest memory or the buffer any more. */
static int flush(struct multifd_sender *s)
{
	struct multifd_packet *p = &s->packet;
	size_t payload = (size_t)s->n_normal * WIRE_PAGE_SIZE;
	int r = 0;

	s->buffered = 0;
	if (s->n_normal + s->n_zero == 0)
		return 0;
	if (s->encoder && s->n_normal)
		r = encode(s, &payload);
	if (r < 0)
		return r;
	p->flags = multifd_codec_flag(s->common->codec);
	p->n_normal = s->n_normal;
	p->n_zero = s->n_zero;
	p->payload_bytes = (uint32_t)payload;
	p->block = s->block;
	memcpy(p->offsets, s->normal, s->n_normal * sizeof(s->normal[0]));
	memcpy(p->offsets + s->n_normal, s->zero, s->n_zero * sizeof(s->zero[0]));
	r = write_packet(s);
	stats_add(s->common->stats, normal_pages, s->n_normal);
	stats_add(s->common->stats, duplicate_pages, s->n_zero);
	s->n_normal = s->n_zero = 0;
	s->n_iov = 1;
	return r;
}

/* One page in full: joins what precedes it in memory. */
static void add_normal(struct multifd_sender *s, uint64_t offset, const uint8_t *bytes)
{
	struct iovec *last = &s->iov[s->n_iov - 1];

	s->normal[s->n_normal++] = offset;
	if (s->n_iov > 1 && (uint8_t *)last->iov_base + last->iov_len == bytes)
		last->iov_len += WIRE_PAGE_SIZE;
	else
		s->iov[s->n_iov++] = (struct iovec){ .iov_base = (void *)(uintptr_t)bytes, .iov_len = WIRE_PAGE_SIZE };
}

/* Add N pages that are at BYTES; AT is the place of the first one in JOB. */
static int add_pages(struct multifd_sender *s, struct multifd_job *job, uint32_t at, uint64_t page, uint32_t n,
		     const uint8_t *bytes)
{
	bool find = atomic_load_explicit(&s->common->find_zeros, memory_order_relaxed);
	bool list = atomic_load_explicit(&s->common->list_zeros, memory_order_relaxed);
	int r;

	s->block = job->block;
	for (uint32_t i = 0; i < n; i++, bytes += WIRE_PAGE_SIZE) {
		if (s->n_normal + s->n_zero == MULTIFD_PACKET_PAGES && (r = flush(s)) < 0)
			return r;
		if (!find || !s->kernels->is_zero(bytes, WIRE_PAGE_SIZE))
			add_normal(s, (page + i) * WIRE_PAGE_SIZE, bytes);
		else if (list)
			s->zero[s->n_zero++] = (page + i) * WIRE_PAGE_SIZE;
		else
			bitmap_set(job->zero, at + i);
	}
	return 0;
}

/* ---- jobs ---- */

/* 1: sent; 0: they cannot be mapped and populated, nothing was sent; or -errno. */
static int send_mapped(struct multifd_sender *s, struct multifd_job *job, uint32_t at, uint64_t page, uint32_t n)
{
	const struct ram_file *b = job->block;
	size_t len = (size_t)n * WIRE_PAGE_SIZE;
	uint8_t *p;
	int r = 0;

	/* A packet is of one kind of memory or the other. */
	if (s->common->n_zero_copy && s->buffered && (r = flush(s)) < 0)
		return r;
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, b->fd, (off_t)(b->fd_offset + page * WIRE_PAGE_SIZE));
	if (p == MAP_FAILED)
		return 0;
	if (madvise(p, len, MADV_POPULATE_READ) == 0) {
		s->mapped = true;
		r = add_pages(s, job, at, page, n, p);
		if (r == 0)
			r = flush(s);
		if (r == 0)
			r = 1;
		s->mapped = false;
	}
	(void)munmap(p, len);
	return r;
}

/* What tmpfs and hugetlbfs say of a page that the hardware has lost. */
static bool is_damage(int r)
{
	return r == -EIO || r == -EHWPOISON;
}

static int read_pages(const struct ram_file *b, uint64_t page, uint32_t n, uint8_t *to)
{
	return fd_pread_full(b->fd, to, (uint64_t)n * WIRE_PAGE_SIZE, b->fd_offset + page * WIRE_PAGE_SIZE);
}

/* By way of the buffer: at most N pages, *ret_n of them. */
static int send_copied(struct multifd_sender *s, struct multifd_job *job, uint32_t at, uint64_t page, uint32_t n,
		       uint32_t *ret_n)
{
	uint8_t *to;
	int r;

	if (s->buffered == MULTIFD_PACKET_PAGES && (r = flush(s)) < 0)
		return r;
	*ret_n = (uint32_t)min_u64(n, MULTIFD_PACKET_PAGES - s->buffered);
	to = s->buffer + (size_t)s->buffered * WIRE_PAGE_SIZE;
	r = read_pages(job->block, page, *ret_n, to);
	if (is_damage(r) && *ret_n > 1) {
		*ret_n = 1;
		r = read_pages(job->block, page, 1, to);
	}
	if (is_damage(r)) {
		bitmap_set(job->damaged, at);
		return 0;
	}
	if (r < 0) {
		/* The migration thread says what that means: the channel is well. */
		job->error = r;
		job->error_page = page;
		return 0;
	}
	r = add_pages(s, job, at, page, *ret_n, to);
	s->buffered += *ret_n;
	return r;
}

static int send_run(struct multifd_sender *s, struct multifd_job *job, uint32_t at, uint64_t page, uint32_t n,
		    bool dense)
{
	uint32_t k;
	int r = dense && n >= MAP_MIN_PAGES && !ram_is_huge(job->block) ? send_mapped(s, job, at, page, n) : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	for (; n > 0 && !job->error; at += k, page += k, n -= k) {
		r = send_copied(s, job, at, page, n, &k);
		if (r < 0)
			return r;
	}
	return 0;
}

int multifd_send_job(struct multifd_sender *s, struct multifd_job *job)
{
	uint32_t at = 0;
	int r;

	for (uint32_t i = 0; i < job->n_runs && !job->error; i++) {
		r = send_run(s, job, at, job->runs[i].page, job->runs[i].n, job->runs[i].dense);
		if (r < 0)
			return r;
		at += job->runs[i].n;
	}
	return flush(s);
}
