/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMP, the human monitor's commands, for human-monitor-command (QMP.md 7): lines of text that operators and their scripts know
 * from QEMU.
 *
 * Nothing is done here. Each row of hmp_commands[] says which words its command takes, and which QMP command it becomes; that
 * one is run through the ordinary dispatch, and its answer is printed as text. So whatever QMP checks, refuses and says holds
 * here, too. The text is for people: it is not QEMU's, and may change; QMP is for programs.
 */
#ifndef MIGD_DAEMON_HMP_H
#define MIGD_DAEMON_HMP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* A command line, and words of one; more are refused. */
#define HMP_MAX_LINE  4096U
#define HMP_MAX_WORDS 64U

enum hmp_kind {
	HMP_WORD = 1,
	HMP_INT,	/* decimal */
	HMP_BOOL,	/* on, off */
};

struct hmp_arg {
	const char *name;	/* of the member it becomes; in capitals in the help */
	enum hmp_kind kind;
	bool optional;
};

struct hmp_flag {
	char letter;
	const char *name;	/* of the member that becomes true */
};

struct hmp_command {
	const char *name;	/* "migrate", "info migrate" */
	const char *alias;	/* or NULL */
	const char *help;
	struct hmp_flag flags[2];
	struct hmp_arg args[2];
	const char *absent;	/* the command is not there: why, and what there is instead */
	const char *qmp;	/* the command it becomes; NULL: print() is all there is to do */
	const char *first;	/* a QMP query that fill() wants the answer of; or NULL */
	/*
	 * Make the QMP command's of ARGUMENTS, which has the members of flags and args; FIRST is what `first` returned. NULL:
	 * nothing is to be done. -EINVAL, -ENOMEM with ERR.
	 */
	int (*fill)(json_t *arguments, const json_t *first, struct merr *err);
	/* Print VALUE, which the QMP command returned; WORDS has the members of flags and args. NULL: there is nothing to say. */
	void (*print)(struct buf *out, const json_t *words, const json_t *value);
};
/* Ended by a row without a name. */
extern const struct hmp_command hmp_commands[];

/* hmp-words.c: the words of TEXT: an array of strings. -EINVAL, -ENOMEM with ERR. */
int hmp_split(const char *text, json_t **ret, struct merr *err);

/* hmp-parse.c: find LINE's command, and its words; NULL: LINE is empty. -EINVAL, -ENOMEM with ERR. */
int hmp_parse(const char *line, const struct hmp_command **ret, json_t **ret_words, struct merr *err);

/* hmp-print.c: how a command is called: "migrate [-d] [-r] URI". */
void hmp_print_usage(struct buf *out, const struct hmp_command *command);
void hmp_print_help(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_info_help(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_status(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_name(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_uuid(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_version(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_capabilities(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_parameters(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_dirty_rate(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_dirty_limit(struct buf *out, const json_t *words, const json_t *value);
void hmp_print_detached(struct buf *out, const json_t *words, const json_t *value);
/* A value as people write it: on and off, text without quotes, two decimals; others as in JSON. */
void hmp_print_value(struct buf *out, const json_t *value);

/* hmp-migration.c */
void hmp_print_migration(struct buf *out, const json_t *words, const json_t *value);

/* hmp-fill.c */
int hmp_fill_nothing(json_t *arguments, const json_t *first, struct merr *err);
int hmp_fill_incoming(json_t *arguments, const json_t *first, struct merr *err);
int hmp_fill_capability(json_t *arguments, const json_t *first, struct merr *err);
int hmp_fill_parameter(json_t *arguments, const json_t *first, struct merr *err);
int hmp_fill_dirty_rate(json_t *arguments, const json_t *first, struct merr *err);
int hmp_fill_announce(json_t *arguments, const json_t *first, struct merr *err);

#endif
