/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XBZRLE: a page as the difference from what it was before (WIRE.md 4).
 *
 *   page := (zrun nzrun)+    zrun := len, bytes that stay; nzrun := len and that many new bytes
 *   len  := ULEB128 of at most 14 bits; a zrun of 0 only in front; what stays at the end is not said
 *
 * The encoder takes a single equal byte between two changed ones for changed: it costs one byte instead of two. Any thread.
 */
#ifndef MIGD_ENGINE_XBZRLE_H
#define MIGD_ENGINE_XBZRLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kernels.h"

#define XBZRLE_PAGE KERNELS_PAGE
/* The codec byte of the record. */
#define XBZRLE_CODEC 1U

/*
 * What makes page OLD into page NEW, into RET. 0: they are equal; > 0: so many bytes, at most XBZRLE_PAGE; -EOVERFLOW: it
 * would take more. NEW must not change meanwhile.
 */
int xbzrle_encode(const struct kernels *k, const uint8_t *old, const uint8_t *new,
		  uint8_t ret[XBZRLE_PAGE]);

/*
 * Apply LEN hostile bytes to PAGE. -EBADMSG: they are not the code of any page; *ret_why says in what, *ret_at at which byte
 * of it; PAGE may have changed in part. Nothing outside PAGE is written.
 */
int xbzrle_decode(const uint8_t *code, size_t len, uint8_t page[XBZRLE_PAGE], const char **ret_why,
		  size_t *ret_at);

#endif
