/* SPDX-License-Identifier: Apache-2.0 */
/* Lazy restore. */
#include "engine/lazy-restore.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/fault-service.h"
#include "engine/lazy-fetch.h"
#include "engine/ram-settings.h"
#include "engine/target.h"

/* How long what could not be read, or shown, is left alone. */
#define RETRY_MS 1000

#define MEMO_MAGIC 0x3152594cU	/* "LYR1" */

/* Where the file has a block; at 0: it has nothing of it. */
struct place {
	uint64_t bitmap_offset, pages_offset;
};

struct lazy_restore {
	struct target *t;
	struct mapped_source_file file;
	struct place places[ATTACH_RAM_BLOCKS_MAX];
	struct lazy_fetch *fetch;
	struct fault_service *faults;
	bool listed;	/* successor: the blocks are known */
	bool paused;	/* something is in the way: */
	struct merr told;
	uint64_t retry_ns;	/* when it is tried again */
	bool deaf;	/* the library has closed the channel: what becomes of its VMM is seen by its process */
};

static const struct fault_ops fault_ops = { .want = lazy_fetch_want };

int lazy_restore_new(struct target *t, const struct mapped_source_file *file)
{
	struct lazy_restore *l = calloc(1, sizeof(*l));

	if (l)
		l->fetch = lazy_fetch_new(&t->ram, file, &t->m->background, t->m->stats);
	if (!l || !l->fetch) {
		free(l);
		return merr_set_errno(&t->err, -ENOMEM, "lazy restore");
	}
	l->t = t;
	l->file = *file;
	t->lazy = l;
	return 0;
}

void lazy_restore_done(struct target *t)
{
	struct lazy_restore *l = TAKE_PTR(t->lazy);

	if (!l)
		return;
	/* Faults want pages, and pages are shown: the threads that read end first, then nothing is shown any more. */
	lazy_fetch_stop(l->fetch);
	l->faults = fault_service_free(l->faults);
	l->fetch = lazy_fetch_free(l->fetch);
	free(l);
}

/* ---- what the file has ---- */

static int read_map(struct lazy_restore *l, struct in *in, struct ram_file *b, uint64_t *bits, struct merr *err)
{
	struct place *place = &l->places[b - l->t->ram.blocks];
	struct mapped_layout layout;
	int r = mapped_file_map(&l->file, in, b, &layout, bits, err);

	if (r < 0) {
		(void)ram_bits_free(bits, b->n_pages);
		return r;
	}
	*place = (struct place){ layout.bitmap_offset, layout.pages_offset };
	lazy_fetch_add(l->fetch, b, place->pages_offset, bits);
	return in_seek(in, layout.end);
}

int lazy_restore_block(struct lazy_restore *l, struct in *in, struct ram_file *b)
{
	uint64_t *bits = ram_bits_new(b->n_pages);
	struct merr why = MERR_INIT;
	int r;

	if (!bits)
		return in_fail(in, -ENOMEM, "block '%s': no memory for a bitmap", b->name);
	r = read_map(l, in, b, bits, &why);
	return r < 0 ? in_fail(in, r, "section 'ram': block '%s': %s", b->name, merr_msg(&why)) : 0;
}

/* ---- the memo: the file, and where it has what ---- */

static int identify(int fd, uint64_t id[3], struct merr *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "the file");
	id[0] = (uint64_t)st.st_dev;
	id[1] = (uint64_t)st.st_ino;
	id[2] = (uint64_t)st.st_size;
	return 0;
}

