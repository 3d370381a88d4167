/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of migctl share: the session, the table of commands, and how results are shown. */
#ifndef MIGD_CTL_CTL_H
#define MIGD_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "ctl/options.h"
#include "ctl/status.h"
#include "qmp/client.h"

struct ctl_command;

/* One run of a command. */
struct ctl {
	const struct ctl_command *command;
	const char *socket_path;
	const char *guest;	/* -g; NULL: the daemon's only one */
	bool json;
	const char *given[CTL_N_OPTIONS];	/* the value; "": it has none; NULL: it was not given */
	uint64_t deadline_ns;	/* CLOCK_MONOTONIC; of --timeout; 0: none */
	int n_args;
	char **args;
	struct qmp_client *client;	/* NULL for a command that needs no daemon */
};

/*
 * One row a command; docs/man/migctl.1, the help and completion are made from it. Texts are plain: a newline ends a
 * paragraph, `such quotes` are set in bold type.
 */
struct ctl_command {
	const char *name;
	/*
	 * The arguments, by words: URI one of that kind (ctl/kinds.c says what kinds there are), run|discard one of these, [X]
	 * one that may be missing, and ... at the end any number.
	 */
	const char *args;
	const char *help;	/* one line */
	const char *text;	/* what it does */
	const char *trouble;	/* what can go wrong: `WHAT IS SEEN: what to do', a paragraph each; NULL: nothing of its own */
	const char *examples;	/* lines: # WHAT FOR, then the command */
	const char *related;	/* names of commands, a space between */
	const char *settings;	/* the QMP command whose arguments its SETTING=VALUE are */
	uint64_t options;	/* that it takes besides those of all: CTL_TAKES(), or'ed */
	bool no_guest;		/* -g makes no sense for it */
	bool no_daemon;		/* it connects by itself, if at all */
	bool waits;		/* for a migration: --timeout, and the exit status says how it ended */
	/* An enum ctl_status; if not CTL_OK, with ERR. */
	int (*run)(struct ctl *ctl, struct merr *err);
};

/* What belongs together. Each table is ended by a row without a name; the groups by one without a title. */
struct ctl_group {
	const char *title;
	const struct ctl_command *commands;
};
extern const struct ctl_group ctl_groups[];

extern const struct ctl_command ctl_guest_commands[];
extern const struct ctl_command ctl_migrate_commands[];
extern const struct ctl_command ctl_settings_commands[];
extern const struct ctl_command ctl_host_commands[];
extern const struct ctl_command ctl_configuration_commands[];
extern const struct ctl_command ctl_evacuate_commands[];
extern const struct ctl_command ctl_port_commands[];
extern const struct ctl_command ctl_object_commands[];
extern const struct ctl_command ctl_measure_commands[];
extern const struct ctl_command ctl_history_commands[];
extern const struct ctl_command ctl_raw_commands[];
extern const struct ctl_command ctl_doctor_commands[];
extern const struct ctl_command ctl_postcopy_commands[];
extern const struct ctl_command ctl_shell_commands[];
extern const struct ctl_command ctl_completion_commands[];
extern const struct ctl_command ctl_help_commands[];

/* NULL: there is none of that name. */
const struct ctl_command *ctl_find_command(const char *name);

/*
 * Carry out what a command line says; an enum ctl_status, everything was printed. DEFAULTS (NULL: none): the socket, the guest
 * and whether answers are JSON, where the command line does not say.
 */
int ctl_main(int argc, char **argv, const struct ctl *defaults);

/* Whether an option was given, and its value; NULL: it was not. */
static inline bool ctl_has(const struct ctl *ctl, enum ctl_option option)
{
	return ctl->given[option] != NULL;
}
static inline const char *ctl_value(const struct ctl *ctl, enum ctl_option option)
{
	return ctl->given[option];
}

/* Arguments for a guest-scoped command: an object with "guest" if one was named. NULL: no memory. */
json_t *ctl_guest_args(const struct ctl *ctl);

/*
 * Execute; takes ARGS over (NULL: none). CTL_OK with *RET (may be NULL), or ERR and what became of it: CTL_FAILED,
 * CTL_UNREACHABLE, CTL_NO_GUEST, CTL_NOT_PERMITTED or CTL_TIMED_OUT.
 */
int ctl_execute(struct ctl *ctl, const char *name, json_t *args, json_t **ret, struct merr *err);
/* The same with guest's arguments only. */
int ctl_query(struct ctl *ctl, const char *name, json_t **ret, struct merr *err);
/* The same, and nothing to show but "{}" with --json. */
int ctl_do(struct ctl *ctl, const char *name, json_t *args, struct merr *err);

/* What a failure with ERR, of the client's, means for the exit status. */
int ctl_status_of(const struct merr *err);

/* Whether the time of --timeout is over: then CTL_TIMED_OUT with ERR, else CTL_OK. */
int ctl_check_time(const struct ctl *ctl, struct merr *err);

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

/* The bytes that make standard output's next text so, and as it was; "" where it is no terminal, or NO_COLOR is set. */
enum ctl_colour { CTL_PLAIN, CTL_BOLD, CTL_GREEN, CTL_YELLOW, CTL_RED };
const char *ctl_colour(enum ctl_colour colour);

#define _cleanup_json_ _cleanup_(ctl_json_cleanup)
static inline void ctl_json_cleanup(json_t **j)
{
	json_decref(*j);
}

#endif
