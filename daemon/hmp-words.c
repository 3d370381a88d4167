/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line's words. Spaces and tabs lie between them. A word that begins with a quote, single or double, goes to the next such
 * one, and may have spaces; in it, \ goes before a quote or a \, and \n, \r and \t are what they are in C.
 */
#include <errno.h>
#include <string.h>

#include "daemon/hmp.h"
#include "daemon/json.h"
#include "schema/value.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What \C stands for; 0: nothing. */
static char escaped(char c)
{
	static const char from[] = "\\\"'nrt", to[] = "\\\"'\n\r\t";
	const char *at = c ? strchr(from, c) : NULL;

	return at ? to[at - from] : '\0';
}

/* TEXT is behind the opening QUOTE; returns what is behind the closing one, or NULL with ERR. */
static const char *take_quoted(const char *text, char quote, struct buf *word, struct merr *err)
{
	const char *p;
	char c;

	for (p = text; *p && *p != quote; p++) {
		c = *p == '\\' ? escaped(*++p) : *p;
		if (!c) {
			(void)merr_set(err, -EINVAL, "\\ in quotes goes before \\, a quote, n, r or t");
			return NULL;
		}
		buf_u8(word, (uint8_t)c);
	}
	if (!*p)
		(void)merr_set(err, -EINVAL, "the quote %c is not closed", quote);
	else if (p[1] && !is_space(p[1]))
		(void)merr_set(err, -EINVAL, "a space is missing behind the quote %c", quote);
	else
		return p + 1;
	return NULL;
}

static const char *take_plain(const char *text, struct buf *word)
{
	while (*text && !is_space(*text))
		buf_u8(word, (uint8_t)*text++);
	return text;
}

static int add_word(json_t *list, const struct buf *word, struct merr *err)
{
	if (json_array_size(list) == HMP_MAX_WORDS)
		return merr_set(err, -EINVAL, "there are more than %u words", HMP_MAX_WORDS);
	if (word->error || json_array_append_new(list, json_text(word->data ? (const char *)word->data : "", word->len)) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	return 0;
}

int hmp_split(const char *text, json_t **ret, struct merr *err)
{
	_cleanup_json_ json_t *list = json_array();
	struct buf word;
	int r = 0;

	if (strlen(text) > HMP_MAX_LINE)
		return merr_set(err, -EINVAL, "the line has more than %u bytes", HMP_MAX_LINE);
	while (r == 0) {
		while (is_space(*text))
			text++;
		if (!*text)
			break;
		word = (struct buf){ 0 };
		text = *text == '"' || *text == '\'' ? take_quoted(text + 1, *text, &word, err) : take_plain(text, &word);
		r = text ? add_word(list, &word, err) : -EINVAL;
		buf_done(&word);
	}
	if (r == 0)
		*ret = TAKE_PTR(list);
	return r;
}
