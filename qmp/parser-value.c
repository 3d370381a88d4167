/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tokens of one value to the value: recursive descent. The depth is bounded by the nesting
 * limit, since every level takes an opening bracket.
 */
#include "qmp/parser-value.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "schema/value.h"

struct walk {
	const struct qmp_token_list *list;
	size_t at;
	struct merr *err;
};

static json_t *fail(struct walk *w, const char *what)
{
	(void)merr_set(w->err, -EINVAL, "JSON parse error, %s", what);
	return NULL;
}

static json_t *no_memory(struct walk *w)
{
	(void)merr_set(w->err, -ENOMEM, "out of memory");
	return NULL;
}

/* LEXER_NONE at the end. */
static enum lexer_token peek(const struct walk *w)
{
	return w->at < w->list->n_tokens ? w->list->tokens[w->at].type : LEXER_NONE;
}

static const char *token_text(const struct walk *w, size_t *ret_len)
{
	const struct qmp_token *t = &w->list->tokens[w->at];

	*ret_len = t->len;
	return w->list->text + t->offset;
}

static json_t *parse_value(struct walk *w);

/* The next token must be of this TYPE. */
static bool take(struct walk *w, enum lexer_token type, const char *otherwise)
{
	if (peek(w) == type) {
		w->at++;
		return true;
	}
	(void)fail(w, peek(w) == LEXER_NONE ? "premature EOI" : otherwise);
	return false;
}

static bool parse_key(struct walk *w, struct buf *key)
{
	const char *text;
	json_t *value;
	size_t len;

	if (peek(w) != LEXER_STRING) {
		/* What is no value at all is said to be that. */
		value = parse_value(w);
		if (value)
			(void)fail(w, "key is not a string in object");
		json_decref(value);
		return false;
	}
	text = token_text(w, &len);
	w->at++;
	if (qmp_parser_string(text, len, key, w->err) < 0)
		return false;
	buf_u8(key, 0);
	if (key->error)
		(void)no_memory(w);
	return !key->error;
}

static bool parse_pair(struct walk *w, json_t *object)
{
	struct buf key = { 0 };
	json_t *value = NULL;
	bool ok = false;

	if (!parse_key(w, &key) || !take(w, LEXER_COLON, "missing : in object pair"))
		goto out;
	value = parse_value(w);
	if (!value)
		goto out;
	if (json_object_get(object, (const char *)key.data)) {
		(void)fail(w, "duplicate key");
		goto out;
	}
	ok = json_object_set_nocheck(object, (const char *)key.data, value) == 0;
	if (!ok)
		(void)no_memory(w);
out:
	json_decref(value);
	buf_done(&key);
	return ok;
}

static bool parse_element(struct walk *w, json_t *array)
{
	json_t *value = parse_value(w);

	if (!value)
		return false;
	if (json_array_append_new(array, value) < 0) {
		(void)no_memory(w);
		return false;
	}
	return true;
}

/* What is between the brackets: items with commas between them, up to and including END. */
static json_t *parse_items(struct walk *w, json_t *into, enum lexer_token end,
			   bool (*item)(struct walk *, json_t *), const char *no_separator)
{
	w->at++;
	if (!into)
		return no_memory(w);
	if (peek(w) == end) {
		w->at++;
		return into;
	}
	while (item(w, into)) {
		if (peek(w) == end) {
			w->at++;
			return into;
		}
		if (!take(w, LEXER_COMMA, no_separator))
			break;
	}
	json_decref(into);
	return NULL;
}

static json_t *parse_keyword(struct walk *w)
{
	char word[64];
	const char *text;
	size_t len;

	text = token_text(w, &len);
	w->at++;
	if (len == 4 && memcmp(text, "true", 4) == 0)
		return json_true();
	if (len == 5 && memcmp(text, "false", 5) == 0)
		return json_false();
	if (len == 4 && memcmp(text, "null", 4) == 0)
		return json_null();
	len = len < sizeof(word) ? len : sizeof(word) - 1;
	memcpy(word, text, len);
	word[len] = '\0';
	(void)merr_set(w->err, -EINVAL, "JSON parse error, invalid keyword '%s'", word);
	return NULL;
}

static json_t *parse_string(struct walk *w)
{
	struct buf s = { 0 };
	json_t *j = NULL;
	const char *text;
	size_t len;

	text = token_text(w, &len);
	w->at++;
	if (qmp_parser_string(text, len, &s, w->err) == 0) {
		/* Checked already; this turns C0 80 into NUL. */
		j = json_text(s.data ? (const char *)s.data : "", s.len);
		if (!j)
			(void)no_memory(w);
	}
	buf_done(&s);
	return j;
}

static json_t *real(struct walk *w, const char *number)
{
	double v = strtod(number, NULL);
	json_t *j;

	if (!isfinite(v))
		return fail(w, "number is out of range");
	j = json_real(v);
	return j ? j : no_memory(w);
}

static json_t *integer(struct walk *w, const char *number)
{
	uint64_t big;
	int64_t v;

	errno = 0;
	v = strtoll(number, NULL, 10);
	if (errno == 0)
		return json_integer(v);
	errno = 0;
	big = strtoull(number, NULL, 10);
	if (errno == 0 && number[0] != '-')
		return json_uint64(big);
	return real(w, number);
}

static json_t *parse_number(struct walk *w)
{
	bool is_integer = peek(w) == LEXER_INTEGER;
	char *number;
	json_t *j;
	const char *text;
	size_t len;

	text = token_text(w, &len);
	w->at++;
	number = strndup(text, len);
	if (!number)
		return no_memory(w);
	j = is_integer ? integer(w, number) : real(w, number);
	free(number);
	return j;
}

static json_t *parse_value(struct walk *w)
{
	switch (peek(w)) {
	case LEXER_LCURLY:
		return parse_items(w, json_object(), LEXER_RCURLY, parse_pair,
				   "expected separator in dict");
	case LEXER_LSQUARE:
		return parse_items(w, json_array(), LEXER_RSQUARE, parse_element,
				   "expected separator in list");
	case LEXER_STRING:
		return parse_string(w);
	case LEXER_INTEGER:
	case LEXER_FLOAT:
		return parse_number(w);
	case LEXER_KEYWORD:
		return parse_keyword(w);
	case LEXER_NONE:
		return fail(w, "premature EOI");
	default:
		return fail(w, "expecting value");
	}
}

int qmp_parser_value(const struct qmp_token_list *list, json_t **ret, struct merr *err)
{
	struct merr local = MERR_INIT;
	struct walk w = { .list = list, .err = &local };
	json_t *value = parse_value(&w);

	if (!value)
		return merr_copy(err, &local);
	*ret = value;
	return 0;
}
