/* SPDX-License-Identifier: Apache-2.0 */
/* The history: which records there are, and how long. */
#include "daemon/history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/record-file.h"
#include "daemon/record.h"
#include "daemon/registry.h"
#include "daemon/state-dir.h"
#include "daemon/timer.h"

/* Some milliseconds' worth. */
#define LOAD_AT_ONCE 32U

#define HOUR_US (3600ULL * 1000 * 1000)

struct history {
	struct daemon *daemon;
	struct migration_history_entry *kept; /* those that are over, by when they ended */
	size_t n_kept, room;
	char (*unread)[STATE_DIR_ID_LEN]; /* files that were not looked at yet */
	size_t n_unread, unread_room;
	struct event *timer; /* while there are some */
	bool failing;	     /* the last one could not be written, which was said */
};

static uint64_t ended_us(const struct migration_history_entry *e)
{
	return e->started + e->duration;
}

/* ---- those that are over ---- */

/* *LIST has room for N + 1 of SIZE. */
static int grow(void *list, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 64;
	void *p;

	if (n < *room)
		return 0;
	p = reallocarray(*(void **)list, more, size);
	if (!p)
		return -ENOMEM;
	*(void **)list = p;
	*room = more;
	return 0;
}

/* E is taken over. By when they ended: mostly at the end. */
static void keep(struct history *h, struct migration_history_entry *e)
{
	if (grow(&h->kept, h->n_kept, &h->room, sizeof(*h->kept)) < 0) {
		migration_history_entry_done(e);
		return;
	}
	h->kept[h->n_kept++] = *e;
}

static void drop(struct history *h, size_t i)
{
	state_dir_record_remove(h->daemon->state, h->kept[i].id);
	migration_history_entry_done(&h->kept[i]);
	h->n_kept--;
	memmove(&h->kept[i], &h->kept[i + 1], (h->n_kept - i) * sizeof(h->kept[0]));
}

static bool is_stale(const struct history *h, const struct migration_history_entry *e)
{
	uint64_t age_us = h->daemon->config.history.max_age * HOUR_US, now_us = clock_wall_ns() / NS_PER_US;

	return age_us && ended_us(e) + age_us < now_us;
}

/* Once all are known. */
static void prune(struct history *h)
{
	size_t max = h->daemon->config.history.max_records, n = 0;

	if (h->n_unread)
		return;
	while (n < h->n_kept && (h->n_kept - n > max || is_stale(h, &h->kept[n])))
		n++;
	for (size_t i = 0; i < n; i++) {
		state_dir_record_remove(h->daemon->state, h->kept[i].id);
		migration_history_entry_done(&h->kept[i]);
	}
	h->n_kept -= n;
	if (n)
		memmove(&h->kept[0], &h->kept[n], h->n_kept * sizeof(h->kept[0]));
}

/* ---- those that run, or are not settled ---- */

/* Behind M (NULL: the first), of G's. */
static struct migration *next_of(const struct guest *g, const struct migration *m)
{
	if (!m && g->migration)
		return g->migration;
	return !m || m == g->migration ? TAILQ_FIRST(&g->lingering) : TAILQ_NEXT(m, entry);
}

/* The one behind M (NULL: the first) that has a record, of all guests. */
static struct migration *next_live(const struct history *h, const struct migration *m)
{
	const struct guest *g = m ? m->guest : TAILQ_FIRST(&h->daemon->registry->guests);
	struct migration *next = NULL;

	for (; g; g = TAILQ_NEXT(g, entry), m = NULL) {
		do
			m = next = next_of(g, m);
		while (next && !next->record);
		if (next)
			return next;
	}
	return NULL;
}

static struct migration *find_live(const struct history *h, const char *id)
{
	struct migration *m = next_live(h, NULL);

	while (m && strcmp(m->id, id) != 0)
		m = next_live(h, m);
	return m;
}

/* ---- files ---- */

static int save(struct history *h, const struct record *r)
{
	_cleanup_free_ char *text = record_file_text(r);
	struct merr err = MERR_INIT;
	int res;

	if (!text)
		res = merr_set(&err, -ENOMEM, "cannot write a record: out of memory");
	else if (strlen(text) > RECORD_FILE_MAX)
		res = merr_set(&err, -EFBIG, "a record takes %zu bytes, at most %u are kept", strlen(text), RECORD_FILE_MAX);
	else
		res = state_dir_record_write(h->daemon->state, r->data.id, text, &err);
	if (res < 0 && !h->failing)
		log_err("the history of migrations has holes from now on: %s guest='%s' mig=%s", merr_msg(&err),
			r->data.guest, r->data.id);
	else if (res == 0 && h->failing)
		log_notice("the history of migrations is kept again mig=%s", r->data.id);
	h->failing = res < 0;
	return res;
}

static int read_record(const struct history *h, const char *id, struct record **ret, struct merr *err)
{
	_cleanup_free_ char *text = NULL;
	int r = state_dir_record_read(h->daemon->state, id, RECORD_FILE_MAX, false, &text, err);

	if (r == 0)
		r = record_file_parse(text, ret, err);
	if (r != 0 || strcmp((*ret)->data.id, id) == 0)
		return r;
	r = merr_set(err, -EBADMSG, "it is about migration '%s'", (*ret)->data.id);
	*ret = record_free(*ret);
	return r;
}

