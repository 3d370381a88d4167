/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about all migrations of a host: its limits, and who waits for whom. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/settings.h"
#include "ctl/table.h"

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

static void add_migration(struct table *t, const json_t *m)
{
	char size[32], rank[64];

	table_add(t, "%s", ctl_str(m, "guest", "?"));
	table_add(t, "%s", ctl_str(m, "direction", "?"));
	table_add(t, "%s", ctl_str(m, "status", "?"));
	if (json_object_get(m, "priority"))
		table_add(t, "%" PRIi64, ctl_int(m, "priority", 0));
	else
		table_add(t, "-");
	table_add(t, "%s", describe_rank(m, rank, sizeof(rank)));
	table_add(t, "%s", ctl_size(ctl_number(m, "transferred", 0), size, sizeof(size)));
	table_add(t, "%s", ctl_str(m, "uri", "?"));
}

static void print_migrations(const json_t *list)
{
	static const char *const titles[] = { "GUEST", "WAY", "STATUS", ">PRIO", "SHARE", ">SENT", "ADDRESS" };

	table_print_list(titles, ARRAY_SIZE(titles), list, add_migration);
}

static int list_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL;
	int r = ctl_execute(ctl, "query-migrations", NULL, &list, err);

	if (r == CTL_OK && ctl->json)
		ctl_print_json(list);
	else if (r == CTL_OK)
		print_migrations(list);
	return r;
}

/* Into RET those of LIST that go DIRECTION and wait, the next one first. */
static void take_waiting(const json_t *list, const char *direction, json_t *ret)
{
	int64_t last = INT64_MAX;
	size_t i;
	json_t *m;

	for (int64_t position = 1; position <= last; position++) {
		last = 0;
		json_array_foreach(list, i, m) {
			int64_t at = ctl_int(m, "queue.position", 0);

			if (strcmp(ctl_str(m, "direction", ""), direction) != 0)
				continue;
			if (at == position)
				json_array_append(ret, m);
			if (at > last)
				last = at;
		}
	}
}

static int queue_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL, *waiting = json_array();
	int r = ctl_execute(ctl, "query-migrations", NULL, &list, err);

	if (r != CTL_OK)
		return r;
	take_waiting(list, "outgoing", waiting);
	take_waiting(list, "incoming", waiting);
	if (ctl->json)
		ctl_print_json(waiting);
	else
		print_migrations(waiting);
	return CTL_OK;
}

static int host_reset_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = json_object(), *names = json_array();

	for (int i = 0; i < ctl->n_args; i++)
		json_array_append_new(names, json_string(ctl->args[i]));
	if (ctl->n_args > 0)
		json_object_set(args, "parameters", names);
	json_decref(names);
	return ctl_do(ctl, "host-reset-parameters", args, err);
}

static int version_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *version = NULL;
	int r = ctl_execute(ctl, "query-version", NULL, &version, err);

	if (r == CTL_OK && ctl->json)
		ctl_print_json(version);
	else if (r == CTL_OK)
		printf("migd %lld.%lld.%lld (%s), migctl " MIGD_VERSION "\n", (long long)ctl_int(version, "qemu.major", 0),
		       (long long)ctl_int(version, "qemu.minor", 0), (long long)ctl_int(version, "qemu.micro", 0),
		       ctl_str(version, "package", "?"));
	return r;
}

static int quit_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "quit", NULL, err);
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
	{ .name = "queue",
	  .help = "list the migrations that wait for their turn, the next one first",
	  .text = "They wait because the host has as many under way as max-outgoing or max-incoming allow (`migctl host`).",
	  .examples = "# who is next\nmigctl queue\n# let web1 be the next\nmigctl -g web1 priority 8",
	  .related = "list priority host",
	  .no_guest = true,
	  .run = queue_run },
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
	{ .name = "host-reset",
	  .args = "[HOST-PARAMETER]...",
	  .help = "forget what `migctl host` has set: the configuration file holds again",
	  .text = "All of it, or only the parameters that are named.",
	  .examples = "# all\nmigctl host-reset\n# one\nmigctl host-reset max-bandwidth",
	  .related = "host config",
	  .no_guest = true,
	  .run = host_reset_run },
	{ .name = "version",
	  .help = "the daemon's version, and migctl's",
	  .text = "The option --version prints migctl's only, and needs no daemon.",
	  .examples = "# is it the one that was installed last?\nmigctl version",
	  .related = "doctor",
	  .no_guest = true,
	  .run = version_run },
	{ .name = "quit",
	  .help = "end the daemon, to which no guest may be attached",
	  .text = "Guests are not ended by it: detach them, or end their VMMs, first. On a guest's own socket it ends that guest's VMM.",
	  .trouble = "Guests are attached: `migctl guests`. To restart a daemon, end it by its service manager: guests reconnect.",
	  .examples = "# after the last guest has gone\nmigctl quit",
	  .related = "guests detach",
	  .no_guest = true,
	  .run = quit_run },
	{ 0 },
};
