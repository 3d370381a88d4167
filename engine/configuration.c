/* SPDX-License-Identifier: Apache-2.0 */
/* The stream's head. */
#include "engine/configuration.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/wire.h"

#define SUBSECTION_VERSION 1U
#define CAPABILITIES "configuration/capabilities"
#define UUID "configuration/uuid"
#define PAGE_BITS "configuration/target-page-bits"
#define LOCAL_PAGE_BITS 12U

/* The capabilities that a stream lists, since they change what is in it; in the order of sending. */
static const struct validated {
	const char *name;
	size_t offset;
} validated[] = {
	{ "x-ignore-shared", offsetof(struct configuration, ignore_shared) },
	{ "mapped-ram", offsetof(struct configuration, mapped_ram) },
};

static bool is_on(const struct configuration *c, const struct validated *v)
{
	return *(const bool *)((const char *)c + v->offset);
}

static uint32_t count_on(const struct configuration *c)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(validated); i++)
		n += is_on(c, &validated[i]);
	return n;
}

/* Sending */

static void subsection_begin(struct out *out, const char *name)
{
	out_u8(out, WIRE_SUBSECTION);
	out_str8(out, name);
	out_be32(out, SUBSECTION_VERSION);
}

void configuration_send(struct out *out, const struct configuration *c)
{
	uint32_t n = count_on(c);

	out_be32(out, WIRE_MAGIC);
	out_be32(out, WIRE_VERSION);
	out_u8(out, WIRE_CONFIGURATION);
	out_be32(out, strlen(WIRE_MACHINE_NAME));
	out_bytes(out, WIRE_MACHINE_NAME, strlen(WIRE_MACHINE_NAME));
	if (n > 0) {
		subsection_begin(out, CAPABILITIES);
		out_be32(out, n);
		for (size_t i = 0; i < ARRAY_SIZE(validated); i++)
			if (is_on(c, &validated[i]))
				out_str8(out, validated[i].name);
	}
	if (c->has_uuid) {
		subsection_begin(out, UUID);
		out_bytes(out, c->uuid, sizeof(c->uuid));
	}
}

static void describe_capabilities(struct buf *json, const struct configuration *c)
{
	uint32_t n = count_on(c), k = 0;

	buf_add_str(json, "{\"vmsd_name\": \"" CAPABILITIES "\", \"version\": 1, \"fields\": ["
			  "{\"name\": \"caps_count\", \"type\": \"uint32\", \"size\": 4}");
	for (size_t i = 0; i < ARRAY_SIZE(validated); i++) {
		if (!is_on(c, &validated[i]))
			continue;
		buf_add_str(json, ", {\"name\": \"capabilities\", ");
		if (n > 1)
			buf_printf(json, "\"index\": %u, ", k++);
		buf_printf(json, "\"type\": \"capability\", \"size\": %zu}", strlen(validated[i].name) + 1);
	}
	buf_add_str(json, "]}");
}

void configuration_describe(struct buf *json, const struct configuration *c)
{
	uint32_t n = count_on(c);

	buf_printf(json, "\"vmsd_name\": \"configuration\", \"version\": 1, \"fields\": ["
		   "{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4}, "
		   "{\"name\": \"name\", \"type\": \"buffer\", \"size\": %zu}]", strlen(WIRE_MACHINE_NAME));
	if (n == 0 && !c->has_uuid)
		return;
	buf_add_str(json, ", \"subsections\": [");
	if (n > 0)
		describe_capabilities(json, c);
	if (n > 0 && c->has_uuid)
		buf_add_str(json, ", ");
	if (c->has_uuid)
		buf_add_str(json, "{\"vmsd_name\": \"" UUID "\", \"version\": 1, \"fields\": ["
				  "{\"name\": \"uuid\", \"type\": \"buffer\", \"size\": 16}]}");
	buf_add_str(json, "]");
}

/* Receiving */

static int receive_capabilities(struct in *in, struct configuration *c)
{
	uint32_t n = in_be32(in);
	char name[256];
	size_t k;

	if (!in_error(in) && n > ARRAY_SIZE(validated))
		return in_fail(in, -EBADMSG, "configuration: field 'caps_count': %u (at most %zu)", n,
			       ARRAY_SIZE(validated));
	for (; n > 0; n--) {
		if (in_str8(in, "configuration: field 'capabilities'", name) < 0)
			return in_error(in);
		for (k = 0; k < ARRAY_SIZE(validated) && strcmp(name, validated[k].name) != 0; k++)
			;
		if (k == ARRAY_SIZE(validated))
			return in_fail(in, -EBADMSG, "configuration: field 'capabilities': '%s' is not known "
				       "here", name);
		if (is_on(c, &validated[k]))
			return in_fail(in, -EBADMSG, "configuration: field 'capabilities': '%s' comes twice",
				       name);
		*(bool *)((char *)c + validated[k].offset) = true;
	}
	return in_error(in);
}