void history_save(struct history *h, struct migration *m)
{
	struct record *r = m->record;

	record_refresh(m);
	r->saved_ns = clock_now_ns();
	r->unsaved = save(h, r) < 0;
}

/* It is not among those that are yet to be read. */
static void forget_unread(struct history *h, const char *id)
{
	for (size_t i = 0; i < h->n_unread; i++)
		if (strcmp(h->unread[i], id) == 0) {
			memcpy(h->unread[i], h->unread[--h->n_unread], STATE_DIR_ID_LEN);
			return;
		}
}

static void keep_copy(struct history *h, const struct migration_record *d)
{
	struct migration_history_entry entry = record_entry(d), copy;

	forget_unread(h, d->id);
	if (migration_history_entry_copy(&copy, &entry) == 0)
		keep(h, &copy);
}

void history_end(struct history *h, struct migration *m)
{
	if (!m->record)
		return;
	history_save(h, m);
	if (m->record->unsaved)
		return;
	keep_copy(h, &m->record->data);
	m->record = record_free(m->record);
	prune(h);
}

void history_resume(struct history *h, struct migration *m)
{
	struct merr err = MERR_INIT;
	struct record *r = NULL;
	int res = read_record(h, m->id, &r, &err);

	if (res < 0 && res != -ENOENT)
		log_err("the record of a former daemon's migration is lost: %s guest='%s' mig=%s", merr_msg(&err),
			m->guest->name, m->id);
	forget_unread(h, m->id);
	record_take_over(m, r);
}

bool history_says_completed(const struct history *h, const char *id)
{
	struct merr err = MERR_INIT;
	struct record *r = NULL;
	bool completed = read_record(h, id, &r, &err) == 0 && r->data.status == MIGRATION_STATUS_COMPLETED;

	(void)record_free(r);
	return completed;
}

/* ---- reading what there is ---- */

/* The daemon that wrote it was killed, or the host: whoever went on with the migration did not know it. */
static void conclude(struct history *h, const char *id, struct merr *err)
{
	struct record *r = NULL;

	if (read_record(h, id, &r, err) != 0)
		return;
	r->data.status = MIGRATION_STATUS_FAILED;
	if (!r->data.has_error_desc)
		r->data.error_desc = strdup("migd ended before the migration did, and what became of it was not recorded");
	r->data.has_error_desc = r->data.error_desc != NULL;
	if (save(h, r) == 0)
		keep_copy(h, &r->data);
	(void)record_free(r);
}

static void load_one(struct history *h, const char *id)
{
	struct migration_history_entry entry = { 0 };
	_cleanup_free_ char *text = NULL;
	struct merr err = MERR_INIT;
	int r = state_dir_record_read(h->daemon->state, id, RECORD_HEAD_MAX, true, &text, &err);

	if (r == 0)
		r = record_file_head(text, &entry, &err);
	if (r == 0 && strcmp(entry.id, id) != 0) {
		r = merr_set(&err, -EBADMSG, "it is about migration '%s'", entry.id);
		migration_history_entry_done(&entry);
	}
	if (r == 0 && record_is_over(entry.status)) {
		keep(h, &entry);
	} else if (r == 0) {
		migration_history_entry_done(&entry);
		conclude(h, id, &err);
	}
	if (merr_is_set(&err))
		log_warning("leaving a record of a migration out: %s name='records/%s.json'", merr_msg(&err), id);
}

static int compare_ends(const void *a, const void *b)
{
	uint64_t x = ended_us(a), y = ended_us(b);

	return (x > y) - (x < y);
}

/* At most MAX. Once all are read, they are put in order. */
static void load(struct history *h, size_t max)
{
	char id[STATE_DIR_ID_LEN];

	for (; h->n_unread > 0 && max > 0; max--) {
		memcpy(id, h->unread[--h->n_unread], sizeof(id));
		load_one(h, id);
	}
	if (h->n_unread || !h->unread)
		return;
	h->timer = timer_free(h->timer);
	free(h->unread);
	h->unread = NULL;
	if (h->n_kept)
		qsort(h->kept, h->n_kept, sizeof(h->kept[0]), compare_ends);
	prune(h);
}

static void on_load(evutil_socket_t fd, short what, void *opaque)
{
	struct history *h = opaque;

	(void)fd;
	(void)what;
	h->timer = timer_free(h->timer);
	load(h, LOAD_AT_ONCE);
	if (h->n_unread)
		h->timer = timer_start(h->daemon->base, 0, on_load, h);
}

static void on_name(void *opaque, const char *id)
{
	struct history *h = opaque;

	if (grow(&h->unread, h->n_unread, &h->unread_room, sizeof(*h->unread)) == 0)
		memcpy(h->unread[h->n_unread++], id, STATE_DIR_ID_LEN);
}

struct history *history_new(struct daemon *d)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->daemon = d;
	state_dir_record_scan(d->state, on_name, h);
	if (h->n_unread)
		h->timer = timer_start(d->base, 0, on_load, h);
	return h;
}

