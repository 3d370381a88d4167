/* SPDX-License-Identifier: Apache-2.0 */
/* Records as text. */
#include "daemon/record-file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/json.h"
#include "daemon/record.h"

static json_t *describe_head(const struct record *r)
{
	struct migration_history_entry entry = record_entry(&r->data);
	json_t *o = json_pack("{s:i, s:I, s:I, s:o*}", "format", RECORD_FILE_FORMAT, "start", (json_int_t)r->start_ns,
			      "waits", (json_int_t)r->waits_ns, "entry", migration_history_entry_to_json(&entry));

	if (o && r->is_open)
		(void)json_object_set_new(o, "pass", worker_pass_begin_to_json(&r->open));
	return o;
}

char *record_file_text(const struct record *r)
{
	_cleanup_json_ json_t *head = describe_head(r), *body = migration_record_to_json(&r->data);
	_cleanup_free_ char *first = head ? json_dumps(head, JSON_COMPACT) : NULL;
	_cleanup_free_ char *rest = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char *text = NULL;

	/* The first line's last brace makes room for the rest. */
	if (first && rest && asprintf(&text, "%.*s,\n\"record\": %s}\n", (int)strlen(first) - 1, first, rest) < 0)
		return NULL;
	return text;
}

static int check_format(json_t *o, struct merr *err)
{
	int format = 0;

	if (json_unpack(o, "{s:i}", "format", &format) < 0)
		return merr_set(err, -EBADMSG, "it is no record of a migration");
	if (format != RECORD_FILE_FORMAT)
		return merr_set(err, -ENOTSUP, "format %d is not known to this migd, which writes %d", format, RECORD_FILE_FORMAT);
	return 0;
}

static int load(const char *text, json_t **ret, struct merr *err)
{
	json_error_t why;

	*ret = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	return *ret ? check_format(*ret, err) : merr_set(err, -EBADMSG, "it is cut off, or no record of a migration: %s", why.text);
}

int record_file_head(char *text, struct migration_history_entry *ret, struct merr *err)
{
	_cleanup_json_ json_t *o = NULL;
	char *end = strchr(text, '\n');
	int r;

	if (!end || end == text || end[-1] != ',')
		return merr_set(err, -EBADMSG, "it is cut off, or no record of a migration");
	end[-1] = '}';
	*end = '\0';
	r = load(text, &o, err);
	return r < 0 ? r : migration_history_entry_from_json(json_object_get(o, "entry"), ret, err);
}

static void trust_no_clock(struct record *r)
{
	uint64_t now = clock_now_ns(), ago_ns;

	/* The host was started anew since then: its clock for this began anew as well. */
	if (r->start_ns <= now)
		return;
	ago_ns = clock_wall_ns() - r->data.started * NS_PER_US;
	r->start_ns = ago_ns < now ? now - ago_ns : 0;
	r->waits_ns = 0;
	r->is_open = false;
}

static bool is_bounded(const struct migration_record *d)
{
	return d->n_phases <= RECORD_PHASES_MAX && d->n_passes <= RECORD_PASSES_MAX && d->n_samples <= RECORD_SAMPLES_MAX &&
	       d->n_stalls <= RECORD_STALLS_MAX && d->n_events <= RECORD_EVENTS_MAX;
}

int record_file_parse(const char *text, struct record **ret, struct merr *err)
{
	_cleanup_json_ json_t *o = NULL;
	struct record *r = calloc(1, sizeof(*r));
	json_t *pass, *body;
	int res = r ? load(text, &o, err) : merr_set(err, -ENOMEM, "out of memory");

	body = json_object_get(o, "record");
	if (res == 0 && !body)
		res = merr_set(err, -EBADMSG, "it is no record of a migration");
	if (res == 0)
		res = migration_record_from_json(body, &r->data, err);
	if (res == 0 && !is_bounded(&r->data))
		res = merr_set(err, -EBADMSG, "it is longer than records are");
	if (res < 0) {
		(void)record_free(r);
		return res;
	}
	r->start_ns = (uint64_t)json_integer_value(json_object_get(o, "start"));
	r->waits_ns = (uint64_t)json_integer_value(json_object_get(o, "waits"));
	pass = json_object_get(o, "pass");
	r->is_open = pass && r->data.n_passes > 0 && worker_pass_begin_from_json(pass, &r->open, NULL) == 0;
	trust_no_clock(r);
	*ret = r;
	return 0;
}
