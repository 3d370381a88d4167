/* SPDX-License-Identifier: Apache-2.0 */
/* The undo stack of a migration. */
#include "guest/undo.h"

#include <assert.h>
#include <string.h>

static size_t find(const struct undo *u, undo_fn step)
{
	size_t i = 0;

	while (i < u->n && u->steps[i] != step)
		i++;
	return i;
}

void undo_push(struct undo *u, undo_fn step)
{
	if (find(u, step) < u->n)
		return;
	assert(u->n < UNDO_MAX);
	u->steps[u->n++] = step;
}

void undo_drop(struct undo *u, undo_fn step)
{
	size_t i = find(u, step);

	if (i == u->n)
		return;
	u->n--;
	memmove(&u->steps[i], &u->steps[i + 1], (u->n - i) * sizeof(u->steps[0]));
}

void undo_run(struct undo *u, struct migd_guest *g)
{
	while (u->n > 0)
		u->steps[--u->n](g);
}
