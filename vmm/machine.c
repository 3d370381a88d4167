/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: putting its parts together and taking them apart. */
#include "vmm/machine.h"

#include <errno.h>
#include <string.h>

#include "vmm/control.h"
#include "vmm/io.h"
#include "vmm/options.h"
#include "vmm/util.h"

static int add_slots(struct machine *m)
{
	uint64_t low = ram_low_len(&m->ram), high = ram_high_len(&m->ram);
	int r = kvm_add_slot(&m->kvm, 0, 0, m->ram.host, low);
	if (r == 0 && high > 0)
		r = kvm_add_slot(&m->kvm, 1, RAM_HIGH_GPA, m->ram.host + low, high);
	return r;
}

static enum ram_file_use file_use(const struct options *opt)
{
	if (!opt->memory_shared)
		return RAM_FILE_OWN;
	return opt->incoming ? RAM_FILE_JOINED : RAM_FILE_SHARED;
}

/* Blocks until the other VMM hands its memory over. */
static int await_memory(struct machine *m)
{
	const struct options *opt = m->opt;
	int r = migd_guest_cpr_listen(opt->cpr_path, &m->cpr);
	if (r == 0) {
		note(LOG_NOTICE, "waiting at '%s' for the memory of a guest", opt->cpr_path);
		r = migd_guest_cpr_receive(m->cpr, -1);
	}
	return r < 0 ? fail(r, "%s", migd_guest_error()) : 0;
}

/* An incoming guest's memory may be there: left by the VMM that this process was, or handed over by another. */
static int find_memory(struct machine *m)
{
	int r = m->opt->incoming ? migd_guest_cpr_inherit(&m->cpr) : -ENOENT;
	if (r == 0)
		note(LOG_NOTICE, "going on with the memory that was left here");
	else if (r != -ENOENT)
		return fail(r, "%s", migd_guest_error());
	return r == -ENOENT && m->opt->cpr_path ? await_memory(m) : 0;
}

static int take_ram(struct machine *m)
{
	const struct options *opt = m->opt;
	struct migd_guest_ram ram;
	int r = migd_guest_cpr_ram(m->cpr, opt->memory_id, &ram);
	if (r < 0)
		return fail(r, "%s", migd_guest_error());
	if (ram.len != opt->memory_bytes)
		return fail(-EINVAL, "the guest has %llu MiB of memory: start this VMM with the same --memory",
			    (unsigned long long)(ram.len / MIB));
	return ram_init_shared(&m->ram, ram.len, ram.fd, ram.fd_offset);
}

static int init_ram(struct machine *m)
{
	const struct options *opt = m->opt;
	int r = find_memory(m);
	if (r < 0)
		return r;
	return m->cpr ? take_ram(m) :
			ram_init(&m->ram, opt->memory_bytes, opt->memory_file, file_use(opt),
				 opt->hugetlb);
}

int machine_init(struct machine *m, const struct options *opt)
{
	*m = (struct machine){
		.opt = opt,
		.kvm = { .fd = -1, .vm_fd = -1 },
		.ram = { .fd = -1 },
		.uffd = -1,
		.pio = { .absent = UINT64_MAX },
		.mmio = { .absent = 0 },
	};
	int r = kvm_init(&m->kvm, opt->dirty_ring_entries);
	if (r == 0)
		r = init_ram(m);
	if (r == 0)
		r = add_slots(m);
	if (r == 0)
		r = control_new(&m->control);
	if (r == 0)
		r = io_new(&m->io);
	return r == 0 && !opt->ram_only ? devices_create(m, opt) : r;
}

void machine_done(struct machine *m)
{
	io_stop(m->io);
	for (size_t i = 0; i < m->n_devices; i++)
		(void)device_free(m->devices[i]);
	m->n_devices = 0;
	m->io = io_free(m->io);
	m->control = control_free(m->control);
	migd_guest_cpr_free(m->cpr);
	m->cpr = NULL;
	kvm_done(&m->kvm);
	if (m->uffd >= 0)
		(void)close(m->uffd);
	ram_done(&m->ram);
}

void machine_wrote(struct machine *m, const void *host, uint64_t len)
{
	if (m->guest)
		migd_guest_mark_dirty_host(m->guest, host, len);
}

int machine_store(struct machine *m, uint64_t gpa, const void *data, uint64_t len, const char *what)
{
	void *host = ram_at(&m->ram, gpa, len);
	if (!host)
		return fail(-EFAULT,
			    "%s: %llu bytes do not fit at %#llx in %llu MiB of guest memory", what,
			    (unsigned long long)len, (unsigned long long)gpa,
			    (unsigned long long)(m->ram.len / MIB));
	memcpy(host, data, len);
	machine_wrote(m, host, len);
	return 0;
}

void machine_notify(struct machine *m, enum migd_guest_event event)
{
	if (m->guest && migd_guest_notify(m->guest, event) < 0)
		note(LOG_ERR, "event %d: %s", (int)event, migd_guest_error());
}

int machine_reset_devices(struct machine *m)
{
	for (size_t i = 0; i < m->n_devices; i++)
		device_reset(m->devices[i]);
	return kvm_reset_chips(&m->kvm);
}
