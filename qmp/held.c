/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that all sessions take together. Each alone may have a large value under way or much unsent; if all of them
 * had, there would be no memory left. Then those that take most are dropped, and those that take little never are.
 */
#include "qmp/internal.h"

/* A value takes more memory than its text. */
#define MEMORY_PER_TEXT 4U

static size_t held_by(const struct qmp_session *s)
{
	return s->parser.text.cap + s->parser.tokens.cap + s->out.cap + s->queued_bytes * MEMORY_PER_TEXT;
}

static void set_held(struct qmp_session *s, size_t bytes)
{
	s->server->held_bytes += bytes - s->held_bytes;
	s->held_bytes = bytes;
}

void qmp_session_forget_held(struct qmp_session *s)
{
	set_held(s, 0);
}

bool qmp_session_holds_too_much(struct qmp_session *s)
{
	set_held(s, held_by(s));
	return s->server->held_bytes > s->server->options.limits.held_bytes && s->held_bytes > QMP_FAIR_HELD_BYTES;
}
