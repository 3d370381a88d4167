/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of multifd's channels. */
#include "engine/multifd-packet.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/wire.h"

#define MULTIFD_VERSION 1U
#define NAME_LEN 256U

void multifd_hello_put(const struct multifd_hello *h, uint8_t to[MULTIFD_HELLO_LEN])
{
	memset(to, 0, MULTIFD_HELLO_LEN);
	store_be32(to, WIRE_MULTIFD_MAGIC);
	store_be32(to + 4, MULTIFD_VERSION);
	memcpy(to + 8, h->uuid, sizeof(h->uuid));
	to[24] = h->id;
	memcpy(to + 32, h->handover_id, sizeof(h->handover_id));
	to[48] = h->n_channels;
}

static int check_start(struct rcur *c, struct merr *err)
{
	uint32_t magic = rcur_be32(c), version = rcur_be32(c);

	if (magic != WIRE_MULTIFD_MAGIC)
		return merr_set(err, -EBADMSG, "field 'magic' is 0x%08x, not 0x%08x", magic, WIRE_MULTIFD_MAGIC);
	if (version != MULTIFD_VERSION)
		return merr_set(err, -EBADMSG, "field 'version' is %u, not %u", version, MULTIFD_VERSION);
	return 0;
}

int multifd_hello_parse(const uint8_t from[MULTIFD_HELLO_LEN], struct multifd_hello *ret, struct merr *err)
{
	struct rcur c = rcur_of(from, MULTIFD_HELLO_LEN);
	int r = check_start(&c, err);

	if (r < 0)
		return r;
	memcpy(ret->uuid, from + 8, sizeof(ret->uuid));
	ret->id = from[24];
	memcpy(ret->handover_id, from + 32, sizeof(ret->handover_id));
	ret->n_channels = from[48];
	return 0;
}

void multifd_packet_put(const struct multifd_packet *p, uint8_t to[MULTIFD_HEADER_LEN])
{
	struct wcur c = wcur_of(to, MULTIFD_HEADER_LEN);
	uint32_t n = p->n_normal + p->n_zero;

	memset(to, 0, MULTIFD_HEADER_LEN);
	wcur_be32(&c, WIRE_MULTIFD_MAGIC);
	wcur_be32(&c, MULTIFD_VERSION);
	wcur_be32(&c, p->flags);
	wcur_be32(&c, n ? MULTIFD_PACKET_PAGES : 0);
	wcur_be32(&c, p->n_normal);
	wcur_be32(&c, p->payload_bytes);
	wcur_be64(&c, p->number);
	wcur_be32(&c, p->n_zero);
	if (!n)
		return;
	memcpy(to + 64, p->block->name, strlen(p->block->name));
	for (uint32_t i = 0; i < n; i++)
		store_be64(to + 64 + NAME_LEN + (size_t)i * 8, p->offsets[i]);
}

static int check_flags(uint32_t flags, uint32_t n_normal, enum multi_fd_compression codec, struct merr *err)
{
	uint32_t want = multifd_codec_flag(codec), got = flags & MULTIFD_CODEC_FLAGS;

	if (flags & ~(MULTIFD_FLAG_SYNC | MULTIFD_CODEC_FLAGS))
		return merr_set(err, -EBADMSG, "field 'flags': 0x%x is not a kind of packet this side knows", flags);
	/* Without pages a codec has nothing to do, and some sources do not name it. */
	if (got != want && (n_normal || got))
		return merr_set(err, -EBADMSG, "field 'flags': 0x%x is another compression than '%s', which is what "
				"multifd-compression says here: it must be the same on both sides", flags,
				multi_fd_compression_str(codec));
	return 0;
}

static int check_counts(const struct multifd_packet *p, uint32_t alloc, struct merr *err)
{
	if (alloc > MULTIFD_PACKET_PAGES)
		return merr_set(err, -EBADMSG, "field 'pages_alloc': %u pages (at most %u)", alloc, MULTIFD_PACKET_PAGES);
	if (p->n_normal > alloc)
		return merr_set(err, -EBADMSG, "field 'normal_pages': %u of %u pages", p->n_normal, alloc);
	if (p->n_zero > alloc - p->n_normal)
		return merr_set(err, -EBADMSG, "field 'zero_pages': %u beside %u of %u pages", p->n_zero, p->n_normal,
				alloc);
	return 0;
}

