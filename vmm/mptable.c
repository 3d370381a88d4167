/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table (Intel MultiProcessor Specification 1.4, chapter 4): vCPUs, I/O APIC, and which pin is which interrupt. */
#include <string.h>

#include "vmm/boot.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

#define LAPIC_GPA 0xfee00000
#define IOAPIC_GPA 0xfec00000
#define IOAPIC_VERSION 0x11
#define LAPIC_VERSION 0x14
#define N_ISA_IRQS 16
#define BUS_ISA 0

struct mp_pointer {
	char signature[4];
	uint32_t table;
	uint8_t paragraphs, revision, checksum, features[5];
};

struct mp_header {
	char signature[4];
	uint16_t len;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_len, n_entries;
	uint32_t lapic;
	uint16_t extended_len;
	uint8_t extended_checksum, reserved;
};

struct mp_cpu {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
};

struct mp_bus {
	uint8_t type, id;
	char name[6];
};

struct mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t address;
};

struct mp_interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, bus_irq, apic, pin;
};

enum { MP_CPU = 0, MP_BUS = 1, MP_IOAPIC = 2, MP_IO_INTERRUPT = 3, MP_LOCAL_INTERRUPT = 4 };
enum { CPU_ENABLED = 1, CPU_BSP = 2 };
enum { KIND_INT = 0, KIND_NMI = 1, KIND_EXTINT = 3 };
enum { FLAGS_BUS = 0, FLAGS_LEVEL_HIGH = 0xd };

_Static_assert(sizeof(struct mp_pointer) == 16, "layout");
_Static_assert(sizeof(struct mp_header) == 44, "layout");
_Static_assert(sizeof(struct mp_cpu) == 20, "layout");
_Static_assert(sizeof(struct mp_bus) == 8 && sizeof(struct mp_ioapic) == 8, "layout");
_Static_assert(sizeof(struct mp_interrupt) == 8, "layout");

struct mp_table {
	struct mp_pointer pointer;
	struct mp_header header;
	uint8_t entries[OPTIONS_CPUS_MAX * sizeof(struct mp_cpu) + (N_ISA_IRQS + 4) * 8];
	size_t len;
};

static void add(struct mp_table *t, const void *entry, size_t len)
{
	memcpy(t->entries + t->len, entry, len);
	t->len += len;
	t->header.n_entries++;
}

static void add_cpus(struct mp_table *t, const struct machine *m)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(m->kvm.cpuid, 1, 0);
	for (unsigned int i = 0; i < m->opt->n_cpus; i++) {
		struct mp_cpu cpu = { .type = MP_CPU,
				      .apic_id = (uint8_t)i,
				      .apic_version = LAPIC_VERSION,
				      .flags = i == 0 ? CPU_ENABLED | CPU_BSP : CPU_ENABLED,
				      .signature = e ? e->eax : 0,
				      .features = e ? e->edx : 0 };
		add(t, &cpu, sizeof(cpu));
	}
}

/* KVM's default routing: interrupt line, PIC input and I/O APIC pin have the same number. */
static void add_interrupts(struct mp_table *t, const struct machine *m, uint8_t ioapic)
{
	for (uint8_t irq = 0; irq < N_ISA_IRQS; irq++) {
		bool virtio = irq >= PAYLOAD_VIRTIO_GSI &&
			      irq < PAYLOAD_VIRTIO_GSI + m->mmio.n_ranges;
		struct mp_interrupt i = { .type = MP_IO_INTERRUPT, .kind = KIND_INT,
					  .flags = virtio ? FLAGS_LEVEL_HIGH : FLAGS_BUS,
					  .bus = BUS_ISA, .bus_irq = irq,
					  .apic = ioapic, .pin = irq };
		add(t, &i, sizeof(i));
	}
	struct mp_interrupt extint = { .type = MP_LOCAL_INTERRUPT, .kind = KIND_EXTINT, .pin = 0 };
	struct mp_interrupt nmi = { .type = MP_LOCAL_INTERRUPT, .kind = KIND_NMI, .apic = 0xff,
				    .pin = 1 };
	add(t, &extint, sizeof(extint));
	add(t, &nmi, sizeof(nmi));
}

static uint8_t sum(const void *data, size_t len)
{
	uint8_t s = 0;
	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + ((const uint8_t *)data)[i]);
	return s;
}

static void finish(struct mp_table *t)
{
	t->header.len = (uint16_t)(sizeof(t->header) + t->len);
	t->header.checksum = (uint8_t)-(sum(&t->header, sizeof(t->header)) + sum(t->entries, t->len));
	t->pointer.checksum = (uint8_t)-sum(&t->pointer, sizeof(t->pointer));
}

int mptable_store(struct machine *m)
{
	struct mp_table t = {
		.pointer = { .signature = "_MP_", .table = MPTABLE_GPA + sizeof(struct mp_pointer),
			     .paragraphs = 1, .revision = 4 },
		.header = { .signature = "PCMP", .revision = 4, .lapic = LAPIC_GPA },
	};
	uint8_t ioapic = (uint8_t)m->opt->n_cpus;
	memcpy(t.header.oem, "MIGD    ", sizeof(t.header.oem));
	memcpy(t.header.product, "MIGD-VMM    ", sizeof(t.header.product));
	add_cpus(&t, m);
	add(&t, &(struct mp_bus){ MP_BUS, BUS_ISA, { 'I', 'S', 'A', ' ', ' ', ' ' } },
	    sizeof(struct mp_bus));
	add(&t, &(struct mp_ioapic){ MP_IOAPIC, ioapic, IOAPIC_VERSION, 1, IOAPIC_GPA },
	    sizeof(struct mp_ioapic));
	add_interrupts(&t, m, ioapic);
	finish(&t);
	return machine_store(m, MPTABLE_GPA, &t, offsetof(struct mp_table, entries) + t.len,
			     "MP table");
}
