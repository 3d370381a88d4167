/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's description, made on the source and compared on the target before anything moves. */
#include "guest/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "attach/proto.h"
#include "base/cleanup.h"
#include "guest/arch.h"
#include "guest/state.h"

#define NAME_CAP (ATTACH_STR_MAX + 1)
#define SIZE_TEXT_MAX 32

void config_put(struct buf *out, uint16_t kind, uint16_t flags, uint32_t id, const void *body,
		size_t len)
{
	buf_be16(out, kind);
	buf_be16(out, flags);
	buf_be32(out, id);
	buf_be32(out, (uint32_t)len);
	buf_add(out, body, len);
}

int config_next(struct rcur *c, struct config_record *ret, struct merr *err)
{
	const uint8_t *body;
	uint32_t len;

	if (c->left == 0)
		return 0;
	ret->kind = rcur_be16(c);
	ret->flags = rcur_be16(c);
	ret->id = rcur_be32(c);
	len = rcur_be32(c);
	body = rcur_bytes(c, len);
	if (c->bad)
		return merr_set(err, -EPROTO, "the guest's description ends within a record");
	ret->body = rcur_of(body, len);
	return 1;
}

void config_mismatch(struct config_mismatches *m, const char *fmt, ...)
{
	size_t len = strlen(m->text);
	va_list ap;

	if (m->n++ >= CONFIG_MISMATCHES_MAX)
		return;
	if (len) {
		(void)snprintf(m->text + len, sizeof(m->text) - len, "; ");
		len = strlen(m->text);
	}
	va_start(ap, fmt);
	(void)vsnprintf(m->text + len, sizeof(m->text) - len, fmt, ap);
	va_end(ap);
}

static const char *size_text(uint64_t bytes, char *text)
{
	static const struct {
		uint64_t size;
		const char *name;
	} units[] = { { GIB, "GiB" }, { MIB, "MiB" }, { KIB, "KiB" } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (bytes == 0 || bytes % units[i].size)
			continue;
		(void)snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " %s", bytes / units[i].size,
			       units[i].name);
		return text;
	}
	(void)snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " bytes", bytes);
	return text;
}

/* Making one */

static uint32_t machine_flags(const struct guest_tables *t)
{
	return (t->kvm.irqchip ? CONFIG_MACHINE_IRQCHIP : 0) |
	       (t->kvm.pit ? CONFIG_MACHINE_PIT : 0) |
	       (t->kvm.split_irqchip ? CONFIG_MACHINE_SPLIT_IRQCHIP : 0);
}

static void put_machine(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[8];

	store_be32(body, machine_flags(t));
	store_be32(body + 4, t->kvm.dirty_ring_entries);
	config_put(out, CONFIG_MACHINE, 0, 0, body, sizeof(body));
}

static void put_ram(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[32 + NAME_CAP];
	struct wcur w;

	for (size_t i = 0; i < t->n_blocks; i++) {
		const struct ram_block *b = &t->blocks[i];

		w = wcur_of(body, sizeof(body));
		wcur_be64(&w, b->len);
		wcur_be64(&w, b->page_size);
		wcur_be32(&w, b->flags);
		wcur_bytes(&w, b->name, strlen(b->name));
		config_put(out, CONFIG_RAM_BLOCK, 0, (uint32_t)i, body, w.len);
	}
	for (size_t i = 0; i < t->n_slots; i++) {
		const struct ram_slot *s = &t->slots[i];

		w = wcur_of(body, sizeof(body));
		wcur_be32(&w, s->block);
		wcur_be64(&w, s->gpa);
		wcur_be64(&w, s->offset);
		wcur_be64(&w, s->len);
		config_put(out, CONFIG_RAM_SLOT, 0, s->slot, body, w.len);
	}
}

static void put_vcpus(const struct guest_tables *t, struct buf *out)
{
	struct buf body = { 0 };

	for (size_t i = 0; i < t->n_vcpus; i++)
		buf_be32(&body, t->vcpus[i].index);
	if (body.error)
		out->error = body.error;
	else
		config_put(out, CONFIG_VCPUS, 0, 0, body.data, body.len);
	buf_done(&body);
}

static void put_devices(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[8 + NAME_CAP];

	for (size_t i = 0; i < t->n_devices; i++) {
		const struct guest_device *d = &t->devices[i];
		struct wcur w = wcur_of(body, sizeof(body));

		wcur_be32(&w, d->desc->version);
		wcur_be32(&w, d->desc->minimum_version);
		wcur_bytes(&w, d->name, strlen(d->name));
		config_put(out, CONFIG_DEVICE, 0, d->instance, body, w.len);
	}
}

