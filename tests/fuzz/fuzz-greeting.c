/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a connection to a shared port, at every length that they may have arrived at. A name that is taken is
 * one, and is taken again from what is written for it.
 */
/* LIBS: migd_transport */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/greeting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const struct greeting *g)
{
	uint8_t preamble[GREETING_LEN];
	struct greeting again;

	if (!greeting_is_name(g->guest))
		abort();
	greeting_write(g, preamble);
	if (greeting_read(preamble, sizeof(preamble), &again) != GREETING_NAMED ||
	    strcmp(again.guest, g->guest) != 0 ||
	    memcmp(again.handover_id, g->handover_id, sizeof(again.handover_id)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum greeting_verdict v = GREETING_MORE, last;
	struct greeting g;
	uint8_t *copy;

	/* From the heap, each of its exact size: a sanitizer sees a step outside. */
	for (size_t len = 0; len <= size && len <= GREETING_PEEK_MAX; len += len < 600 ? 1 : 997) {
		copy = malloc(len ? len : 1);
		if (!copy)
			abort();
		memcpy(copy, data, len);
		last = v;
		v = greeting_read(copy, len, &g);
		free(copy);
		/* What is decided stays so, whatever follows. */
		if (v >= GREETING_N_VERDICTS || (last != GREETING_MORE && v != last))
			abort();
		if (len == GREETING_PEEK_MAX && v == GREETING_MORE)
			abort();
		if (v == GREETING_NAMED)
			check_name(&g);
	}
	return 0;
}
