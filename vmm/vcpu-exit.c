/* SPDX-License-Identifier: Apache-2.0 */
/* What KVM_RUN returns for the VMM to do (Linux, Documentation/virt/kvm/api.rst, 5): one row an exit reason. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/control.h"
#include "vmm/machine.h"
#include "vmm/reset.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

void vcpu_panic(struct vcpu *v, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct kvm_regs regs = { 0 };
	(void)ioctl(v->fd, KVM_GET_REGS, &regs);
	note(LOG_CRIT, "vCPU %u cannot go on at rip=%#llx: %s", v->index,
	     (unsigned long long)regs.rip, text);
	machine_notify(v->machine, MIGD_GUEST_EVENT_PANIC);
}

static void handle_io(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint64_t value = 0;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			bus_write(&v->machine->pio, run->io.port, run->io.size, value);
		} else {
			value = bus_read(&v->machine->pio, run->io.port, run->io.size);
			memcpy(data, &value, run->io.size);
		}
	}
}

static void handle_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	if (run->mmio.is_write) {
		uint64_t value = 0;
		memcpy(&value, run->mmio.data, MIN(run->mmio.len, sizeof(value)));
		bus_write(&v->machine->mmio, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		uint64_t value = bus_read(&v->machine->mmio, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, sizeof(value));
	}
}

/* A triple fault. */
static void handle_shutdown(struct vcpu *v)
{
	if (!reset_pending(v->machine->reset))
		note(LOG_NOTICE, "vCPU %u: triple fault", v->index);
	reset_request(v->machine);
}

static void handle_internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	/* A vCPU that waits for its reset may be in any state. */
	if (reset_pending(v->machine->reset))
		return;
	unsigned long long first = run->internal.ndata ? run->internal.data[0] : 0;
	vcpu_panic(v, "KVM internal error %u (data %#llx)", run->internal.suberror, first);
}

static void handle_fail_entry(struct vcpu *v)
{
	vcpu_panic(v, "KVM cannot enter the guest: hardware reason %#llx",
		   (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
}

static void handle_system_event(struct vcpu *v)
{
	uint32_t type = v->run->system_event.type;
	if (type == KVM_SYSTEM_EVENT_SHUTDOWN) {
		machine_notify(v->machine, MIGD_GUEST_EVENT_SHUTDOWN);
		control_end(v->machine->control, END_POWEROFF, 0);
	} else if (type == KVM_SYSTEM_EVENT_RESET) {
		reset_request(v->machine);
	} else {
		vcpu_panic(v, "system event %u", type);
	}
}

static void handle_nothing(struct vcpu *v)
{
	(void)v;
}

static const struct {
	uint32_t reason;
	void (*handle)(struct vcpu *v);
} exits[] = {
	{ KVM_EXIT_IO, handle_io },
	{ KVM_EXIT_MMIO, handle_mmio },
	{ KVM_EXIT_INTR, handle_nothing },
	{ KVM_EXIT_DIRTY_RING_FULL, handle_nothing },	/* the library's; just run again */
	{ KVM_EXIT_SHUTDOWN, handle_shutdown },
	{ KVM_EXIT_INTERNAL_ERROR, handle_internal_error },
	{ KVM_EXIT_FAIL_ENTRY, handle_fail_entry },
	{ KVM_EXIT_SYSTEM_EVENT, handle_system_event },
};

void vcpu_handle_exit(struct vcpu *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		if (exits[i].reason == v->run->exit_reason) {
			exits[i].handle(v);
			return;
		}
	}
	vcpu_panic(v, "unexpected KVM exit %u", v->run->exit_reason);
}
