/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about all migrations of a host: its limits, and who waits for whom. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/settings.h"

/* NAME=VALUE into CHANGES. */
static int add_change(const json_t *now, const char *word, json_t *changes, struct merr *err)
{
	const char *equals = strchr(word, '=');
	_cleanup_free_ char *name = equals ? strndup(word, (size_t)(equals - word)) : NULL;
	const json_t *old = name ? json_object_get(now, name) : NULL;
	json_t *value = old ? settings_parse("host", name, equals + 1, old, err) : NULL;

	if (!name)
		merr_set(err, -EINVAL, "host: '%s' is not NAME=VALUE", word);
	else if (!old)
		merr_set(err, -EINVAL, "host: there is no parameter '%s'; `migctl host` lists them", name);
	if (!value)
		return CTL_USAGE;
	json_object_set_new(changes, name, value);
	return CTL_OK;
}

static int change(struct ctl *ctl, const json_t *now, struct merr *err)
{
	_cleanup_json_ json_t *changes = json_object();
	int r = CTL_OK;

	for (int i = 0; r == CTL_OK && i < ctl->n_args; i++)
		r = add_change(now, ctl->args[i], changes, err);
	return r == CTL_OK ? ctl_do(ctl, "host-set-parameters", json_incref(changes), err) : r;
}

static int host_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *now = NULL;
	int r = ctl_execute(ctl, "query-host-parameters", NULL, &now, err);
	const char *name;
	json_t *v;

	if (r != CTL_OK)
		return r;
	if (ctl->n_args > 0)
		return change(ctl, now, err);
	if (ctl->json) {
		ctl_print_json(now);
		return CTL_OK;
	}
	json_object_foreach(now, name, v)
		settings_print(name, v);
	return CTL_OK;
}

/* "2 of 5" in the queue, or what it may send. */
static const char *describe_rank(const json_t *m, char *buf, size_t len)
{
	char size[32];

	if (ctl_int(m, "queue.position", 0))
		(void)snprintf(buf, len, "waits, %lld of %lld", (long long)ctl_int(m, "queue.position", 0),
			       (long long)ctl_int(m, "queue.length", 0));
	else if (json_object_get(m, "host-share"))
		(void)snprintf(buf, len, "%s/s", ctl_size(ctl_number(m, "host-share", 0), size, sizeof(size)));
	else
		(void)snprintf(buf, len, "-");
	return buf;
}

static void print_migration(const json_t *m)
{
	char name[128], uri[256], size[32], rank[64], priority[24] = "-";

	if (json_object_get(m, "priority"))
		(void)snprintf(priority, sizeof(priority), "%" PRIi64, ctl_int(m, "priority", 0));
	printf("%-20s %-8s %-14s %4s %-16s %10s  %s\n",
	       ctl_clean(ctl_str(m, "guest", "?"), name, sizeof(name)), ctl_str(m, "direction", "?"),
	       ctl_str(m, "status", "?"), priority, describe_rank(m, rank, sizeof(rank)),
	       ctl_size(ctl_number(m, "transferred", 0), size, sizeof(size)),
	       ctl_clean(ctl_str(m, "uri", "?"), uri, sizeof(uri)));
}

static int list_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL;
	int r = ctl_execute(ctl, "query-migrations", NULL, &list, err);
	size_t i;
	json_t *m;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(list);
		return CTL_OK;
	}
	printf("%-20s %-8s %-14s %4s %-16s %10s  %s\n", "GUEST", "WAY", "STATUS", "PRIO", "SHARE", "SENT", "ADDRESS");
	json_array_foreach(list, i, m)
		print_migration(m);
	return CTL_OK;
}

const struct ctl_command ctl_host_commands[] = {
	{ .name = "list",
	  .help = "list the migrations of all guests, and who waits",
	  .text = "Of each guest the migration that runs or waits, or else the last: which way, how it stands, its priority, how much it "
		  "may send in a second or at which place it waits for its turn, and what was sent or received.",
	  .examples = "# who is under way\nmigctl list\n# the addresses of those that failed\n"
		      "migctl --json list | jq -r '.[] | select(.status == \"failed\").uri'",
	  .related = "host guests priority",
	  .no_guest = true,
	  .run = list_run },
	{ .name = "host",
	  .args = "[HOST-PARAMETER=VALUE]...",
	  .help = "show or change what holds for all guests (max-bandwidth=1G, max-outgoing=2)",
	  .text = "Without arguments, show it; otherwise change it. `max-bandwidth` (bytes per second) is shared by all outgoing "
		  "migrations, beside each one's own; `max-outgoing` and `max-incoming` are how many may run at once, and the others "
		  "wait. 0 is no limit. `tls-required` refuses migrations without TLS. The daemon keeps it all for the next one.",
	  .examples = "# what it is now\nmigctl host\n# two at a time, together no more than 10 Gbit/s\n"
		      "migctl host max-outgoing=2 max-bandwidth=1250000000",
	  .related = "list priority set",
	  .no_guest = true,
	  .run = host_run },
	{ 0 },
};
