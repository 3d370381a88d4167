/* SPDX-License-Identifier: Apache-2.0 */
/* What became of a migration, as a page of HTML or as text. */
#include "ctl/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/history.h"

#define PLACE "@RECORD@"	/* in the page, for the record */

/* ctl/report.html; ended by a zero byte. */
extern const char report_page[];

/* JSON inside <script>: whatever its strings say, they do not end that element. '<' is in strings only. */
static void put_json(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("\\u003c", out);
		else
			fputc(*text, out);
	}
}

static int report_html(const json_t *record, FILE *out, struct merr *err)
{
	_cleanup_free_ char *text = json_dumps(record, JSON_COMPACT);
	const char *place = strstr(report_page, PLACE);

	if (!text)
		return merr_set(err, -ENOMEM, "out of memory");
	fwrite(report_page, 1, (size_t)(place - report_page), out);
	put_json(text, out);
	fputs(place + strlen(PLACE), out);
	return 0;
}

static int write_to(const json_t *record, const char *path, FILE *out, struct merr *err)
{
	int r = report_html(record, out, err);

	if (r == 0 && (fflush(out) != 0 || ferror(out)))
		r = merr_set(err, -EIO, "cannot write '%s': is the disk full?", path);
	return r;
}

static int write_page(const json_t *record, const char *path, struct merr *err)
{
	FILE *file;
	int r;

	if (strcmp(path, "-") == 0)
		return write_to(record, path, stdout, err) < 0 ? CTL_FAILED : CTL_OK;
	file = fopen(path, "we");
	if (!file) {
		merr_set_errno(err, -errno, "cannot write '%s'", path);
		return CTL_FAILED;
	}
	r = write_to(record, path, file, err);
	(void)fclose(file);
	if (r < 0)
		return CTL_FAILED;
	printf("%s\n", path);
	return CTL_OK;
}

/* "migration-ID.html", by the first digits of the id. */
static const char *default_path(const json_t *record, char *buf, size_t len)
{
	char id[9];

	(void)ctl_clean(ctl_str(record, "id", ""), id, sizeof(id));
	(void)snprintf(buf, len, "migration-%s.html", id);
	return buf;
}

int report_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *record = NULL;
	int r = history_record(ctl, &record, err);
	char path[64];

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(record);
		return CTL_OK;
	}
	if (ctl_has(ctl, CTL_OPT_TEXT)) {
		report_text(record);
		return CTL_OK;
	}
	return write_page(record, ctl_has(ctl, CTL_OPT_OUTPUT) ? ctl_value(ctl, CTL_OPT_OUTPUT)
							       : default_path(record, path, sizeof(path)), err);
}
