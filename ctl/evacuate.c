/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that move all guests of a host away. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/settings.h"
#include "ctl/table.h"

#define POLL_NS (200 * NS_PER_MS)

/* ---- what to do ---- */

/* NAME=VALUE of a destination. */
static int add_limit(json_t *destination, const char *word, struct merr *err)
{
	static const char *const names[] = { "weight", "max-guests", "max-memory" };
	_cleanup_json_ json_t *number = json_integer(0);
	size_t len = strcspn(word, "=");
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) != len || strncmp(word, names[i], len) != 0 || !word[len])
			continue;
		value = settings_parse("evacuate", names[i], word + len + 1, number, err);
		if (!value)
			return CTL_USAGE;
		json_object_set_new(destination, names[i], value);
		return CTL_OK;
	}
	merr_set(err, -EINVAL, "evacuate: '%s' is none of weight=N, max-guests=N, max-memory=SIZE", word);
	return CTL_USAGE;
}

/* Where the limits begin in "URI,weight=2,max-guests=3". */
static char *find_limits(char *word)
{
	char *found = NULL, *at;
	static const char *const marks[] = { ",weight=", ",max-guests=", ",max-memory=" };

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		at = strstr(word, marks[i]);
		if (at && (!found || at < found))
			found = at;
	}
	return found;
}

static int add_destination(json_t *list, const char *text, struct merr *err)
{
	_cleanup_free_ char *word = strdup(text);
	char *limits = word ? find_limits(word) : NULL, *next = NULL;
	json_t *destination = json_object();
	int r = CTL_OK;

	if (limits)
		*limits++ = '\0';
	json_object_set_new(destination, "uri", json_string(word));
	for (char *limit = limits ? strtok_r(limits, ",", &next) : NULL; r == CTL_OK && limit; limit = strtok_r(NULL, ",", &next))
		r = add_limit(destination, limit, err);
	json_array_append_new(list, destination);
	return r;
}

static int make_plan(const struct ctl *ctl, json_t *plan, struct merr *err)
{
	json_t *destinations = json_array(), *guests = json_array();
	int r = CTL_OK;

	json_object_set_new(plan, "destinations", destinations);
	for (int i = 0; r == CTL_OK && i < ctl->n_args; i++) {
		if (strncmp(ctl->args[i], "guest=", 6) == 0)
			json_array_append_new(guests, json_string(ctl->args[i] + 6));
		else
			r = add_destination(destinations, ctl->args[i], err);
	}
	if (json_array_size(guests) > 0)
		json_object_set(plan, "guests", guests);
	json_decref(guests);
	if (r == CTL_OK && ctl_has(ctl, CTL_OPT_PRIORITY))
		r = ctl_add_number(plan, "priority", ctl_value(ctl, CTL_OPT_PRIORITY), err);
	if (r == CTL_OK && ctl_has(ctl, CTL_OPT_DEADLINE))
		r = ctl_add_number(plan, "deadline", ctl_value(ctl, CTL_OPT_DEADLINE), err);
	if (ctl_has(ctl, CTL_OPT_STRATEGY))
		json_object_set_new(plan, "strategy", json_string(ctl_value(ctl, CTL_OPT_STRATEGY)));
	return r;
}

/* ---- how it goes ---- */

static void print_line(const json_t *info)
{
	char moved[32], all[32];

	printf("%s: %lld of %lld guests have gone (%s of %s), %lld on their way, %lld wait, %lld stay\n",
	       ctl_str(info, "totals.status", "?"), (long long)ctl_int(info, "totals.completed", 0),
	       (long long)ctl_int(info, "totals.total", 0),
	       ctl_size(ctl_number(info, "totals.memory-moved", 0), moved, sizeof(moved)),
	       ctl_size(ctl_number(info, "totals.memory", 0), all, sizeof(all)), (long long)ctl_int(info, "totals.migrating", 0),
	       (long long)ctl_int(info, "totals.waiting", 0), (long long)ctl_int(info, "totals.stayed", 0));
	fflush(stdout);
}

static void print_guests(const json_t *info)
{
	struct table t = { .n_columns = 6 };
	char size[32];
	size_t i;
	json_t *g;

	table_add(&t, "GUEST");
	table_add(&t, "STATE");
	table_add(&t, ">MEMORY");
	table_add(&t, ">TRIES");
	table_add(&t, "DESTINATION");
	table_add(&t, "ERROR");
	json_array_foreach(json_object_get(info, "guests"), i, g) {
		table_add(&t, "%s", ctl_str(g, "guest", "?"));
		table_add(&t, "%s", ctl_str(g, "state", "?"));
		table_add(&t, "%s", ctl_size(ctl_number(g, "memory", 0), size, sizeof(size)));
		table_add(&t, "%lld", (long long)ctl_int(g, "tries", 0));
		table_add(&t, "%s", ctl_str(g, "destination", "-"));
		table_add(&t, "%s", ctl_str(g, "error", "-"));
	}
	table_print(&t);
}

