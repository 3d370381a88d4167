/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of JSON values: tokens are collected until the brackets balance. */
#include "qmp/parser.h"

#include <errno.h>
#include <stdbool.h>

#include "qmp/limits.h"
#include "qmp/parser-value.h"

const struct qmp_parser_limits qmp_parser_default_limits = {
	.text_bytes = QMP_MAX_TEXT_BYTES,
	.tokens = QMP_MAX_TOKENS,
	.nesting = QMP_MAX_NESTING,
};

/* Memory kept from one value to the next. */
#define KEEP_BYTES 4096U

static void buf_reset(struct buf *b)
{
	if (b->cap > KEEP_BYTES || b->error)
		buf_done(b);
	b->len = 0;
}

static void forget_value(struct qmp_parser *p)
{
	buf_reset(&p->text);
	buf_reset(&p->tokens);
	p->token_start = 0;
	p->braces = 0;
	p->brackets = 0;
}

void qmp_parser_done(struct qmp_parser *p)
{
	buf_done(&p->text);
	buf_done(&p->tokens);
	*p = (struct qmp_parser){ .limits = p->limits };
}

static enum qmp_parser_result fail(struct qmp_parser *p, struct merr *err, const char *text)
{
	(void)merr_set(err, -EINVAL, "%s", text);
	forget_value(p);
	return QMP_PARSER_ERROR;
}

static enum qmp_parser_result stray(struct qmp_parser *p, struct merr *err)
{
	buf_u8(&p->text, 0);
	(void)merr_set(err, -EINVAL, "JSON parse error, stray '%s'",
		       p->text.error ? "" : (const char *)p->text.data + p->token_start);
	forget_value(p);
	return QMP_PARSER_ERROR;
}

static enum qmp_parser_result complete(struct qmp_parser *p, json_t **ret_value, struct merr *err)
{
	const struct qmp_token_list list = {
		.text = (const char *)p->text.data,
		.tokens = (const struct qmp_token *)(const void *)p->tokens.data,
		.n_tokens = p->tokens.len / sizeof(struct qmp_token),
	};
	int r = qmp_parser_value(&list, ret_value, err);

	forget_value(p);
	return r < 0 ? QMP_PARSER_ERROR : QMP_PARSER_VALUE;
}

static void count_brackets(struct qmp_parser *p, enum lexer_token type)
{
	p->braces += (type == LEXER_LCURLY) - (type == LEXER_RCURLY);
	p->brackets += (type == LEXER_LSQUARE) - (type == LEXER_RSQUARE);
}

/* A token is complete: keep it, and parse the value if it is the last one. */
static enum qmp_parser_result add_token(struct qmp_parser *p, enum lexer_token type,
					json_t **ret_value, struct merr *err)
{
	const struct qmp_token token = {
		.type = type, .offset = p->token_start,
		.len = (uint32_t)p->text.len - p->token_start,
	};

	if (type == LEXER_ERROR)
		return stray(p, err);
	count_brackets(p, type);
	if (p->text.len > p->limits->text_bytes)
		return fail(p, err, "JSON token size limit exceeded");
	if (p->tokens.len / sizeof(token) >= p->limits->tokens)
		return fail(p, err, "JSON token count limit exceeded");
	if (p->braces + p->brackets > (int64_t)p->limits->nesting)
		return fail(p, err, "JSON nesting depth limit exceeded");
	buf_add(&p->tokens, &token, sizeof(token));
	p->token_start = (uint32_t)p->text.len;
	if (p->text.error || p->tokens.error)
		return fail(p, err, "out of memory");
	if ((p->braces > 0 || p->brackets > 0) && p->braces >= 0 && p->brackets >= 0)
		return QMP_PARSER_MORE;
	return complete(p, ret_value, err);
}

/* The token being read alone is over the limit: no need to wait for its end. */
static bool token_too_long(const struct qmp_parser *p)
{
	return p->text.len - p->token_start > p->limits->text_bytes;
}

/*
 * Look at bytes up to the end of a token, of a token that is too long, or of something that is no
 * part of one; keep those of the token. Returns how many were used.
 */
static size_t read_token(struct qmp_parser *p, const uint8_t *bytes, size_t len,
			 enum lexer_token *ret_token)
{
	size_t most = p->limits->text_bytes + 1ULL - (p->text.len - p->token_start);
	struct lexer_step step;
	size_t n = 0;

	len = len < most ? len : most;
	do {
		step = lexer_feed(&p->lexer, bytes[n]);
		n += step.used;
	} while (n < len && step.used && step.text && step.token == LEXER_NONE);
	buf_add(&p->text, bytes, n - (step.used && !step.text));
	*ret_token = step.token;
	return n;
}

enum qmp_parser_result qmp_parser_feed(struct qmp_parser *p, const void *data, size_t len,
				       size_t *ret_used, json_t **ret_value, struct merr *err)
{
	enum qmp_parser_result result = QMP_PARSER_MORE;
	const uint8_t *bytes = data;
	enum lexer_token token;
	size_t used = 0;

	while (used < len && result == QMP_PARSER_MORE) {
		used += read_token(p, bytes + used, len - used, &token);
		if (token != LEXER_NONE) {
			result = add_token(p, token, ret_value, err);
		} else if (token_too_long(p) || p->text.error) {
			lexer_skip(&p->lexer);
			result = fail(p, err, p->text.error ? "out of memory"
							    : "JSON token size limit exceeded");
		}
	}
	*ret_used = used;
	return result;
}

enum qmp_parser_result qmp_parser_finish(struct qmp_parser *p, json_t **ret_value,
					 struct merr *err)
{
	enum qmp_parser_result result = QMP_PARSER_MORE;
	enum lexer_token last = lexer_finish(&p->lexer);

	if (last != LEXER_NONE)
		result = add_token(p, last, ret_value, err);
	if (result == QMP_PARSER_MORE && p->tokens.len > 0)
		result = complete(p, ret_value, err);
	forget_value(p);
	return result;
}
