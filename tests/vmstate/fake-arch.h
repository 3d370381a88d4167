/* SPDX-License-Identifier: Apache-2.0 */
/* An architecture with one section and no records, in place of KVM's: what guest/state.c and guest/config.c need. */
#ifndef TESTS_VMSTATE_FAKE_ARCH_H
#define TESTS_VMSTATE_FAKE_ARCH_H

#include <stdint.h>

#include "guest/arch.h"

struct arch_state {
	uint32_t cpu;
	unsigned int captured, begun, applied;
	int apply_says;
	struct arch_section section;
};

void fake_arch_init(struct arch_state *a);

#endif