static int judge(const struct ctl *ctl, const json_t *info, struct merr *err)
{
	const char *status = ctl_str(info, "totals.status", "none");

	if (ctl->json)
		ctl_print_json(info);
	else
		print_guests(info);
	if (strcmp(status, "completed") == 0)
		return CTL_OK;
	merr_set(err, -EIO, "%lld of %lld guests stay here%s", (long long)ctl_int(info, "totals.stayed", 0),
		 (long long)ctl_int(info, "totals.total", 0), strcmp(status, "cancelled") == 0 ? ": it was cancelled" : "");
	return strcmp(status, "cancelled") == 0 ? CTL_CANCELLED : CTL_MIGRATION_FAILED;
}

static bool is_active(const json_t *info)
{
	const char *status = ctl_str(info, "totals.status", "none");

	return strcmp(status, "running") == 0 || strcmp(status, "cancelling") == 0;
}

static int follow(struct ctl *ctl, struct merr *err)
{
	const struct timespec wait = { 0, POLL_NS };
	_cleanup_json_ json_t *before = NULL;

	for (;;) {
		_cleanup_json_ json_t *info = NULL;
		int r = ctl_execute(ctl, "query-evacuation", NULL, &info, err);

		if (r != CTL_OK)
			return r;
		if (!ctl->json && !json_equal(before, json_object_get(info, "totals")))
			print_line(info);
		if (!is_active(info))
			return judge(ctl, info, err);
		json_decref(before);
		before = json_incref(json_object_get(info, "totals"));
		r = ctl_check_time(ctl, err);
		if (r != CTL_OK)
			return r;
		(void)nanosleep(&wait, NULL);
	}
}

static int evacuate_run(struct ctl *ctl, struct merr *err)
{
	json_t *plan = json_object();
	int r = make_plan(ctl, plan, err);

	if (r != CTL_OK) {
		json_decref(plan);
		return r;
	}
	if (ctl_has(ctl, CTL_OPT_DETACH))
		return ctl_do(ctl, "evacuate", plan, err);
	r = ctl_execute(ctl, "evacuate", plan, NULL, err);
	return r == CTL_OK ? follow(ctl, err) : r;
}

static int evacuation_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *info = NULL;
	int r = ctl_has(ctl, CTL_OPT_WAIT) ? CTL_OK : ctl_execute(ctl, "query-evacuation", NULL, &info, err);

	if (ctl_has(ctl, CTL_OPT_WAIT))
		return follow(ctl, err);
	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(info);
		return CTL_OK;
	}
	print_line(info);
	print_guests(info);
	return CTL_OK;
}

static int cancel_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "evacuate-cancel", json_object(), err);
}

const struct ctl_command ctl_evacuate_commands[] = {
	{ .name = "evacuate",
	  .args = "DESTINATION...",
	  .help = "move all guests of this host to others, and wait for the end",
	  .text = "Under the host's limits (`migctl host max-outgoing=N max-bandwidth=SIZE`). Each guest is announced to its destination, "
		  "which starts a VMM for it. The largest guest is placed first, each where most room is left by weight; one whose "
		  "migration fails is tried at another destination once, and then stays. With `guest=NAME`, once or several times, only these "
		  "go. Ending migctl does not end the evacuation, nor does ending migd: the next one goes on with it. Exclusions, fixed "
		  "destinations and the number of attempts: `migctl qmp`, command evacuate.",
	  .trouble = "An evacuation is under way: `migctl evacuation` shows it.\n"
		     "Some guests stay: the table says why each does; the next `migctl evacuate` is about those that are left.",
	  .examples = "# to two hosts, the second of which is twice as large\n"
		      "migctl evacuate tcp:host-b:4450 tcp:host-c:4450,weight=2\n# two guests only\n"
		      "migctl evacuate tcp:host-b:4450 guest=web1 guest=web2",
	  .related = "evacuation evacuate-cancel migrate host queue",
	  .options = CTL_TAKES(CTL_OPT_DETACH) | CTL_TAKES(CTL_OPT_PRIORITY) | CTL_TAKES(CTL_OPT_STRATEGY) |
		     CTL_TAKES(CTL_OPT_DEADLINE),
	  .no_guest = true,
	  .waits = true,
	  .run = evacuate_run },
	{ .name = "evacuation",
	  .help = "show the evacuation that is under way, or the last one",
	  .text = "Of each guest where it goes, how often that was tried, and why it stays. With `--wait` follow it to its end.",
	  .examples = "# how far it is\nmigctl evacuation\n# those that stay\n"
		      "migctl --json evacuation | jq -r '.guests[] | select(.state == \"failed\") | .guest + \": \" + .error'",
	  .related = "evacuate evacuate-cancel",
	  .options = CTL_TAKES(CTL_OPT_WAIT),
	  .no_guest = true,
	  .waits = true,
	  .run = evacuation_run },
	{ .name = "evacuate-cancel",
	  .help = "end the evacuation; guests on their way come back, unless it is too late",
	  .text = "What waits is not begun, what has begun is cancelled; guests that have gone stay where they are.",
	  .examples = "# never mind\nmigctl evacuate-cancel",
	  .related = "evacuate evacuation cancel",
	  .no_guest = true,
	  .run = cancel_run },
	{ 0 },
};
