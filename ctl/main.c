/* SPDX-License-Identifier: Apache-2.0 */
/* migctl: the command line of migd. Options, the table of commands, and what the exit status says. */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

#define SOCKET_DEFAULT "/run/migd/qmp"

static const struct ctl_command *const groups[] = {
	ctl_guest_commands,
	ctl_migrate_commands,
	ctl_settings_commands,
	ctl_host_commands,
	ctl_raw_commands,
};

/* Options that only some commands take: one row each. */
static const struct {
	enum ctl_option option;
	const char *name;
	const char *value;	/* NULL: it has none */
	size_t value_at;	/* in struct ctl */
	const char *help;
} command_options[] = {
	{ CTL_OPT_DETACH, "detach", NULL, 0, "migrate: do not wait for the end" },
	{ CTL_OPT_PREFLIGHT, "preflight", NULL, 0, "migrate: only compare both sides, and list every mismatch" },
	{ CTL_OPT_WAIT, "wait", NULL, 0, "incoming: wait until the guest arrived" },
	{ CTL_OPT_LAZY, "lazy", NULL, 0, "incoming, file:PATH with mapped-ram: run it at once, and read its memory meanwhile" },
	{ CTL_OPT_PRIORITY, "priority", "N", offsetof(struct ctl, priority),
	  "migrate: from -8 to 8; before others, and with more bandwidth, if higher" },
	{ CTL_OPT_STRATEGY, "strategy", "S", offsetof(struct ctl, strategy),
	  "migrate: precopy, postcopy, or auto: what gets it done" },
	{ CTL_OPT_DEADLINE, "deadline", "MS", offsetof(struct ctl, deadline), "migrate: to be done in so many milliseconds" },
	{ CTL_OPT_FENCED, "fenced", NULL, 0, "resolve: the other side was made sure of" },
};

#define OPT_COMMAND 256	/* + index in command_options */
#define OPT_VERSION 512

static void print_help(void)
{
	printf("Usage: migctl [--socket PATH] [--json] [-g GUEST] COMMAND [ARGUMENT]...\n"
	       "Controls migd, which live-migrates the KVM guests of this host.\n\nCommands:\n");
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct ctl_command *c = groups[g]; c->name; c++)
			printf("  %-9s %-18s %s\n", c->name, c->args, c->help);
	printf("\nOptions:\n"
	       "  -s, --socket PATH   migd's QMP socket (default: $MIGD_SOCKET, or " SOCKET_DEFAULT ")\n"
	       "  -g, --guest NAME    which guest; not needed where there is only one\n"
	       "  -j, --json          print answers as JSON, one line each\n");
	for (size_t i = 0; i < ARRAY_SIZE(command_options); i++)
		printf("      --%s%s%-*s %s\n", command_options[i].name, command_options[i].value ? " " : "",
		       15 - (int)strlen(command_options[i].name) - (command_options[i].value ? 1 : 0),
		       command_options[i].value ? command_options[i].value : "", command_options[i].help);
	printf("  -h, --help          print this\n"
	       "      --version       print the version\n\n"
	       "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n");
}

/* CTL_OK, CTL_USAGE with ERR, or -1: HELP was printed and all is done. */
static int parse_options(int argc, char **argv, struct ctl *ctl, struct merr *err)
{
	struct option options[7 + ARRAY_SIZE(command_options)] = {
		{ "socket", required_argument, NULL, 's' }, { "guest", required_argument, NULL, 'g' },
		{ "json", no_argument, NULL, 'j' },	    { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
	};
	int c;

	for (size_t i = 0; i < ARRAY_SIZE(command_options); i++)
		options[5 + i] = (struct option){ command_options[i].name,
						  command_options[i].value ? required_argument : no_argument, NULL,
						  OPT_COMMAND + (int)i };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":s:g:jh", options, NULL)) != -1) {
		if (c == 's') {
			ctl->socket_path = optarg;
		} else if (c == 'g') {
			ctl->guest = optarg;
		} else if (c == 'j') {
			ctl->json = true;
		} else if (c == 'h') {
			print_help();
			return -1;
		} else if (c == OPT_VERSION) {
			puts("migctl " MIGD_VERSION);
			return -1;
		} else if (c >= OPT_COMMAND) {
			ctl->options |= command_options[c - OPT_COMMAND].option;
			if (command_options[c - OPT_COMMAND].value)
				*(const char **)((char *)ctl + command_options[c - OPT_COMMAND].value_at) = optarg;
		} else {
			merr_set(err, -EINVAL, "option '%s' %s", argv[optind - 1],
				 c == ':' ? "needs a value" : "does not exist");
			return CTL_USAGE;
		}
	}
	ctl->args = argv + optind;
	ctl->n_args = argc - optind;
	return CTL_OK;
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct ctl_command *c = groups[g]; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

/* Take the command off the arguments and check what is left against its row. */
static int choose_command(struct ctl *ctl, const struct ctl_command **ret, struct merr *err)
{
	const struct ctl_command *c = ctl->n_args ? find_command(ctl->args[0]) : NULL;

	if (!c && ctl->n_args)
		merr_set(err, -EINVAL, "there is no command '%s'", ctl->args[0]);
	else if (!c)
		merr_set(err, -EINVAL, "no command given");
	if (!c)
		return CTL_USAGE;
	ctl->args++;
	ctl->n_args--;
	if (ctl->n_args < c->min_args || (c->max_args >= 0 && ctl->n_args > c->max_args))
		merr_set(err, -EINVAL, "usage: migctl %s %s", c->name, c->args);
	else if (ctl->options & ~c->options)
		merr_set(err, -EINVAL, "%s: an option was given that it does not take", c->name);
	else if (c->no_guest && ctl->guest)
		merr_set(err, -EINVAL, "%s: --guest makes no sense here", c->name);
	*ret = c;
	return merr_is_set(err) ? CTL_USAGE : CTL_OK;
}

static void report(const struct ctl *ctl, int status, const struct merr *err)
{
	char text[MERR_MSG_MAX];

	if (ctl->json && status == CTL_FAILED) {
		_cleanup_json_ json_t *j = json_pack("{s:{s:s}}", "error", "desc", merr_msg(err));

		ctl_print_json(j);
	}
	fprintf(stderr, "migctl: %s%s\n", ctl_clean(merr_msg(err), text, sizeof(text)),
		status == CTL_USAGE ? " (migctl --help)" : "");
}

int main(int argc, char **argv)
{
	const char *from_env = getenv("MIGD_SOCKET");
	struct ctl ctl = { .socket_path = from_env && *from_env ? from_env : SOCKET_DEFAULT };
	const struct ctl_command *command = NULL;
	struct merr err = MERR_INIT;
	int status = parse_options(argc, argv, &ctl, &err);

	if (status < 0)
		return CTL_OK;
	if (status == CTL_OK)
		status = choose_command(&ctl, &command, &err);
	if (status == CTL_OK && qmp_client_connect(ctl.socket_path, &ctl.client, &err) < 0) {
		merr_prefix(&err, "is migd running?");
		status = CTL_FAILED;
	}
	if (status == CTL_OK)
		status = command->run(&ctl, &err);
	if (merr_is_set(&err))
		report(&ctl, status, &err);
	qmp_client_free(ctl.client);
	if (fflush(stdout) != 0 && status == CTL_OK)
		status = CTL_FAILED;
	return status;
}
