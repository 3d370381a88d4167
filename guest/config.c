/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's description: its framing, and how it is made on the source. */
#include "guest/config.h"

#include <errno.h>

#include "attach/proto.h"
#include "base/cleanup.h"
#include "guest/arch.h"
#include "guest/owner.h"
#include "guest/state.h"
#include "guest/stateful.h"

#define NAME_CAP (ATTACH_STR_MAX + 1)

void config_put(struct buf *out, uint16_t kind, uint16_t flags, uint32_t id, const void *body,
		size_t len)
{
	buf_be16(out, kind);
	buf_be16(out, flags);
	buf_be32(out, id);
	buf_be32(out, (uint32_t)len);
	buf_add(out, body, len);
}

int config_next(struct rcur *c, struct config_record *ret, struct merr *err)
{
	const uint8_t *body;
	uint32_t len;

	if (c->left == 0)
		return 0;
	ret->kind = rcur_be16(c);
	ret->flags = rcur_be16(c);
	ret->id = rcur_be32(c);
	len = rcur_be32(c);
	body = rcur_bytes(c, len);
	if (c->bad)
		return merr_set(err, -EPROTO, "the guest's description ends within a record");
	ret->body = rcur_of(body, len);
	return 1;
}

uint32_t config_machine_flags(const struct guest_tables *t)
{
	return (t->kvm.irqchip ? CONFIG_MACHINE_IRQCHIP : 0) |
	       (t->kvm.pit ? CONFIG_MACHINE_PIT : 0) |
	       (t->kvm.split_irqchip ? CONFIG_MACHINE_SPLIT_IRQCHIP : 0);
}

static void put_machine(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[8];

	store_be32(body, config_machine_flags(t));
	store_be32(body + 4, t->kvm.dirty_ring_entries);
	config_put(out, CONFIG_MACHINE, 0, 0, body, sizeof(body));
}

static void put_ram(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[32 + NAME_CAP];
	struct wcur w;

	for (size_t i = 0; i < t->n_blocks; i++) {
		const struct ram_block *b = &t->blocks[i];

		w = wcur_of(body, sizeof(body));
		wcur_be64(&w, b->len);
		wcur_be64(&w, b->page_size);
		wcur_be32(&w, b->flags);
		wcur_bytes(&w, b->name, strlen(b->name));
		config_put(out, CONFIG_RAM_BLOCK, 0, (uint32_t)i, body, w.len);
	}
	for (size_t i = 0; i < t->n_slots; i++) {
		const struct ram_slot *s = &t->slots[i];

		w = wcur_of(body, sizeof(body));
		wcur_be32(&w, s->block);
		wcur_be64(&w, s->gpa);
		wcur_be64(&w, s->offset);
		wcur_be64(&w, s->len);
		config_put(out, CONFIG_RAM_SLOT, 0, s->slot, body, w.len);
	}
}

static void put_vcpus(const struct guest_tables *t, struct buf *out)
{
	struct buf body = { 0 };

	for (size_t i = 0; i < t->n_vcpus; i++)
		buf_be32(&body, t->vcpus[i].index);
	if (body.error)
		out->error = body.error;
	else
		config_put(out, CONFIG_VCPUS, 0, 0, body.data, body.len);
	buf_done(&body);
}

static void put_devices(const struct guest_tables *t, struct buf *out)
{
	uint8_t body[8 + NAME_CAP];

	for (size_t i = 0; i < stateful_count(t); i++) {
		struct stateful d = stateful_at(t, i);
		struct wcur w = wcur_of(body, sizeof(body));

		if (!d.is_sent)
			continue;
		wcur_be32(&w, d.version);
		wcur_be32(&w, d.minimum_version);
		wcur_bytes(&w, d.name, strlen(d.name));
		config_put(out, CONFIG_DEVICE, 0, d.instance, body, w.len);
	}
}

int guest_config_get(struct arch_state *a, const struct guest_tables *t, struct buf *out,
		     struct merr *err)
{
	size_t start = out->len;
	int r = owner_check_migratable(t, err);

	if (r < 0)
		return r;
	buf_be32(out, CONFIG_MAGIC);
	buf_be16(out, CONFIG_VERSION);
	buf_be16(out, 0);
	config_put(out, CONFIG_ARCH, 0, 0, arch_name, strlen(arch_name));
	put_machine(t, out);
	put_ram(t, out);
	put_vcpus(t, out);
	put_devices(t, out);
	r = arch_config_put(a, out, err);
	if (r < 0)
		return r;
	if (out->error)
		return merr_set_errno(err, out->error, "describing the guest");
	if (out->len - start > ATTACH_CONFIG_MAX)
		return merr_set(err, -E2BIG,
				"the guest's description takes %zu bytes, at most %u can be sent: "
				"it has too many devices or vCPUs",
				out->len - start, ATTACH_CONFIG_MAX);
	return 0;
}
