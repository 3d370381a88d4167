/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration is made of. */
#include "daemon/config-source.h"

#include <errno.h>

#include "daemon/config-check.h"
#include "daemon/config-value.h"
#include "daemon/json.h"

static int put_together(struct config_source *s)
{
	int r = config_init(&s->wanted, NULL);

	if (r == 0)
		r = config_merge(&s->wanted, &s->file.given);
	return r == 0 ? config_merge(&s->wanted, s->options) : r;
}

int config_source_load(struct config_source *s, struct config_report *report)
{
	struct config_source next = { .path = s->path, .options = s->options };
	int r = s->path ? config_file_read(s->path, &next.file, report) : 0;

	if (r == 0) {
		r = put_together(&next);
		if (r < 0)
			config_report_add(report, "migd.conf", 0, "out of memory");
	}
	if (r == 0)
		r = config_check_all(&next, report);
	if (r < 0) {
		config_source_done(&next);
		return r;
	}
	config_source_done(s);
	*s = next;
	return 0;
}

void config_source_done(struct config_source *s)
{
	config_done(&s->wanted);
	config_file_done(&s->file);
}

const char *config_source_of(const struct config_source *s, struct config_key k, unsigned int *line)
{
	_cleanup_json_ json_t *by_option = config_get(s->options, k);

	*line = by_option ? 0 : config_file_line(&s->file, k);
	return by_option ? "the command line" : *line ? s->file.path : "the defaults";
}

void config_source_print(const struct config_source *s, FILE *out)
{
	const struct schema_member *section = NULL;
	char text[CONFIG_VALUE_TEXT_MAX];
	unsigned int line;

	for (struct config_key k = { 0 }; config_next_key(&k);) {
		_cleanup_json_ json_t *value = config_get(&s->wanted, k), *by_option = config_get(s->options, k);
		const char *where = config_source_of(s, k, &line);

		if (k.section != section)
			(void)fprintf(out, "%s[%s]\n", section ? "\n" : "", k.section->name);
		section = k.section;
		if (line)
			(void)fprintf(out, "# %s:%u\n", where, line);
		else if (by_option)
			(void)fprintf(out, "# %s\n", where);
		(void)fprintf(out, "%s = %s\n", k.key->name, config_value_print(value, text));
	}
}
