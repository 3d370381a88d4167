/* SPDX-License-Identifier: Apache-2.0 */
/* Resetting the guest: the pending request, which is guest state, and the main thread's part. */
#include "vmm/reset.h"

#include "vmm/boot.h"
#include "vmm/control.h"
#include "vmm/machine.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

struct reset {
	bool pending;	/* atomic */
};

static const struct migd_vmstate_field reset_fields[] = {
	MIGD_VMS_FIELD_BOOL(struct reset, pending),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate reset_state = {
	.name = "reset", .version = 1, .minimum_version = 1, .fields = reset_fields
};

static const struct device_derived reset_derived[] = { DEVICE_DERIVED_END };

static int reset_init(struct device *dev, const struct options *opt)
{
	(void)opt;
	dev->machine->reset = dev->state;
	return 0;
}

/* It came with the guest; do it here. */
static void reset_unquiesce(struct device *dev)
{
	if (reset_pending(dev->state))
		control_wake(dev->machine->control);
}

const struct device_type reset_type = {
	.name = "reset",
	.state_size = sizeof(struct reset),
	.state = &reset_state,
	.derived = reset_derived,
	.init = reset_init,
	.unquiesce = reset_unquiesce,
};

bool reset_pending(const struct reset *reset)
{
	return __atomic_load_n(&reset->pending, __ATOMIC_ACQUIRE);
}

void reset_request(struct machine *m)
{
	__atomic_store_n(&m->reset->pending, true, __ATOMIC_RELEASE);
	control_wake(m->control);
}

void reset_step(struct machine *m)
{
	if (!vcpus_begin_reset(m->vcpus)) {
		vcpus_kick(m->vcpus);
		return;
	}
	note(LOG_NOTICE, "the guest is reset");
	struct boot_entry entry;
	int r = machine_reset_devices(m);
	if (r == 0)
		r = boot_load(m, &entry);
	machine_notify(m, MIGD_GUEST_EVENT_RESET);
	if (r < 0) {
		note(LOG_ERR, "the guest cannot be started again and stays stopped");
		machine_notify(m, MIGD_GUEST_EVENT_PANIC);
	}
	__atomic_store_n(&m->reset->pending, false, __ATOMIC_RELEASE);
	vcpus_end_reset(m->vcpus, r == 0 ? &entry : NULL);
}
