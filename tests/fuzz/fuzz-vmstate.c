/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile device state and guest descriptions. The first byte chooses the parser, the second how much of the rest it gets.
 * What a table of every kind accepts must save to bytes that load to the same again.
 */
/* LIBS: migd_guest migd_base */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/state.h"
#include "guest/vmstate.h"
#include "guest/x86/arch.h"

struct pair {
	uint8_t a;
	uint64_t b;
};

static const struct migd_vmstate pair_vmstate = {
	.name = "pair", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct pair, a), MIGD_VMS_FIELD_U64(struct pair, b), MIGD_VMS_FIELD_END },
};

struct dev {
	bool flag, want_extra;
	uint16_t n;
	struct pair pairs[5];
	uint8_t n_bytes;
	uint8_t bytes[7];
	uint8_t *pointed;
	uint32_t same;
	int32_t extra;
};

static bool flag_set(void *opaque, uint32_t version)
{
	(void)version;
	return ((struct dev *)opaque)->flag;
}

static bool extra_needed(void *opaque)
{
	return ((struct dev *)opaque)->want_extra;
}

static int extra_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	(void)err;
	((struct dev *)opaque)->want_extra = true;
	return version == 3 ? 0 : -1;
}

static const struct migd_vmstate extra_vmstate = {
	.name = "dev/extra", .version = 3, .minimum_version = 2,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_S32(struct dev, extra), MIGD_VMS_FIELD_END },
	.needed = extra_needed, .post_load = extra_post_load,
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_BOOL(struct dev, flag),
		MIGD_VMS_FIELD_U16(struct dev, n),
		MIGD_VMS_ROW("pairs", offsetof(struct dev, pairs), sizeof(struct pair), 5,
			     offsetof(struct dev, n), MIGD_VMS_STRUCT, MIGD_VMS_VARRAY_U16, 0, 0, &pair_vmstate, NULL, NULL, 0),
		MIGD_VMS_FIELD_U8(struct dev, n_bytes),
		MIGD_VMS_ROW("bytes", offsetof(struct dev, bytes), 1, 7, offsetof(struct dev, n_bytes),
			     MIGD_VMS_U8, MIGD_VMS_VARRAY_U8, 0, 0, NULL, flag_set, NULL, 0),
		MIGD_VMS_ROW("pointed", offsetof(struct dev, pointed), 3, 2, 0, MIGD_VMS_BUFFER,
			     MIGD_VMS_POINTER, 0, 0, NULL, NULL, NULL, 0),
		MIGD_VMS_FIELD_U32_EQUAL(struct dev, same),
		MIGD_VMS_FIELD_UNUSED(2),
		MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &extra_vmstate, NULL },
};

static int load_dev(struct dev *d, uint8_t *pointed, const uint8_t *data, size_t len)
{
	struct rcur in = rcur_of(data, len);

	*d = (struct dev){ .pointed = pointed, .same = 0x61626364 };
	return vmstate_load(&dev_vmstate, d, 1, &in, data, NULL);
}

static void fuzz_table(const uint8_t *data, size_t len)
{
	struct buf once = { 0 }, json = { 0 }, again = { 0 };
	uint8_t pointed[6];
	struct merr err = MERR_INIT;
	struct dev d;

	if (load_dev(&d, pointed, data, len) == 0) {
		if (vmstate_save(&dev_vmstate, &d, &once, &json, &err) < 0 ||
		    load_dev(&d, pointed, once.data, once.len) < 0 ||
		    vmstate_save(&dev_vmstate, &d, &again, NULL, &err) < 0)
			abort();
		if (once.len != again.len || memcmp(once.data, again.data, once.len) != 0)
			abort();
	}
	buf_done(&once);
	buf_done(&json);
	buf_done(&again);
}

/* A guest without a KVM: parsing is as ever, applying fails. */
static struct arch_state *arch_without_kvm(void)
{
	struct arch_state *a = calloc(1, sizeof(*a));

	a->kvm_fd = a->vm_fd = -1;
	a->irqchip = a->pit = a->lapic = true;
	a->vm.arch = a;
	a->vcpus = calloc(1, sizeof(*a->vcpus));
	a->n_vcpus = 1;
	a->vcpus[0].arch = a;
	a->vcpus[0].fd = -1;
	a->sections = calloc(2, sizeof(*a->sections));
	a->sections[0] = (struct arch_section){ "kvm-vm", 0, &x86_vm_vmstate, &a->vm };
	a->sections[1] = (struct arch_section){ "kvm-vcpu", 0, &x86_vcpu_vmstate, &a->vcpus[0] };
	a->n_sections = 2;
	return a;
}

static void fuzz_body(const struct migd_vmstate *d, void *opaque, const uint8_t *data, size_t len)
{
	struct rcur in = rcur_of(data, len);

	(void)vmstate_load(d, opaque, d->version, &in, data, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct arch_state *a;
	static struct guest_tables *t;
	struct guest_device device = { .name = "dev", .desc = &dev_vmstate };
	uint8_t pointed[6];
	struct dev dev = { .pointed = pointed };
	static struct mismatches found;
	struct merr err = MERR_INIT;
	uint8_t *part;

	if (len < 2)
		return 0;
	if (!a) {
		a = arch_without_kvm();
		t = calloc(1, sizeof(*t));
		t->n_vcpus = 1;
		t->vcpus = calloc(1, sizeof(*t->vcpus));
		strcpy(t->blocks[0].name, "ram");
		t->n_blocks = t->n_slots = 1;
	}
	device.opaque = &dev;
	t->devices = &device;
	t->n_devices = 1;
	/* A copy of its own, so that a read beyond the part is seen. */
	size_t n = (len - 2) * (256U - data[1]) / 256U;
	part = malloc(n ? n : 1);
	memcpy(part, data + 2, n);
	switch (data[0] % 5) {
	case 0:
		fuzz_table(part, n);
		break;
	case 1:
		fuzz_body(&x86_vm_vmstate, &a->vm, part, n);
		break;
	case 2:
		fuzz_body(&x86_vcpu_vmstate, &a->vcpus[0], part, n);
		break;
	case 3:
		(void)guest_state_load(a, t, part, n, &err);
		break;
	default:
		(void)guest_config_check(a, t, part, n, &found, &err);
		break;
	}
	free(part);
	return 0;
}