struct history *history_free(struct history *h)
{
	if (!h)
		return NULL;
	h->timer = timer_free(h->timer);
	for (size_t i = 0; i < h->n_kept; i++)
		migration_history_entry_done(&h->kept[i]);
	free(h->kept);
	free(h->unread);
	free(h);
	return NULL;
}

/* ---- asking ---- */

/* All that are there, in memory and not. Strings are borrowed. *RET is freed by the caller. */
static int collect(struct history *h, struct migration_history_entry **ret, size_t *ret_n)
{
	struct migration_history_entry *list;
	struct migration *m;
	size_t n = 0;

	load(h, SIZE_MAX);
	prune(h);
	for (m = next_live(h, NULL); m; m = next_live(h, m))
		n++;
	list = calloc(n + h->n_kept + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = 0;
	for (m = next_live(h, NULL); m; m = next_live(h, m)) {
		record_refresh(m);
		list[n++] = record_entry(&m->record->data);
	}
	if (h->n_kept)
		memcpy(&list[n], h->kept, h->n_kept * sizeof(*list));
	*ret = list;
	*ret_n = n + h->n_kept;
	return 0;
}

static int compare_starts(const void *a, const void *b)
{
	const struct migration_history_entry *x = a, *y = b;

	return (x->started < y->started) - (x->started > y->started);
}

static bool is_wanted(const struct migration_history_entry *e, const struct history_filter *f)
{
	return (!f->guest || strcmp(f->guest, e->guest) == 0) &&
	       (f->status == MIGRATION_STATUS__INVALID || f->status == e->status);
}

json_t *history_list(struct history *h, const struct history_filter *filter)
{
	_cleanup_free_ struct migration_history_entry *list = NULL;
	size_t n = 0;
	json_t *ret = collect(h, &list, &n) == 0 ? json_array() : NULL;

	if (!ret)
		return NULL;
	qsort(list, n, sizeof(*list), compare_starts);
	for (size_t i = 0; i < n && json_array_size(ret) < filter->limit; i++)
		if (is_wanted(&list[i], filter) && json_array_append_new(ret, migration_history_entry_to_json(&list[i])) < 0) {
			json_decref(ret);
			return NULL;
		}
	return ret;
}

/* The whole id of what begins with PREFIX. */
static int find_id(struct history *h, const char *prefix, char ret[STATE_DIR_ID_LEN], struct merr *err)
{
	_cleanup_free_ struct migration_history_entry *list = NULL;
	size_t n = 0, found = 0;

	if (collect(h, &list, &n) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (*prefix && strncmp(list[i].id, prefix, strlen(prefix)) == 0 && found++ == 0)
			(void)snprintf(ret, STATE_DIR_ID_LEN, "%s", list[i].id);
	if (found == 0)
		return merr_set(err, -ENOENT,
				"There is no record of a migration '%s'; query-migration-history lists those there are", prefix);
	if (found > 1)
		return merr_set(err, -EINVAL, "The ids of %zu migrations begin with '%s': give more of it", found, prefix);
	return 0;
}

static int describe(struct history *h, const char *id, json_t **ret, struct merr *err)
{
	struct migration *m = find_live(h, id);
	struct record *r = NULL;
	int res = m ? 0 : read_record(h, id, &r, err);

	if (res < 0)
		return merr_prefix(err, "Record '%s'", id);
	if (m)
		record_refresh(m);
	*ret = migration_record_to_json(m ? &m->record->data : &r->data);
	(void)record_free(r);
	return *ret ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

int history_record_by_id(struct history *h, const char *id, json_t **ret, struct merr *err)
{
	char whole[STATE_DIR_ID_LEN];
	int r = find_id(h, id, whole, err);

	return r < 0 ? r : describe(h, whole, ret, err);
}

int history_last_record(struct history *h, const char *guest, json_t **ret, struct merr *err)
{
	_cleanup_free_ struct migration_history_entry *list = NULL;
	const struct migration_history_entry *last = NULL;
	char id[STATE_DIR_ID_LEN];
	size_t n = 0;

	if (collect(h, &list, &n) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if ((!guest || strcmp(list[i].guest, guest) == 0) && (!last || list[i].started > last->started))
			last = &list[i];
	if (!last && !guest)
		return merr_set(err, -ENOENT, "There is no record of any migration");
	if (!last)
		return merr_set(err, -ENOENT, "There is no record of a migration of guest '%s'", guest);
	(void)snprintf(id, sizeof(id), "%s", last->id);
	return describe(h, id, ret, err);
}

int history_forget(struct history *h, const char *id, struct merr *err)
{
	char whole[STATE_DIR_ID_LEN];
	int r = find_id(h, id, whole, err);

	if (r < 0)
		return r;
	if (find_live(h, whole))
		return merr_set(err, -EBUSY, "Migration '%s' is not over: there is more to record", whole);
	for (size_t i = 0; i < h->n_kept; i++)
		if (strcmp(h->kept[i].id, whole) == 0) {
			drop(h, i);
			break;
		}
	return 0;
}
