/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker in post-copy leaves for a successor: be32 magic, u8 version, u8 peer, be64 features, be32 section id. */
#include "engine/postcopy-memo.h"

#include <errno.h>

#include "base/bytes.h"

#define MEMO_MAGIC 0x4d504331U	/* "MPC1" */
#define MEMO_VERSION 1
#define MEMO_VERSION_RELEASE_RAM 2	/* the same, with release_ram; an older migd refuses it */
#define MEMO_LEN 18

int postcopy_memo_set(struct guest_link *g, const struct postcopy_memo *memo, struct merr *err)
{
	uint8_t b[MEMO_LEN];

	store_be32(b, MEMO_MAGIC);
	b[4] = memo->release_ram ? MEMO_VERSION_RELEASE_RAM : MEMO_VERSION;
	b[5] = (uint8_t)memo->peer;
	store_be64(b + 6, memo->features);
	store_be32(b + 14, memo->ram_section);
	return guest_memo_set(g, b, sizeof(b), err);
}

int postcopy_memo_clear(struct guest_link *g, struct merr *err)
{
	return guest_memo_set(g, NULL, 0, err);
}

int postcopy_memo_get(struct guest_link *g, struct postcopy_memo *ret, struct merr *err)
{
	uint8_t b[ATTACH_MEMO_MAX];
	size_t len = 0;
	int r = guest_memo_get(g, b, &len, err);

	if (r < 0)
		return r;
	if (len == 0)
		return -ENOENT;
	if (len != MEMO_LEN || load_be32(b) != MEMO_MAGIC || b[4] < MEMO_VERSION || b[4] > MEMO_VERSION_RELEASE_RAM ||
	    (b[5] != PEER_MIGD && b[5] != PEER_QEMU))
		return merr_set(err, -EBADMSG, "the lost worker's memo, of %zu bytes, is none that this migd understands", len);
	*ret = (struct postcopy_memo){
		.peer = (enum peer_kind)b[5],
		.features = load_be64(b + 6),
		.ram_section = load_be32(b + 14),
		.release_ram = b[4] == MEMO_VERSION_RELEASE_RAM,
	};
	return 0;
}
