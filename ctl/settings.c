/* SPDX-License-Identifier: Apache-2.0 */
/* The command `set`: parameters and capabilities of migrations, shown and changed by one command. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/settings.h"
#include "ctl/spec.h"

/* What the daemon has now; a value's type is what it is now. */
struct settings {
	json_t *parameters;
	json_t *capabilities;
};

static void settings_done(struct settings *s)
{
	json_decref(s->parameters);
	json_decref(s->capabilities);
}

static int settings_read(struct ctl *ctl, struct settings *s, struct merr *err)
{
	int r = ctl_query(ctl, "query-migrate-parameters", &s->parameters, err);

	return r == CTL_OK ? ctl_query(ctl, "query-migrate-capabilities", &s->capabilities, err) : r;
}

static bool is_capability(const struct settings *s, const char *name)
{
	size_t i;
	json_t *c;

	json_array_foreach(s->capabilities, i, c)
		if (strcmp(ctl_str(c, "capability", ""), name) == 0)
			return true;
	return false;
}

json_t *settings_parse(const char *command, const char *name, const char *text, const json_t *now, struct merr *err)
{
	json_error_t where;
	json_t *v;

	if (json_is_string(now))
		return json_string(text);
	if (json_is_integer(now)) {
		v = spec_parse_integer(text);
		if (!v)
			merr_set(err, -EINVAL,
				 "%s: '%s' is no value for '%s': it wants a number (K, M, G or T may follow)", command,
				 text, name);
		return v;
	}
	if (json_is_boolean(now)) {
		v = spec_parse_switch(text);
		if (!v)
			merr_set(err, -EINVAL, "%s: '%s' is no value for '%s': it wants on or off", command, text,
				 name);
		return v;
	}
	v = json_loads(text, JSON_DECODE_ANY, &where);
	if (!v)
		merr_set(err, -EINVAL, "%s: '%s' is no value for '%s': it wants JSON: %s", command, text, name,
			 where.text);
	return v;
}

/* Sort one NAME=VALUE into PARAMETERS or CAPABILITIES. */
static int sort_setting(const struct settings *now, const char *word, json_t *parameters,
			json_t *capabilities, struct merr *err)
{
	const char *equals = strchr(word, '=');
	_cleanup_free_ char *name = equals ? strndup(word, (size_t)(equals - word)) : NULL;
	const json_t *old = name ? json_object_get(now->parameters, name) : NULL;
	json_t *value;

	if (!name) {
		merr_set(err, -EINVAL, "set: '%s' is not NAME=VALUE", word);
		return CTL_USAGE;
	}
	if (is_capability(now, name)) {
		value = spec_parse_switch(equals + 1);
		if (!value) {
			merr_set(err, -EINVAL, "set: capability '%s' is on or off, not '%s'", name, equals + 1);
			return CTL_USAGE;
		}
		json_array_append_new(capabilities, json_pack("{s:s, s:o}", "capability", name, "state", value));
		return CTL_OK;
	}
	if (!old) {
		merr_set(err, -EINVAL, "set: there is no parameter or capability '%s'; `migctl set` lists them", name);
		return CTL_USAGE;
	}
	value = settings_parse("set", name, equals + 1, old, err);
	if (!value)
		return CTL_USAGE;
	json_object_set_new(parameters, name, value);
	return CTL_OK;
}

static int change(struct ctl *ctl, const struct settings *now, struct merr *err)
{
	_cleanup_json_ json_t *parameters = ctl_guest_args(ctl), *capabilities = json_array();
	size_t n_plain = json_object_size(parameters);
	json_t *args;
	int r = CTL_OK;

	for (int i = 0; r == CTL_OK && i < ctl->n_args; i++)
		r = sort_setting(now, ctl->args[i], parameters, capabilities, err);
	if (r == CTL_OK && json_array_size(capabilities) > 0) {
		args = ctl_guest_args(ctl);
		json_object_set(args, "capabilities", capabilities);
		r = ctl_execute(ctl, "migrate-set-capabilities", args, NULL, err);
	}
	if (r == CTL_OK && json_object_size(parameters) > n_plain)
		r = ctl_execute(ctl, "migrate-set-parameters", json_incref(parameters), NULL, err);
	return r;
}

void settings_print(const char *name, const json_t *value)
{
	printf("%-32s ", name);
	if (json_is_string(value))
		printf("%s\n", json_string_value(value));
	else if (json_is_boolean(value))
		printf("%s\n", json_is_true(value) ? "on" : "off");
	else
		ctl_print_json(value);
}

