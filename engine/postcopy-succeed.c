/* SPDX-License-Identifier: Apache-2.0 */
/* Taking post-copy over from a worker that died. */
#include "engine/postcopy-succeed.h"

#include <errno.h>
#include <string.h>

#include "base/bitmap.h"
#include "engine/postcopy-memo.h"
#include "engine/postcopy-target.h"
#include "engine/ram-handler.h"
#include "engine/source.h"
#include "engine/target.h"

int postcopy_succeed_source(struct source *s)
{
	struct postcopy_memo memo;
	int r = postcopy_memo_get(&s->guest, &memo, &s->err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (migration_has_capability(s->m, MIGRATION_CAPABILITY_RELEASE_RAM) && !memo.release_ram)
		return merr_set(&s->err, -ENODATA,
			       "the lost worker was an older migd's, which with capability release-ram freed what it sent, arrived "
			       "or not: what did not arrive is lost; end the guest at the destination, and start it from its disks");
	r = guest_ram_table(&s->guest, &s->ram, &s->err);
	if (r == 0 && (r = ram_source_init(&s->ram)) < 0)
		r = merr_set_errno(&s->err, r, "bitmaps");
	if (r < 0)
		return r;
	s->peer = memo.peer;
	s->features = memo.features;
	s->ram.postcopy = true;
	s->sender = ram_source_new(&s->ram, NULL, &s->guest, s->m->stats, s->features & HELLO_FEATURE_RUNS);
	if (!s->sender)
		return merr_set_errno(&s->err, -ENOMEM, "sender");
	r = ram_source_register(&s->handlers, s->sender, &s->err);
	if (r < 0)
		return r;
	handlers_find(&s->handlers, WIRE_RAM_IDSTR, 0)->section_id = memo.ram_section;
	return 1;
}

/* What the lost one wrote is not known: any page may hold something else than zeros. */
static int init_ram(struct target *t)
{
	struct ram_file *b;
	int r = guest_ram_table(&t->guest, &t->ram, &t->err);

	if (r < 0)
		return r;
	r = ram_target_init(&t->ram);
	if (r < 0)
		return merr_set_errno(&t->err, r, "bitmaps");
	for (size_t i = 0; i < t->ram.n_blocks; i++) {
		b = &t->ram.blocks[i];
		bitmap_set_range(b->filled, 0, b->n_pages);
	}
	return guest_received_maps(&t->guest, &t->ram, &t->err);
}

static int register_ram(struct target *t, const struct postcopy_memo *memo)
{
	struct handler *h;
	int r;

	t->receiver = (struct ram_target){ .ram = &t->ram,
					   .runs = memo->features & HELLO_FEATURE_RUNS,
					   .page_sizes = true,
					   .listed = true };
	if (memo->features & HELLO_FEATURE_POISON)
		t->receiver.guest = &t->guest;
	r = ram_target_register(&t->handlers, &t->receiver, &t->err);
	if (r < 0)
		return r;
	h = handlers_find(&t->handlers, WIRE_RAM_IDSTR, 0);
	h->section_id = memo->ram_section;
	h->loaded_version = WIRE_RAM_VERSION;
	h->announced = true;
	return 0;
}

int postcopy_succeed_target(struct target *t)
{
	struct postcopy_memo memo;
	int r = postcopy_memo_get(&t->guest, &memo, &t->err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	t->hello.peer = memo.peer;
	t->hello.features = memo.features;
	memcpy(t->hello.handover_id, t->guest.id, ATTACH_ID_LEN);
	guest_link_no_cancel(&t->guest);
	r = init_ram(t);
	if (r == 0)
		r = register_ram(t, &memo);
	if (r == 0)
		r = postcopy_target_succeed(t);
	if (r != -EBADFD)
		return r;
	/* The lost worker got as far as the last page: the guest does not wait for pages any more. */
	merr_clear(&t->err);
	(void)postcopy_memo_clear(&t->guest, NULL);
	return 0;
}
