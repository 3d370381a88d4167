/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a configuration file. One that is refused says why and leaves nothing behind; what is accepted is whole, its
 * lines are of the file, and each value is printed in a form that is read as the same.
 */
/* LIBS: migd_daemon */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/config-source.h"
#include "daemon/config-value.h"
#include "daemon/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t count_lines(const uint8_t *data, size_t len)
{
	size_t n = 1;

	for (size_t i = 0; i < len; i++)
		n += data[i] == '\n';
	return n;
}

static void check_text(const char *line)
{
	assert(line && *line);
}

static void check_report(const struct config_report *r)
{
	struct merr err = MERR_INIT;

	config_report_each(r, check_text);
	if (r->n == 0)
		return;
	assert(config_report_to_err(r, &err) < 0 && merr_is_set(&err));
	for (size_t i = 1; i < r->n && i < CONFIG_REPORT_MAX; i++)
		assert(r->at[i] == 0 || r->at[i - 1] <= r->at[i]);
}

/* Paths may be checked against the host's users and programs, which do not change meanwhile. */
static void check_value(const struct config *c, struct config_key k)
{
	_cleanup_json_ json_t *value = config_get(c, k), *same = NULL;
	char text[CONFIG_VALUE_TEXT_MAX], *inner;
	struct config again = { 0 };
	size_t n;

	assert(value);
	(void)config_value_print(value, text);
	n = strlen(text);
	inner = text;
	if (n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n - 1] == text[0]) {
		text[n - 1] = '\0';
		inner++;
	}
	assert(config_set(&again, k, inner, true, NULL) == 0);
	same = config_get(&again, k);
	assert(json_equal(value, same));
	config_done(&again);
}

static void check_file(const struct config_file *f, size_t n_lines)
{
	unsigned int line;

	for (struct config_key k = { 0 }; config_next_key(&k);) {
		_cleanup_json_ json_t *value = config_get(&f->given, k);

		line = config_file_line(f, k);
		assert(!value == !line && line <= n_lines);
		if (value)
			check_value(&f->given, k);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct config_report report = { 0 };
	struct config_file f;
	char *text = malloc(len + 1);
	int r;

	assert(text);
	if (len)
		memcpy(text, data, len);
	r = config_file_parse("f", text, len, &f, &report);
	assert((r < 0) == (report.n > 0));
	assert(r == 0 || (!f.path && !f.lines && f.n_lines == 0));
	check_report(&report);
	if (r == 0)
		check_file(&f, count_lines(data, len));
	config_file_done(&f);
	config_report_done(&report);
	return 0;
}
