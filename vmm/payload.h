/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payloads built into migd-vmm: freestanding guest programs, one for each vmm/payloads/NAME.c.
 * They come from the library migd_payloads (add_subdirectory(payloads) in vmm/CMakeLists.txt);
 * vmm/payload-abi.h says how to run them.
 */
#ifndef MIGD_VMM_PAYLOAD_H
#define MIGD_VMM_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * The image of the payload called name: static memory, to be copied to PAYLOAD_LOAD_GPA.
 * 0, or -ENOENT when there is none of that name (payload_names() has those there are).
 */
int payload_find(const char *name, const uint8_t **ret_image, size_t *ret_len_bytes);

/* All names, sorted, ended by NULL. */
const char *const *payload_names(void);

#endif
