/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes, in pieces of any size, give the same values and errors; what is printed is read back the same. */
/* LIBS: migd_qmp migd_schema migd_base */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/parser.h"
#include "qmp/printer.h"
#include "qmp/request.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Small, so that the fuzzer gets there. */
static const struct qmp_parser_limits limits = { .text_bytes = 4096, .tokens = 512, .nesting = 32 };

static void add_result(struct buf *out, enum qmp_parser_result result, const json_t *value, const struct merr *err)
{
	if (result == QMP_PARSER_VALUE)
		qmp_print(out, value);
	else if (result == QMP_PARSER_ERROR)
		buf_add_str(out, merr_msg(err));
	if (result != QMP_PARSER_MORE)
		buf_add_str(out, "\n");
}

static bool is_plain(const struct buf *line)
{
	size_t i;

	for (i = 0; i < line->len; i++) {
		if (line->data[i] < 0x20 || line->data[i] > 0x7E)
			return false;
	}
	return true;
}

/* One line of ASCII that gives the same value again. */
static void check_printed(const json_t *value)
{
	struct qmp_parser p = { .limits = &qmp_parser_default_limits };
	struct buf first = { 0 }, second = { 0 };
	struct merr err = MERR_INIT;
	json_t *again = NULL;
	size_t used;

	qmp_print(&first, value);
	assert(is_plain(&first));
	buf_add_str(&first, "\n");
	assert(qmp_parser_feed(&p, first.data, first.len, &used, &again, &err) == QMP_PARSER_VALUE);
	qmp_print(&second, again);
	assert(second.len == first.len - 1 && memcmp(first.data, second.data, second.len) == 0);
	json_decref(again);
	buf_done(&first);
	buf_done(&second);
	qmp_parser_done(&p);
}

/* As a request, and as arguments of the commands with the most interesting ones. */
static void check_as_arguments(json_t *value)
{
	struct migration_parameters parameters;
	struct migration_channel channel;
	struct qmp_request request;
	struct merr err = MERR_INIT;

	(void)qmp_request_check(value, true, &request, &err);
	merr_clear(&err);
	if (migration_parameters_from_json(value, &parameters, &err) == 0) {
		(void)migration_parameters_check(&parameters, NULL);
		migration_parameters_done(&parameters);
	}
	merr_clear(&err);
	if (migration_channel_from_json(value, &channel, &err) == 0)
		migration_channel_done(&channel);
}

static void parse(const uint8_t *data, size_t len, size_t piece, struct buf *out, bool check)
{
	struct qmp_parser p = { .limits = &limits };
	enum qmp_parser_result result;
	struct merr err;
	json_t *value;
	size_t used, n;

	while (len > 0) {
		n = len < piece ? len : piece;
		err = (struct merr)MERR_INIT;
		value = NULL;
		result = qmp_parser_feed(&p, data, n, &used, &value, &err);
		assert(used <= n && (used == n || result != QMP_PARSER_MORE));
		add_result(out, result, value, &err);
		if (value && check) {
			check_printed(value);
			check_as_arguments(value);
		}
		json_decref(value);
		data += used;
		len -= used;
	}
	err = (struct merr)MERR_INIT;
	value = NULL;
	result = qmp_parser_finish(&p, &value, &err);
	add_result(out, result, value, &err);
	json_decref(value);
	qmp_parser_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = { 0 }, pieces = { 0 };

	if (len == 0)
		return 0;
	/* The first byte says how odd the pieces are. */
	parse(data + 1, len - 1, len, &whole, true);
	parse(data + 1, len - 1, 1 + data[0] % 16, &pieces, false);
	assert(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
	buf_done(&whole);
	buf_done(&pieces);
	return 0;
}
