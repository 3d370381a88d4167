/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and finding in it what a command line asks for. */
#include "ctl/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/kinds.h"
#include "ctl/nearest.h"

const struct ctl_group ctl_groups[] = {
	{ "Guests", ctl_guest_commands },
	{ "Migration", ctl_migrate_commands },
	{ "Post-copy", ctl_postcopy_commands },
	{ "Settings", ctl_settings_commands },
	{ "The whole host", ctl_host_commands },
	{ "Configuration", ctl_configuration_commands },
	{ "Emptying a host", ctl_evacuate_commands },
	{ "Shared ports", ctl_port_commands },
	{ "Objects and descriptors", ctl_object_commands },
	{ "Measuring", ctl_measure_commands },
	{ "History", ctl_history_commands },
	{ "Raw", ctl_raw_commands },
	{ "What is wrong", ctl_doctor_commands },
	{ "Help", ctl_help_commands },
	{ "The command line", ctl_shell_commands },
	{ "Completion", ctl_completion_commands },
	{ 0 },
};

const struct ctl_command *ctl_find_command(const char *name)
{
	for (const struct ctl_group *g = ctl_groups; g->title; g++)
		for (const struct ctl_command *c = g->commands; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

int commands_complain(const char *name, struct merr *err)
{
	struct nearest nearest = { .word = name };
	char hint[96];

	for (const struct ctl_group *g = ctl_groups; g->title; g++)
		for (const struct ctl_command *c = g->commands; c->name; c++)
			nearest_try(&nearest, c->name);
	merr_set(err, -EINVAL, "there is no command '%s'%s", name, nearest_hint(&nearest, "", hint, sizeof(hint)));
	return CTL_USAGE;
}

static int check_options(const struct ctl *ctl, const struct ctl_command *c, struct merr *err)
{
	for (int i = 0; i < CTL_N_OPTIONS; i++)
		if (ctl_has(ctl, i) && !(ctl_options_of(c) & CTL_TAKES(i))) {
			merr_set(err, -EINVAL, "%s: it takes no option '--%s'", c->name, ctl_options[i].name);
			return CTL_USAGE;
		}
	if (c->no_guest && ctl_has(ctl, CTL_OPT_GUEST)) {
		merr_set(err, -EINVAL, "%s: --guest makes no sense here", c->name);
		return CTL_USAGE;
	}
	return CTL_OK;
}

/* A word of a choice. */
static int check_choice(const struct ctl_command *c, const struct ctl_argument *a, const char *given, struct merr *err)
{
	struct nearest nearest = { .word = given };
	char word[8][64], hint[96];

	for (size_t i = 0; i < ARRAY_SIZE(word) && ctl_kind_word(a->kind, i, word[i], sizeof(word[i])); i++) {
		if (strcmp(word[i], given) == 0)
			return CTL_OK;
		nearest_try(&nearest, word[i]);
	}
	merr_set(err, -EINVAL, "%s: '%s' is none of %s%s", c->name, given, a->kind, nearest_hint(&nearest, "", hint, sizeof(hint)));
	return CTL_USAGE;
}

static int check_arguments(const struct ctl *ctl, const struct ctl_command *c, struct merr *err)
{
	struct ctl_argument a;
	int min, max, r = CTL_OK;

	ctl_argument_count(c->args, &min, &max);
	if (ctl->n_args < min) {
		(void)ctl_argument_at(c->args, ctl->n_args, &a);
		merr_set(err, -EINVAL, "%s: %s is missing; usage: migctl %s %s", c->name, a.kind, c->name, c->args);
		return CTL_USAGE;
	}
	if (max >= 0 && ctl->n_args > max) {
		merr_set(err, -EINVAL, "%s: '%s' is too much; usage: migctl %s%s%s", c->name, ctl->args[max], c->name,
			 c->args ? " " : "", c->args ? c->args : "");
		return CTL_USAGE;
	}
	for (int i = 0; i < ctl->n_args && r == CTL_OK; i++)
		if (ctl_argument_at(c->args, i, &a) && ctl_kind_is_choice(a.kind))
			r = check_choice(c, &a, ctl->args[i], err);
	return r;
}

int commands_choose(struct ctl *ctl, struct merr *err)
{
	int r;

	if (ctl->n_args == 0) {
		merr_set(err, -EINVAL, "no command given");
		return CTL_USAGE;
	}
	ctl->command = ctl_find_command(ctl->args[0]);
	if (!ctl->command)
		return commands_complain(ctl->args[0], err);
	ctl->args++;
	ctl->n_args--;
	if (ctl_has(ctl, CTL_OPT_HELP))
		return CTL_OK;
	r = check_options(ctl, ctl->command, err);
	return r == CTL_OK ? check_arguments(ctl, ctl->command, err) : r;
}
