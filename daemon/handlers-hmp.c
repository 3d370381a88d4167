/* SPDX-License-Identifier: Apache-2.0 */
/* human-monitor-command (QMP.md 2.5): an HMP command becomes QMP commands, and their answer text; daemon/hmp.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "daemon/guest.h"
#include "daemon/hmp.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"
#include "schema/value.h"

/* One that is being carried out. */
struct hmp_run {
	struct qmp_call *call;
	const struct hmp_command *command;
	json_t *words;
	char *guest;	/* what human-monitor-command named; or NULL */
};

static void run_free(struct hmp_run *run)
{
	json_decref(run->words);
	free(run->guest);
	free(run);
}

static void fail_for_memory(struct qmp_call *call)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}

/*
 * The lines of TEXT (freed), ended by CR LF. What a peer or a guest named may be in them: a control character does not get to
 * a person's terminal.
 */
static void answer_text(struct qmp_call *call, struct buf *text)
{
	struct buf lines = { 0 };
	json_t *value = NULL;

	for (size_t i = 0; i < text->len; i++) {
		if (text->data[i] == '\n')
			buf_add_str(&lines, "\r\n");
		else
			buf_u8(&lines, text->data[i] < ' ' || text->data[i] == 0x7F ? '?' : text->data[i]);
	}
	if (!text->error && !lines.error)
		value = json_text(lines.data ? (const char *)lines.data : "", lines.len);
	if (value)
		qmp_return(call, value);
	else
		fail_for_memory(call);
	buf_done(&lines);
	buf_done(text);
}

/* Frees RUN. */
static void answer_error(struct hmp_run *run, const char *text)
{
	struct buf out = { 0 };

	buf_printf(&out, "Error: %s\n", text);
	answer_text(run->call, &out);
	run_free(run);
}

/* What ANSWER returned; NULL after it, an error, became RUN's, which is freed. */
static json_t *returned(struct hmp_run *run, json_t *answer)
{
	json_t *value = json_object_get(answer, "return");
	const char *desc = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));

	if (!value)
		answer_error(run, desc ? desc : "out of memory");
	return value;
}

static void print(struct hmp_run *run, const json_t *value)
{
	struct buf out = { 0 };

	if (run->command->print)
		run->command->print(&out, run->words, value);
	answer_text(run->call, &out);
	run_free(run);
}

static bool is_guest_scoped(const char *name)
{
	for (const struct qmp_command *c = qmp_commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c->guest_scoped;
	return false;
}

/* ARGUMENTS are taken over. */
static void call_qmp(struct hmp_run *run, const char *name, json_t *arguments, qmp_inner_fn fn)
{
	if (!arguments || (run->guest && is_guest_scoped(name) &&
			   json_object_set_new(arguments, "guest", json_string(run->guest)) < 0)) {
		json_decref(arguments);
		answer_error(run, "out of memory");
		return;
	}
	qmp_call_inner(run->call, name, arguments, fn, run);
}

static void on_answer(void *opaque, json_t *answer)
{
	struct hmp_run *run = opaque;
	json_t *value = returned(run, answer);

	if (value)
		print(run, value);
}

static void call_with(struct hmp_run *run, const json_t *first)
{
	json_t *arguments = json_copy(run->words);
	struct merr err = MERR_INIT;

	if (arguments && run->command->fill && run->command->fill(arguments, first, &err) < 0) {
		json_decref(arguments);
		answer_error(run, merr_msg(&err));
		return;
	}
	call_qmp(run, run->command->qmp, arguments, on_answer);
}

static void on_first(void *opaque, json_t *answer)
{
	struct hmp_run *run = opaque;
	json_t *first = returned(run, answer);

	if (first)
		call_with(run, first);
}

static void start(struct hmp_run *run)
{
	const struct hmp_command *c = run->command;

	if (c->absent)
		answer_error(run, c->absent);
	else if (!c->qmp)
		print(run, NULL);
	else if (c->first)
		call_qmp(run, c->first, json_object(), on_first);
	else
		call_with(run, NULL);
}

/*
 * No command here is about the one vCPU that a monitor looks at: it has to be there, that is all. Clients send 0 with everything,
 * which every guest has: of that, no guest is asked for.
 */
static int check_cpu(struct qmp_call *call, const struct human_monitor_command_args *args)
{
	const struct guest *g;
	struct merr err = MERR_INIT;

	if (!args->has_cpu_index || args->cpu_index == 0)
		return 0;
	g = scope_guest(call, args->has_guest, args->guest);
	if (!g)
		return -ENOENT;
	if (args->cpu_index > 0 && args->cpu_index < (int64_t)g->n_vcpus)
		return 0;
	(void)merr_set(&err, -EINVAL, "Parameter 'cpu-index' expects a value between 0 and %" PRIu32, g->n_vcpus - 1);
	qmp_fail(call, &err);
	return -EINVAL;
}

void cmd_human_monitor_command(struct qmp_call *call, const struct human_monitor_command_args *args)
{
	struct merr err = MERR_INIT;
	struct hmp_run *run;
	struct buf nothing = { 0 };

	if (check_cpu(call, args) < 0)
		return;
	run = calloc(1, sizeof(*run));
	if (!run || (args->has_guest && !(run->guest = strdup(args->guest)))) {
		free(run);
		fail_for_memory(call);
		return;
	}
	run->call = call;
	if (hmp_parse(args->command_line, &run->command, &run->words, &err) < 0) {
		answer_error(run, merr_msg(&err));
	} else if (!run->command) {
		answer_text(call, &nothing);
		run_free(run);
	} else {
		start(run);
	}
}
