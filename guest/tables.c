/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration: migd_guest_set_kvm() and migd_guest_add_*(), with every check, and the freeze at
 * start.
 */
#include "guest/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/copy-sized.h"
#include "guest/internal.h"
#include "guest/live.h"
#include "guest/ram-check.h"
#include "guest/vm-check.h"

int tables_check_open(struct migd_guest *g, bool needs_kvm, struct merr *err)
{
	if (g->started)
		return merr_set(err, -EBUSY,
				"the guest was started: its tables are frozen; RAM and devices cannot be "
				"plugged in later");
	if (needs_kvm && !g->kvm_set)
		return merr_set(err, -EINVAL, "migd_guest_set_kvm() comes first");
	return 0;
}

int tables_check_name(const char *what, const char *name, struct merr *err)
{
	size_t len = name ? strnlen(name, ATTACH_STR_MAX + 1) : 0;

	if (len < 1 || len > ATTACH_STR_MAX)
		return merr_set(err, -EINVAL, "%s: the name must have 1 to %u bytes", what,
				ATTACH_STR_MAX);
	return 0;
}

/* ---- KVM ---- */

/* What the library cannot do without. */
static const struct {
	int cap;
	const char *name;
} needed_caps[] = {
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
};

static int check_kvm(const struct migd_guest_kvm *kvm, struct merr *err)
{
	uint32_t n = kvm->dirty_ring_entries;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(needed_caps); i++) {
		int have = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, needed_caps[i].cap);

		if (have < 0)
			return merr_set_errno(err, -EINVAL, "descriptor %d is no KVM VM",
					      kvm->vm_fd);
		if (!have)
			return merr_set_class(err, MERR_KVM_MISSING_CAP, -ENOTSUP, "KVM lacks %s",
					      needed_caps[i].name);
	}
	r = vm_check(kvm->vm_fd, err);
	if (r < 0)
		return r;
	if (n & (n - 1))
		return merr_set(err, -EINVAL, "dirty_ring_entries: %" PRIu32 " is no power of two",
				n);
	return 0;
}

static int set_kvm(struct migd_guest *g, const struct migd_guest_kvm *kvm, struct merr *err)
{
	struct migd_guest_kvm copy = { 0 };
	int r = tables_check_open(g, false, err);

	if (r < 0)
		return r;
	if (g->kvm_set)
		return merr_set(err, -EBUSY, "migd_guest_set_kvm() was called already");
	r = copy_sized(&copy, sizeof(copy), kvm, "kvm", err);
	if (r >= 0)
		r = check_kvm(&copy, err);
	if (r < 0)
		return r;
	g->tables.kvm = copy;
	r = dirty_init(&g->dirty, &g->tables, err);
	g->kvm_set = r >= 0;
	return r;
}

int migd_guest_set_kvm(struct migd_guest *guest, const struct migd_guest_kvm *kvm)
{
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = set_kvm(guest, kvm, &err);
	return r < 0 ? guest_fail(&err) : 0;
}

/* ---- RAM ---- */

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_against(const struct ram_block *b, const struct ram_block *other, struct merr *err)
{
	if (!strcmp(b->name, other->name))
		return merr_set(err, -EINVAL, "there is a RAM block '%s' already", b->name);
	if (overlaps((uintptr_t)b->host, b->len, (uintptr_t)other->host, other->len) ||
	    ram_same_file(b, other))
		return merr_set(err, -EINVAL, "RAM block '%s' overlaps block '%s'", b->name,
				other->name);
	return 0;
}

