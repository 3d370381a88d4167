/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as libmigd-guest sees it: RAM, slots, devices, and the hooks at the turning points of a migration. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/io.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/poison.h"
#include "vmm/reset.h"
#include "vmm/sleep.h"
#include "vmm/util.h"

/* The first device that refuses decides. */
static int each_device(struct machine *m, size_t hook)
{
	for (size_t i = 0; i < m->n_devices; i++) {
		struct device *dev = m->devices[i];
		int (*call)(struct device *) =
			*(int (*const *)(struct device *))((const char *)dev->type + hook);
		int r = call ? call(dev) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static void each_device_void(struct machine *m, size_t hook)
{
	for (size_t i = 0; i < m->n_devices; i++) {
		struct device *dev = m->devices[i];
		void (*call)(struct device *) =
			*(void (*const *)(struct device *))((const char *)dev->type + hook);
		if (call)
			call(dev);
	}
}

#define EACH_DEVICE(m, hook) each_device(m, offsetof(struct device_type, hook))
#define EACH_DEVICE_VOID(m, hook) each_device_void(m, offsetof(struct device_type, hook))

static int on_quiesce(void *opaque)
{
	struct machine *m = opaque;
	int r = io_pause(m->io);
	if (r < 0)
		return r;
	m->quiesced = true;
	control_set_quiesced(m->control, true);
	EACH_DEVICE_VOID(m, quiesce);
	return 0;
}

/* Also after a quiesce that failed, which then stopped nothing. */
static void on_unquiesce(void *opaque)
{
	struct machine *m = opaque;
	if (!m->quiesced)
		return;
	m->quiesced = false;
	EACH_DEVICE_VOID(m, unquiesce);
	io_resume(m->io);
	control_set_quiesced(m->control, false);
}

static int on_after_load(void *opaque)
{
	return EACH_DEVICE(opaque, check);
}

/* KVM's chips were loaded as they were, but KVM's idea of who drives which line was not. */
static void on_activate(void *opaque)
{
	struct machine *m = opaque;
	EACH_DEVICE_VOID(m, activate);
	for (size_t i = 0; i < m->n_devices; i++)
		device_assert_irq(m->devices[i]);
	note(LOG_NOTICE, "the guest has arrived");
}

/* All or none: what was given up is taken back when one cannot. */
static int on_release(void *opaque)
{
	struct machine *m = opaque;
	int r = EACH_DEVICE(m, release);
	if (r < 0)
		(void)EACH_DEVICE(m, reclaim);
	return r;
}

static int on_reclaim(void *opaque)
{
	return EACH_DEVICE(opaque, reclaim);
}

static void on_retire(void *opaque)
{
	control_end(((struct machine *)opaque)->control, END_RETIRED, 0);
}

static void on_discard(void *opaque)
{
	control_end(((struct machine *)opaque)->control, END_DISCARDED, 0);
}

static int on_poison(void *opaque, uint64_t gpa, uint64_t len)
{
	return poison_memory(opaque, gpa, len);
}

static void on_log(void *opaque, int level, const char *text)
{
	(void)opaque;
	if (level < LOG_DEBUG)
		note(level, "%s", text);
}

static void on_request(void *opaque, enum migd_guest_event what)
{
	struct machine *m = opaque;
	/* A machine without vCPUs has nothing that a reset would change. */
	if (what == MIGD_GUEST_EVENT_RESET && m->reset) {
		reset_request(m);
	} else if (what == MIGD_GUEST_EVENT_WAKEUP) {
		sleep_wake(m->sleep);
	} else if (what == MIGD_GUEST_EVENT_SHUTDOWN) {
		machine_notify(m, MIGD_GUEST_EVENT_SHUTDOWN);
		control_end(m->control, END_POWEROFF, 0);
	}
}

static void on_announce(void *opaque, const char *const *interfaces, size_t n)
{
	struct machine *m = opaque;
	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i]->type->announce)
			m->devices[i]->type->announce(m->devices[i], interfaces, n);
}