int guest_config_get(struct arch_state *a, const struct guest_tables *t, struct buf *out,
		     struct merr *err)
{
	size_t start = out->len;
	int r;

	buf_be32(out, CONFIG_MAGIC);
	buf_be16(out, CONFIG_VERSION);
	buf_be16(out, 0);
	config_put(out, CONFIG_ARCH, 0, 0, arch_name, strlen(arch_name));
	put_machine(t, out);
	put_ram(t, out);
	put_vcpus(t, out);
	put_devices(t, out);
	r = arch_config_put(a, out, err);
	if (r < 0)
		return r;
	if (out->error)
		return merr_set_errno(err, out->error, "describing the guest");
	if (out->len - start > ATTACH_CONFIG_MAX)
		return merr_set(err, -E2BIG,
				"the guest's description takes %zu bytes, at most %u can be sent: "
				"it has too many devices or vCPUs",
				out->len - start, ATTACH_CONFIG_MAX);
	return 0;
}

/* Comparing one */

struct check {
	const struct guest_tables *t;
	struct config_mismatches m;
	struct merr *err;
	bool got_arch, got_machine, got_vcpus;
	bool ram_only;		/* the source has no vCPUs */
	bool source_block[ATTACH_RAM_BLOCKS_MAX];	/* by the source's index: announced */
	int local_block[ATTACH_RAM_BLOCKS_MAX];		/* by the source's index: ours, or -1 */
	bool block_seen[ATTACH_RAM_BLOCKS_MAX];		/* by our index */
	bool slot_seen[GUEST_SLOTS_MAX];
	bool *device_seen;
};

static int bad_record(const struct check *c, const struct config_record *rec, const char *what)
{
	return merr_set(c->err, -EPROTO, "the source's guest description: record %u (id %" PRIu32 "): %s",
			rec->kind, rec->id, what);
}

/* The rest of the record as a name. */
static int take_name(const struct check *c, struct config_record *rec, char *ret)
{
	size_t len = rec->body.left;
	const uint8_t *p = rcur_bytes(&rec->body, len);

	if (!p || len == 0 || len >= NAME_CAP)
		return bad_record(c, rec, "no name of 1 to 127 bytes");
	for (size_t i = 0; i < len; i++) {
		if (p[i] < ' ' || p[i] > '~')
			return bad_record(c, rec, "the name is not printable ASCII");
		ret[i] = (char)p[i];
	}
	ret[len] = '\0';
	return 0;
}

static int check_arch(struct check *c, struct config_record *rec)
{
	char name[NAME_CAP];
	int r = take_name(c, rec, name);

	if (r < 0)
		return r;
	c->got_arch = true;
	if (strcmp(name, arch_name) != 0)
		return merr_set(c->err, -EINVAL, "the guest is for '%s', this host is '%s'", name,
				arch_name);
	return 0;
}

static int check_machine(struct check *c, struct config_record *rec)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} parts[] = {
		{ CONFIG_MACHINE_IRQCHIP, "in-kernel irqchip" },
		{ CONFIG_MACHINE_PIT, "in-kernel PIT" },
		{ CONFIG_MACHINE_SPLIT_IRQCHIP, "split irqchip" },
	};
	uint32_t theirs = rcur_be32(&rec->body), ours = machine_flags(c->t);

	/* The dirty ring is how a host tracks writes: nothing of the guest, so it need not be equal. */
	(void)rcur_be32(&rec->body);
	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	c->got_machine = true;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if ((theirs ^ ours) & parts[i].flag)
			config_mismatch(&c->m, "%s: %s at the source, %s here: make the target's VM alike",
					parts[i].name, theirs & parts[i].flag ? "present" : "absent",
					ours & parts[i].flag ? "present" : "absent");
	return 0;
}