static int add_ram(struct migd_guest *g, const struct migd_guest_ram *ram, struct merr *err)
{
	struct guest_tables *t = &g->tables;
	struct migd_guest_ram in = { 0 };
	struct ram_block b;
	int r = tables_check_open(g, true, err);

	if (r >= 0)
		r = copy_sized(&in, sizeof(in), ram, "ram", err);
	if (r >= 0)
		r = tables_check_name("RAM block", in.name, err);
	if (r < 0)
		return r;
	if (in.flags & ~(uint32_t)(MIGD_GUEST_RAM_READONLY | MIGD_GUEST_RAM_SHARED))
		return merr_set(err, -EINVAL, "RAM block '%s': flags 0x%" PRIx32 " are not known",
				in.name, in.flags);
	b = (struct ram_block){ .host = in.host,
				.len = in.len,
				.fd_offset = in.fd_offset,
				.flags = in.flags,
				.fd = in.fd };
	memcpy(b.name, in.name, strlen(in.name) + 1);
	if (t->n_blocks == ATTACH_RAM_BLOCKS_MAX)
		return merr_set(err, -E2BIG, "more than %u RAM blocks", ATTACH_RAM_BLOCKS_MAX);
	r = ram_check(&b, err);
	for (size_t i = 0; r >= 0 && i < t->n_blocks; i++)
		r = check_against(&b, &t->blocks[i], err);
	if (r >= 0 && g->cpr)
		r = cpr_claim(g->cpr, &b, err);
	b.handed = g->cpr != NULL;
	if (r < 0)
		return r;
	b.fd = fd_dup(in.fd);
	if (b.fd < 0)
		return merr_set_errno(err, b.fd, "RAM block '%s'", in.name);
	t->blocks[t->n_blocks] = b;
	return (int)t->n_blocks++;
}

int migd_guest_add_ram(struct migd_guest *guest, const struct migd_guest_ram *ram)
{
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = add_ram(guest, ram, &err);
	return r < 0 ? guest_fail(&err) : r;
}

/* ---- slots ---- */

static int check_slot(const struct guest_tables *t, const struct ram_slot *s, struct merr *err)
{
	uint64_t end;

	if (s->block >= t->n_blocks)
		return merr_set(err, -EINVAL, "memory slot %" PRIu32 ": there is no RAM block %u",
				s->slot, s->block);
	if (!s->len || (s->len | s->gpa | s->offset) % 4096 || !add_ok(s->gpa, s->len, &end))
		return merr_set(err, -EINVAL,
				"memory slot %" PRIu32
				": address, offset and length must be multiples of 4096",
				s->slot);
	if (!range_ok(s->offset, s->len, t->blocks[s->block].len))
		return merr_set(err, -EINVAL,
				"memory slot %" PRIu32 " reaches beyond RAM block '%s'", s->slot,
				t->blocks[s->block].name);
	for (size_t i = 0; i < t->n_slots; i++) {
		if (t->slots[i].slot == s->slot)
			return merr_set(err, -EINVAL, "there is a memory slot %" PRIu32 " already",
					s->slot);
		if (overlaps(s->gpa, s->len, t->slots[i].gpa, t->slots[i].len))
			return merr_set(err, -EINVAL,
					"memory slots %" PRIu32 " and %" PRIu32 " overlap", s->slot,
					t->slots[i].slot);
	}
	return 0;
}

static int add_slot(struct migd_guest *g, const struct ram_slot *s, struct merr *err)
{
	struct guest_tables *t = &g->tables;
	int r = tables_check_open(g, true, err);

	if (r < 0)
		return r;
	if (t->n_slots == GUEST_SLOTS_MAX)
		return merr_set(err, -E2BIG, "more than %d memory slots", GUEST_SLOTS_MAX);
	r = check_slot(t, s, err);
	if (r < 0)
		return r;
	t->slots[t->n_slots++] = *s;
	return 0;
}

int migd_guest_add_ram_slot(struct migd_guest *guest, unsigned int block, uint32_t slot,
			    uint64_t gpa, uint64_t offset, uint64_t len)
{
	struct ram_slot s = {
		.block = block, .slot = slot, .gpa = gpa, .offset = offset, .len = len
	};
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = add_slot(guest, &s, &err);
	return r < 0 ? guest_fail(&err) : 0;
}

/* ---- vCPUs ---- */

