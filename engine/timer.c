/* SPDX-License-Identifier: Apache-2.0 */
/* The `timer` section. */
#include "engine/timer.h"

#include <errno.h>
#include <string.h>

#define IDSTR "timer"
#define VERSION 2U

/* cpu_ticks_offset, 8 unused bytes; from version 2 on cpu_clock_offset. */
#define BODY_LEN(version) ((version) >= 2 ? 24U : 16U)

static int save(void *opaque, struct buf *body, struct merr *err)
{
	uint8_t *b = buf_room(body, BODY_LEN(VERSION));

	(void)opaque;
	(void)err;
	if (!b)
		return body->error;
	memset(b, 0, BODY_LEN(VERSION));
	return 0;
}

static int load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	uint8_t body[BODY_LEN(VERSION)];

	(void)opaque;
	(void)part;
	if (in_bytes(in, body, BODY_LEN(version)) < 0)
		return in_error(in);
	if (in_peek(in) == WIRE_SUBSECTION)
		return in_fail(in, -ENOTSUP, "section '" IDSTR "': it has a subsection: a guest that counts "
			       "instructions (icount) cannot be taken over");
	return in_error(in);
}

static const struct handler_ops ops = {
	.save = save,
	.vmsd = "\"vmsd_name\": \"timer\", \"version\": 2, \"fields\": ["
		"{\"name\": \"cpu_ticks_offset\", \"type\": \"int64\", \"size\": 8}, "
		"{\"name\": \"unused\", \"type\": \"unused_buffer\", \"size\": 8}, "
		"{\"name\": \"cpu_clock_offset\", \"type\": \"int64\", \"size\": 8}]",
	.load = load,
};

int timer_register(struct handlers *hs, struct merr *err)
{
	const struct handler h = {
		.idstr = IDSTR,
		.alias = HANDLER_NO_ALIAS,
		.version = VERSION,
		.minimum_version = 1,
		.priority = HANDLER_PRIORITY_DEFAULT,
		.ops = &ops,
	};

	return handlers_add(hs, &h, err);
}
