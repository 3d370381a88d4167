/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy's source. */
#include "engine/page-server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/short-slice.h"
#include "engine/page-release.h"
#include "engine/page-requests.h"
#include "engine/page-sender.h"
#include "engine/postcopy-recover.h"

/* Who walks through memory: as many of them at once. */
#define WALKS 8U

/*
 * While somebody asks, a write of the background is a page or a few, for what is asked meanwhile waits behind it. That costs a
 * quarter of the speed, so it ends when nobody asked for so long.
 */
#define BUSY_PAGES 4U
#define BUSY_NS	   (20 * NS_PER_MS)

/* The next missing page is looked for so far behind what a walk got. */
#define WALK_GAP_PAGES 4096U

struct walk {
	const struct ram_file *block;
	uint64_t next;		/* behind what it got */
	uint64_t window;	/* pages that it gets on top the next time */
	uint64_t used;		/* when, in requests */
};

struct page_server {
	struct source *s;
	struct page_sender *main;
	struct chan *urgent_chan;	/* NULL, as the next two: requested pages go on the main stream */
	struct out *urgent_out;
	struct page_sender *urgent;
	const struct handler *ram;
	bool in_section;		/* on the main stream, where pages may be written */
	size_t block;			/* where the background goes on */
	uint64_t page;
	uint64_t unpaid_bytes;		/* of the background, not yet counted against its bandwidth */
	uint64_t n_requests;
	uint64_t busy_until_ns;		/* somebody asked a short while ago */
	struct walk walks[WALKS];
	struct page_requests requests;
	struct page_release *release;	/* NULL: what was sent stays */
};

static int introduce_urgent(struct page_server *p)
{
	int r;

	if (p->s->peer != PEER_MIGD)
		return 0;
	out_be32(p->urgent_out, WIRE_PREEMPT_MAGIC);
	out_bytes(p->urgent_out, p->s->m->handover_id, ATTACH_ID_LEN);
	r = out_flush(p->urgent_out);
	return r < 0 ? out_fail(p->urgent_out, r, "the channel for urgent pages", &p->s->err) : 0;
}

static int open_urgent(struct page_server *p, bool runs)
{
	struct source *s = p->s;
	int r;

	if (!migration_has_capability(s->m, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT))
		return 0;
	r = migration_open_channel(s->m, &p->urgent_chan, &s->err);
	if (r < 0)
		return merr_prefix(&s->err, "the channel for urgent pages (postcopy-preempt)");
	p->urgent_out = out_new(p->urgent_chan, &s->m->rate, s->m->stats, -1);
	p->urgent = p->urgent_out ? page_sender_new(p->urgent_out, s->m->stats, runs) : NULL;
	if (!p->urgent)
		return merr_set_errno(&s->err, -ENOMEM, "the channel for urgent pages");
	return introduce_urgent(p);
}

struct page_server *page_server_new(struct source *s)
{
	bool runs = s->features & HELLO_FEATURE_RUNS, release = migration_has_capability(s->m, MIGRATION_CAPABILITY_RELEASE_RAM);
	struct page_server *p = calloc(1, sizeof(*p));

	if (p) {
		*p = (struct page_server){ .s = s, .ram = handlers_find(&s->handlers, WIRE_RAM_IDSTR, 0) };
		p->requests.ram = &s->ram;
		p->requests.holes = s->peer == PEER_QEMU;
		p->main = page_sender_new(s->out, s->m->stats, runs);
		p->release = release ? calloc(1, sizeof(*p->release)) : NULL;
	}
	if (!p || !p->main || (release && !p->release)) {
		(void)merr_set_errno(&s->err, -ENOMEM, "post-copy");
		return page_server_free(p);
	}
	return open_urgent(p, runs) < 0 ? page_server_free(p) : p;
}

struct page_server *page_server_free(struct page_server *p)
{
	if (!p)
		return NULL;
	p->main = page_sender_free(p->main);
	p->urgent = page_sender_free(p->urgent);
	p->urgent_out = out_free(p->urgent_out);
	if (p->urgent_chan)
		p->urgent_chan = chan_free(p->urgent_chan);
	free(p->release);
	free(p);
	return NULL;
}

static void hold(const struct page_server *p, struct chan *chan)
{
	chan_set_cancel(chan, p->s->m->pause_fd);
	chan_watch_peer(chan, POSTCOPY_SILENCE_MS);
}

void page_server_released(struct page_server *p)
{
	hold(p, p->s->chan);
	if (p->urgent_chan)
		hold(p, p->urgent_chan);
}

void page_server_answered(struct page_server *p, uint32_t number)
{
	if (p->release)
		page_release_answered(p->release, number);
}

