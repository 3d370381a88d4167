/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line. */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <syslog.h>

#include "base/log.h"

#define STATE_DIR_DEFAULT "/run/migd"

enum option_id {
	OPT_QMP = 256,
	OPT_ATTACH,
	OPT_STATE_DIR,
	OPT_LISTEN,
	OPT_LOG_LEVEL,
	OPT_ALLOW_EXEC,
	OPT_FOREGROUND,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "qmp", required_argument, NULL, OPT_QMP },
	{ "attach", required_argument, NULL, OPT_ATTACH },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "allow-exec", no_argument, NULL, OPT_ALLOW_EXEC },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

const char *options_help(void)
{
	return "Usage: migd --qmp PATH --attach PATH [OPTION]...\n"
	       "Live-migrates the KVM guests of this host.\n"
	       "\n"
	       "  --qmp PATH        Unix socket for the control plane (QMP: JSON)\n"
	       "  --attach PATH     Unix socket where VMMs register their guests\n"
	       "  --state-dir DIR   what the next migd needs to take over running migrations;\n"
	       "                    one daemon a directory (default " STATE_DIR_DEFAULT ")\n"
	       "  --listen URI      a port at which any guest of this host can be received (e.g.\n"
	       "                    tcp:HOST:PORT); can be given several times\n"
	       "  --allow-exec      let QMP clients run commands as migd's user (exec: addresses)\n"
	       "  --log-level L     emerg alert crit err warning notice info debug (default info)\n"
	       "  --foreground      stay in the foreground instead of detaching from the terminal\n"
	       "  --help            print this\n"
	       "  --version         print the version\n";
}

static int set_log_level(struct options *o, const char *word, struct merr *err)
{
	int level = log_level_parse(word);

	if (level < 0)
		return merr_set(
			err, -EINVAL,
			"option '--log-level' expects a level from 'emerg' to 'debug', not '%s'",
			word);
	o->log_level = level;
	return 0;
}

static int add_listen(struct options *o, const char *uri, struct merr *err)
{
	if (o->n_listen == OPTIONS_LISTEN_MAX)
		return merr_set(err, -EINVAL, "option '--listen' can be given %d times", OPTIONS_LISTEN_MAX);
	o->listen[o->n_listen++] = uri;
	return 0;
}

static int set_option(struct options *o, int id, const char *value, struct merr *err)
{
	switch (id) {
	case OPT_QMP:
		o->qmp_path = value;
		return 0;
	case OPT_ATTACH:
		o->attach_path = value;
		return 0;
	case OPT_STATE_DIR:
		o->state_dir = value;
		return 0;
	case OPT_LISTEN:
		return add_listen(o, value, err);
	case OPT_LOG_LEVEL:
		return set_log_level(o, value, err);
	case OPT_ALLOW_EXEC:
		o->allow_exec = true;
		return 0;
	case OPT_FOREGROUND:
		o->foreground = true;
		return 0;
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_VERSION:
		o->version = true;
		return 0;
	default:
		return -EINVAL;
	}
}

static int check(const struct options *o, struct merr *err)
{
	if (o->help || o->version)
		return 0;
	if (!o->qmp_path || !o->qmp_path[0])
		return merr_set(err, -EINVAL,
				"option '--qmp PATH' is missing: where the control plane connects");
	if (!o->attach_path || !o->attach_path[0])
		return merr_set(err, -EINVAL,
				"option '--attach PATH' is missing: where VMMs connect");
	if (strcmp(o->qmp_path, o->attach_path) == 0)
		return merr_set(err, -EINVAL,
				"'--qmp' and '--attach' need different paths, both are '%s'",
				o->qmp_path);
	if (!o->state_dir[0])
		return merr_set(err, -EINVAL, "option '--state-dir' expects a directory");
	return 0;
}

int options_parse(int argc, char *argv[], struct options *ret, struct merr *err)
{
	struct options o = { .state_dir = STATE_DIR_DEFAULT, .log_level = LOG_INFO };
	int id, r;

	optind = 0; /* glibc: start anew, also when called again */
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == ':')
			return merr_set(err, -EINVAL, "option '%s' needs a value",
					argv[optind - 1]);
		if (id == '?')
			return merr_set(err, -EINVAL, "unknown option '%s'; see --help",
					argv[optind - 1]);
		r = set_option(&o, id, optarg, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return merr_set(err, -EINVAL, "unexpected argument '%s'; see --help", argv[optind]);
	r = check(&o, err);
	if (r < 0)
		return r;
	*ret = o;
	return 0;
}
