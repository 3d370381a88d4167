/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damaged (hwpoisoned) pages. On the source they are known from the library, or found when they cannot be read; they are
 * never read again nor sent, but the destination is told (WIRE_RAM_POISON), whose library makes its VMM poison them: a guest
 * that would have got a machine check here gets one there, and not a page of zeros. Migration thread.
 */
#ifndef MIGD_ENGINE_RAM_POISON_H
#define MIGD_ENGINE_RAM_POISON_H

#include "engine/guest-link.h"
#include "engine/ram.h"

/* Source: whom to ask, whom to tell. */
struct ram_poison {
	struct guest_link *guest;
	bool can_send;		/* the peer knows WIRE_RAM_POISON */
	bool unsupported;	/* the library does not: it is older */
	uint32_t known;		/* ranges of its list that were taken */
};

/* Take what became known since. -EOPNOTSUPP with ERR if the peer cannot be told. */
int ram_poison_fetch(struct ram_poison *p, struct ram *ram, struct merr *err);

/* A page of B that cannot be read. As above. */
int ram_poison_found(struct ram_poison *p, struct ram_file *b, uint64_t page, struct merr *err);

/* Take what is damaged off `todo`. */
void ram_poison_skip(struct ram *ram);

/* Add pages to B's; with the whole of each (huge) page. *ret_fresh: some were not there yet. -ENOMEM. */
int ram_poison_mark(struct ram_file *b, uint64_t first, uint64_t n, bool *ret_fresh);

#endif
