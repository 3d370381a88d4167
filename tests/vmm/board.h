/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM for tests of devices: memory, buses, I/O thread, and every device that migd-vmm has. */
#ifndef MIGD_TESTS_VMM_BOARD_H
#define MIGD_TESTS_VMM_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/machine.h"
#include "vmm/options.h"

struct board {
	struct machine m;
	struct options opt;
	char dir[64];		/* its own; gone with it */
};

/* Fill in b->opt between the two. Fail the test if something goes wrong. */
void board_prepare(struct board *b, uint64_t memory_bytes);
void board_start(struct board *b);
void board_done(struct board *b);

/* DIR/NAME; static memory. */
const char *board_path(struct board *b, const char *name);

struct device *board_device(struct board *b, const char *type, unsigned int instance);
/* The level of its interrupt line. */
bool board_irq(const struct device *dev);
/* Wait (10 s at most) until READY(ARG). */
void board_wait(bool (*ready)(void *arg), void *arg, const char *what);

#endif
