/* SPDX-License-Identifier: Apache-2.0 */
/* Tables. */
#include "ctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

#define COLUMNS_MAX 12
#define CELL_MAX 512

void table_add(struct table *t, const char *fmt, ...)
{
	char text[CELL_MAX], clean[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ctl_clean(text, clean, sizeof(clean));
	buf_add(&t->cells, clean, strlen(clean) + 1);
}

/* Characters, of which UTF-8 may take several bytes each. */
static int width_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
	int room = width - width_of(text);

	if (right)
		printf("%*s%s", room, "", text);
	else
		printf("%s%*s", text, last ? 0 : room, "");
	printf(last ? "\n" : "  ");
}

void table_print(struct table *t)
{
	const char *cell = (const char *)t->cells.data, *end = cell + t->cells.len;
	int widths[COLUMNS_MAX] = { 0 };
	bool right[COLUMNS_MAX] = { false };
	size_t i = 0;

	for (const char *c = cell; c < end; c += strlen(c) + 1, i++) {
		size_t column = i % t->n_columns;
		int width;

		if (i < t->n_columns && *c == '>')
			right[column] = true;
		width = width_of(c) - (i < t->n_columns && right[column]);
		if (width > widths[column])
			widths[column] = width;
	}
	for (i = 0; cell < end; cell += strlen(cell) + 1, i++) {
		size_t column = i % t->n_columns;

		print_cell(cell + (i < t->n_columns && right[column]), widths[column], right[column],
			   column + 1 == t->n_columns);
	}
	buf_done(&t->cells);
}

void table_print_list(const char *const *titles, size_t n_columns, const json_t *list,
		      void (*add)(struct table *t, const json_t *member))
{
	struct table t = { .n_columns = n_columns };
	json_t *member;
	size_t i;

	for (i = 0; i < n_columns; i++)
		table_add(&t, "%s", titles[i]);
	json_array_foreach(list, i, member)
		add(&t, member);
	table_print(&t);
}