/* The new program waits for the guest as this one would: it makes its own mask, and finds its own way to end. */
static int on_exec(void *opaque, char *const argv[], char *const envp[])
{
	(void)opaque;
	sigset_t none, before;
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, &before);
	note(LOG_NOTICE, "becoming '%s'", argv[0]);
	(void)execvpe(argv[0], argv, envp);
	int r = -errno;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static const struct migd_guest_hooks hooks = {
	.size = sizeof(hooks),
	.quiesce = on_quiesce,
	.unquiesce = on_unquiesce,
	.after_load = on_after_load,
	.activate = on_activate,
	.release = on_release,
	.reclaim = on_reclaim,
	.retire = on_retire,
	.discard = on_discard,
	.poison = on_poison,
	.log = on_log,
	.request = on_request,
	.exec = on_exec,
	.announce = on_announce,
};

static int add_ram(struct machine *m)
{
	struct migd_guest_ram ram = {
		.size = sizeof(ram),
		.name = m->opt->memory_id,
		.host = m->ram.host,
		.len = m->ram.len,
		.fd = m->ram.fd,
		.fd_offset = m->ram.fd_offset,
		.flags = m->opt->memory_shared ? MIGD_GUEST_RAM_SHARED : 0,
	};
	uint64_t low = ram_low_len(&m->ram), high = ram_high_len(&m->ram);
	int block = migd_guest_add_ram(m->guest, &ram);
	if (block < 0)
		return block;
	int r = migd_guest_add_ram_slot(m->guest, (unsigned int)block, 0, 0, 0, low);
	if (r == 0 && high > 0)
		r = migd_guest_add_ram_slot(m->guest, (unsigned int)block, 1, RAM_HIGH_GPA, low,
					    high);
	return r;
}

static int add_live(struct machine *m, struct device *dev)
{
	struct migd_live live = *dev->type->live;
	live.instance = dev->instance;
	live.opaque = dev;
	return migd_guest_add_live(m->guest, &live);
}

static int add_devices(struct machine *m)
{
	for (size_t i = 0; i < m->n_devices; i++) {
		struct device *dev = m->devices[i];
		int r = dev->type->state ?
				migd_guest_add_device(m->guest, dev->type->name, dev->instance,
						      dev->type->state, dev->state, 0) :
				0;
		if (r == 0 && dev->type->live)
			r = add_live(m, dev);
		if (r < 0)
			return r;
	}
	return 0;
}

static int attach(struct machine *m)
{
	const struct options *opt = m->opt;
	struct migd_guest_options options = {
		.size = sizeof(options),
		.name = opt->name,
		.role = opt->incoming ? MIGD_GUEST_INCOMING : MIGD_GUEST_RUNNING,
		.attach_path = opt->attach_path,
		.listen_path = opt->listen_path,
		.hooks = &hooks,
		.opaque = m,
		.cpr = m->cpr,
	};
	memcpy(options.uuid, opt->uuid, sizeof(options.uuid));
	struct migd_guest_kvm kvm = {
		.size = sizeof(kvm),
		.kvm_fd = m->kvm.fd,
		.vm_fd = m->kvm.vm_fd,
		.irqchip = true,
		.pit = true,
		.dirty_ring_entries = m->kvm.dirty_ring_entries,
	};
	int r = migd_guest_new(&options, &m->guest);
	if (r == 0)
		m->cpr = NULL;
	if (r == 0)
		r = migd_guest_set_kvm(m->guest, &kvm);
	if (r == 0)
		r = add_ram(m);
	return r == 0 ? add_devices(m) : r;
}

int machine_attach(struct machine *m)
{
	int r = attach(m);
	if (r < 0)
		return fail(r, "%s", migd_guest_error());
	/* Nothing touches the state of a guest that has not arrived: unquiesce comes with it. */
	return m->opt->incoming ? on_quiesce(m) : 0;
}
