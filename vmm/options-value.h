/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options: sizes, numbers, UUIDs. Each says what is wrong with VALUE of OPTION and returns -EINVAL. */
#ifndef MIGD_VMM_OPTIONS_VALUE_H
#define MIGD_VMM_OPTIONS_VALUE_H

#include <stdint.h>

/* Bytes, with one suffix of K, M, G or T (powers of 1024). */
int value_size(const char *option, const char *value, uint64_t *ret);
/* A decimal or 0x number. */
int value_number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret);
/* 8-4-4-4-12 hexadecimal digits. */
int value_uuid(const char *option, const char *value, uint8_t ret[16]);

#endif
