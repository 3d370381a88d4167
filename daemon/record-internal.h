/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a record share. */
#ifndef MIGD_DAEMON_RECORD_INTERNAL_H
#define MIGD_DAEMON_RECORD_INTERNAL_H

#include <stddef.h>

#include "daemon/record.h"

/* NS of CLOCK_MONOTONIC, since the migration began; what is to come is now. */
uint64_t record_at_us(const struct record *r, uint64_t ns);

/*
 * One more of SIZE in *LIST of *N, all zero; NULL: no memory. If there are MAX, the one in the middle goes (DONE frees what
 * it owns, or is NULL), so that both ends are kept.
 */
void *record_add(void *list, size_t *n, size_t max, size_t size, void (*done)(void *element));
#define RECORD_ADD(d, list, max, done) record_add(&(d)->list, &(d)->n_##list, max, sizeof(*(d)->list), done)

/* M's record, which is there, has something that is to be kept. */
void record_changed(struct migration *m);

#endif