static int leave_memo(struct lazy_restore *l, struct merr *err)
{
	uint8_t bytes[ATTACH_MEMO_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	uint64_t id[3];

	if (identify(l->file.fd, id, err) < 0)
		return -EIO;
	wcur_le32(&w, MEMO_MAGIC);
	wcur_le32(&w, (uint32_t)l->t->ram.n_blocks);
	for (size_t i = 0; i < ARRAY_SIZE(id); i++)
		wcur_le64(&w, id[i]);
	for (size_t i = 0; i < l->t->ram.n_blocks; i++) {
		wcur_le64(&w, l->places[i].bitmap_offset);
		wcur_le64(&w, l->places[i].pages_offset);
	}
	return guest_memo_set(&l->t->guest, bytes, w.len, err);
}

static int check_file(const struct lazy_restore *l, struct rcur *c, struct merr *err)
{
	uint64_t id[3];
	bool same = true;

	if (identify(l->file.fd, id, err) < 0)
		return -EIO;
	for (size_t i = 0; i < ARRAY_SIZE(id); i++)
		same &= rcur_le64(c) == id[i];
	return same ? 0 : merr_set(err, -ESTALE, "'%s' is not the file any more that the guest was begun to be restored from: "
				   "put that one back", l->t->m->start.peer);
}

static int read_block_again(struct lazy_restore *l, size_t i, struct merr *err)
{
	struct ram_file *b = &l->t->ram.blocks[i];
	uint64_t *bits;
	int r;

	if (!l->places[i].pages_offset)
		return 0;
	bits = ram_bits_new(b->n_pages);
	if (!bits)
		return merr_set_errno(err, -ENOMEM, "block '%s'", b->name);
	r = mapped_file_read_bits(&l->file, l->places[i].bitmap_offset, b, bits, err);
	if (r < 0) {
		(void)ram_bits_free(bits, b->n_pages);
		return merr_prefix(err, "block '%s'", b->name);
	}
	lazy_fetch_add(l->fetch, b, l->places[i].pages_offset, bits);
	return 0;
}

static int read_memo(struct lazy_restore *l, struct merr *err)
{
	uint8_t bytes[ATTACH_MEMO_MAX];
	struct rcur c;
	size_t len;
	int r = guest_memo_get(&l->t->guest, bytes, &len, err);

	if (r < 0)
		return r;
	c = rcur_of(bytes, len);
	if (rcur_le32(&c) != MEMO_MAGIC || rcur_le32(&c) != l->t->ram.n_blocks)
		return merr_set(err, -EBADMSG, "what the worker before left for its successor is no lazy restore's");
	r = check_file(l, &c, err);
	for (size_t i = 0; i < l->t->ram.n_blocks; i++)
		l->places[i] = (struct place){ rcur_le64(&c), rcur_le64(&c) };
	if (r == 0 && (c.bad || c.left))
		r = merr_set(err, -EBADMSG, "what the worker before left for its successor has %zu bytes", len);
	for (size_t i = 0; r == 0 && i < l->t->ram.n_blocks; i++)
		r = read_block_again(l, i, err);
	return r;
}

/* ---- serving ---- */

static int begin(struct lazy_restore *l, bool again, struct merr *err)
{
	struct target *t = l->t;
	struct guest_uffd uffd;
	int r = guest_uffd_open(&t->guest, ATTACH_UFFD_POSTCOPY, t->m->userfaultfd, &uffd, err);

	if (r < 0)
		return r;
	r = guest_received_maps(&t->guest, &t->ram, err);
	if (r == 0 && lazy_fetch_prepare(l->fetch, again) < 0)
		r = merr_set_errno(err, -ENOMEM, "lazy restore");
	if (r == 0 && !again)
		r = leave_memo(l, err);
	if (r < 0) {
		(void)close_fd(uffd.fd);
		return r;
	}
	FAULT_POINT("lazy.registered");
	l->faults = fault_service_new(&t->ram, &uffd, t->m->stats, &fault_ops, l->fetch, err);
	return l->faults ? lazy_fetch_start(l->fetch, l->faults, err) : err->code;
}

int lazy_restore_begin(struct lazy_restore *l, struct in *in)
{
	struct merr why = MERR_INIT;
	int r = begin(l, false, &why);

	if (r < 0)
		return in_fail(in, r, "restoring lazily: %s", merr_msg(&why));
	report_status(l->t->m, MIGRATION_STATUS_POSTCOPY_DEVICE);
	return 0;
}

/* What is in the way: 0 or -errno. */
static int failure(struct lazy_restore *l, struct merr *err)
{
	int r = lazy_fetch_failure(l->fetch, err);

	return r == 0 && l->faults ? fault_service_failure(l->faults, err) : r;
}

int lazy_restore_check(struct target *t)
{
	return t->lazy ? failure(t->lazy, &t->err) : 0;
}

void lazy_restore_let_go(struct target *t)
{
	struct merr why = MERR_INIT;

	if (!t->lazy)
		return;
	if (failure(t->lazy, &why) < 0) {
		merr_clear(&t->err);
		(void)merr_copy(&t->err, &why);
	}
	if (t->lazy->faults)
		fault_service_give_up(t->lazy->faults);
}

static bool vmm_is_gone(const struct target *t)
{
	return t->m->vmm_fd >= 0 && fd_wait(t->m->vmm_fd, POLLIN, -1, 0) > 0;
}

static void pause_restore(struct lazy_restore *l, const struct merr *why)
{
	struct merr text = *why;

	(void)merr_prefix(&text, "the guest waits for its memory in '%s', which is tried again every second", l->t->m->start.peer);
	if (l->paused && strcmp(merr_msg(&text), merr_msg(&l->told)) == 0)
		return;
	if (!l->paused)
		l->retry_ns = clock_now_ns() + RETRY_MS * NS_PER_MS;
	l->paused = true;
	l->told = text;
	log_warning("%s guest=\"%s\"", merr_msg(&text), l->t->m->start.guest);
	report_error(l->t->m, MIGRATION_STATUS_POSTCOPY_PAUSED, &text);
}

/* By way of `postcopy-recover`, as after a connection that broke. */
static void unpause(struct lazy_restore *l)
{
	if (!l->paused)
		return;
	l->paused = false;
	stats_add(l->t->m->stats, recoveries, 1);
	report_status(l->t->m, MIGRATION_STATUS_POSTCOPY_RECOVER);
	report_status(l->t->m, MIGRATION_STATUS_POSTCOPY_ACTIVE);
}

static void try_again(struct lazy_restore *l)
{
	struct merr why = MERR_INIT;

	if (lazy_fetch_failure(l->fetch, &why) < 0)
		lazy_fetch_retry(l->fetch);
	/* Who waits for one of these pages wants it first. */
	fault_service_recover(l->faults);
	l->retry_ns = clock_now_ns() + RETRY_MS * NS_PER_MS;
}

/* Something came, failed, or came after all; or a second passed. */
static void wait_event(struct lazy_restore *l)
{
	struct target *t = l->t;
	struct merr why = MERR_INIT;
	struct pollfd p[] = {
		{ .fd = lazy_fetch_event_fd(l->fetch), .events = POLLIN },
		{ .fd = l->paused ? -1 : fault_service_failed_fd(l->faults), .events = POLLIN },
		{ .fd = t->m->vmm_fd, .events = POLLIN },
		{ .fd = l->deaf ? -1 : conn_fd(t->guest.conn), .events = POLLIN },
	};

	(void)poll(p, ARRAY_SIZE(p), clock_poll_ms(l->paused ? l->retry_ns : DEADLINE_NONE));
	if (l->paused && clock_now_ns() >= l->retry_ns)
		try_again(l);
	wake_drain(lazy_fetch_event_fd(l->fetch));
	/* The guest's events do not matter here: it runs. */
	if (p[3].revents && guest_link_poll(&t->guest, &why) == -ENOTCONN)
		l->deaf = true;
}

/* Until all is here; -ESHUTDOWN: the VMM is gone. */
static int bring_all(struct lazy_restore *l)
{
	struct merr why;

	while (lazy_fetch_left(l->fetch) > 0) {
		merr_clear(&why);
		if (vmm_is_gone(l->t))
			return -ESHUTDOWN;
		if (failure(l, &why) < 0)
			pause_restore(l, &why);
		else
			unpause(l);
		wait_event(l);
	}
	return 0;
}

/* Something that has to work did not: again in a while. -ESHUTDOWN: the VMM is gone. */
static int wait_retry(struct lazy_restore *l, const struct merr *why)
{
	struct pollfd p = { .fd = l->t->m->vmm_fd, .events = POLLIN };

	pause_restore(l, why);
	(void)poll(&p, 1, RETRY_MS);
	return vmm_is_gone(l->t) ? -ESHUTDOWN : 0;
}

/* As long as the library has not let go, faults are to be served. */
static int end(struct lazy_restore *l)
{
	struct merr why = MERR_INIT;
	int r = 0;

	while (r == 0 && guest_uffd_end(&l->t->guest, &why) < 0) {
		r = wait_retry(l, &why);
		merr_clear(&why);
	}
	return r;
}

/* Its VMM is gone: there is nobody any more whose memory it would be. */
static void report_lost(struct target *t)
{
	merr_clear(&t->err);
	(void)merr_set(&t->err, -ESHUTDOWN, "the guest's VMM ended before all of its memory was read from '%s'",
		       t->m->start.peer);
	report_error(t->m, MIGRATION_STATUS_FAILED, &t->err);
}

static void finish(struct lazy_restore *l)
{
	int r = bring_all(l);

	FAULT_POINT("lazy.all-here");
	if (r == 0)
		r = end(l);
	FAULT_POINT("lazy.ended");
	if (r < 0) {
		report_lost(l->t);
		return;
	}
	unpause(l);
	report_status(l->t->m, MIGRATION_STATUS_COMPLETED);
}

void lazy_restore_serve(struct target *t)
{
	FAULT_POINT("lazy.started");
	stats_set(t->m->stats, postcopied, 1);
	report_status(t->m, MIGRATION_STATUS_POSTCOPY_ACTIVE);
	finish(t->lazy);
}

/* ---- a successor ---- */

static bool runs_here(const struct target *t)
{
	return decision_runs(t->m->decision_fd, t->guest.id);
}

static int list_blocks(struct lazy_restore *l, struct merr *err)
{
	struct ram *ram = &l->t->ram;
	int r;

	if (l->listed)
		return 0;
	r = guest_ram_table(&l->t->guest, ram, err);
	l->listed = r == 0;
	if (r < 0) {
		ram_done(ram);
		*ram = (struct ram){ 0 };
	}
	return r;
}

static int begin_again(struct lazy_restore *l, struct merr *err)
{
	int r = list_blocks(l, err);

	if (r == 0)
		r = read_memo(l, err);
	if (r == 0)
		r = begin(l, true, err);
	if (r == 0 && !runs_here(l->t))
		r = guest_activate(&l->t->guest, NULL, err);
	return r;
}

static void go_on(struct lazy_restore *l)
{
	struct merr why = MERR_INIT;
	int r;

	(void)merr_set(&why, -EOWNERDEAD, "the worker before was lost");
	pause_restore(l, &why);
	for (;;) {
		merr_clear(&why);
		r = begin_again(l, &why);
		if (r == 0)
			break;
		if (r == -EBADFD && runs_here(l->t)) {
			/* All was there, and only that was yet to be told. */
			report_status(l->t->m, MIGRATION_STATUS_COMPLETED);
			return;
		}
		if (r == -EBADFD) {
			report_error(l->t->m, MIGRATION_STATUS_FAILED, &why);
			return;
		}
		if (wait_retry(l, &why) < 0) {
			report_lost(l->t);
			return;
		}
	}
	report_handover(l->t->m, HANDOVER_RUNNING, false);
	unpause(l);
	finish(l);
}

bool lazy_restore_succeed(struct target *t)
{
	struct mapped_source_file file;
	int r;

	guest_link_no_cancel(&t->guest);
	ram_settings_mapped_file(t->m, t->m->stream_fd, &file);
	r = lazy_restore_new(t, &file);
	if (r < 0)
		report_error(t->m, MIGRATION_STATUS_POSTCOPY_PAUSED, &t->err);
	else
		go_on(t->lazy);
	return runs_here(t);
}
