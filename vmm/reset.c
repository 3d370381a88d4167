/* SPDX-License-Identifier: Apache-2.0 */
/* Resetting the guest: the pending request, which is guest state, and the main thread's part. */
#include "vmm/reset.h"

#include "vmm/boot.h"
#include "vmm/control.h"
#include "vmm/machine.h"
#include "vmm/sleep.h"
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

/* A guest that crashed or powered off stays in the gate; nothing can be waited for. */
static bool may_run_again(struct machine *m)
{
	enum migd_guest_run_state state = migd_guest_run_state(m->guest);
	return state != MIGD_GUEST_RS_PANICKED && state != MIGD_GUEST_RS_SHUTDOWN;
}

static void set_pending(struct machine *m, bool pending)
{
	__atomic_store_n(&m->reset->pending, pending, __ATOMIC_RELEASE);
}

void reset_step(struct machine *m)
{
	if (!may_run_again(m)) {
		note(LOG_WARNING, "the guest crashed or powered off and is not reset");
		set_pending(m, false);
		return;
	}
	if (!vcpus_begin_reset(m->vcpus)) {
		sleep_wake(m->sleep);	/* or its vCPUs would never come */
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
	set_pending(m, false);
	vcpus_end_reset(m->vcpus, r == 0 ? &entry : NULL);
}