static int check_vcpu(const struct guest_tables *t, const struct guest_vcpu *v, struct merr *err)
{
	if (v->index >= GUEST_VCPUS_MAX)
		return merr_set(err, -EINVAL, "vCPU index %u: 0 to %d expected", v->index,
				GUEST_VCPUS_MAX - 1);
	if (v->fd < 0 || !v->run)
		return merr_set(err, -EINVAL, "vCPU %u: no descriptor or no kvm_run", v->index);
	for (size_t i = 0; i < t->n_vcpus; i++)
		if (t->vcpus[i].index == v->index)
			return merr_set(err, -EINVAL, "there is a vCPU %u already", v->index);
	return 0;
}

static int make_gate_vcpu(struct migd_guest *g, const struct guest_vcpu *v,
			  struct migd_guest_vcpu **ret, struct merr *err)
{
	_cleanup_free_ struct migd_guest_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int r = 0;

	if (!vcpu)
		return merr_set(err, -ENOMEM, "vCPU %u: no memory", v->index);
	vcpu->index = v->index;
	vcpu->fd = v->fd;
	vcpu->run = v->run;
	if (g->tables.kvm.dirty_ring_entries)
		r = dirty_ring_new(v->fd, g->tables.kvm.dirty_ring_entries, &vcpu->ring, err);
	if (r < 0)
		return r;
	r = gate_add_vcpu(&g->gate, vcpu);
	if (r < 0) {
		(void)dirty_ring_free(vcpu->ring);
		return merr_set_errno(err, r, "vCPU %u", v->index);
	}
	*ret = TAKE_PTR(vcpu);
	return 0;
}

static int add_vcpu(struct migd_guest *g, const struct guest_vcpu *v, struct migd_guest_vcpu **ret,
		    struct merr *err)
{
	struct guest_tables *t = &g->tables;
	struct guest_vcpu *grown;
	int r = tables_check_open(g, true, err);

	if (r >= 0)
		r = check_vcpu(t, v, err);
	if (r < 0)
		return r;
	grown = reallocarray(t->vcpus, t->n_vcpus + 1, sizeof(*grown));
	if (!grown)
		return merr_set(err, -ENOMEM, "vCPU %u: no memory", v->index);
	t->vcpus = grown;
	r = make_gate_vcpu(g, v, ret, err);
	if (r < 0)
		return r;
	t->vcpus[t->n_vcpus++] = *v;
	return 0;
}

int migd_guest_add_vcpu(struct migd_guest *guest, unsigned int index, int fd, struct kvm_run *run,
			struct migd_guest_vcpu **ret_vcpu)
{
	struct guest_vcpu v = { .index = index, .fd = fd, .run = run };
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = add_vcpu(guest, &v, ret_vcpu, &err);
	return r < 0 ? guest_fail(&err) : 0;
}

/* ---- freezing ---- */

static int by_index(const void *a, const void *b)
{
	const struct guest_vcpu *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

static bool has_slot(const struct guest_tables *t, size_t block)
{
	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].block == block)
			return true;
	return false;
}

int tables_freeze(struct migd_guest *g, struct merr *err)
{
	struct guest_tables *t = &g->tables;

	if (!g->kvm_set)
		return merr_set(err, -EINVAL, "migd_guest_set_kvm() was not called");
	if (!t->n_blocks)
		return merr_set(err, -EINVAL, "the guest has no RAM");
	if (!t->n_vcpus && t->n_devices)
		return merr_set(err, -EINVAL, "the guest has devices, but no vCPU");
	for (size_t i = 0; i < t->n_blocks; i++)
		if (!has_slot(t, i))
			return merr_set(err, -EINVAL, "RAM block '%s' has no memory slot",
					t->blocks[i].name);
	if (g->cpr && cpr_finish_claims(g->cpr, err) < 0)
		return -EINVAL;
	devices_sort(t);
	if (t->n_vcpus)
		qsort(t->vcpus, t->n_vcpus, sizeof(*t->vcpus), by_index);
	return 0;
}

void tables_done(struct guest_tables *t)
{
	for (size_t i = 0; i < t->n_blocks; i++)
		close_fd(t->blocks[i].fd);
	devices_done(t);
	free(t->live);
	free(t->vcpus);
}
