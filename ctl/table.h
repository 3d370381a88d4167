/* SPDX-License-Identifier: Apache-2.0 */
/* Tables on standard output, whose columns are as wide as what is in them. */
#ifndef MIGD_CTL_TABLE_H
#define MIGD_CTL_TABLE_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"

/* All zero, but for n_columns. */
struct table {
	size_t n_columns;
	struct buf cells;	/* texts, each ended by a zero byte; the first row are the titles */
};

/* The next cell; what would steer a terminal is taken out. A title that begins with '>' has its column aligned to the right. */
void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print it, and forget all. */
void table_print(struct table *t);

/* Titles, and a row of each member of LIST, whose cells ADD adds: printed. */
void table_print_list(const char *const *titles, size_t n_columns, const json_t *list,
		      void (*add)(struct table *t, const json_t *member));

#endif
