/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them. */
#ifndef MIGD_BASE_SIZE_H
#define MIGD_BASE_SIZE_H

#include <stdint.h>

/*
 * QEMU's sizes (QMP.md 6.2): a decimal number, with a fraction and one of the suffixes B, K, M, G, T, P, E (powers of 1024,
 * in either case) if wanted; or a hexadecimal one ("0x...") without, which is bytes. SUFFIX is what a decimal number without
 * one means: 'B', 'M'. -EINVAL, -ERANGE.
 */
int size_parse(const char *text, char suffix, uint64_t *ret);

#endif
