/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to JSON tokens. */
#include "qmp/lexer.h"

#include <stddef.h>

/*
 * A state machine: next[state][byte] is the next state, or END(token), with AGAIN if the byte is
 * not part of what ends there. What the table does not mention is an error (0).
 */
enum state {
	START = 0,
	DOUBLE_QUOTED,
	DOUBLE_QUOTED_ESCAPE,
	SINGLE_QUOTED,
	SINGLE_QUOTED_ESCAPE,
	MINUS,
	ZERO,
	DIGITS,
	POINT,
	FRACTION,
	EXPONENT,
	EXPONENT_SIGN,
	EXPONENT_DIGITS,
	KEYWORD,
	RECOVERY,
	N_STATES,
};

#define TO(state) (0x40 | (state))
#define END(token) (0x80 | (token))
#define AGAIN 0x20
#define VALUE_MASK 0x1F

#define ANY 0x00 ... 0xFF
#define STRING_BYTES 0x20 ... 0xFD	/* the rest are errors inside strings */

#define STRING_STATE(quote, itself, escape)                   \
	{                                                     \
		[STRING_BYTES] = TO(itself),                  \
		[quote] = END(LEXER_STRING),                  \
		['\\'] = TO(escape),                          \
	}

/* A later range overrides an earlier one: that is what is meant. */
#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const uint8_t next[N_STATES][256] = {
	[START] = {
		[' '] = TO(START), ['\t'] = TO(START), ['\r'] = TO(START), ['\n'] = TO(START),
		['{'] = END(LEXER_LCURLY), ['}'] = END(LEXER_RCURLY),
		['['] = END(LEXER_LSQUARE), [']'] = END(LEXER_RSQUARE),
		[':'] = END(LEXER_COLON), [','] = END(LEXER_COMMA),
		['"'] = TO(DOUBLE_QUOTED), ['\''] = TO(SINGLE_QUOTED),
		['-'] = TO(MINUS), ['0'] = TO(ZERO), ['1' ... '9'] = TO(DIGITS),
		['a' ... 'z'] = TO(KEYWORD),
	},
	[DOUBLE_QUOTED] = STRING_STATE('"', DOUBLE_QUOTED, DOUBLE_QUOTED_ESCAPE),
	[DOUBLE_QUOTED_ESCAPE] = { [STRING_BYTES] = TO(DOUBLE_QUOTED) },
	[SINGLE_QUOTED] = STRING_STATE('\'', SINGLE_QUOTED, SINGLE_QUOTED_ESCAPE),
	[SINGLE_QUOTED_ESCAPE] = { [STRING_BYTES] = TO(SINGLE_QUOTED) },
	[MINUS] = { ['0'] = TO(ZERO), ['1' ... '9'] = TO(DIGITS) },
	[ZERO] = {
		[ANY] = AGAIN | END(LEXER_INTEGER), ['0' ... '9'] = 0,
		['.'] = TO(POINT), ['e'] = TO(EXPONENT), ['E'] = TO(EXPONENT),
	},
	[DIGITS] = {
		[ANY] = AGAIN | END(LEXER_INTEGER), ['0' ... '9'] = TO(DIGITS),
		['.'] = TO(POINT), ['e'] = TO(EXPONENT), ['E'] = TO(EXPONENT),
	},
	[POINT] = { ['0' ... '9'] = TO(FRACTION) },
	[FRACTION] = {
		[ANY] = AGAIN | END(LEXER_FLOAT), ['0' ... '9'] = TO(FRACTION),
		['e'] = TO(EXPONENT), ['E'] = TO(EXPONENT),
	},
	[EXPONENT] = {
		['+'] = TO(EXPONENT_SIGN), ['-'] = TO(EXPONENT_SIGN),
		['0' ... '9'] = TO(EXPONENT_DIGITS),
	},
	[EXPONENT_SIGN] = { ['0' ... '9'] = TO(EXPONENT_DIGITS) },
	[EXPONENT_DIGITS] = {
		[ANY] = AGAIN | END(LEXER_FLOAT), ['0' ... '9'] = TO(EXPONENT_DIGITS),
	},
	[KEYWORD] = { [ANY] = AGAIN | END(LEXER_KEYWORD), ['a' ... 'z'] = TO(KEYWORD) },
	[RECOVERY] = {
		[ANY] = TO(RECOVERY),
		/* Where a new value may start; the byte itself is looked at from there. */
		[0x00 ... 0x08] = AGAIN | TO(START), [0x0A ... 0x1F] = AGAIN | TO(START),
		[0xFE ... 0xFF] = AGAIN | TO(START),
		['['] = AGAIN | TO(START), [']'] = AGAIN | TO(START),
		['{'] = AGAIN | TO(START), ['}'] = AGAIN | TO(START),
		[':'] = AGAIN | TO(START), [','] = AGAIN | TO(START),
	},
};
#pragma GCC diagnostic pop

struct lexer_step lexer_feed(struct lexer *l, uint8_t byte)
{
	uint8_t to = next[l->state][byte];
	struct lexer_step step = { .used = !(to & AGAIN) };

	if (!to) {
		l->state = RECOVERY;
		step.token = LEXER_ERROR;
		step.text = true;
	} else if (to & END(0)) {
		l->state = START;
		step.token = to & VALUE_MASK;
		step.text = true;
	} else {
		l->state = to & VALUE_MASK;
		step.text = l->state != START && l->state != RECOVERY;
	}
	return step;
}

void lexer_skip(struct lexer *l)
{
	l->state = RECOVERY;
}

enum lexer_token lexer_finish(struct lexer *l)
{
	/* A line feed ends what can end here; nothing else is completed by it. */
	enum state before = l->state;
	struct lexer_step step = lexer_feed(l, '\n');

	l->state = START;
	return before == START || before == RECOVERY ? LEXER_NONE : step.token;
}
