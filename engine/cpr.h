/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mode cpr-transfer: the target's RAM is the source's. Its VMM got the descriptors before the migration began (docs/cpr.md),
 * so no page is sent; the source names each block's file instead, and the target makes sure that it has that very file.
 * Between migds only, feature HELLO_FEATURE_CPR.
 */
#ifndef MIGD_ENGINE_CPR_H
#define MIGD_ENGINE_CPR_H

#include "engine/ram-target.h"
#include "engine/source.h"

/* Source: whether this migration is one. */
bool cpr_is_transfer(const struct source *s);

/* Source: say so, before the `ram` section starts: WIRE_CMD_CPR_RAM. -errno with S->err. */
int cpr_send_ram(struct source *s);

/* Target: its payload of LEN bytes. From here on T takes the blocks as they are, and no page. Errors are IN's. */
int cpr_receive_ram(struct ram_target *t, uint16_t len);

/*
 * Target, once the block list is there: memory that another VMM still uses must be what this migration is about, or it
 * would be overwritten under a running guest. Errors are IN's.
 */
int cpr_check_listed(struct ram_target *t);

#endif
