/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stopped guest's state as FULL sections, and back.
 *
 * Save: the architecture reads KVM into its structs (VM-wide, then each vCPU), its sections go first, then the devices' in
 * saving order. Load: every section is parsed into the structs of its owner, hooks of the descriptions included; when all
 * are there, the architecture writes its state to KVM. So a device's post_load runs before KVM has the vCPUs' state: what
 * needs that belongs into the after_load hook, and what the guest can see into activate.
 */
#include "guest/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/arch.h"
#include "guest/device-ops.h"
#include "guest/owner.h"
#include "guest/vmstate.h"

#define SECTION_FULL 0x04
#define SECTION_FOOTER 0x7e
#define IDSTR_CAP 256

/* The description of a body that has none: as QEMU has it for its old-style handlers (WIRE.md 1.4). */
static void describe_opaque(struct buf *vmdesc, size_t size)
{
	buf_printf(vmdesc, "\"size\": %zu, \"fields\": [{\"name\": \"data\", \"size\": %zu, \"type\": \"buffer\"}]", size,
		   size);
}

static int save_body(const struct owner *o, struct buf *out, struct buf *vmdesc, struct merr *err)
{
	size_t before = out->len;
	int r;

	if (!owner_has_ops(o))
		return vmstate_save(o->desc, o->opaque, out, vmdesc, err);
	r = device_ops_save(o->device, out, err);
	if (r == 0)
		describe_opaque(vmdesc, out->len - before);
	return r;
}

static int save_section(const struct owner *o, uint32_t id, struct buf *out, struct buf *vmdesc,
			struct merr *err)
{
	int r;

	buf_u8(out, SECTION_FULL);
	buf_be32(out, id);
	buf_u8(out, (uint8_t)strlen(o->name));
	buf_add_str(out, o->name);
	buf_be32(out, o->instance);
	buf_be32(out, o->desc->version);
	buf_add_str(vmdesc, "{\"name\": ");
	vmstate_json_str(vmdesc, o->name);
	buf_printf(vmdesc, ", \"instance_id\": %" PRIu32 ", ", o->instance);
	r = save_body(o, out, vmdesc, err);
	if (r < 0) {
		(void)merr_prefix(err, "saving section '%s' instance %" PRIu32, o->name, o->instance);
		return r;
	}
	buf_u8(vmdesc, '}');
	buf_u8(out, SECTION_FOOTER);
	buf_be32(out, id);
	return 0;
}

int guest_state_save(struct arch_state *a, const struct guest_tables *t, uint32_t first_id,
		     struct buf *sections, struct buf *vmdesc, uint32_t *ret_n, struct merr *err)
{
	size_t total = owner_count(a, t);
	uint32_t n = 0;
	int r;

	r = owner_check_migratable(t, err);
	if (r < 0)
		return r;
	r = arch_capture(a, err);
	if (r < 0) {
		(void)merr_prefix(err, "saving the vCPUs' state");
		return r;
	}
	for (size_t i = 0; i < total; i++) {
		struct owner o = owner_at(a, t, i);

		if (!owner_needed(&o))
			continue;
		if (n)
			buf_add_str(vmdesc, ", ");
		r = save_section(&o, first_id + n, sections, vmdesc, err);
		if (r < 0)
			return r;
		n++;
	}
	r = sections->error ? sections->error : vmdesc->error;
	if (r < 0)
		return merr_set_errno(err, r, "the guest's state does not fit into memory");
	*ret_n = n;
	return 0;
}

struct load {
	struct arrivals arrivals;
	struct rcur in;
	const uint8_t *origin;
	struct merr *err;
};

struct header {
	uint32_t id;
	char name[IDSTR_CAP];
	uint32_t instance;
	uint32_t version;
};

static size_t load_offset(const struct load *l)
{
	return (size_t)(l->in.p - l->origin);
}

static int parse_header(struct load *l, struct header *ret)
{
	size_t offset = load_offset(l);
	uint8_t type = rcur_u8(&l->in);
	const uint8_t *name;
	uint8_t len;

	if (type != SECTION_FULL)
		return merr_set(l->err, -EPROTO,
				"offset %zu: a section of type 0x%02x where only whole devices (0x04) may come",
				offset, type);
	ret->id = rcur_be32(&l->in);
	len = rcur_u8(&l->in);
	name = rcur_bytes(&l->in, len);
	ret->instance = rcur_be32(&l->in);
	ret->version = rcur_be32(&l->in);
	if (l->in.bad)
		return merr_set(l->err, -EPROTO, "offset %zu: the data ends in a section's header",
				offset);
	if (len == 0)
		return merr_set(l->err, -EPROTO, "offset %zu: a section without a name", offset);
	for (size_t i = 0; i < len; i++) {
		if (name[i] < ' ' || name[i] > '~')
			return merr_set(l->err, -EPROTO,
					"offset %zu: a section's name is not printable ASCII", offset);
		ret->name[i] = (char)name[i];
	}
	ret->name[len] = '\0';
	return 0;
}

static int parse_footer(struct load *l, const struct header *h)
{
	size_t offset = load_offset(l);
	uint8_t mark = rcur_u8(&l->in);
	uint32_t id = rcur_be32(&l->in);

	if (l->in.bad)
		return merr_set(l->err, -EPROTO, "offset %zu: the data ends before the footer", offset);
	if (mark != SECTION_FOOTER)
		return merr_set(l->err, -EPROTO,
				"offset %zu: 0x%02x in place of the footer: the source's fields are not ours",
				offset, mark);
	if (id != h->id)
		return merr_set(l->err, -EPROTO,
				"offset %zu: footer of section %" PRIu32 " after section %" PRIu32,
				offset, id, h->id);
	return 0;
}

static int load_body(struct load *l, const struct owner *o, uint32_t version)
{
	size_t wanted;

	if (owner_has_ops(o))
		return device_ops_load(o->device, version, &l->in, load_offset(l), true, &wanted, l->err);
	return vmstate_load(o->desc, o->opaque, version, &l->in, l->origin, l->err);
}

static int load_section(struct load *l)
{
	size_t offset = load_offset(l);
	struct header h;
	struct owner o = { 0 };
	int r;

	r = parse_header(l, &h);
	if (r == 0)
		r = arrivals_take(&l->arrivals, h.name, h.instance, h.version, offset, &o, l->err);
	if (r < 0)
		return r;
	r = load_body(l, &o, h.version);
	if (r == 0)
		r = parse_footer(l, &h);
	if (r < 0)
		(void)merr_prefix(l->err, "section '%s' instance %" PRIu32, h.name, h.instance);
	return r;
}

int guest_state_load(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		     size_t len, struct merr *err)
{
	struct load l = { .in = rcur_of(data, len), .origin = data, .err = err };
	int r;

	r = owner_check_migratable(t, err);
	if (r < 0)
		return r;
	r = arrivals_init(&l.arrivals, a, t);
	if (r < 0)
		return merr_set_errno(err, r, "loading the guest's state");
	arch_load_begin(a);
	while (r == 0 && l.in.left)
		r = load_section(&l);
	if (r == 0)
		r = arrivals_check_complete(&l.arrivals, err);
	if (r == 0)
		r = arch_load_apply(a, err);
	arrivals_done(&l.arrivals);
	return r;
}

const char *guest_state_notes(const struct arch_state *a)
{
	return arch_notes(a);
}
