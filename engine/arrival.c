/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection is, by its first bytes. */
#include "engine/arrival.h"

#include "base/bytes.h"
#include "engine/multifd-packet.h"
#include "engine/urgent-channel.h"

_Static_assert(ARRIVAL_HEAD_LEN >= MULTIFD_HELLO_LEN && ARRIVAL_HEAD_LEN >= URGENT_HELLO_LEN, "any hello fits");

/* How many bytes a main stream that begins with these N must have, at least. What makes no sense the opening refuses. */
static ssize_t head_len(const uint8_t *head, ssize_t n)
{
	uint32_t name_len;

	if (n < ARRIVAL_HEADER_LEN || load_be32(head + 4) != WIRE_VERSION)
		return ARRIVAL_HEADER_LEN;
	if (n <= ARRIVAL_HEADER_LEN || head[ARRIVAL_HEADER_LEN] != WIRE_CONFIGURATION)
		return ARRIVAL_HEADER_LEN + 1;
	if (n < ARRIVAL_HEADER_LEN + 5)
		return ARRIVAL_HEADER_LEN + 5;
	name_len = load_be32(head + ARRIVAL_HEADER_LEN + 1);
	return ARRIVAL_HEADER_LEN + 5 + (name_len <= WIRE_NAME_MAX ? (ssize_t)name_len + 1 : 0);
}

enum arrival arrival_kind(const uint8_t *head, ssize_t n, bool encrypted, ssize_t *ret_needs)
{
	uint32_t magic = n >= ARRIVAL_MAGIC_LEN ? load_be32(head) : 0;

	*ret_needs = ARRIVAL_MAGIC_LEN;
	if (magic == WIRE_MULTIFD_MAGIC) {
		*ret_needs = MULTIFD_HELLO_LEN;
		return ARRIVAL_MULTIFD;
	}
	if (magic == WIRE_PREEMPT_MAGIC) {
		*ret_needs = URGENT_HELLO_LEN;
		return ARRIVAL_URGENT;
	}
	if (magic == WIRE_MAGIC && !encrypted)
		*ret_needs = head_len(head, n);
	/* A QEMU that recovers post-copy begins with a command (WIRE.md 7.5): no magic has this first byte. */
	if (n > 0 && head[0] == WIRE_COMMAND)
		*ret_needs = 1;
	return ARRIVAL_MAIN;
}
