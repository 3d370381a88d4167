/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share: a VM's x86-64 state in structs of our own, and who fills which part.
 *
 * Files: arch.c (life, order of save and restore), vm.c (irqchips, PIT), vcpu.c (registers, events, LAPIC), xsave.c, msr.c,
 * nested.c, clock.c (kvmclock, TSC), cpuid.c (tables compared), config.c and caps.c (the description's records).
 * Everything runs on the service thread with the vCPUs parked; nothing here locks.
 *
 * The members are fixed-width and described by tables: their order and width is the wire format, never the kernel's
 * structs. Order and traps of save and restore are KVM.md's sections 2 and 3, and the kernel's
 * Documentation/virt/kvm/api.rst.
 */
#ifndef MIGD_GUEST_X86_ARCH_H
#define MIGD_GUEST_X86_ARCH_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/arch.h"

/* Largest XSAVE area taken: AMX's is 11008 bytes; KVM's uABI areas are page-sized and grow with CPUs. */
#define X86_XSAVE_MAX 16384U
#define X86_XSAVE_MIN 576U	/* legacy area and header */
#define X86_XCRS_MAX KVM_MAX_XCRS
/* MSRs of one vCPU: KVM lists about 120 on large hosts, MTRRs are 28, 32 MCE banks 128. */
#define X86_MSRS_MAX 512U
#define X86_LAPIC_SIZE 1024U
/* vmcs12 and its shadow are a page each, behind a header of 128 bytes; VMCB12 is one page. */
#define X86_NESTED_MAX 16384U
#define X86_CPUID_MAX 256U	/* the kernel's KVM_MAX_CPUID_ENTRIES */
#define X86_NOTES_MAX 2048

/* One list of members makes a struct, its table and the copy to and from the kernel's struct. */
#define X86_REGS(F)                                                                         \
	F(rax) F(rbx) F(rcx) F(rdx) F(rsi) F(rdi) F(rsp) F(rbp) F(r8) F(r9) F(r10) F(r11)   \
	F(r12) F(r13) F(r14) F(r15) F(rip) F(rflags)
struct x86_regs {
#define F(m) uint64_t m;
	X86_REGS(F)
#undef F
};

#define X86_SEGMENT_U8(F) F(type) F(present) F(dpl) F(db) F(s) F(l) F(g) F(avl) F(unusable)
struct x86_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
#define F(m) uint8_t m;
	X86_SEGMENT_U8(F)
#undef F
};

struct x86_dtable {
	uint64_t base;
	uint16_t limit;
};

#define X86_SREGS_SEGMENTS(F) F(cs) F(ds) F(es) F(fs) F(gs) F(ss) F(tr) F(ldt)
#define X86_SREGS_U64(F) F(cr0) F(cr2) F(cr3) F(cr4) F(cr8) F(efer) F(apic_base)
struct x86_sregs {
#define F(m) struct x86_segment m;
	X86_SREGS_SEGMENTS(F)
#undef F
	struct x86_dtable gdt, idt;
#define F(m) uint64_t m;
	X86_SREGS_U64(F)
#undef F
	bool sregs2;			/* came from KVM_GET_SREGS2: the next two count */
	uint64_t flags;
	uint64_t pdptrs[4];
	uint64_t interrupt_bitmap[4];	/* otherwise this one */
};

#define X86_EVENTS_U8(F)                                                                       \
	F(exception_injected) F(exception_nr) F(exception_has_error_code) F(exception_pending) \
	F(exception_has_payload) F(interrupt_injected) F(interrupt_nr) F(interrupt_soft)       \
	F(interrupt_shadow) F(nmi_injected) F(nmi_pending) F(nmi_masked) F(smi_smm)            \
	F(smi_pending) F(smi_inside_nmi) F(smi_latched_init) F(triple_fault_pending)
struct x86_events {
#define F(m) uint8_t m;
	X86_EVENTS_U8(F)
#undef F
	uint32_t exception_error_code;
	uint64_t exception_payload;
	uint32_t sipi_vector;
	uint32_t flags;
};

struct x86_debugregs {
	uint64_t db[4];
	uint64_t dr6, dr7, flags;
};

struct x86_xcr {
	uint32_t index;
	uint64_t value;
};

struct x86_msr {
	uint32_t index;
	uint64_t value;
};

/* A vCPU: whose, and its state. */
struct x86_vcpu {
	struct arch_state *arch;
	unsigned int index;
	int fd;				/* borrowed */
	struct kvm_run *run;		/* borrowed */
	struct kvm_cpuid2 *source_cpuid;	/* while comparing and until loaded; owned */
	bool adopt_cpuid;		/* the source's table is to be set on load */

