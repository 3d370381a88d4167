/* SPDX-License-Identifier: Apache-2.0 */
/* Where each guest of an evacuation goes. No daemon, no migration: numbers in, a destination out. */
#ifndef MIGD_DAEMON_EVACUATION_PLAN_H
#define MIGD_DAEMON_EVACUATION_PLAN_H

#include <stdint.h>

#include "base/err.h"
#include "schema/types.h"

#define EVACUATION_DESTINATIONS_MAX 64U

/* What is placed at each destination: guests that go there, and that have gone. */
struct evacuation_load {
	uint32_t guests[EVACUATION_DESTINATIONS_MAX];
	uint64_t memory[EVACUATION_DESTINATIONS_MAX];
};

/* Destinations that can be ones, and assignments to them. -EINVAL with ERR. */
int evacuation_plan_verify(const struct evacuation_plan *p, struct merr *err);

/* The destination called URI, or -1. */
int evacuation_plan_find(const struct evacuation_plan *p, const char *uri);

/* The destination that GUEST is assigned to, or -1. */
int evacuation_plan_assigned(const struct evacuation_plan *p, const char *guest);

/*
 * The best destination for GUEST with MEMORY bytes, none of those whose bit is set in TRIED. -ENOSPC: none is left that has
 * room.
 */
int evacuation_plan_place(const struct evacuation_plan *p, const struct evacuation_load *load, const char *guest,
			  uint64_t memory, uint64_t tried);

#endif
