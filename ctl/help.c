/* SPDX-License-Identifier: Apache-2.0 */
/* The help on the terminal, made from the tables. */
#include "ctl/help.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/kinds.h"

#define WIDTH 100
#define NAME_COLUMN 18
#define OPTION_COLUMN 26

/* TEXT's paragraphs, their lines broken and indented; the first begins at column AT. */
static void print_wrapped(const char *text, int indent, int at)
{
	int column = at;

	while (*text) {
		int len = (int)strcspn(text, " \n");

		if (column > indent && column + 1 + len > WIDTH) {
			printf("\n");
			column = 0;
		}
		if (column < indent)
			column += printf("%*s", indent - column, "");
		else if (column > indent)
			column += printf(" ");
		column += printf("%.*s", len, text);
		text += len;
		if (*text == '\n') {
			printf("\n");
			column = 0;
		}
		if (*text)
			text++;
	}
	printf("\n");
}

static void print_title(const char *title)
{
	printf("\n%s%s%s\n", ctl_colour(CTL_BOLD), title, ctl_colour(CTL_PLAIN));
}

static void print_entry(const char *name, const char *help, int column)
{
	int at = printf("  %s", name);

	if (at >= column) {
		printf("\n");
		at = 0;
	}
	print_wrapped(help, column, at);
}

static void print_option(const struct ctl_option_row *o)
{
	char name[64];

	if (o->letter)
		(void)snprintf(name, sizeof(name), "-%c, --%s %s", o->letter, o->name, o->value ? o->value : "");
	else
		(void)snprintf(name, sizeof(name), "    --%s %s", o->name, o->value ? o->value : "");
	print_entry(name, o->help, OPTION_COLUMN);
}

static void print_options(uint64_t options)
{
	for (int i = 0; i < CTL_N_OPTIONS; i++)
		if (options & CTL_TAKES(i))
			print_option(&ctl_options[i]);
}

static void print_statuses(bool all)
{
	char number[8];

	for (int i = 0; i < CTL_N_STATUS; i++)
		if (all || (i != CTL_MIGRATION_FAILED && i != CTL_CANCELLED && i != CTL_IN_DOUBT && i != CTL_TIMED_OUT)) {
			(void)snprintf(number, sizeof(number), "%d", i);
			print_entry(number, ctl_status_rows[i].help, 5);
		}
}

static void print_overview(void)
{
	printf("Usage: migctl [--socket PATH] [--json] [-g GUEST] COMMAND [ARGUMENT]...\n"
	       "Controls migd, which live-migrates the KVM guests of this host. `migctl help COMMAND` explains one.\n");
	for (const struct ctl_group *g = ctl_groups; g->title; g++) {
		print_title(g->title);
		for (const struct ctl_command *c = g->commands; c->name; c++)
			print_entry(c->name, c->help, NAME_COLUMN);
	}
	print_title("Options of all commands");
	print_options(CTL_TAKEN_BY_ALL);
	print_title("Exit status");
	print_statuses(true);
}

static void print_arguments(const struct ctl_command *c)
{
	struct ctl_argument a;

	for (int i = 0; ctl_argument_at(c->args, i, &a); i++) {
		if (i == 0 && ctl_kind_help(a.kind))
			print_title("Arguments");
		if (ctl_kind_help(a.kind))
			print_entry(a.kind, ctl_kind_help(a.kind), NAME_COLUMN);
		if (a.repeated)
			break;
	}
}

static void print_related(const struct ctl_command *c)
{
	const char *name = c->related;

	if (!name)
		return;
	print_title("See also");
	printf("  ");
	while (*name) {
		int len = (int)strcspn(name, " ");

		printf("%smigctl help %.*s", name == c->related ? "" : ", ", len, name);
		name += len + (name[len] == ' ');
	}
	printf("\n");
}

static void print_examples(const char *lines)
{
	while (*lines) {
		int len = (int)strcspn(lines, "\n");

		printf("  %s%.*s\n", *lines == '#' ? "" : "$ ", len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static void print_command(const struct ctl_command *c)
{
	printf("migctl %s: %s\n\nUsage: migctl [OPTION]... %s%s%s\n", c->name, c->help, c->name, c->args ? " " : "",
	       c->args ? c->args : "");
	if (c->text) {
		printf("\n");
		print_wrapped(c->text, 0, 0);
	}
	print_arguments(c);
	print_title("Options");
	print_options(ctl_options_of(c) & ~(c->no_guest ? CTL_TAKES(CTL_OPT_GUEST) : 0) & ~CTL_TAKES(CTL_OPT_VERSION));
	if (c->examples) {
		print_title("Examples");
		print_examples(c->examples);
	}
	if (c->trouble) {
		print_title("When it goes wrong");
		print_wrapped(c->trouble, 2, 0);
	}
	print_related(c);
	print_title("Exit status");
	print_statuses(c->waits);
}

void help_print(const struct ctl_command *c)
{
	if (c)
		print_command(c);
	else
		print_overview();
}

static int help_run(struct ctl *ctl, struct merr *err)
{
	const struct ctl_command *c = NULL;

	if (ctl_has(ctl, CTL_OPT_MAN)) {
		manual_print();
		return CTL_OK;
	}
	if (ctl->n_args > 0) {
		c = ctl_find_command(ctl->args[0]);
		if (!c)
			return commands_complain(ctl->args[0], err);
	}
	help_print(c);
	return CTL_OK;
}

const struct ctl_command ctl_help_commands[] = {
	{ .name = "help",
	  .args = "[VERB]",
	  .help = "explain a command, or list all",
	  .text = "What a command does, its arguments and options, examples, what can go wrong and what to do then.",
	  .examples = "# what there is\nmigctl help\n# about one command\nmigctl help migrate",
	  .options = CTL_TAKES(CTL_OPT_MAN),
	  .no_guest = true,
	  .no_daemon = true,
	  .run = help_run },
	{ 0 },
};
