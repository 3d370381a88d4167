/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of 1, 2, 4 and 8 bytes: as C has them in a struct at any alignment, and as the wire has them. */
#include "guest/vmstate-walk.h"

uint64_t vms_read_be(const uint8_t *p, size_t size)
{
	switch (size) {
	case 1:
		return *p;
	case 2:
		return load_be16(p);
	case 4:
		return load_be32(p);
	default:
		return load_be64(p);
	}
}

void vms_add_be(struct buf *bytes, uint64_t v, size_t size)
{
	switch (size) {
	case 1:
		buf_u8(bytes, (uint8_t)v);
		break;
	case 2:
		buf_be16(bytes, (uint16_t)v);
		break;
	case 4:
		buf_be32(bytes, (uint32_t)v);
		break;
	default:
		buf_be64(bytes, v);
		break;
	}
}

uint64_t vms_get(const uint8_t *at, size_t size)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (size) {
	case 1:
		return *at;
	case 2:
		memcpy(&v16, at, sizeof(v16));
		return v16;
	case 4:
		memcpy(&v32, at, sizeof(v32));
		return v32;
	default:
		memcpy(&v64, at, sizeof(v64));
		return v64;
	}
}

void vms_put(uint8_t *at, uint64_t v, size_t size)
{
	uint32_t v32 = (uint32_t)v;
	uint16_t v16 = (uint16_t)v;

	switch (size) {
	case 1:
		*at = (uint8_t)v;
		break;
	case 2:
		memcpy(at, &v16, sizeof(v16));
		break;
	case 4:
		memcpy(at, &v32, sizeof(v32));
		break;
	default:
		memcpy(at, &v, sizeof(v));
		break;
	}
}

uint64_t vms_bitmap_word(uint64_t word, size_t i, size_t n_bits)
{
	size_t left = n_bits - i * 64;

	return left < 64 ? word & ((1ULL << left) - 1) : word;
}
