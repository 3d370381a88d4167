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

/* Run states as QEMU names them. A guest that was not one of these is live. */
static const struct {
	enum migd_guest_run_state state;
	const char *name;
	bool live;
} states[] = {
	{ MIGD_GUEST_RS_RUNNING, "running", true },
	{ MIGD_GUEST_RS_SUSPENDED, "suspended", true },
	{ MIGD_GUEST_RS_PAUSED, "paused", false },
	{ MIGD_GUEST_RS_SHUTDOWN, "shutdown", false },
	{ MIGD_GUEST_RS_PANICKED, "guest-panicked", false },
};

static const char *name_of(enum migd_guest_run_state state)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (states[i].state == state)
			return states[i].name;
	return "paused";
}

void globalstate_send(struct out *out, uint32_t section_id, enum migd_guest_run_state state)
{
	uint8_t body[WIRE_GLOBALSTATE_LEN] = { 0 };
	const char *name = name_of(state);

	store_be32(body + SIZE_OFFSET, (uint32_t)strlen(name) + 1);
	memcpy(body + NAME_OFFSET, name, strlen(name));
	body[HAS_SUSPENDED_OFFSET] = 1;
	body[SUSPENDED_OFFSET] = state == MIGD_GUEST_RS_SUSPENDED;
	out_u8(out, WIRE_SECTION_FULL);
	out_be32(out, section_id);
	out_str8(out, WIRE_GLOBALSTATE_IDSTR);
	out_be32(out, 0);
	out_be32(out, 1);
	out_bytes(out, body, sizeof(body));
	out_u8(out, WIRE_FOOTER);
	out_be32(out, section_id);
}

static int take_body(struct in *in, const uint8_t *body, bool *ret_live)
{
	char name[WIRE_RUNSTATE_MAX];

	memcpy(name, body + NAME_OFFSET, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	if (load_be32(body + SIZE_OFFSET) > WIRE_RUNSTATE_MAX)
		return in_fail(in, -EBADMSG, "section 'globalstate': field 'size': %u (at most %u)",
			       load_be32(body + SIZE_OFFSET), WIRE_RUNSTATE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].name, name) == 0) {
			*ret_live = states[i].live;
			return 0;
		}
	return in_fail(in, -EBADMSG, "section 'globalstate': unknown run state");
}

int globalstate_receive(struct in *in, bool *ret_live)
{
	uint8_t body[WIRE_GLOBALSTATE_LEN];
	char idstr[256];
	uint32_t id, instance, version;
	uint8_t type = in_u8(in);

	id = in_be32(in);
	if (in_error(in) || in_str8(in, "section idstr", idstr) < 0)
		return in_error(in);
	instance = in_be32(in);
	version = in_be32(in);
	if (in_bytes(in, body, sizeof(body)) < 0)
		return in_error(in);
	if (type != WIRE_SECTION_FULL || strcmp(idstr, WIRE_GLOBALSTATE_IDSTR) != 0 || instance != 0 ||
	    version != 1)
		return in_fail(in, -EBADMSG, "package: section '%s' (type 0x%02x, version %u) instead of "
			       "'%s'", idstr, type, version, WIRE_GLOBALSTATE_IDSTR);
	if (in_u8(in) != WIRE_FOOTER || in_be32(in) != id)
		return in_fail(in, -EBADMSG, "section '%s': its footer is missing or another's", idstr);
	return take_body(in, body, ret_live);
}
