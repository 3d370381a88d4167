/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to a migration, in words. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/migration.h"
#include "daemon/record-internal.h"

static void event_done(void *element)
{
	record_event_done(element);
}

/* A cut text must not end within a character. */
static void trim_cut(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && ((unsigned char)text[len - 1] & 0x80))
		text[--len] = '\0';
}

/* In its place: what a worker did while no daemon ran is older than what the next one noted. */
static void put_in_order(struct migration_record *d)
{
	for (size_t i = d->n_events - 1; i > 0 && d->events[i].at < d->events[i - 1].at; i--) {
		struct record_event later = d->events[i - 1];

		d->events[i - 1] = d->events[i];
		d->events[i] = later;
	}
}

static void add_event(struct migration *m, enum record_event_kind kind, uint64_t at, const char *text)
{
	struct record_event *e = NULL;
	char *copy = strdup(text);

	if (copy)
		e = RECORD_ADD(&m->record->data, events, RECORD_EVENTS_MAX, event_done);
	if (!e) {
		free(copy);
		return;
	}
	*e = (struct record_event){ .at = at, .kind = kind, .text = copy };
	put_in_order(&m->record->data);
	record_changed(m);
}

void record_event(struct migration *m, enum record_event_kind kind, const char *fmt, ...)
{
	char text[RECORD_TEXT_MAX];
	va_list ap;
	int n;

	if (!m || !m->record)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		trim_cut(text);
	add_event(m, kind, record_at_us(m->record, clock_now_ns()), text);
}

/* The last one of KIND, or the one at AT (0: whenever). */
static const struct record_event *last_event(const struct migration_record *d, enum record_event_kind kind, uint64_t at)
{
	for (size_t i = d->n_events; i > 0; i--)
		if (d->events[i - 1].kind == kind && (!at || d->events[i - 1].at == at))
			return &d->events[i - 1];
	return NULL;
}

void record_decision(struct migration *m, const struct migration_decision *decision)
{
	uint64_t at;
	char text[RECORD_TEXT_MAX];

	if (!m->record)
		return;
	at = record_at_us(m->record, stats_get(m->stats, start_ns) + decision->time * NS_PER_MS);
	if (last_event(&m->record->data, RECORD_EVENT_KIND_DECISION, at))
		return;
	if (snprintf(text, sizeof(text), "%s: %s", migration_decision_kind_str(decision->decision), decision->reason) >=
	    (int)sizeof(text))
		trim_cut(text);
	add_event(m, RECORD_EVENT_KIND_DECISION, at, text);
}

void record_handover(struct migration *m)
{
	const struct record_event *last = m->record ? last_event(&m->record->data, RECORD_EVENT_KIND_HANDOVER, 0) : NULL;
	char text[RECORD_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s%s", handover_phase_str(m->phase), m->in_doubt ? ", in doubt" : "");
	if (!last || strcmp(last->text, text) != 0)
		record_event(m, RECORD_EVENT_KIND_HANDOVER, "%s", text);
}
