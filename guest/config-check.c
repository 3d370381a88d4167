/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's description, compared with the guest here: every difference, before anything moves. */
#include "guest/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "attach/mismatch.h"
#include "attach/proto.h"
#include "base/cleanup.h"
#include "guest/arch.h"
#include "guest/owner.h"
#include "guest/state.h"
#include "guest/stateful.h"

#define NAME_CAP (ATTACH_STR_MAX + 1)
#define SIZE_TEXT_MAX 32

#define SAME_MEMORY "start the target VMM with the same memory"
#define SAME_DEVICES "start the target VMM with the devices of the source"
#define MAP_ALIKE "the target VMM must map its memory alike"

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

struct check {
	const struct guest_tables *t;
	struct mismatches *m;
	struct merr *err;
	bool got_arch, got_machine, got_vcpus;
	bool ram_only;		/* the source has no vCPUs */
	bool other_arch;	/* nothing else can be compared */
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
	c->other_arch = strcmp(name, arch_name) != 0;
	if (c->other_arch)
		mismatch_add(c->m, "architecture", name, arch_name, "choose a host of the guest's kind");
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
	uint32_t theirs = rcur_be32(&rec->body), ours = config_machine_flags(c->t);

	/* The dirty ring is how a host tracks writes: nothing of the guest, so it need not be equal. */
	(void)rcur_be32(&rec->body);
	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	c->got_machine = true;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if ((theirs ^ ours) & parts[i].flag)
			mismatch_add(c->m, parts[i].name, theirs & parts[i].flag ? "present" : "absent",
				     ours & parts[i].flag ? "present" : "absent",
				     "make the target's VM alike");
	return 0;
}

static int find_block(const struct guest_tables *t, const char *name)
{
	for (size_t i = 0; i < t->n_blocks; i++)
		if (strcmp(t->blocks[i].name, name) == 0)
			return (int)i;
	return -1;
}

static const char *writable_text(uint32_t flags)
{
	return flags & MIGD_GUEST_RAM_READONLY ? "read-only" : "writable";
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
		mismatch_add(c->m, MISMATCH_TEXT("ram block '%s'", name), size_text(len, there), "missing",
			     SAME_MEMORY);
		return 0;
	}
	c->block_seen[i] = true;
	b = &c->t->blocks[i];
	if (len != b->len)
		mismatch_add(c->m, MISMATCH_TEXT("ram block '%s'", name), size_text(len, there),
			     size_text(b->len, here), SAME_MEMORY);
	if ((flags ^ b->flags) & MIGD_GUEST_RAM_READONLY)
		mismatch_add(c->m, MISMATCH_TEXT("ram block '%s'", name), writable_text(flags),
			     writable_text(b->flags), SAME_MEMORY);
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
		mismatch_add(c->m, MISMATCH_TEXT("guest address 0x%" PRIx64, gpa), "memory", "none",
			     MAP_ALIKE);
		return 0;
	}
	if (c->slot_seen[i])
		return bad_record(c, rec, "two slots at one address");
	c->slot_seen[i] = true;
	if (c->t->slots[i].len != len || c->t->slots[i].offset != offset ||
	    c->t->slots[i].block != (unsigned int)c->local_block[block])
		mismatch_add(c->m, MISMATCH_TEXT("guest address 0x%" PRIx64, gpa),
			     MISMATCH_TEXT("0x%" PRIx64 " bytes from offset 0x%" PRIx64, len, offset),
			     MISMATCH_TEXT("0x%" PRIx64 " bytes from offset 0x%" PRIx64 " of '%s'",
					   c->t->slots[i].len, c->t->slots[i].offset,
					   c->t->blocks[c->t->slots[i].block].name), MAP_ALIKE);
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
		mismatch_add(c->m, "vCPUs", MISMATCH_TEXT("%zu", n), MISMATCH_TEXT("%zu", c->t->n_vcpus),
			     "start the target VMM with as many");
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t index = rcur_be32(&rec->body);

		if (index == c->t->vcpus[i].index)
			continue;
		mismatch_add(c->m, MISMATCH_TEXT("index of vCPU number %zu", i),
			     MISMATCH_TEXT("%" PRIu32, index), MISMATCH_TEXT("%u", c->t->vcpus[i].index),
			     "the target VMM must number its vCPUs alike");
		break;
	}
	return 0;
}

#define device_text(name, instance) \
	MISMATCH_TEXT("device '%.80s' instance %" PRIu32, name, (uint32_t)(instance))