static int find_block(const struct guest_tables *t, const char *name)
{
	for (size_t i = 0; i < t->n_blocks; i++)
		if (strcmp(t->blocks[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int check_block(struct check *c, struct config_record *rec)
{
	uint64_t len = rcur_be64(&rec->body);
	char name[NAME_CAP], there[SIZE_TEXT_MAX], here[SIZE_TEXT_MAX];
	const struct ram_block *b;
	uint32_t flags;
	int i, r;

	/* The memory's page size is the host's business. */
	(void)rcur_be64(&rec->body);
	flags = rcur_be32(&rec->body);
	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	r = take_name(c, rec, name);
	if (r < 0)
		return r;
	if (rec->id >= ATTACH_RAM_BLOCKS_MAX || c->source_block[rec->id])
		return bad_record(c, rec, "a block's index out of range or twice");
	i = find_block(c->t, name);
	if (i >= 0 && c->block_seen[i])
		return bad_record(c, rec, "a block's name comes twice");
	c->source_block[rec->id] = true;
	c->local_block[rec->id] = i;
	if (i < 0) {
		config_mismatch(&c->m, "ram block '%s': %s at the source, missing here: "
				"start the target VMM with the same memory", name, size_text(len, there));
		return 0;
	}
	c->block_seen[i] = true;
	b = &c->t->blocks[i];
	if (len != b->len)
		config_mismatch(&c->m, "ram block '%s': %s at the source, %s here: "
				"start the target VMM with the same memory", name, size_text(len, there),
				size_text(b->len, here));
	if ((flags ^ b->flags) & MIGD_GUEST_RAM_READONLY)
		config_mismatch(&c->m, "ram block '%s': read-only on one side only", name);
	return 0;
}

/* What the guest sees is which memory is at which address; the slots' numbers are the host's business. */
static int check_slot(struct check *c, struct config_record *rec)
{
	uint32_t block = rcur_be32(&rec->body);
	uint64_t gpa = rcur_be64(&rec->body);
	uint64_t offset = rcur_be64(&rec->body);
	uint64_t len = rcur_be64(&rec->body);
	size_t i;

	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	if (block >= ATTACH_RAM_BLOCKS_MAX || !c->source_block[block])
		return bad_record(c, rec, "a slot of a block that was not announced");
	if (c->local_block[block] < 0)
		return 0;
	for (i = 0; i < c->t->n_slots && c->t->slots[i].gpa != gpa; i++)
		;
	if (i == c->t->n_slots) {
		config_mismatch(&c->m, "guest address 0x%" PRIx64 ": memory at the source, none here: "
				"the target VMM must map its memory alike", gpa);
		return 0;
	}
	if (c->slot_seen[i])
		return bad_record(c, rec, "two slots at one address");
	c->slot_seen[i] = true;
	if (c->t->slots[i].len != len || c->t->slots[i].offset != offset ||
	    c->t->slots[i].block != (unsigned int)c->local_block[block])
		config_mismatch(&c->m, "guest address 0x%" PRIx64 ": other memory is mapped here than at "
				"the source: the target VMM must map its memory alike", gpa);
	return 0;
}

static int check_vcpus(struct check *c, struct config_record *rec)
{
	size_t n = rec->body.left / sizeof(uint32_t);

	if (rec->body.left % sizeof(uint32_t) || n > GUEST_VCPUS_MAX)
		return bad_record(c, rec, "not a list of at most 1024 vCPUs");
	c->got_vcpus = true;
	c->ram_only = n == 0;
	if (n != c->t->n_vcpus) {
		config_mismatch(&c->m, "vCPUs: %zu at the source, %zu here: "
				"start the target VMM with as many", n, c->t->n_vcpus);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t index = rcur_be32(&rec->body);

		if (index == c->t->vcpus[i].index)
			continue;
		config_mismatch(&c->m, "vCPUs: number %zu has index %" PRIu32 " at the source, %u here",
				i, index, c->t->vcpus[i].index);
		break;
	}
	return 0;
}

static int check_device(struct check *c, struct config_record *rec)
{
	uint32_t version = rcur_be32(&rec->body);
	const struct migd_vmstate *d;
	char name[NAME_CAP];
	size_t i;
	int r;

	(void)rcur_be32(&rec->body);	/* what the source itself could load */
	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	r = take_name(c, rec, name);
	if (r < 0)
		return r;
	for (i = 0; i < c->t->n_devices; i++)
		if (c->t->devices[i].instance == rec->id &&
		    strcmp(c->t->devices[i].name, name) == 0)
			break;
	if (i == c->t->n_devices) {
		config_mismatch(&c->m, "device '%s' instance %" PRIu32 " is missing here: "
				"start the target VMM with the devices of the source", name, rec->id);
		return 0;
	}
	if (c->device_seen[i])
		return bad_record(c, rec, "a device comes twice");
	c->device_seen[i] = true;
	d = c->t->devices[i].desc;
	if (version > d->version)
		config_mismatch(&c->m, "device '%s' instance %" PRIu32 ": version %" PRIu32
				" at the source, up to %" PRIu32 " here: the target VMM is too old",
				name, rec->id, version, d->version);
	else if (version < d->minimum_version)
		config_mismatch(&c->m, "device '%s' instance %" PRIu32 ": version %" PRIu32
				" at the source, at least %" PRIu32 " needed here: the source VMM is too old",
				name, rec->id, version, d->minimum_version);
	return 0;
}

/* What is here and was not at the source. */
static void check_unseen(struct check *c)
{
	char text[SIZE_TEXT_MAX];

	for (size_t i = 0; i < c->t->n_blocks; i++)
		if (!c->block_seen[i])
			config_mismatch(&c->m, "ram block '%s': missing at the source, %s here: "
					"start the target VMM with the same memory", c->t->blocks[i].name,
					size_text(c->t->blocks[i].len, text));
	for (size_t i = 0; i < c->t->n_slots; i++)
		if (!c->slot_seen[i] && c->block_seen[c->t->slots[i].block])
			config_mismatch(&c->m, "guest address 0x%" PRIx64 ": memory here, none at the "
					"source: the target VMM must map its memory alike",
					c->t->slots[i].gpa);
	for (size_t i = 0; i < c->t->n_devices; i++)
		if (!c->device_seen[i] && !c->t->devices[i].desc->needed)
			config_mismatch(&c->m, "device '%s' instance %" PRIu32 " is missing at the source: "
					"start the target VMM with the devices of the source",
					c->t->devices[i].name, c->t->devices[i].instance);
}

static int check_record(struct check *c, struct arch_state *a, struct config_record *rec)
{
	static int (*const checks[])(struct check *, struct config_record *) = {
		[CONFIG_ARCH] = check_arch,	[CONFIG_MACHINE] = check_machine,
		[CONFIG_RAM_BLOCK] = check_block, [CONFIG_RAM_SLOT] = check_slot,
		[CONFIG_VCPUS] = check_vcpus,	[CONFIG_DEVICE] = check_device,
	};

	/* The architecture comes first: nothing else means anything before it. */
	if (!c->got_arch && rec->kind != CONFIG_ARCH)
		return bad_record(c, rec, "comes before the architecture");
	if (rec->kind >= CONFIG_ARCH_FIRST)
		return arch_config_record(a, rec, c->err);
	if (rec->kind < ARRAY_SIZE(checks) && checks[rec->kind])
		return checks[rec->kind](c, rec);
	if (rec->flags & CONFIG_OPTIONAL)
		return 0;
	return bad_record(c, rec, "is not known here: the source is newer, update the target");
}

static int check_records(struct check *c, struct arch_state *a, const uint8_t *data, size_t len)
{
	struct rcur in = rcur_of(data, len);
	uint32_t magic = rcur_be32(&in);
	uint16_t version = rcur_be16(&in);
	struct config_record rec;
	int r;

	(void)rcur_be16(&in);
	if (in.bad || magic != CONFIG_MAGIC)
		return merr_set(c->err, -EPROTO, "the source sent no guest description");
	if (version != CONFIG_VERSION)
		return merr_set(c->err, -EPROTO,
				"the source's guest description has format %u, this side reads %d: "
				"update the older side", version, CONFIG_VERSION);
	while ((r = config_next(&in, &rec, c->err)) > 0) {
		r = check_record(c, a, &rec);
		if (r < 0)
			return r;
	}
	if (r == 0 && (!c->got_arch || !c->got_machine || !c->got_vcpus))
		return merr_set(c->err, -EPROTO, "the source's guest description lacks the %s",
				!c->got_arch ? "architecture" : !c->got_machine ? "machine" : "vCPUs");
	return r;
}

int guest_config_check(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		       size_t len, struct merr *err)
{
	_cleanup_free_ struct check *c = calloc(1, sizeof(*c));
	_cleanup_free_ bool *device_seen = calloc(t->n_devices + 1, sizeof(*device_seen));
	int r;

	if (!c || !device_seen)
		return merr_set_errno(err, -ENOMEM, "comparing the guests");
	c->t = t;
	c->err = err;
	c->device_seen = device_seen;
	r = arch_config_begin(a, err);
	if (r == 0)
		r = check_records(c, a, data, len);
	if (r < 0)
		return r;
	check_unseen(c);
	/* A guest without vCPUs describes none. */
	r = c->ram_only ? 0 : arch_config_end(a, &c->m, err);
	if (r < 0)
		return r;
	if (c->m.n > CONFIG_MISMATCHES_MAX)
		return merr_set(err, -EINVAL, "%s; and %u more", c->m.text,
				c->m.n - CONFIG_MISMATCHES_MAX);
	if (c->m.n)
		return merr_set(err, -EINVAL, "%s", c->m.text);
	return 0;
}
