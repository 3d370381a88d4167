/* SPDX-License-Identifier: Apache-2.0 */
/* The options of migctl, and finding them on the command line. */
#include "ctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/nearest.h"

const struct ctl_option_row ctl_options[CTL_N_OPTIONS] = {
	[CTL_OPT_SOCKET] = { "socket", 's', "PATH", "migd's QMP socket (default: $MIGD_SOCKET, or /run/migd/qmp)" },
	[CTL_OPT_GUEST] = { "guest", 'g', "GUEST", "which guest; not needed where there is only one" },
	[CTL_OPT_JSON] = { "json", 'j', NULL, "print answers as JSON, one line each" },
	[CTL_OPT_HELP] = { "help", 'h', NULL, "explain the command, or list all" },
	[CTL_OPT_VERSION] = { "version", 0, NULL, "print the version of migctl" },
	[CTL_OPT_TIMEOUT] = { "timeout", 't', "SECONDS", "wait no longer than that; what was waited for goes on" },
	[CTL_OPT_DETACH] = { "detach", 0, NULL, "do not wait for the end" },
	[CTL_OPT_PREFLIGHT] = { "preflight", 0, NULL, "only compare both sides, and list every mismatch" },
	[CTL_OPT_WAIT] = { "wait", 0, NULL, "wait until the guest arrived" },
	[CTL_OPT_LAZY] = { "lazy", 0, NULL, "from a file with mapped-ram: run it at once, and read its memory meanwhile" },
	[CTL_OPT_PRIORITY] = { "priority", 0, "N", "from -8 to 8; before others, and with more bandwidth, if higher" },
	[CTL_OPT_STRATEGY] = { "strategy", 0, "STRATEGY", "precopy, postcopy, or auto: what gets it done" },
	[CTL_OPT_DEADLINE] = { "deadline", 0, "MS", "to be done in so many milliseconds" },
	[CTL_OPT_FENCED] = { "fenced", 0, NULL, "the other side was made sure of" },
	[CTL_OPT_LAST] = { "last", 0, NULL, "measure nothing, show the last result" },
	[CTL_OPT_VCPU] = { "vcpu", 0, "N", "only this vCPU, from 0" },
	[CTL_OPT_COUNT] = { "count", 'n', "N", "end after so many" },
	[CTL_OPT_OUTPUT] = { "output", 'o', "PATH", "write to that file; -: to standard output" },
	[CTL_OPT_TEXT] = { "text", 0, NULL, "as text, to standard output" },
	[CTL_OPT_PEER] = { "peer", 0, "URI", "whether the other host can be reached there: tcp:HOST:PORT or unix:PATH" },
	[CTL_OPT_TLS_DIR] = { "tls-dir", 0, "DIR", "the files of TLS credentials in that directory" },
	[CTL_OPT_STATE_DIR] = { "state-dir", 0, "DIR", "migd's state directory (default: /run/migd)" },
	[CTL_OPT_KEEP_GOING] = { "keep-going", 'k', NULL, "go on after a command that failed" },
	[CTL_OPT_START_REMOTE] = { "start-remote", 0, NULL, "have the other host's migd start a VMM for the guest first" },
	[CTL_OPT_ALLOW_WEAK_HANDOVER] = { "allow-weak-handover", 0, NULL, "send a running guest even where nobody answers" },
	[CTL_OPT_CLOSE] = { "close", 0, NULL, "remove it" },
	[CTL_OPT_MAN] = { "man", 0, NULL, "print it as the manual page has it" },
};

uint64_t ctl_options_of(const struct ctl_command *c)
{
	return CTL_TAKEN_BY_ALL | c->options | (c->waits ? CTL_TAKES(CTL_OPT_TIMEOUT) : 0);
}

#define LONG_ONLY 256	/* + enum ctl_option: what getopt_long() returns for one */

/* WORD is no option, or one with or without a value that should be the other way round. C: what getopt_long() said. */
static int complain(const char *word, int c, struct merr *err)
{
	char name[64], hint[96];
	struct nearest nearest = { .word = name };

	if (c == ':' || optopt >= LONG_ONLY) {
		merr_set(err, -EINVAL, "option '%s' %s", word, c == ':' ? "needs a value" : "takes no value");
		return CTL_USAGE;
	}
	word += strspn(word, "-");
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	for (size_t i = 0; i < CTL_N_OPTIONS; i++)
		nearest_try(&nearest, ctl_options[i].name);
	merr_set(err, -EINVAL, "there is no option '%s%s'%s", strlen(name) > 1 ? "--" : "-", name,
		 nearest_hint(&nearest, "--", hint, sizeof(hint)));
	return CTL_USAGE;
}

static int option_of(int c)
{
	if (c >= LONG_ONLY)
		return c - LONG_ONLY;
	for (int i = 0; i < CTL_N_OPTIONS; i++)
		if (ctl_options[i].letter == c)
			return i;
	return -1;
}

int ctl_options_parse(int argc, char **argv, struct ctl *ctl, struct merr *err)
{
	struct option long_options[CTL_N_OPTIONS + 1] = { 0 };
	char letters[2 * CTL_N_OPTIONS + 2] = ":", *end = letters + 1;
	int c, option;

	for (int i = 0; i < CTL_N_OPTIONS; i++) {
		const struct ctl_option_row *row = &ctl_options[i];

		long_options[i] = (struct option){ row->name, row->value ? required_argument : no_argument, NULL, LONG_ONLY + i };
		if (row->letter)
			*end++ = row->letter;
		if (row->letter && row->value)
			*end++ = ':';
	}
	opterr = 0;
	optind = 0;	/* from the start, also the second time */
	while ((c = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		option = option_of(c);
		if (option < 0 && c == '?' && optopt > 0 && optopt < LONG_ONLY)
			return complain((char[]){ '-', (char)optopt, '\0' }, c, err);
		if (option < 0)
			return complain(argv[optind - 1], c, err);
		ctl->given[option] = ctl_options[option].value ? optarg : "";
	}
	ctl->args = argv + optind;
	ctl->n_args = argc - optind;
	return CTL_OK;
}
