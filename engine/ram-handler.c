/* SPDX-License-Identifier: Apache-2.0 */
/* RAM as a member of the registry of section handlers. */
#include "engine/ram-handler.h"

#include <errno.h>

#include "engine/cpr.h"

static int setup(void *opaque, struct out *out, struct merr *err)
{
	(void)out;
	return ram_source_list(opaque, err);
}

static int pending_exact(void *opaque, uint64_t *ret_bytes, struct merr *err)
{
	uint64_t pages = 0;
	int r;

	r = ram_source_sync(opaque, &pages, err);
	*ret_bytes = pages * WIRE_PAGE_SIZE;
	return r;
}

static int pending_estimate(void *opaque, uint64_t *ret_bytes, struct merr *err)
{
	(void)err;
	*ret_bytes = ram_source_todo_pages(opaque) * WIRE_PAGE_SIZE;
	return 0;
}

/* A pass over RAM is one section, however long: what it sends is ordered by its own windows. */
static int iterate(void *opaque, struct out *out, struct merr *err)
{
	int r;

	(void)out;
	r = ram_source_pass(opaque, false, err);
	return r < 0 ? r : 1;
}

static int complete(void *opaque, struct out *out, struct merr *err)
{
	(void)out;
	return ram_source_pass(opaque, true, err);
}

static void cleanup(void *opaque)
{
	(void)ram_source_free(opaque);
}

static const struct handler_ops source_ops = {
	.setup = setup,
	.pending_estimate = pending_estimate,
	.pending_exact = pending_exact,
	.iterate = iterate,
	.complete = complete,
	.postcopy = true,
	.cleanup = cleanup,
};

static int load_setup(void *opaque, struct in *in, uint32_t version)
{
	(void)in;
	(void)version;
	return ram_target_receive(opaque, true);
}

static int load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	(void)in;
	(void)part;
	(void)version;
	return ram_target_receive(opaque, false);
}

static int load_done(void *opaque, struct in *in, bool seen)
{
	if (!seen)
		return in_fail(in, -EBADMSG, "the stream ended without a section 'ram'");
	if (ram_target_check_named(opaque) < 0)
		return in_error(in);
	return cpr_check_received(opaque);
}

static const struct handler_ops target_ops = {
	.load_setup = load_setup,
	.load = load,
	.load_done = load_done,
	.postcopy = true,
};

static int add(struct handlers *hs, const struct handler_ops *ops, void *opaque, struct merr *err)
{
	const struct handler h = {
		.idstr = WIRE_RAM_IDSTR,
		.alias = HANDLER_NO_ALIAS,
		.version = WIRE_RAM_VERSION,
		.minimum_version = WIRE_RAM_VERSION,
		.priority = HANDLER_PRIORITY_RAM,
		.ops = ops,
		.opaque = opaque,
	};

	return handlers_add(hs, &h, err);
}

int ram_source_register(struct handlers *hs, struct ram_source *s, struct merr *err)
{
	int r = add(hs, &source_ops, s, err);

	if (r < 0)
		(void)ram_source_free(s);
	return r;
}

int ram_target_register(struct handlers *hs, struct ram_target *t, struct merr *err)
{
	return add(hs, &target_ops, t, err);
}
