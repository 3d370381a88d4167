/* SPDX-License-Identifier: Apache-2.0 */
/* What a source may say to which QEMU. */
#include "engine/dialect.h"

static const struct dialect dialects[PEER_VERSION__MAX] = {
	[PEER_VERSION_NEWEST] = { .switchover_start = true, .zero_lists = true, .sync_records = true, .late_preempt = true },
	[PEER_VERSION_QEMU_9] = { .zero_lists = true, .sync_records = true, .late_preempt = true },
	[PEER_VERSION_QEMU_8] = { .sync_records = true, .late_preempt = true },
	[PEER_VERSION_QEMU_7] = { .switchover_start = false },
};

const struct dialect *dialect_of(enum peer_kind peer, const struct migration_parameters *p)
{
	bool asked = peer != PEER_MIGD && p->has_peer_version;

	return &dialects[asked ? p->peer_version : PEER_VERSION_NEWEST];
}
