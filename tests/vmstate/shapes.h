/* SPDX-License-Identifier: Apache-2.0 */
/* Structs and descriptions with every shape of field, filled with known values. */
#ifndef TESTS_VMSTATE_SHAPES_H
#define TESTS_VMSTATE_SHAPES_H

#include <migd/vmstate.h>

struct point {
	uint16_t x, y;
};

struct shapes {
	int32_t same, at_most;
	double d;
	uint64_t timer;
	int32_t n;
	uint8_t n8;
	uint16_t pairs[6];		/* 2 * n8 of them */
	uint8_t inlined[4];		/* n of them */
	uint8_t *blob;			/* 3 * n8 of at most 9 */
	uint64_t bits[2];		/* 70 */
	uint16_t n_bits;
	uint64_t *more_bits;		/* n_bits of at most 128 */
	struct point *to, *maybe, *never;
	struct point *some[5];
	uint8_t *numbers[2];
	struct point old;
	uint32_t seconds, minutes;	/* on the wire: one number */
	char name[8];
};

extern const struct migd_vmstate shapes_vmstate;

/* What shapes point to. */
struct behind {
	uint8_t blob[9];
	uint64_t more_bits[2];
	struct point to, maybe, some[2];
	uint8_t number;
};

/* As a target holds it before a load; and with values. */
struct shapes shapes_hold(struct behind *b);
struct shapes shapes_fill(struct behind *b);

/* Elements whose layout can vary each have an entry, also between pointers that are NULL. */
struct list {
	struct vary *items[4];
};
struct vary {
	uint8_t n;
	uint8_t data[2];
};
extern const struct migd_vmstate list_vmstate;

#endif
