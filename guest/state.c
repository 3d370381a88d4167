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
#include "guest/vmstate.h"

#define SECTION_FULL 0x04
#define SECTION_FOOTER 0x7e
#define IDSTR_CAP 256

/* A section's owner, architecture or device. */
struct owner {
	const char *name;
	uint32_t instance;
	const struct migd_vmstate *desc;
	void *opaque;
};

static struct owner owner_at(struct arch_state *a, const struct guest_tables *t, size_t i)
{
	const struct arch_section *sections;
	size_t n = arch_sections(a, &sections);
	const struct guest_device *d;

	if (i < n)
		return (struct owner){ sections[i].name, sections[i].instance, sections[i].desc,
				       sections[i].opaque };
	d = &t->devices[i - n];
	return (struct owner){ d->name, d->instance, d->desc, d->opaque };
}

static size_t owner_count(struct arch_state *a, const struct guest_tables *t)
{
	const struct arch_section *sections;

	return arch_sections(a, &sections) + t->n_devices;
}

static bool owner_needed(const struct owner *o)
{
	return !o->desc->needed || o->desc->needed(o->opaque);
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
	r = vmstate_save(o->desc, o->opaque, out, vmdesc, err);
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
	struct arch_state *arch;
	const struct guest_tables *tables;
	struct rcur in;
	const uint8_t *origin;
	bool *seen;	/* by owner */
	size_t n_owners;
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

static int find_owner(const struct load *l, const struct header *h, size_t offset, size_t *ret)
{
	for (size_t i = 0; i < l->n_owners; i++) {
		struct owner o = owner_at(l->arch, l->tables, i);

		if (o.instance != h->instance || strcmp(o.name, h->name) != 0)
			continue;
		if (l->seen[i])
			return merr_set(l->err, -EPROTO,
					"section '%s' instance %" PRIu32 ": comes a second time at offset %zu",
					h->name, h->instance, offset);
		*ret = i;
		return 0;
	}
	return merr_set(l->err, -EINVAL,
			"section '%s' instance %" PRIu32 " at offset %zu: there is no such device here: "
			"start the target VMM with the devices of the source",
			h->name, h->instance, offset);
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

static int load_section(struct load *l)
{
	size_t offset = load_offset(l), i = 0;
	struct header h;
	struct owner o;
	int r;

	r = parse_header(l, &h);
	if (r == 0)
		r = find_owner(l, &h, offset, &i);
	if (r < 0)
		return r;
	o = owner_at(l->arch, l->tables, i);
	l->seen[i] = true;
	r = vmstate_load(o.desc, o.opaque, h.version, &l->in, l->origin, l->err);
	if (r == 0)
		r = parse_footer(l, &h);
	if (r < 0)
		(void)merr_prefix(l->err, "section '%s' instance %" PRIu32, h.name, h.instance);
	return r;
}

/* What this side would save come what may must have come. */
static int check_complete(const struct load *l)
{
	for (size_t i = 0; i < l->n_owners; i++) {
		struct owner o = owner_at(l->arch, l->tables, i);

		if (!l->seen[i] && !o.desc->needed)
			return merr_set(l->err, -EPROTO,
					"section '%s' instance %" PRIu32 " is missing: the source has no such device",
					o.name, o.instance);
	}
	return 0;
}

int guest_state_load(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		     size_t len, struct merr *err)
{
	_cleanup_free_ bool *seen = NULL;
	struct load l = { .arch = a, .tables = t, .in = rcur_of(data, len), .origin = data, .err = err };
	int r = 0;

	l.n_owners = owner_count(a, t);
	l.seen = seen = calloc(l.n_owners ? l.n_owners : 1, sizeof(*seen));
	if (!seen)
		return merr_set_errno(err, -ENOMEM, "loading the guest's state");
	arch_load_begin(a);
	while (r == 0 && l.in.left)
		r = load_section(&l);
	if (r == 0)
		r = check_complete(&l);
	if (r == 0)
		r = arch_load_apply(a, err);
	return r;
}

const char *guest_state_notes(const struct arch_state *a)
{
	return arch_notes(a);
}
