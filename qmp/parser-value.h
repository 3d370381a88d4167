/* SPDX-License-Identifier: Apache-2.0 */
/* From the tokens of one value to the value. */
#ifndef MIGD_QMP_PARSER_VALUE_H
#define MIGD_QMP_PARSER_VALUE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "qmp/parser.h"

struct qmp_token_list {
	const char *text;	/* that the tokens' offsets are in */
	const struct qmp_token *tokens;
	size_t n_tokens;
};

/* A new reference in *RET, or -EINVAL or -ENOMEM with ERR, in the words of QMP.md 1.1. */
int qmp_parser_value(const struct qmp_token_list *list, json_t **ret, struct merr *err);

/* The characters of a string token, quotes included, with escapes resolved and NUL as C0 80. */
int qmp_parser_string(const char *token, size_t len, struct buf *ret, struct merr *err);

#endif