bool page_server_has_room(const struct page_server *p)
{
	return !page_requests_full(&p->requests);
}

int page_server_take(struct page_server *p, const struct rp_msg *m)
{
	struct merr why = MERR_INIT;

	FAULT_POINT("postcopy.page-asked");
	stats_add(p->s->m->stats, postcopy_requests, 1);
	return page_requests_take(&p->requests, m, &why) < 0 ?
		       in_fail(p->s->in, why.code, "return path: %s", merr_msg(&why)) : 0;
}

/* ---- what is written ---- */

static void begin_section(struct page_server *p)
{
	section_begin(p->s->out, p->ram, WIRE_SECTION_PART);
	p->in_section = true;
}

static int end_section(struct page_server *p)
{
	p->in_section = false;
	out_be64(p->s->out, WIRE_RAM_EOS);
	section_end(p->s->out, p->ram);
	return out_flush(p->s->out);
}

/* Off the list first: while they are on their way, nobody asks for them a second time. */
static int send_run(struct page_server *p, struct page_sender *to, struct ram_file *b, uint64_t page, uint64_t n)
{
	int r;

	bitmap_clear_range(b->todo, page, n);
	r = page_sender_add(to, b, page, n, &p->s->err);
	if (r == 0 && p->release && to == p->main)
		page_release_sent(p->release, b, page, n);
	return r;
}

/* What of [page, end) is missing over there; *ret_n: how many pages those were. */
static int send_missing(struct page_server *p, struct page_sender *to, struct ram_file *b, uint64_t page, uint64_t end,
			uint64_t *ret_n)
{
	uint64_t run_end;
	int r;

	*ret_n = 0;
	for (; (page = bitmap_next_set(b->todo, end, page)) < end; page = run_end) {
		run_end = bitmap_next_clear(b->todo, end, page);
		r = send_run(p, to, b, page, run_end - page);
		if (r < 0)
			return r;
		*ret_n += run_end - page;
	}
	return 0;
}

/* ---- requests ---- */

/* True if PAGE is what W finds missing next. */
static bool is_next(const struct walk *w, const struct page_request *q)
{
	return w->block == q->block && q->page >= w->next && q->page - w->next < WALK_GAP_PAGES &&
	       bitmap_next_set(q->block->todo, q->page, w->next) == q->page;
}

/* The walk that Q belongs to, or what is to be a new one: that which nobody took for longest. */
static struct walk *find_walk(struct page_server *p, const struct page_request *q)
{
	struct walk *oldest = &p->walks[0];

	for (struct walk *w = p->walks; w < p->walks + WALKS; w++) {
		if (is_next(w, q))
			return w;
		if (w->used < oldest->used)
			oldest = w;
	}
	*oldest = (struct walk){ .block = q->block };
	return oldest;
}

/* How many pages behind Q go with it. Huge pages go alone: one is more than any walk gets. */
static uint64_t look_ahead(struct page_server *p, const struct page_request *q)
{
	struct walk *w = find_walk(p, q);
	uint64_t end = q->page + q->n, ahead;

	ahead = ram_is_huge(q->block) ? 0 : min_u64(w->window, q->block->n_pages - end);
	w->window = min_u64(max_u64(1, 2 * w->window), PAGE_SENDER_PAGES);
	w->next = end + ahead;
	w->used = ++p->n_requests;
	return ahead;
}

static int send_requested(struct page_server *p, const struct page_request *q)
{
	struct page_sender *to = p->urgent ? p->urgent : p->main;
	uint64_t ahead = look_ahead(p, q), end = q->page + q->n, n;
	int r;

	r = send_missing(p, to, q->block, q->page, end, &n);
	if (r < 0)
		return r;
	stats_add(p->s->m->stats, requested_pages, n);
	r = send_missing(p, to, q->block, end, end + ahead, &n);
	if (r < 0)
		return r;
	stats_add(p->s->m->stats, prefetched_pages, n);
	p->block = (size_t)(q->block - p->s->ram.blocks);
	p->page = end + ahead;
	return page_sender_flush(to);
}

static int answer(struct page_server *p)
{
	uint64_t urgent_bytes = p->urgent_out ? out_offset(p->urgent_out) : 0;
	struct page_request q;
	int r = 0;

	while (r == 0 && page_requests_next(&p->requests, &q)) {
		r = send_requested(p, &q);
		FAULT_POINT("postcopy.page-answered");
		p->busy_until_ns = clock_now_ns() + BUSY_NS;
	}
	if (p->urgent_out)
		stats_add(p->s->m->stats, beside_bytes, out_offset(p->urgent_out) - urgent_bytes);
	if (r < 0 && p->urgent_out && out_error(p->urgent_out))
		return out_fail(p->urgent_out, r, "the channel for urgent pages", &p->s->err);
	return r;
}