static int receive_uuid(struct in *in, struct configuration *c)
{
	if (c->has_uuid)
		return in_fail(in, -EBADMSG, "configuration: field 'uuid' comes twice");
	c->has_uuid = true;
	return in_bytes(in, c->uuid, sizeof(c->uuid));
}

static int receive_page_bits(struct in *in, struct configuration *c)
{
	uint32_t bits = in_be32(in);

	(void)c;
	if (!in_error(in) && bits != LOCAL_PAGE_BITS)
		return in_fail(in, -EBADMSG, "configuration: field 'target-page-bits': %u instead of %u",
			       bits, LOCAL_PAGE_BITS);
	return in_error(in);
}

static int receive_subsection(struct in *in, struct configuration *c)
{
	static const struct {
		const char *name;
		int (*receive)(struct in *, struct configuration *);
	} known[] = { { PAGE_BITS, receive_page_bits },
		      { CAPABILITIES, receive_capabilities },
		      { UUID, receive_uuid } };
	uint32_t version;
	char name[256];

	if (in_str8(in, "configuration: a subsection's name", name) < 0)
		return in_error(in);
	version = in_be32(in);
	if (!in_error(in) && version != SUBSECTION_VERSION)
		return in_fail(in, -EBADMSG, "configuration: subsection '%s': version %u instead of %u", name,
			       version, SUBSECTION_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].receive(in, c);
	return in_fail(in, -EBADMSG, "configuration: subsection '%s' is not known here", name);
}

static int receive_machine(struct in *in)
{
	char name[WIRE_NAME_MAX + 1];
	uint32_t len = in_be32(in);

	if (in_error(in))
		return in_error(in);
	if (len > WIRE_NAME_MAX)
		return in_fail(in, -EBADMSG, "configuration: machine name of %u bytes (at most %u)", len,
			       WIRE_NAME_MAX);
	if (in_bytes(in, name, len) < 0)
		return in_error(in);
	if (len != strlen(WIRE_MACHINE_NAME) || memcmp(name, WIRE_MACHINE_NAME, len) != 0)
		return in_fail(in, -EBADMSG, "configuration: machine '%.*s' instead of '%s'", (int)len, name,
			       WIRE_MACHINE_NAME);
	return 0;
}

int configuration_receive(struct in *in, struct configuration *ret)
{
	uint32_t magic = in_be32(in), version = in_be32(in);

	*ret = (struct configuration){ 0 };
	if (in_error(in))
		return in_error(in);
	if (magic >> 16 == WIRE_TLS_HANDSHAKE)
		return in_fail(in, -EPROTO, "the source speaks TLS, and this side does not: set tls-creds on both sides, or on "
			       "neither");
	if (magic != WIRE_MAGIC)
		return in_fail(in, -EBADMSG, "this is no migration stream: magic 0x%08x instead of 0x%08x",
			       magic, WIRE_MAGIC);
	if (version != WIRE_VERSION)
		return in_fail(in, -EBADMSG, "stream version %u instead of %u", version, WIRE_VERSION);
	if (in_u8(in) != WIRE_CONFIGURATION)
		return in_fail(in, -EBADMSG, "no configuration section after the header");
	if (receive_machine(in) < 0)
		return in_error(in);
	while (in_peek(in) == WIRE_SUBSECTION) {
		(void)in_u8(in);
		if (receive_subsection(in, ret) < 0)
			return in_error(in);
	}
	return in_error(in);
}

int configuration_check(struct in *in, const struct configuration *theirs, const struct configuration *ours)
{
	bool there, here;

	for (size_t i = 0; i < ARRAY_SIZE(validated); i++) {
		there = is_on(theirs, &validated[i]);
		here = is_on(ours, &validated[i]);
		if (there != here)
			return in_fail(in, -EINVAL, "configuration: field 'capabilities': '%s' is %s at the "
				       "source and %s here: set it alike on both sides", validated[i].name,
				       there ? "on" : "off", here ? "on" : "off");
	}
	if (!theirs->has_uuid)
		return 0;
	if (!ours->has_uuid)
		log_warning("the source's guest has a UUID, the one here has none to compare it with");
	else if (memcmp(theirs->uuid, ours->uuid, sizeof(ours->uuid)) != 0)
		return in_fail(in, -EINVAL, "configuration: field 'uuid': the source's guest is another one "
			       "than this VMM was started for: compare query-uuid on both sides, or turn off "
			       "validate-uuid");
	return 0;
}
