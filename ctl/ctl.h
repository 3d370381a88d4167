/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of migctl share: the session, the options, and how results are shown. */
#ifndef MIGD_CTL_CTL_H
#define MIGD_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "qmp/client.h"

/* Exit status of the program. */
enum ctl_status {
	CTL_OK = 0,
	CTL_FAILED = 1,	/* it was refused, or did not work out; stderr says why */
	CTL_USAGE = 2,	/* the command line is wrong */
};

/* Options that only some commands take. */
enum ctl_option {
	CTL_OPT_DETACH = 1 << 0,
	CTL_OPT_WAIT = 1 << 1,
	CTL_OPT_FENCED = 1 << 2,
	CTL_OPT_PREFLIGHT = 1 << 3,
	CTL_OPT_PRIORITY = 1 << 4,
	CTL_OPT_STRATEGY = 1 << 5,
	CTL_OPT_DEADLINE = 1 << 6,
	CTL_OPT_LAZY = 1 << 7,
};

/* One run of migctl. */
struct ctl {
	const char *socket_path;
	const char *guest;	/* -g; NULL: the daemon's only one */
	bool json;
	unsigned int options;	/* enum ctl_option */
	/* Values of options, as given; NULL: it was not. */
	const char *priority;
	const char *strategy;
	const char *deadline;
	int n_args;
	char **args;
	struct qmp_client *client;
};

/* One row a command. */
struct ctl_command {
	const char *name;
	const char *args;	/* for the help text */
	int min_args, max_args;	/* -1: any number */
	unsigned int options;	/* that it takes */
	bool no_guest;		/* -g makes no sense for it */
	const char *help;
	/* An enum ctl_status; if not CTL_OK, with ERR. */
	int (*run)(struct ctl *ctl, struct merr *err);
};

/* The groups, each ended by a row without a name. */
extern const struct ctl_command ctl_guest_commands[];
extern const struct ctl_command ctl_migrate_commands[];
extern const struct ctl_command ctl_settings_commands[];
extern const struct ctl_command ctl_host_commands[];
extern const struct ctl_command ctl_raw_commands[];

/* Arguments for a guest-scoped command: an object with "guest" if one was named. NULL: no memory. */
json_t *ctl_guest_args(const struct ctl *ctl);

/* Execute; takes ARGS over (NULL: none). CTL_OK with *RET (may be NULL), or CTL_FAILED with ERR. */
int ctl_execute(struct ctl *ctl, const char *name, json_t *args, json_t **ret, struct merr *err);
/* The same with guest's arguments only. */
int ctl_query(struct ctl *ctl, const char *name, json_t **ret, struct merr *err);
/* The same, and nothing to show but "{}" with --json. */
int ctl_do(struct ctl *ctl, const char *name, json_t *args, struct merr *err);

/* TEXT, a number, into ARGS as NAME. CTL_OK, or CTL_USAGE with ERR. */
int ctl_add_number(json_t *args, const char *name, const char *text, struct merr *err);

/* Print VALUE in one line. */
void ctl_print_json(const json_t *value);

/* Members by a path such as "ram.total"; the default if it is not there or of another type. */
int64_t ctl_int(const json_t *obj, const char *path, int64_t otherwise);
double ctl_number(const json_t *obj, const char *path, double otherwise);
const char *ctl_str(const json_t *obj, const char *path, const char *otherwise);
bool ctl_bool(const json_t *obj, const char *path);

/* Text that came from elsewhere, without what could steer a terminal. Returns BUF. */
const char *ctl_clean(const char *text, char *buf, size_t len);

/* "1.5 GiB". Returns BUF. */
const char *ctl_size(double bytes, char *buf, size_t len);

#define _cleanup_json_ _cleanup_(ctl_json_cleanup)
static inline void ctl_json_cleanup(json_t **j)
{
	json_decref(*j);
}

#endif