int page_server_answer_at_once(struct page_server *p)
{
	return p->urgent ? answer(p) : 0;
}

int page_server_answer(struct page_server *p)
{
	int r;

	if (p->requests.n == 0)
		return 0;
	if (p->urgent || p->in_section)
		return answer(p);
	source_stats_ram_begin(p->s);
	begin_section(p);
	r = answer(p);
	if (r == 0)
		r = end_section(p);
	source_stats_ram_end(p->s);
	return r;
}

/* ---- the background ---- */

/* The end of the run of `todo` at PAGE, at most N pages long; of huge pages one, whatever N is. */
static uint64_t run_end(const struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t most = ram_is_huge(b) ? page - page % (b->page_size / WIRE_PAGE_SIZE) + b->page_size / WIRE_PAGE_SIZE :
					 page + n;

	return bitmap_next_clear(b->todo, min_u64(most, b->n_pages), page);
}

/* The first page that is missing, from where the background is, once around all blocks. NULL: none is. */
static struct ram_file *next_missing(struct page_server *p)
{
	struct ram *ram = &p->s->ram;
	struct ram_file *b;

	for (size_t i = 0; i <= ram->n_blocks; i++) {
		b = &ram->blocks[p->block];
		p->page = bitmap_next_set(b->todo, b->n_pages, min_u64(p->page, b->n_pages));
		if (p->page < b->n_pages)
			return b;
		p->block = (p->block + 1) % ram->n_blocks;
		p->page = 0;
	}
	return NULL;
}

/* Wait until the background may go on, or somebody asks for a page. */
static int wait_for_bandwidth(struct page_server *p, uint64_t until_ns)
{
	uint64_t since_ns = clock_now_ns();
	int r = fd_wait(chan_fd(p->s->chan), POLLIN, p->s->m->pause_fd, until_ns);

	stats_add(p->s->m->stats, limited_us, (clock_now_ns() - since_ns) / NS_PER_US);
	return r < 0 && r != -ETIMEDOUT ? r : 0;
}

/* One write's worth. 1: go on; 0: nothing is missing any more. */
static int send_background(struct page_server *p)
{
	unsigned int kept = clock_now_ns() < p->busy_until_ns ? PAGE_SENDER_PAGES - BUSY_PAGES : 0;
	uint64_t before = out_offset(p->s->out), until_ns, page, end;
	struct ram_file *b;
	int r;

	if (!rate_try_spend(&p->s->m->background, p->unpaid_bytes, &until_ns)) {
		r = wait_for_bandwidth(p, until_ns);
		return r < 0 ? r : 1;
	}
	p->unpaid_bytes = 0;
	while (page_sender_room(p->main) > kept && (b = next_missing(p))) {
		end = run_end(b, p->page, page_sender_room(p->main) - kept);
		stats_add(p->s->m->stats, background_pages, end - p->page);
		page = p->page;
		p->page = end;	/* an answer in the midst of it puts it elsewhere */
		r = send_run(p, p->main, b, page, end - page);
		if (r < 0)
			return r;
	}
	r = page_sender_flush(p->main);
	p->unpaid_bytes = out_offset(p->s->out) - before;
	return r < 0 ? r : p->unpaid_bytes > 0;
}

/* What the target has is freed; asking is between two sections. */
static int release_pages(struct page_server *p)
{
	int r;

	page_release_piece(p->release);
	if (!page_release_due(p->release))
		return 0;
	r = end_section(p);
	if (r < 0)
		return r;
	page_release_asked(p->release, source_ask(p->s));
	begin_section(p);
	return out_flush(p->s->out);
}

/* 1: go on; 0: nothing is missing any more. */
static int turn(struct page_server *p)
{
	int r = fd_wait(p->s->m->pause_fd, POLLIN, -1, 0) > 0 ? -ECANCELED : 0;

	source_stats_tick(p->s);
	while (r == 0 && page_server_has_room(p) && in_ready(p->s->in))
		r = source_take_input(p->s);
	if (r == 0)
		r = page_server_answer(p);
	if (r == 0 && p->release)
		r = release_pages(p);
	return r < 0 ? r : send_background(p);
}

int page_server_run(struct page_server *p)
{
	int r;

	/* The guest waits for what this thread does. */
	short_slice();
	source_stats_ram_begin(p->s);
	begin_section(p);
	do {
		r = turn(p);
	} while (r > 0);
	FAULT_POINT("postcopy.background-ended");
	if (r == 0)
		r = end_section(p);
	source_stats_ram_end(p->s);
	return r;
}
