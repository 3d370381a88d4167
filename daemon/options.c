/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line. */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/config.h"

enum option_id {
	OPT_CONFIG = 256,
	OPT_CHECK_CONFIG,
	OPT_PRINT_CONFIG,
	OPT_QMP,
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
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
	{ "print-config", no_argument, NULL, OPT_PRINT_CONFIG },
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

/* The options that are keys of the configuration. */
static const struct {
	int id;
	const char *section, *key;
} keys[] = {
	{ OPT_QMP, "qmp", "socket" },		  { OPT_ATTACH, "attach", "socket" },
	{ OPT_STATE_DIR, "daemon", "state-dir" }, { OPT_LISTEN, "daemon", "listen" },
	{ OPT_LOG_LEVEL, "daemon", "log-level" }, { OPT_ALLOW_EXEC, "daemon", "allow-exec" },
};

const char *options_help(void)
{
	return "Usage: migd [--config FILE] [OPTION]...\n"
	       "Live-migrates the KVM guests of this host.\n"
	       "\n"
	       "  --config FILE     settings, as migd.conf(5) says; no file is read without it.\n"
	       "                    Options below go over what the file says\n"
	       "  --check-config    only say what is wrong with them; exit status 0: nothing\n"
	       "  --print-config    only print all that holds, and where it comes from\n"
	       "  --qmp PATH        Unix socket for the control plane (QMP: JSON)\n"
	       "                    (default /run/migd/qmp)\n"
	       "  --attach PATH     Unix socket where VMMs register their guests\n"
	       "                    (default /run/migd/attach)\n"
	       "  --state-dir DIR   what the next migd needs to take over running migrations;\n"
	       "                    one daemon a directory (default /run/migd)\n"
	       "  --listen URI      a port at which any guest of this host can be received (e.g.\n"
	       "                    tcp:HOST:PORT); can be given several times\n"
	       "  --allow-exec      let QMP clients run commands as migd's user (exec: addresses)\n"
	       "  --log-level L     emerg alert crit err warning notice info debug (default info)\n"
	       "  --foreground      stay in the foreground instead of detaching from the terminal\n"
	       "  --help            print this\n"
	       "  --version         print the version\n";
}

static const char *name_of(int id)
{
	const struct option *o = long_options;

	while (o->val != id)
		o++;
	return o->name;
}

/* --listen again: both. */
static int add_to_listen(struct options *o, struct config_key k, const char *value, struct merr *err)
{
	_cleanup_free_ char *both = NULL;

	if (!o->given.daemon.has_listen)
		return config_set(&o->given, k, value, false, err);
	if (asprintf(&both, "%s %s", o->given.daemon.listen, value) < 0) {
		both = NULL;
		return merr_set(err, -ENOMEM, "out of memory");
	}
	return config_set(&o->given, k, both, false, err);
}

static int set_key(struct options *o, int id, const char *value, struct merr *err)
{
	struct config_key k;
	size_t i = 0;
	int r;

	while (i < ARRAY_SIZE(keys) && keys[i].id != id)
		i++;
	if (i == ARRAY_SIZE(keys))
		return -EINVAL;
	r = config_find_key(keys[i].section, keys[i].key, &k, err);
	if (r == 0)
		r = id == OPT_LISTEN ? add_to_listen(o, k, value, err) : config_set(&o->given, k, value ? value : "yes", false, err);
	return r < 0 ? merr_prefix(err, "option '--%s'", name_of(id)) : 0;
}

static int set_option(struct options *o, int id, const char *value, struct merr *err)
{
	switch (id) {
	case OPT_CONFIG:
		o->config_file = value;
		return 0;
	case OPT_CHECK_CONFIG:
		o->check_config = true;
		return 0;
	case OPT_PRINT_CONFIG:
		o->print_config = true;
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
		return set_key(o, id, value, err);
	}
}

static int parse(int argc, char *argv[], struct options *o, struct merr *err)
{
	int id, r;

	optind = 0; /* glibc: start anew, also when called again */
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (id == ':')
			return merr_set(err, -EINVAL, "option '%s' needs a value", argv[optind - 1]);
		if (id == '?')
			return merr_set(err, -EINVAL, "unknown option '%s'; see --help", argv[optind - 1]);
		r = set_option(o, id, optarg, err);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return merr_set(err, -EINVAL, "unexpected argument '%s'; see --help", argv[optind]);
	return 0;
}

int options_parse(int argc, char *argv[], struct options *ret, struct merr *err)
{
	struct options o = { 0 };
	int r = parse(argc, argv, &o, err);

	if (r < 0)
		options_done(&o);
	*ret = o;
	return r;
}

void options_done(struct options *o)
{
	config_done(&o->given);
	*o = (struct options){ 0 };
}
