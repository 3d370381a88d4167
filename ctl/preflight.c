/* SPDX-License-Identifier: Apache-2.0 */
/* What the comparison of a migration's two sides gave, as a table. */
#include "ctl/preflight.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define POLL_NS (100 * NS_PER_MS)
#define COLUMN_MAX 40	/* wider texts push the others to the right, in their row only */
#define TEXT_MAX 128

static const struct column {
	const char *member, *title;
} columns[] = {
	{ "subject", "subject" },
	{ "source", "source" },
	{ "target", "destination" },
	{ "advice", "what to do" },
};

static int width_of(const json_t *rows, const struct column *c)
{
	size_t widest = strlen(c->title), i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		size_t len = strlen(ctl_str(row, c->member, ""));

		if (len > widest && len <= COLUMN_MAX)
			widest = len;
	}
	return (int)widest;
}

static void print_row(const json_t *row, const int *widths)
{
	char text[TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		const char *s = row ? ctl_str(row, columns[i].member, "") : columns[i].title;

		printf("%-*s%s", i + 1 < ARRAY_SIZE(columns) ? widths[i] : 0,
		       ctl_clean(s, text, sizeof(text)), i + 1 < ARRAY_SIZE(columns) ? "  " : "\n");
	}
}

static void print_table(const json_t *result)
{
	const json_t *rows = json_object_get(result, "mismatches");
	long long omitted = (long long)ctl_int(result, "omitted", 0);
	int widths[ARRAY_SIZE(columns)];
	json_t *row;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(columns); i++)
		widths[i] = width_of(rows, &columns[i]);
	print_row(NULL, widths);
	json_array_foreach(rows, i, row)
		print_row(row, widths);
	if (omitted > 0)
		printf("... and %lld more\n", omitted);
}

static int judge(struct ctl *ctl, const json_t *result, struct merr *err)
{
	bool pass = strcmp(ctl_str(result, "result", ""), "pass") == 0;

	if (ctl->json)
		ctl_print_json(result);
	else if (pass)
		printf("the guest fits the destination\n");
	else
		print_table(result);
	if (!pass)
		merr_set(err, -EINVAL, "the guest does not fit the destination");
	return pass ? CTL_OK : CTL_FAILED;
}

/* While it is under way there is a status; after a result there is none. */
int preflight_follow(struct ctl *ctl, struct merr *err)
{
	const struct timespec wait = { 0, POLL_NS };
	char text[MERR_MSG_MAX];

	for (;;) {
		_cleanup_json_ json_t *info = NULL;
		const char *status;
		int r = ctl_query(ctl, "query-migrate", &info, err);

		if (r == CTL_OK)
			r = ctl_check_time(ctl, err);
		if (r != CTL_OK)
			return r;
		status = ctl_str(info, "status", "");
		if (!*status && json_object_get(info, "preflight"))
			return judge(ctl, json_object_get(info, "preflight"), err);
		if (strcmp(status, "setup") != 0 && strcmp(status, "cancelling") != 0) {
			merr_set(err, -EIO, "the two sides could not be compared: %s",
				 ctl_clean(ctl_str(info, "error-desc", "somebody else began a migration"),
					   text, sizeof(text)));
			return CTL_FAILED;
		}
		(void)nanosleep(&wait, NULL);
	}
}

void preflight_print_line(const json_t *info)
{
	const json_t *result = json_object_get(info, "preflight");
	long long n = result ? (long long)json_array_size(json_object_get(result, "mismatches")) +
				       (long long)ctl_int(result, "omitted", 0) : 0;

	if (!result)
		return;
	if (n == 0)
		printf("preflight: the guest fits the other side\n");
	else
		printf("preflight: %lld mismatches with the other side (see migctl migrate --preflight)\n", n);
}
