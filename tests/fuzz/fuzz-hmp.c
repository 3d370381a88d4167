/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any line of the human monitor's, and what becomes of its words; then any JSON as the answer that is printed. */
/* LIBS: migd_daemon migd_qmp migd_schema migd_base */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Every printer, whatever the answer is: it comes from here, but what is in it comes from VMMs and peers. */
static void print_all(const json_t *words, const json_t *value)
{
	struct buf out = { 0 };

	for (const struct hmp_command *c = hmp_commands; c->name; c++)
		if (c->print)
			c->print(&out, words, value);
	assert(!out.error);
	buf_done(&out);
}

static void parse(const char *line, const json_t *first)
{
	const struct hmp_command *command = NULL;
	struct merr err = MERR_INIT;
	json_t *words = NULL, *arguments;

	if (hmp_parse(line, &command, &words, &err) < 0) {
		assert(merr_is_set(&err) && !words);
		return;
	}
	if (!command)
		return;
	arguments = json_copy(words);
	if (command->fill && command->fill(arguments, first, &err) < 0)
		assert(merr_is_set(&err));
	print_all(words, first);
	json_decref(arguments);
	json_decref(words);
}

/* A line, and behind a newline the answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = len > 0 ? memchr(data, '\n', len) : NULL;
	size_t n = end ? (size_t)(end - data) : len;
	json_t *answer = end ? json_loadb((const char *)end + 1, len - n - 1, JSON_DECODE_ANY, NULL) : NULL;
	char *line = malloc(n + 1);

	if (n > 0)
		memcpy(line, data, n);
	line[n] = '\0';
	parse(line, answer);
	free(line);
	json_decref(answer);
	return 0;
}