static void print_capabilities(const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		printf("%-32s %s\n", ctl_str(v, "capability", "?"), ctl_bool(v, "state") ? "on" : "off");
}

static void print_settings(const struct settings *s)
{
	const char *name;
	json_t *v;

	json_object_foreach(s->parameters, name, v)
		settings_print(name, v);
	print_capabilities(s->capabilities);
}

static int change_capabilities(struct ctl *ctl, struct merr *err)
{
	json_t *list = json_array(), *args;

	for (int i = 0; i < ctl->n_args; i++) {
		char *equals = strchr(ctl->args[i], '=');
		json_t *state = equals ? spec_parse_switch(equals + 1) : NULL;

		if (!state) {
			merr_set(err, -EINVAL, "capabilities: '%s' is not CAPABILITY=on or =off", ctl->args[i]);
			json_decref(list);
			return CTL_USAGE;
		}
		json_array_append_new(list, json_pack("{s:s%, s:o}", "capability", ctl->args[i],
						      (size_t)(equals - ctl->args[i]), "state", state));
	}
	args = ctl_guest_args(ctl);
	json_object_set_new(args, "capabilities", list);
	return ctl_do(ctl, "migrate-set-capabilities", args, err);
}

static int capabilities_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL;
	int r;

	if (ctl->n_args > 0)
		return change_capabilities(ctl, err);
	r = ctl_query(ctl, "query-migrate-capabilities", &list, err);
	if (r == CTL_OK && ctl->json)
		ctl_print_json(list);
	else if (r == CTL_OK)
		print_capabilities(list);
	return r;
}

static int set_run(struct ctl *ctl, struct merr *err)
{
	struct settings s = { 0 };
	int r = settings_read(ctl, &s, err);

	if (r == CTL_OK && ctl->n_args > 0) {
		r = change(ctl, &s, err);
		settings_done(&s);
		s = (struct settings){ 0 };
		if (r == CTL_OK && ctl->json)
			r = settings_read(ctl, &s, err);
	}
	if (r == CTL_OK && ctl->json) {
		_cleanup_json_ json_t *both = json_pack("{s:O, s:O}", "parameters", s.parameters,
							"capabilities", s.capabilities);

		ctl_print_json(both);
	} else if (r == CTL_OK && ctl->n_args == 0) {
		print_settings(&s);
	}
	settings_done(&s);
	return r;
}

const struct ctl_command ctl_settings_commands[] = {
	{ .name = "set",
	  .args = "[PARAMETER=VALUE]...",
	  .help = "show or change the parameters and capabilities of the guest's migrations",
	  .text = "Without arguments, show them. Otherwise change some: numbers may have a suffix K, M, G or T (powers of 1024), "
		  "switches are on or off, and lists are JSON. The parameters used most are `max-bandwidth` (bytes per second; 0: no "
		  "limit), `downtime-limit` (milliseconds) and `reconnect-timeout` (milliseconds; how long to try to replace a "
		  "connection that broke). Most capabilities have to be the same on both sides, and cannot be changed while a "
		  "migration runs.",
	  .trouble = "A capability cannot be changed: a migration runs, or it does not go together with another one; the text says which.\n"
		     "No such parameter: `migctl set` lists all there are; docs/qmp-reference.md explains them.",
	  .examples = "# what is set now\nmigctl -g web1 set\n# no slower than 2 GiB/s, and a blackout of 50 ms at most\n"
		      "migctl -g web1 set max-bandwidth=2G downtime-limit=50\n# over four connections (on both sides)\n"
		      "migctl -g web1 set multifd=on multifd-channels=4",
	  .related = "host migrate",
	  .run = set_run },
	{ .name = "capabilities",
	  .args = "[CAPABILITY=on|off]...",
	  .help = "show or change the capabilities of the guest's migrations only",
	  .text = "What `migctl set` shows and changes together with the parameters. All that are given change at once, or none does.",
	  .trouble = "A capability cannot be changed: a migration runs, or it does not go together with another one; the text says which.",
	  .examples = "# what is on\nmigctl -g web1 capabilities\n# prepare for post-copy (on both sides)\n"
		      "migctl -g web1 capabilities postcopy-ram=on",
	  .related = "set",
	  .run = capabilities_run },
	{ 0 },
};
