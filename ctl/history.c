/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the migrations that were: the list, everything about one of them, and forgetting it. */
#include "ctl/history.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/report.h"
#include "ctl/table.h"

#define US_PER_SEC 1e6

/* "2026-11-22 17:01:02", as this host's clock goes. */
static const char *describe_time(int64_t us, char *buf, size_t len)
{
	time_t t = (time_t)(us / 1000000);
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(buf, len, "%F %T", &tm))
		(void)snprintf(buf, len, "?");
	return buf;
}

static void add_entry(struct table *t, const json_t *m)
{
	char began[32], size[32];

	table_add(t, "%.12s", ctl_str(m, "id", "?"));
	table_add(t, "%s", describe_time(ctl_int(m, "started", 0), began, sizeof(began)));
	table_add(t, "%s", ctl_str(m, "guest", "?"));
	table_add(t, "%s", ctl_str(m, "direction", "?"));
	table_add(t, "%s", ctl_str(m, "status", "?"));
	table_add(t, "%.1f s", ctl_number(m, "duration", 0) / US_PER_SEC);
	table_add(t, "%s", ctl_size(ctl_number(m, "transferred", 0), size, sizeof(size)));
	if (json_object_get(m, "downtime"))
		table_add(t, "%.1f ms", ctl_number(m, "downtime", 0) / 1000);
	else
		table_add(t, "-");
	table_add(t, "%s", ctl_str(m, "uri", "?"));
}

static void print_history(const json_t *list)
{
	static const char *const titles[] = { "ID", "BEGAN", "GUEST", "WAY", "STATUS", ">TOOK", ">SENT", ">DOWNTIME", "ADDRESS" };

	table_print_list(titles, ARRAY_SIZE(titles), list, add_entry);
}

static int history_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);
	_cleanup_json_ json_t *list = NULL;
	int r = CTL_OK;

	if (ctl->n_args > 0)
		r = ctl_add_number(args, "limit", ctl->args[0], err);
	if (r == CTL_OK)
		r = ctl_execute(ctl, "query-migration-history", json_incref(args), &list, err);
	json_decref(args);
	if (r == CTL_OK && ctl->json)
		ctl_print_json(list);
	else if (r == CTL_OK)
		print_history(list);
	return r;
}

int history_record(struct ctl *ctl, json_t **ret, struct merr *err)
{
	json_t *args;

	if (ctl->n_args > 0 && ctl->guest) {
		merr_set(err, -EINVAL, "%s: either a migration, or --guest for a guest's last one", ctl->command->name);
		return CTL_USAGE;
	}
	args = ctl->n_args > 0 ? json_pack("{s:s}", "id", ctl->args[0]) : ctl_guest_args(ctl);
	return ctl_execute(ctl, "query-migration-record", args, ret, err);
}

static int record_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *record = NULL;
	int r = history_record(ctl, &record, err);

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(record);
		return CTL_OK;
	}
	json_dumpf(record, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
	putchar('\n');
	return CTL_OK;
}

static int forget_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migration-forget", json_pack("{s:s}", "id", ctl->args[0]), err);
}

const struct ctl_command ctl_history_commands[] = {
	{ .name = "history",
	  .args = "[N]",
	  .help = "list the migrations that were and that run, the last one first",
	  .text = "At most N of them, with -g those of one guest, which need not be here any more. How many are kept, and for how long, "
		  "says section [history] of the configuration file.",
	  .examples = "# the last ten\nmigctl history 10\n# why those that failed did\n"
		      "migctl --json history | jq -r '.[] | select(.status == \"failed\") | .guest, .\"error-desc\"'",
	  .related = "report record forget list",
	  .run = history_run },
	{ .name = "record",
	  .args = "[MIGRATION]",
	  .help = "print all that was recorded of a migration, as JSON",
	  .text = "Of the one of this id, or of the last one of all, or (with -g) of a guest, which may still run: its phases, passes over memory, samples, "
		  "stalls, events, and where the blackout went. docs/history.md says what everything means.",
	  .trouble = "The ids of several migrations begin so: give more of it; `migctl --json history` shows them whole.",
	  .examples = "# where did the blackout of web1's last migration go?\nmigctl -j record -g web1 | jq .blackout",
	  .related = "history report",
	  .run = record_run },
	{ .name = "report",
	  .args = "[MIGRATION]",
	  .help = "what became of a migration, as a page to look at",
	  .text = "Writes one HTML file that needs nothing else, with a timeline, plots of its progress, its passes, what made up the "
		  "blackout, and everything that happened; and prints the file's name. Without MIGRATION, of the last one of all, or (with -g) of a guest. "
		  "A migration that still runs is shown as far as it has come. With --text the same in text, to standard output.",
	  .trouble = "There is no such migration: it was never known here, or so long ago that it is not kept any more.",
	  .examples = "# the last migration of web1, for a browser\nmigctl -g web1 report --output web1.html\n"
		      "# one by its id, on the terminal\nmigctl report 3f2a --text",
	  .related = "history record watch",
	  .options = CTL_TAKES(CTL_OPT_OUTPUT) | CTL_TAKES(CTL_OPT_TEXT),
	  .run = report_run },
	{ .name = "forget",
	  .args = "MIGRATION",
	  .help = "remove the record of a migration that is over",
	  .text = "The history forgets by itself what is too old, or too much.",
	  .examples = "# one that nobody has to know of\nmigctl forget 8035d5de79e5",
	  .related = "history",
	  .no_guest = true,
	  .run = forget_run },
	{ 0 },
};
