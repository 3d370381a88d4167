/* SPDX-License-Identifier: Apache-2.0 */
/* QMP as it is: commands from the command line or standard input, and events as they come. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/spec.h"

/* Send one JSON text as it is, and print the answer as it is. CTL_FAILED without ERR: the answer was an error. */
static int exchange(struct ctl *ctl, const char *text, struct merr *err)
{
	int r = qmp_client_send_raw(ctl->client, text, strlen(text), -1, err);

	if (r == 0)
		r = qmp_client_send_raw(ctl->client, "\n", 1, -1, err);
	while (r == 0) {
		_cleanup_json_ json_t *answer = NULL;

		r = qmp_client_receive(ctl->client, DEADLINE_NONE, &answer, err);
		if (r < 0)
			break;
		ctl_print_json(answer);
		if (!json_object_get(answer, "event"))
			return json_object_get(answer, "error") ? CTL_FAILED : CTL_OK;
	}
	return CTL_FAILED;
}

static int exchange_lines(struct ctl *ctl, struct merr *err)
{
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	int status = CTL_OK;

	while (getline(&line, &cap, stdin) >= 0) {
		line[strcspn(line, "\r\n")] = '\0';
		if (!line[strspn(line, " \t")])
			continue;
		if (exchange(ctl, line, err) != CTL_OK)
			status = CTL_FAILED;
		if (merr_is_set(err))
			break;
		fflush(stdout);
	}
	return status;
}

/* A word that is no JSON object is a command's name. */
static int qmp_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *request = NULL;
	_cleanup_free_ char *text = NULL;
	const json_t *args;

	if (ctl->n_args == 0)
		return exchange_lines(ctl, err);
	if (ctl->args[0][strspn(ctl->args[0], " \t\n")] == '{')
		return exchange(ctl, ctl->args[0], err);
	/* A command that is not about a guest takes none, whatever the shell's is. */
	args = spec_arguments(ctl->args[0]);
	if (args && !spec_member(args, "guest"))
		request = json_pack("{s:s}", "execute", ctl->args[0]);
	else
		request = json_pack("{s:s, s:o}", "execute", ctl->args[0], "arguments", ctl_guest_args(ctl));
	text = json_dumps(request, 0);
	if (!text) {
		merr_set(err, -EINVAL, "qmp: '%s' is neither a JSON object nor a command's name", ctl->args[0]);
		return CTL_USAGE;
	}
	return exchange(ctl, text, err);
}

/* A text of several lines, from elsewhere. */
static void print_lines(const char *text)
{
	char line[1024];

	while (text && *text) {
		size_t len = strcspn(text, "\r\n");
		_cleanup_free_ char *part = strndup(text, len);

		printf("%s\n", ctl_clean(part ? part : "", line, sizeof(line)));
		text += len + strspn(text + len, "\r");
		text += *text == '\n';
	}
}

/* The words are one command again. */
static int hmp_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *text = NULL;
	json_t *args = ctl_guest_args(ctl);
	struct buf line = { 0 };
	int r;

	for (int i = 0; i < ctl->n_args; i++)
		buf_printf(&line, "%s%s", i > 0 ? " " : "", ctl->args[i]);
	json_object_set_new(args, "command-line", json_stringn((const char *)line.data, line.len));
	buf_done(&line);
	r = ctl_execute(ctl, "human-monitor-command", args, &text, err);
	if (r == CTL_OK && ctl->json)
		ctl_print_json(text);
	else if (r == CTL_OK)
		print_lines(json_string_value(text));
	return r;
}

/* Whether an event is one of those that were asked for. */
static bool is_wanted(const struct ctl *ctl, const json_t *event)
{
	const char *guest = ctl_str(event, "guest", ctl_str(event, "data.guest", NULL));

	if (ctl->guest && guest && strcmp(guest, ctl->guest) != 0)
		return false;
	for (int i = 0; i < ctl->n_args; i++)
		if (strcmp(ctl->args[i], ctl_str(event, "event", "")) == 0)
			return true;
	return ctl->n_args == 0;
}

static int events_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *number = json_object();
	int r = ctl_has(ctl, CTL_OPT_COUNT) ? ctl_add_number(number, "count", ctl_value(ctl, CTL_OPT_COUNT), err) : CTL_OK;
	int64_t left = ctl_int(number, "count", INT64_MAX);
	uint64_t deadline_ns = ctl->deadline_ns ? ctl->deadline_ns : DEADLINE_NONE;

	while (r == CTL_OK && left > 0) {
		_cleanup_json_ json_t *event = NULL;

		if (qmp_client_next_event(ctl->client, deadline_ns, &event, err) < 0)
			return ctl_status_of(err);
		if (!is_wanted(ctl, event))
			continue;
		ctl_print_json(event);
		fflush(stdout);
		left--;
	}
	return r;
}

const struct ctl_command ctl_raw_commands[] = {
	{ .name = "qmp",
	  .args = "[JSON|NAME]",
	  .help = "send a QMP command as it is, print the answer as it is",
	  .text = "A word that is no JSON object is the name of a command without arguments (but the guest of -g). Without an "
		  "argument, each line of standard input is a command. Events that come before an answer are printed too. "
		  "docs/qmp-reference.md has all commands.",
	  .examples = "# a command without arguments\nmigctl qmp query-version\n"
		      "# one with arguments\nmigctl qmp '{\"execute\": \"query-migrate\", \"arguments\": {\"guest\": \"web1\"}}'",
	  .related = "events",
	  .run = qmp_run },
	{ .name = "hmp",
	  .args = "COMMAND...",
	  .help = "run a command of QEMU's human monitor, for those who know it",
	  .text = "It becomes the QMP command, and its answer text. `migctl hmp help` lists what there is. The text is for people, and may "
		  "change. Put `--` in front of words that begin with a dash.",
	  .trouble = "Unknown command: migd knows those about migration; migctl has all by verbs of its own.",
	  .examples = "# as QEMU has it\nmigctl -g web1 hmp info migrate\n# with an option\nmigctl -g web1 hmp -- migrate -d tcp:host-b:4444",
	  .related = "qmp status",
	  .run = hmp_run },
	{ .name = "events",
	  .args = "[EVENT]...",
	  .help = "print events as they come",
	  .text = "All, or only those that are named; one JSON object a line, until it is interrupted, `--count` came or `--timeout` is "
		  "over. With -g only those about that guest, and those about none. MIGRATION "
		  "and MIGRATION_PASS come only while the capability `events` is on for the guest.",
	  .examples = "# have the daemon tell about each step of web1's migrations\nmigctl -g web1 set events=on\nmigctl -g web1 events\n# wait for a guest to attach, a minute at most\n"
		      "migctl events --count 1 --timeout 60 GUEST_ATTACHED",
	  .related = "watch qmp",
	  .options = CTL_TAKES(CTL_OPT_COUNT) | CTL_TAKES(CTL_OPT_TIMEOUT),
	  .run = events_run },
	{ 0 },
};