/* VERSION: the source's. */
static void compare_versions(struct check *c, const struct stateful *d, uint32_t version)
{
	bool too_old = version < d->minimum_version;

	if (version <= d->version && !too_old)
		return;
	mismatch_add(c->m, device_text(d->name, d->instance),
		     MISMATCH_TEXT("version %" PRIu32, version),
		     too_old ? MISMATCH_TEXT("at least version %" PRIu32 " needed", d->minimum_version) :
			       MISMATCH_TEXT("up to version %" PRIu32, d->version),
		     too_old ? "the source VMM is too old" : "the target VMM is too old");
}

static int check_device(struct check *c, struct config_record *rec)
{
	uint32_t version = rcur_be32(&rec->body);
	struct stateful d = { 0 };
	char name[NAME_CAP];
	size_t i;
	int r;

	(void)rcur_be32(&rec->body);	/* what the source itself could load */
	if (rec->body.bad)
		return bad_record(c, rec, "too short");
	r = take_name(c, rec, name);
	if (r < 0)
		return r;
	for (i = 0; i < stateful_count(c->t); i++) {
		d = stateful_at(c->t, i);
		if (stateful_answers(c->t, i, name, rec->id, version))
			break;
	}
	if (i == stateful_count(c->t)) {
		mismatch_add(c->m, device_text(name, rec->id), "present", "missing", SAME_DEVICES);
		return 0;
	}
	if (c->device_seen[i])
		return bad_record(c, rec, "a device comes twice");
	c->device_seen[i] = true;
	compare_versions(c, &d, version);
	return 0;
}

/* What is here and was not at the source. */
static void check_unseen(struct check *c)
{
	char text[SIZE_TEXT_MAX];

	for (size_t i = 0; i < c->t->n_blocks; i++)
		if (!c->block_seen[i])
			mismatch_add(c->m, MISMATCH_TEXT("ram block '%s'", c->t->blocks[i].name), "missing",
				     size_text(c->t->blocks[i].len, text), SAME_MEMORY);
	for (size_t i = 0; i < c->t->n_slots; i++)
		if (!c->slot_seen[i] && c->block_seen[c->t->slots[i].block])
			mismatch_add(c->m, MISMATCH_TEXT("guest address 0x%" PRIx64, c->t->slots[i].gpa),
				     "none", "memory", MAP_ALIKE);
	for (size_t i = 0; i < stateful_count(c->t); i++) {
		struct stateful d = stateful_at(c->t, i);

		if (!c->device_seen[i] && !d.may_be_absent)
			mismatch_add(c->m, device_text(d.name, d.instance), "missing", "present",
				     SAME_DEVICES);
	}
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
	if (in.bad)
		return merr_set(c->err, -EPROTO, "the source's guest description ends within its header: "
				"%zu bytes", len);
	if (magic != CONFIG_MAGIC)
		return merr_set(c->err, -EPROTO, "the source's guest description is none: it begins with "
				"0x%08" PRIx32 " instead of 0x%08x", magic, CONFIG_MAGIC);
	if (version != CONFIG_VERSION)
		return merr_set(c->err, -EPROTO,
				"the source's guest description has format %u, this side reads %d: "
				"update the older side", version, CONFIG_VERSION);
	while ((r = config_next(&in, &rec, c->err)) > 0) {
		r = check_record(c, a, &rec);
		if (r < 0 || c->other_arch)
			return r;
	}
	if (r == 0 && (!c->got_arch || !c->got_machine || !c->got_vcpus))
		return merr_set(c->err, -EPROTO, "the source's guest description lacks the %s",
				!c->got_arch ? "architecture" : !c->got_machine ? "machine" : "vCPUs");
	return r;
}

int guest_config_check(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		       size_t len, struct mismatches *ret, struct merr *err)
{
	_cleanup_free_ struct check *c = calloc(1, sizeof(*c));
	_cleanup_free_ bool *device_seen = calloc(stateful_count(t) + 1, sizeof(*device_seen));
	int r;

	ret->found = ret->n = 0;
	if (!c || !device_seen)
		return merr_set_errno(err, -ENOMEM, "comparing the guests");
	c->t = t;
	c->m = ret;
	c->err = err;
	c->device_seen = device_seen;
	r = owner_check_migratable(t, err);
	if (r < 0)
		return r;
	r = arch_config_begin(a, err);
	if (r == 0)
		r = check_records(c, a, data, len);
	if (r < 0 || c->other_arch)
		return r;
	check_unseen(c);
	/* A guest without vCPUs describes none. */
	return c->ram_only ? 0 : arch_config_end(a, ret, err);
}
