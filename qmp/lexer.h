/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to JSON tokens: one byte at a time, whatever the packets. The grammar and the recovery
 * from errors are those of QMP.md 1.1.
 */
#ifndef MIGD_QMP_LEXER_H
#define MIGD_QMP_LEXER_H

#include <stdbool.h>
#include <stdint.h>

enum lexer_token {
	LEXER_NONE = 0,	/* nothing ends with this byte */
	LEXER_LCURLY,
	LEXER_RCURLY,
	LEXER_LSQUARE,
	LEXER_RSQUARE,
	LEXER_COLON,
	LEXER_COMMA,
	LEXER_INTEGER,
	LEXER_FLOAT,
	LEXER_KEYWORD,
	LEXER_STRING,
	LEXER_ERROR,	/* these begin no token; skipped up to the next likely start */
};

struct lexer {
	uint8_t state;	/* zero-initialise */
};

/* What a byte does. The byte belongs to the token's text if both `used` and `text` are true. */
struct lexer_step {
	enum lexer_token token;	/* what ended */
	bool used;	/* false: the byte is not part of what ended, and comes again */
	bool text;	/* false: space, or skipped */
};

struct lexer_step lexer_feed(struct lexer *l, uint8_t byte);

/* Skip what follows, up to the next likely start of a value. */
void lexer_skip(struct lexer *l);

/* No more bytes: the token that ends here, or LEXER_NONE. */
enum lexer_token lexer_finish(struct lexer *l);

#endif
