/* SPDX-License-Identifier: Apache-2.0 */
/* One channel of multifd at the destination. */
#include "engine/multifd-receive.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "engine/ram-fill.h"
#include "engine/wire.h"

/* In mid-packet; between two a channel may have nothing to do for as long as a pass takes. */
#define PACKET_TIMEOUT_MS 60000

struct multifd_receiver {
	struct ram *ram;
	struct in *in;
	enum multi_fd_compression codec;
	struct multifd_decoder *decoder;	/* NULL: codec none */
	uint8_t *payload, *pages;		/* of the decoder: what comes, and what becomes of it */
	bool synced;				/* no page came since a SYNC */
	bool named[ATTACH_RAM_BLOCKS_MAX];	/* had pages */
	struct multifd_packet packet;
};

static int open_decoder(struct multifd_receiver *r, struct merr *err)
{
	if (r->codec == MULTI_FD_COMPRESSION_NONE)
		return 0;
	r->decoder = multifd_decoder_new(r->codec, err);
	if (!r->decoder)
		return -ENOMEM;
	r->payload = malloc(MULTIFD_CODEC_PAYLOAD_MAX);
	r->pages = malloc(MULTIFD_CODEC_RAW_MAX);
	return r->payload && r->pages ? 0 : -ENOMEM;
}

struct multifd_receiver *multifd_receiver_new(struct chan *chan, struct ram *ram, struct stats_page *stats,
					      enum multi_fd_compression codec, struct merr *err)
{
	struct multifd_receiver *r = calloc(1, sizeof(*r));

	if (r) {
		r->ram = ram;
		r->codec = codec;
		r->synced = true;
		r->in = in_new(chan, stats, err);
		if (r->in && open_decoder(r, err) == 0) {
			in_header_bytes(r->in, MULTIFD_HEADER_LEN);
			return r;
		}
	}
	(void)merr_set(err, -ENOMEM, "multifd: no memory for a channel");
	return multifd_receiver_free(r);
}

struct multifd_receiver *multifd_receiver_free(struct multifd_receiver *r)
{
	if (!r)
		return NULL;
	(void)multifd_decoder_free(r->decoder);
	free(r->payload);
	free(r->pages);
	(void)in_free(r->in);
	free(r);
	return NULL;
}

void multifd_receiver_mark_named(struct multifd_receiver *r)
{
	for (size_t i = 0; i < r->ram->n_blocks; i++)
		r->ram->blocks[i].named |= r->named[i];
}

/* Pages as they are in memory. */
static int receive_plain(struct multifd_receiver *r)
{
	const struct multifd_packet *p = &r->packet;
	uint32_t k;
	int res = 0;

	for (uint32_t i = 0; res == 0 && i < p->n_normal; i += k) {
		k = multifd_packet_run(&p->offsets[i], p->n_normal - i);
		res = ram_fill_stream(r->in, p->block, p->offsets[i], (uint64_t)k * WIRE_PAGE_SIZE);
	}
	return res;
}

static int receive_compressed(struct multifd_receiver *r)
{
	const struct multifd_packet *p = &r->packet;
	struct iovec pages = { .iov_base = r->pages, .iov_len = (size_t)p->n_normal * WIRE_PAGE_SIZE };
	struct merr why = MERR_INIT;
	uint32_t k;
	int res;

	if (in_bytes(r->in, r->payload, p->payload_bytes) < 0)
		return in_error(r->in);
	res = multifd_decode(r->decoder, r->payload, p->payload_bytes, &pages, 1, &why);
	if (res < 0)
		return in_fail(r->in, res, "%s", merr_msg(&why));
	for (uint32_t i = 0; res == 0 && i < p->n_normal; i += k) {
		k = multifd_packet_run(&p->offsets[i], p->n_normal - i);
		res = ram_fill_bytes(r->in, p->block, p->offsets[i], r->pages + (size_t)i * WIRE_PAGE_SIZE,
				     (uint64_t)k * WIRE_PAGE_SIZE);
	}
	return res;
}

static int receive_zeros(struct multifd_receiver *r)
{
	const struct multifd_packet *p = &r->packet;
	const uint64_t *zero = p->offsets + p->n_normal;
	uint32_t k;
	int res = 0;

	for (uint32_t i = 0; res == 0 && i < p->n_zero; i += k) {
		k = multifd_packet_run(&zero[i], p->n_zero - i);
		res = ram_fill_zero(r->in, p->block, zero[i], (uint64_t)k * WIRE_PAGE_SIZE);
	}
	return res;
}

static int receive_header(struct multifd_receiver *r)
{
	uint8_t header[MULTIFD_HEADER_LEN];
	struct merr why = MERR_INIT;
	int res;

	if (in_bytes(r->in, header, sizeof(header)) < 0)
		return in_error(r->in);
	res = multifd_packet_parse(header, r->ram, r->codec, &r->packet, &why);
	return res < 0 ? in_fail(r->in, res, "packet: %s", merr_msg(&why)) : 0;
}

static int receive_pages(struct multifd_receiver *r)
{
	const struct multifd_packet *p = &r->packet;
	int res = 0;

	if (!p->block)
		return 0;
	r->named[p->block - r->ram->blocks] = true;
	if (p->n_normal)
		res = r->decoder ? receive_compressed(r) : receive_plain(r);
	return res < 0 ? res : receive_zeros(r);
}

int multifd_receive(struct multifd_receiver *r)
{
	int res;

	in_timeout(r->in, 0);
	/* Behind a SYNC a source may close a channel that it is done with; if it is not, the next sync point tells. */
	if (r->synced && in_at_end(r->in))
		return MULTIFD_RECEIVED_END;
	(void)in_peek(r->in);
	in_timeout(r->in, PACKET_TIMEOUT_MS);
	res = receive_header(r);
	if (res == 0)
		res = receive_pages(r);
	if (res < 0)
		return res;
	if (r->packet.flags & MULTIFD_FLAG_SYNC) {
		r->synced = true;
		return MULTIFD_RECEIVED_SYNC;
	}
	/* A QEMU 7.2 sends an empty packet or two behind its last SYNC. */
	r->synced &= r->packet.block == NULL;
	return MULTIFD_RECEIVED_PACKET;
}
