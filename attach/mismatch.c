/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what keeps a guest from moving. */
#include "attach/mismatch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "attach/codec.h"
#include "base/cleanup.h"

/* One mismatch as a sentence: four texts and what joins them. */
#define SENTENCE_MAX (4 * ATTACH_STR_MAX + 64)
/* "; and 4294967295 more" */
#define MORE_MAX 32

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

static void copy_text(char *ret, const char *text)
{
	size_t i;

	for (i = 0; i < ATTACH_STR_MAX && text[i]; i++)
		ret[i] = is_printable(text[i]) ? text[i] : '?';
	ret[i] = '\0';
}

static bool is_same(const struct attach_mismatch *a, const struct attach_mismatch *b)
{
	return strcmp(a->subject, b->subject) == 0 && strcmp(a->source, b->source) == 0 &&
	       strcmp(a->target, b->target) == 0;
}

void mismatch_add(struct mismatches *m, const char *subject, const char *source, const char *target,
		  const char *advice)
{
	struct attach_mismatch mm;

	copy_text(mm.subject, subject);
	copy_text(mm.source, source);
	copy_text(mm.target, target);
	copy_text(mm.advice, advice);
	for (uint32_t i = 0; i < m->n; i++)
		if (is_same(&m->list[i], &mm))
			return;
	m->found++;
	if (m->n < ATTACH_MISMATCHES_MAX)
		m->list[m->n++] = mm;
}

const char *mismatch_format(struct mismatch_text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(t->s, sizeof(t->s), fmt, ap);
	va_end(ap);
	return t->s;
}

static bool is_text(const char *s)
{
	while (is_printable(*s))
		s++;
	return *s == '\0';
}

bool mismatch_is_sound(const struct attach_mismatch *mm)
{
	return mm->subject[0] && is_text(mm->subject) && is_text(mm->source) &&
	       is_text(mm->target) && is_text(mm->advice);
}

/* ---- as bytes ---- */

int mismatches_encode(struct wcur *w, const struct mismatches *m)
{
	static const size_t row_max = 4 * (sizeof(uint16_t) + ATTACH_STR_MAX);
	_cleanup_free_ uint8_t *rows = malloc(ATTACH_MISMATCHES_MAX * row_max);
	struct attach_mismatches body = { .found = m->found, .n = m->n };
	struct wcur list;

	if (!rows)
		return -ENOMEM;
	list = wcur_of(rows, ATTACH_MISMATCHES_MAX * row_max);
	for (uint32_t i = 0; i < m->n; i++)
		(void)attach_mismatch_encode(&list, &m->list[i]);
	body.list = (struct attach_blob){ .data = rows, .len = (uint32_t)list.len };
	return attach_mismatches_encode(w, &body);
}

static int take_rows(struct rcur *list, struct mismatches *ret, struct merr *err)
{
	int r;

	for (uint32_t i = 0; i < ret->n; i++) {
		r = attach_mismatch_decode(list, &ret->list[i], err);
		if (r == 0 && !mismatch_is_sound(&ret->list[i]))
			r = merr_set(err, -EBADMSG,
				     "attach message 'mismatches': number %" PRIu32
				     " is not printable ASCII, or without subject", i);
		if (r < 0)
			return r;
	}
	return attach_decode_end(list, err);
}

int mismatches_decode(struct rcur *c, struct mismatches *ret, struct merr *err)
{
	struct attach_mismatches body;
	struct rcur list;
	int r = attach_mismatches_decode(c, &body, err);

	if (r < 0)
		return r;
	if (body.n > ATTACH_MISMATCHES_MAX || body.found < body.n)
		return merr_set(err, -EBADMSG,
				"attach message 'mismatches': %" PRIu32 " of %" PRIu32 " (at most %u)",
				body.n, body.found, ATTACH_MISMATCHES_MAX);
	ret->found = body.found;
	ret->n = body.n;
	list = rcur_of(body.list.data, body.list.len);
	return take_rows(&list, ret, err);
}

/* ---- as a text ---- */

static void sentence(const struct attach_mismatch *mm, const char *target_is, char *ret)
{
	(void)snprintf(ret, SENTENCE_MAX, "%s: %s at the source, %s %s: %s", mm->subject, mm->source,
		       mm->target, target_is, mm->advice);
}

int mismatches_fail(const struct mismatches *m, const char *target_is, struct merr *err)
{
	char text[MERR_MSG_MAX] = "", one[SENTENCE_MAX];
	size_t len = 0, add;
	uint32_t told = 0;

	if (m->found == 0)
		return 0;
	for (; told < m->n; told++) {
		sentence(&m->list[told], target_is, one);
		add = strlen(one) + (told ? 2 : 0);
		if (len + add + MORE_MAX > sizeof(text))
			break;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", told ? "; " : "", one);
	}
	if (told < m->found)
		(void)snprintf(text + len, sizeof(text) - len, "; and %" PRIu32 " more",
			       m->found - told);
	return merr_set(err, -EINVAL, "%s", text);
}
