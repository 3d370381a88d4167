/* SPDX-License-Identifier: Apache-2.0 */
/* The `globalstate` section. */
#include "engine/globalstate.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* Offsets in the body. */
#define SIZE_OFFSET 0
#define NAME_OFFSET 4
#define HAS_SUSPENDED_OFFSET 36
#define SUSPENDED_OFFSET 37

/* Run states as QEMU names them; those that a library reports come first. */
static const struct {
	const char *name;
	enum migd_guest_run_state state;
	bool live;	/* a guest that was in it goes on */
} states[] = {
	{ "running", MIGD_GUEST_RS_RUNNING, true },
	{ "suspended", MIGD_GUEST_RS_SUSPENDED, true },
	{ "paused", MIGD_GUEST_RS_PAUSED, false },
	{ "shutdown", MIGD_GUEST_RS_SHUTDOWN, false },
	{ "guest-panicked", MIGD_GUEST_RS_PANICKED, false },
	/* Only ever received: a guest in one of these arrives paused. */
	{ "debug", MIGD_GUEST_RS_PAUSED, false },
	{ "inmigrate", MIGD_GUEST_RS_PAUSED, false },
	{ "internal-error", MIGD_GUEST_RS_PAUSED, false },
	{ "io-error", MIGD_GUEST_RS_PAUSED, false },
	{ "postmigrate", MIGD_GUEST_RS_PAUSED, false },
	{ "prelaunch", MIGD_GUEST_RS_PAUSED, false },
	{ "finish-migrate", MIGD_GUEST_RS_PAUSED, false },
	{ "restore-vm", MIGD_GUEST_RS_PAUSED, false },
	{ "save-vm", MIGD_GUEST_RS_PAUSED, false },
	{ "watchdog", MIGD_GUEST_RS_PAUSED, false },
	{ "colo", MIGD_GUEST_RS_PAUSED, false },
};

static const char *name_of(enum migd_guest_run_state state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (states[i].state == state)
			return states[i].name;
	return "paused";
}

static int save(void *opaque, struct buf *body, struct merr *err)
{
	const struct globalstate *g = opaque;
	const char *name = name_of(g->state);
	uint8_t *b = buf_room(body, WIRE_GLOBALSTATE_LEN);

	(void)err;
	if (!b)
		return body->error;
	memset(b, 0, WIRE_GLOBALSTATE_LEN);
	store_be32(b + SIZE_OFFSET, (uint32_t)strlen(name) + 1);
	memcpy(b + NAME_OFFSET, name, strlen(name));
	b[HAS_SUSPENDED_OFFSET] = 1;
	b[SUSPENDED_OFFSET] = g->state == MIGD_GUEST_RS_SUSPENDED;
	return 0;
}

static int load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	uint8_t body[WIRE_GLOBALSTATE_LEN];
	struct globalstate *g = opaque;
	char name[WIRE_RUNSTATE_MAX];
	uint32_t size;

	(void)part;
	(void)version;
	if (in_bytes(in, body, sizeof(body)) < 0)
		return in_error(in);
	size = load_be32(body + SIZE_OFFSET);
	memcpy(name, body + NAME_OFFSET, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	if (size > WIRE_RUNSTATE_MAX)
		return in_fail(in, -EBADMSG, "section 'globalstate': field 'size': %u (at most %u)", size,
			       WIRE_RUNSTATE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].name, name) == 0) {
			g->live = states[i].live;
			return 0;
		}
	return in_fail(in, -EBADMSG, "section 'globalstate': field 'runstate': unknown run state");
}

static int load_done(void *opaque, struct in *in, bool seen)
{
	const struct globalstate *g = opaque;

	if (!seen && g->required)
		return in_fail(in, -EBADMSG, "the stream ended without a section 'globalstate'");
	return 0;
}

static const struct handler_ops ops = {
	.save = save,
	.vmsd = "\"vmsd_name\": \"globalstate\", \"version\": 1, \"fields\": ["
		"{\"name\": \"size\", \"type\": \"uint32\", \"size\": 4}, "
		"{\"name\": \"runstate\", \"type\": \"buffer\", \"size\": 32}, "
		"{\"name\": \"has_vm_was_suspended\", \"type\": \"bool\", \"size\": 1}, "
		"{\"name\": \"vm_was_suspended\", \"type\": \"bool\", \"size\": 1}, "
		"{\"name\": \"unused\", \"type\": \"unused_buffer\", \"size\": 66}]",
	.load = load,
	.load_done = load_done,
};

int globalstate_register(struct handlers *hs, struct globalstate *g, struct merr *err)
{
	const struct handler h = {
		.idstr = WIRE_GLOBALSTATE_IDSTR,
		.alias = HANDLER_NO_ALIAS,
		.version = 1,
		.minimum_version = 1,
		.priority = HANDLER_PRIORITY_DEFAULT,
		.ops = &ops,
		.opaque = g,
	};

	return handlers_add(hs, &h, err);
}