	uint32_t mp_state;
	struct x86_events events;
	struct x86_regs regs;
	struct x86_sregs sregs;
	struct x86_debugregs debugregs;
	uint32_t n_xcrs;
	struct x86_xcr xcrs[X86_XCRS_MAX];
	uint32_t xsave_size;		/* the area's at the source */
	uint32_t xsave_len;		/* sent: zeros at the end are left out */
	uint8_t xsave[X86_XSAVE_MAX];
	uint32_t n_msrs;
	struct x86_msr msrs[X86_MSRS_MAX];
	uint64_t tsc;			/* MSR_IA32_TSC */
	uint64_t tsc_deadline;		/* MSR_IA32_TSCDEADLINE */
	uint32_t tsc_khz;		/* 0: not known */
	bool has_tsc_offset;		/* the offset is one that KVM really applies */
	uint64_t tsc_offset;
	uint8_t lapic[X86_LAPIC_SIZE];
	bool got_lapic;			/* loaded */
	uint32_t nested_len;		/* 0: no nested guest */
	uint8_t nested[X86_NESTED_MAX];
};

#define X86_PIC_U8(F)                                                                              \
	F(last_irr) F(irr) F(imr) F(isr) F(priority_add) F(irq_base) F(read_reg_select) F(poll)    \
	F(special_mask) F(init_state) F(auto_eoi) F(rotate_on_auto_eoi)                            \
	F(special_fully_nested_mode) F(init4) F(elcr) F(elcr_mask)
struct x86_pic {
#define F(m) uint8_t m;
	X86_PIC_U8(F)
#undef F
};

struct x86_ioapic {
	uint64_t base_address;
	uint32_t ioregsel, id, irr;
	uint64_t redirtbl[KVM_IOAPIC_NUM_PINS];
};

#define X86_PIT_U8(F)                                                                      \
	F(count_latched) F(status_latched) F(status) F(read_state) F(write_state) F(write_latch) \
	F(rw_mode) F(mode) F(bcd) F(gate)
struct x86_pit_channel {
	uint32_t count;		/* 0x10000 possible */
	uint16_t latched_count;
#define F(m) uint8_t m;
	X86_PIT_U8(F)
#undef F
	uint64_t elapsed_ns;	/* since the count was loaded: the kernel's own time means nothing elsewhere */
};

struct x86_pit {
	struct x86_pit_channel channels[3];
	uint32_t flags;
};

/* kvmclock when the guest stopped, and whether the source's wall clock can be compared with ours. */
struct x86_clock {
	uint64_t clock_ns;
	uint32_t flags;		/* KVM_CLOCK_* */
	uint64_t realtime_ns;
	uint64_t host_tsc;
	bool synchronised;	/* the wall clock is disciplined */
	uint8_t boot_id[16];	/* of the host; all zero: not known */
};

struct x86_vm {
	struct arch_state *arch;
	struct x86_clock clock;
	struct x86_pic pic[2];
	struct x86_ioapic ioapic;
	struct x86_pit pit;
	bool got_irqchip, got_pit;	/* loaded */
};

struct arch_state {
	int kvm_fd, vm_fd;	/* borrowed */
	bool irqchip, pit, lapic;	/* what is in the kernel */
	bool has_sregs2, has_tsc_control, has_deadline;
	uint32_t clock_flags;	/* what KVM_SET_CLOCK takes */
	uint32_t xsave_size;	/* of this VM */
	uint32_t nested_size;	/* 0: KVM cannot save nested guests */
	uint32_t n_msr_list, n_feature_list;
	uint32_t msr_list[X86_MSRS_MAX];	/* all to save, but TSC and TSC_DEADLINE */
	uint32_t feature_list[X86_MSRS_MAX];	/* those that say what the CPU is */
	struct x86_vm vm;
	struct x86_vcpu *vcpus;
	size_t n_vcpus;
	struct arch_section *sections;
	size_t n_sections;
	struct {	/* of the source, while comparing */
		bool got_tsc, got_xsave;
		uint32_t tsc_khz, xsave_size;
		uint64_t xsave_mask;
		uint32_t kvm_caps;	/* bits: caps.c */
		uint32_t n_features;
		struct x86_msr features[X86_MSRS_MAX];
	} source;
	size_t notes_len;
	char notes[X86_NOTES_MAX];
};

/* ioctl(), restarted after signals; a failure is named: "KVM_GET_REGS: Invalid argument". */
int x86_ioctl_named(int fd, unsigned long request, const char *name, void *arg, struct merr *err);
#define x86_ioctl(fd, request, arg, err) x86_ioctl_named(fd, request, #request, arg, err)

/* KVM_CHECK_EXTENSION on the VM; 0 if it fails. */
uint32_t x86_extension(int vm_fd, long cap);