/* With no normal pages the field may hold anything: some sources leave an older packet's there. */
static int check_payload(struct multifd_packet *p, enum multi_fd_compression codec, struct merr *err)
{
	uint32_t bytes = p->n_normal * WIRE_PAGE_SIZE;

	if (!p->n_normal) {
		p->payload_bytes = 0;
		return 0;
	}
	if (codec == MULTI_FD_COMPRESSION_NONE && p->payload_bytes != bytes)
		return merr_set(err, -EBADMSG, "field 'next_packet_size': %u bytes for %u pages of %u", p->payload_bytes,
				p->n_normal, WIRE_PAGE_SIZE);
	if (p->payload_bytes == 0 || p->payload_bytes > MULTIFD_CODEC_PAYLOAD_MAX)
		return merr_set(err, -EBADMSG, "field 'next_packet_size': %u bytes (1 to %u)", p->payload_bytes,
				MULTIFD_CODEC_PAYLOAD_MAX);
	return 0;
}

static int find_block(const uint8_t *from, struct ram *ram, struct multifd_packet *p, struct merr *err)
{
	char name[NAME_LEN];

	memcpy(name, from, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	p->block = ram_find(ram, name);
	if (!p->block) {
		for (char *at = name; *at; at++)
			if (!isprint((unsigned char)*at))
				*at = '?';
		return merr_set(err, -EBADMSG, "field 'ramblock': unknown block '%s'", name);
	}
	if (p->block->ignored)
		return merr_set(err, -EBADMSG, "field 'ramblock': pages of '%s', which is shared memory here: "
				"x-ignore-shared must be on on both sides, and the VMMs must agree on what is shared",
				name);
	if (p->block->handed)
		return merr_set(err, -EBADMSG, "field 'ramblock': pages of '%s', which was handed over", name);
	return 0;
}

static int check_offsets(const uint8_t *from, struct multifd_packet *p, struct merr *err)
{
	for (uint32_t i = 0; i < p->n_normal + p->n_zero; i++) {
		p->offsets[i] = load_be64(from + (size_t)i * 8);
		if (p->offsets[i] % WIRE_PAGE_SIZE || !range_ok(p->offsets[i], WIRE_PAGE_SIZE, p->block->len))
			return merr_set(err, -EBADMSG, "field 'offset[%u]': 0x%" PRIx64 " is no page of block '%s' of %"
					PRIu64 " bytes", i, p->offsets[i], p->block->name, p->block->len);
	}
	return 0;
}

int multifd_packet_parse(const uint8_t from[MULTIFD_HEADER_LEN], struct ram *ram, enum multi_fd_compression codec,
			 struct multifd_packet *ret, struct merr *err)
{
	struct rcur c = rcur_of(from, MULTIFD_HEADER_LEN);
	uint32_t alloc;
	int r;

	r = check_start(&c, err);
	if (r < 0)
		return r;
	ret->flags = rcur_be32(&c);
	alloc = rcur_be32(&c);
	ret->n_normal = rcur_be32(&c);
	ret->payload_bytes = rcur_be32(&c);
	ret->number = rcur_be64(&c);
	ret->n_zero = rcur_be32(&c);
	ret->block = NULL;
	r = check_counts(ret, alloc, err);
	if (r == 0)
		r = check_flags(ret->flags, ret->n_normal, codec, err);
	if (r == 0)
		r = check_payload(ret, codec, err);
	if (r < 0 || !(ret->n_normal + ret->n_zero))
		return r;
	r = find_block(from + 64, ram, ret, err);
	return r < 0 ? r : check_offsets(from + 64 + NAME_LEN, ret, err);
}

uint32_t multifd_packet_run(const uint64_t *first, uint32_t n)
{
	uint32_t k = 1;

	while (k < n && first[k] == first[k - 1] + WIRE_PAGE_SIZE)
		k++;
	return k;
}
