/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a block of guest memory is what the VMM says: its file, its size, its mapping. */
#ifndef MIGD_GUEST_RAM_CHECK_H
#define MIGD_GUEST_RAM_CHECK_H

#include "base/err.h"
#include "guest/tables.h"

/*
 * Check B, whose fd is the VMM's, set its page_size, and seal a memfd against resizing. -EINVAL or
 * -ENOTSUP with ERR, as migd_guest_add_ram() says.
 */
int ram_check(struct ram_block *b, struct merr *err);

/* True if the two blocks share bytes of a file. */
bool ram_same_file(const struct ram_block *a, const struct ram_block *b);

#endif
