/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modes cpr-transfer and cpr-exec: the target's RAM is the source's. Its VMM got the descriptors before the migration
 * began, or inherits them (docs/cpr.md), so no page is sent; the source names each block's file instead, and the target
 * makes sure that it has that very file. Between migds, feature HELLO_FEATURE_CPR; cpr-exec: in the file.
 */
#ifndef MIGD_ENGINE_CPR_H
#define MIGD_ENGINE_CPR_H

#include "engine/ram-target.h"
#include "engine/source.h"

/* Source: modes cpr-transfer and cpr-exec: the memory stays where it is. */
bool cpr_keeps_memory(const struct source *s);

/* Source: every mode but `normal`: there are no passes while the guest runs. */
bool cpr_has_no_passes(const struct source *s);

/* Source, before anything: whether the peer and the library can do what the mode needs. -errno with S->err. */
int cpr_check(struct source *s);

/* Source: name the blocks that are not sent, after the block list: WIRE_CMD_CPR_RAM. -errno with S->err. */
int cpr_send_ram(struct source *s);

bool cpr_is_exec(const struct source *s);
/*
 * Source, mode cpr-exec, the state is durable and the guest released: the VMM becomes another program. False: it did not,
 * S->err says why, and the guest is to run here again.
 */
bool cpr_exec(struct source *s);

/* Target, after the block list: its payload of LEN bytes. From here on T takes the blocks as they are, and no page. Errors are IN's. */
int cpr_receive_ram(struct ram_target *t, uint16_t len);

/*
 * Target, before LOADED: memory that was handed over must be what this migration is about. (Its blocks were written in no
 * case.) Errors are IN's.
 */
int cpr_check_received(struct ram_target *t);

#endif