/* Remember something that was gone on from. */
void x86_note(struct arch_state *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* vm.c */
extern const struct migd_vmstate x86_vm_vmstate;
int x86_vm_capture(struct arch_state *a, struct merr *err);
int x86_vm_apply(struct arch_state *a, struct merr *err);

/* vcpu.c: all but XSAVE, MSRs, nested state; each function one step of KVM.md's lists. */
extern const struct migd_vmstate x86_vcpu_vmstate;
int x86_mp_state_capture(struct x86_vcpu *v, struct merr *err);
int x86_mp_state_apply(struct x86_vcpu *v, struct merr *err);
int x86_events_capture(struct x86_vcpu *v, struct merr *err);
int x86_events_apply(struct x86_vcpu *v, struct merr *err);
int x86_regs_capture(struct x86_vcpu *v, struct merr *err);
int x86_regs_apply(struct x86_vcpu *v, struct merr *err);
int x86_lapic_capture(struct x86_vcpu *v, struct merr *err);
int x86_lapic_apply(struct x86_vcpu *v, struct merr *err);
int x86_debugregs_capture(struct x86_vcpu *v, struct merr *err);
int x86_debugregs_apply(struct x86_vcpu *v, struct merr *err);

/* sregs.c */
extern const struct migd_vmstate x86_sregs_vmstate;
int x86_sregs_capture(struct x86_vcpu *v, struct merr *err);
int x86_sregs_apply(struct x86_vcpu *v, struct merr *err);

/* xsave.c */
int x86_xsave_probe(struct arch_state *a, struct merr *err);
int x86_xsave_capture(struct x86_vcpu *v, struct merr *err);
int x86_xsave_apply(struct x86_vcpu *v, struct merr *err);
int x86_xcrs_capture(struct x86_vcpu *v, struct merr *err);
int x86_xcrs_apply(struct x86_vcpu *v, struct merr *err);
/* "AVX" for bit 2 of XCR0. */
const char *x86_xsave_component(unsigned int bit);

/* msr.c */
enum x86_msr_phase {
	X86_MSR_FEATURE = 1,	/* first of all: what the CPU is */
	X86_MSR_FEATURE_CONTROL,	/* depends on those */
	X86_MSR_ORDINARY,
	X86_MSR_ASYNC_PF,	/* after the interrupt it raises is known */
	X86_MSR_AT_RESUME,	/* they write guest memory by the VM's clock, which must be set */
};
int x86_msr_probe(struct arch_state *a, struct merr *err);
int x86_msrs_capture(struct x86_vcpu *v, struct merr *err);
int x86_msrs_apply(struct x86_vcpu *v, enum x86_msr_phase phase, struct merr *err);
/* One MSR. 1: done; 0: KVM refuses it; -errno. */
int x86_msr_get(int fd, uint32_t index, uint64_t *ret);
int x86_msr_set(int fd, uint32_t index, uint64_t value);
/* "IA32_TSC", or "". */
const char *x86_msr_name(uint32_t index);
#define X86_MSR_TSC 0x10U
#define X86_MSR_TSC_DEADLINE 0x6e0U
#define X86_MSR_PERF_CAPABILITIES 0x345U
#define X86_MSR_ARCH_CAPABILITIES 0x10aU

/* caps.c: a record of the description. Take: false for one that is malformed. */
void x86_caps_put(const struct arch_state *a, uint16_t kind, struct buf *out);
bool x86_caps_take(struct arch_state *a, struct rcur body);
void x86_caps_compare(const struct arch_state *a, struct mismatches *m);

/* nested.c */
extern const struct migd_vmstate x86_nested_vmstate;
int x86_nested_capture(struct x86_vcpu *v, struct merr *err);
int x86_nested_apply(struct x86_vcpu *v, struct merr *err);

/* clock.c */
extern const struct migd_vmstate x86_clock_vmstate;
/* May a guest of SOURCE_KHZ go on with a TSC of HERE_KHZ without being scaled? */
bool x86_tsc_khz_close(uint32_t source_khz, uint32_t here_khz);
/* How to set the clock of a guest that was stopped as C says on this host. Pure, for tests. */
struct kvm_clock_data x86_clock_plan(const struct x86_clock *c, uint32_t settable_flags,
				     bool same_host, bool synchronised);
int x86_tsc_khz_apply(struct x86_vcpu *v, struct merr *err);
int x86_tsc_capture(struct x86_vcpu *v, struct merr *err);
int x86_tsc_apply(struct x86_vcpu *v, struct merr *err);
int x86_tsc_deadline_apply(struct x86_vcpu *v, struct merr *err);
/* Would the clock be taken? Sets it, before the point of no return; arch_clock_resume() sets it again. */
int x86_clock_try(struct arch_state *a, struct merr *err);

#endif
