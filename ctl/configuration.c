/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the daemon's configuration: what holds, reading it again, and how much is logged. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/table.h"

/* VALUE as the configuration file has it. */
static void add_value(struct table *t, const json_t *value)
{
	_cleanup_free_ char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);

	if (json_is_boolean(value))
		table_add(t, "%s", json_is_true(value) ? "yes" : "no");
	else
		table_add(t, "%s", text ? text : json_string_value(value));
}

/* Whether SECTION.KEY is one of a list of texts. */
static bool is_listed(const json_t *list, const char *section, const char *key)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) {
		const char *text = json_string_value(v);
		size_t len = strlen(section);

		if (text && strncmp(text, section, len) == 0 && text[len] == '.' && strcmp(text + len + 1, key) == 0)
			return true;
	}
	return false;
}

static void print_config(const json_t *info)
{
	struct table t = { .n_columns = 3 };
	const char *section, *key;
	json_t *keys, *value;
	char file[512];

	printf("file: %s\n", ctl_clean(ctl_str(info, "file", "none"), file, sizeof(file)));
	table_add(&t, "KEY");
	table_add(&t, "VALUE");
	table_add(&t, " ");
	json_object_foreach(json_object_get(info, "config"), section, keys)
		json_object_foreach(keys, key, value) {
			table_add(&t, "%s.%s", section, key);
			add_value(&t, value);
			table_add(&t, "%s", is_listed(json_object_get(info, "waiting"), section, key) ? "waits for a restart" : "");
		}
	table_print(&t);
}

static int show(struct ctl *ctl, const char *command, struct merr *err)
{
	_cleanup_json_ json_t *info = NULL;
	int r = ctl_execute(ctl, command, NULL, &info, err);

	if (r == CTL_OK && ctl->json)
		ctl_print_json(info);
	else if (r == CTL_OK)
		print_config(info);
	return r;
}

static int config_run(struct ctl *ctl, struct merr *err)
{
	return show(ctl, "query-config", err);
}

static int reload_run(struct ctl *ctl, struct merr *err)
{
	return show(ctl, "reload-config", err);
}

static int log_level_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "set-log-level", json_pack("{s:s}", "level", ctl->args[0]), err);
}

const struct ctl_command ctl_configuration_commands[] = {
	{ .name = "config",
	  .help = "show the daemon's configuration as it holds",
	  .text = "The file it was read from, and each key with its value, defaults too. Some take a restart of migd; those that wait for "
		  "it are marked. migd.conf(5) explains the keys.",
	  .examples = "# what holds\nmigctl config\n# one key, for a script\nmigctl --json config | jq .config.history",
	  .related = "reload host log-level",
	  .no_guest = true,
	  .run = config_run },
	{ .name = "reload",
	  .help = "have the daemon read its configuration file again",
	  .text = "As SIGHUP does: the configuration is taken whole or not at all, and changed files of objects are read too. Shows what "
		  "holds then.",
	  .trouble = "Something is wrong in the file: the text has each mistake with its line, and nothing has changed.",
	  .examples = "# after it was edited\nmigctl reload",
	  .related = "config credentials",
	  .no_guest = true,
	  .run = reload_run },
	{ .name = "log-level",
	  .args = "emerg|alert|crit|err|warning|notice|info|debug",
	  .help = "change how much the daemon logs",
	  .text = "And workers that start from now on; until the configuration's is changed, or the daemon ends.",
	  .examples = "# look closely\nmigctl log-level debug",
	  .related = "config",
	  .no_guest = true,
	  .run = log_level_run },
	{ 0 },
};
