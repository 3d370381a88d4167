/* SPDX-License-Identifier: Apache-2.0 */
/* The vault: registers and memory. */
#include "vmm/vault.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

static const struct migd_vmstate_field vault_fields[] = {
	MIGD_VMS_FIELD_U32(struct vault, page),
	MIGD_VMS_FIELD_U32(struct vault, gpa_low),
	MIGD_VMS_FIELD_U32(struct vault, gpa_high),
	MIGD_VMS_FIELD_U32(struct vault, status),
	MIGD_VMS_FIELD_U32_EQUAL(struct vault, n_pages),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate vault_state = {
	.name = "vault", .version = 1, .minimum_version = 1, .fields = vault_fields
};

static const struct device_derived vault_derived[] = {
	DEVICE_DERIVED(struct vault, n_dirty, "of the migration at hand"),
	DEVICE_DERIVED(struct vault, cursor, "of the migration at hand"),
	DEVICE_DERIVED(struct vault, chunks_loaded, "of the migration at hand"),
	DEVICE_DERIVED(struct vault, ready_after, "command line"),
	DEVICE_DERIVED(struct vault, opened, "of the migration at hand"),
	DEVICE_DERIVED(struct vault, padding, "nothing"),
	DEVICE_DERIVED(struct vault, memory, "sent while the guest runs: vault-live.c"),
	DEVICE_DERIVED(struct vault, flags, "sent while the guest runs: vault-live.c"),
	DEVICE_DERIVED_END,
};

void vault_mark(struct vault *v, uint32_t index)
{
	if (!(v->flags[index] & VAULT_DIRTY))
		v->n_dirty++;
	v->flags[index] = VAULT_WRITTEN | VAULT_DIRTY;
}

/* The doorbell: a page moves between guest memory and here. */
static uint32_t move(struct vault *v, struct machine *m, uint32_t command)
{
	uint64_t gpa = (uint64_t)v->gpa_high << 32 | v->gpa_low;
	uint8_t *host = ram_at(&m->ram, gpa, VAULT_PAGE);
	if (v->page >= v->n_pages)
		return VAULT_BAD_PAGE;
	if (!host)
		return VAULT_BAD_ADDRESS;
	uint8_t *own = v->memory + (uint64_t)v->page * VAULT_PAGE;
	switch (command) {
	case VAULT_PUT:
		memcpy(own, host, VAULT_PAGE);
		vault_mark(v, v->page);
		return VAULT_OK;
	case VAULT_GET:
		memcpy(host, own, VAULT_PAGE);
		machine_wrote(m, host, VAULT_PAGE);
		return VAULT_OK;
	default:
		return VAULT_BAD_COMMAND;
	}
}

static uint64_t vault_read(struct device *dev, uint64_t offset, unsigned int size)
{
	const struct vault *v = dev->state;
	(void)size;
	switch (offset) {
	case VAULT_REG_MAGIC:
		return VAULT_MAGIC;
	case VAULT_REG_PAGES:
		return v->n_pages;
	case VAULT_REG_STATUS:
		return v->status;
	default:
		return 0;
	}
}

static void vault_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct vault *v = dev->state;
	(void)size;
	switch (offset) {
	case VAULT_REG_PAGE:
		v->page = (uint32_t)value;
		break;
	case VAULT_REG_GPA_LOW:
		v->gpa_low = (uint32_t)value;
		break;
	case VAULT_REG_GPA_HIGH:
		v->gpa_high = (uint32_t)value;
		break;
	case VAULT_REG_COMMAND:
		v->status = move(v, dev->machine, (uint32_t)value);
		break;
	default:
		break;
	}
}

/* What was put stays, as RAM does. */
static void vault_reset(struct device *dev)
{
	struct vault *v = dev->state;
	v->page = v->gpa_low = v->gpa_high = v->status = 0;
}

static int vault_init(struct device *dev, const struct options *opt)
{
	struct vault *v = dev->state;
	v->n_pages = (uint32_t)(opt->vault.bytes / VAULT_PAGE);
	v->ready_after = opt->vault.ready_after;
	v->flags = calloc(v->n_pages, 1);
	v->memory = mmap(NULL, opt->vault.bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v->memory == MAP_FAILED)
		v->memory = NULL;
	return v->flags && v->memory ? 0 : fail(-ENOMEM, "--vault: no memory");
}

static void vault_done(struct device *dev)
{
	struct vault *v = dev->state;
	free(v->flags);
	if (v->memory)
		(void)munmap(v->memory, (size_t)v->n_pages * VAULT_PAGE);
}

const struct device_type vault_type = {
	.name = "vault",
	.state_size = sizeof(struct vault),
	.state = &vault_state,
	.derived = vault_derived,
	.access_max = 4,
	.init = vault_init,
	.done = vault_done,
	.reset = vault_reset,
	.read = vault_read,
	.write = vault_write,
	.live = &vault_live,
};
