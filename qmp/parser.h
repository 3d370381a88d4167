/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of JSON values, as QMP clients send them: framing, limits, resynchronisation and error
 * texts of QMP.md 1.1. Values are jansson's, except: integers from 2^63 to 2^64 - 1 are as in
 * schema/value.h; NUL in a member's name is the two bytes C0 80.
 *
 * Tokens are collected until the brackets balance, and parsed then: what is wrong with a value is
 * known at its end, and the next value starts right after it.
 */
#ifndef MIGD_QMP_PARSER_H
#define MIGD_QMP_PARSER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "qmp/lexer.h"

struct qmp_parser_limits {
	uint32_t text_bytes;
	uint32_t tokens;
	uint32_t nesting;
};

extern const struct qmp_parser_limits qmp_parser_default_limits;

/* A kept token: its text is in qmp_parser.text. */
struct qmp_token {
	enum lexer_token type;
	uint32_t offset;
	uint32_t len;
};

/* Zero-initialise, except `limits` (borrowed). */
struct qmp_parser {
	const struct qmp_parser_limits *limits;
	struct lexer lexer;
	struct buf text;	/* of the kept tokens, then of the one being read */
	uint32_t token_start;	/* where in `text` the one being read starts */
	struct buf tokens;	/* struct qmp_token */
	int32_t braces, brackets;	/* open ones */
};

enum qmp_parser_result {
	QMP_PARSER_MORE,	/* all is used, and nothing is complete */
	QMP_PARSER_VALUE,
	QMP_PARSER_ERROR,
};

void qmp_parser_done(struct qmp_parser *p);

/*
 * Look at bytes until a value or an error is complete. *RET_USED: how many; call again with the
 * rest. VALUE: *RET_VALUE is a new reference. ERROR: ERR says what (the text for the client), and
 * parsing goes on after it.
 */
enum qmp_parser_result qmp_parser_feed(struct qmp_parser *p, const void *data, size_t len,
				       size_t *ret_used, json_t **ret_value, struct merr *err);

/* The stream ended: as above for what is left. The parser is then as new. */
enum qmp_parser_result qmp_parser_finish(struct qmp_parser *p, json_t **ret_value,
					 struct merr *err);

#endif
