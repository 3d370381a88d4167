/* SPDX-License-Identifier: Apache-2.0 */
/* migctl: the command line of migd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/commands.h"
#include "ctl/help.h"

#define SOCKET_DEFAULT "/run/migd/qmp"
#define TIMEOUT_MAX_S 1e8

static int read_timeout(struct ctl *ctl, struct merr *err)
{
	const char *text = ctl_value(ctl, CTL_OPT_TIMEOUT);
	char *end;
	double seconds;

	if (!text)
		return CTL_OK;
	seconds = strtod(text, &end);
	if (end == text || *end || !(seconds >= 0 && seconds <= TIMEOUT_MAX_S)) {
		merr_set(err, -EINVAL, "--timeout: '%s' is no number of seconds", text);
		return CTL_USAGE;
	}
	ctl->deadline_ns = clock_now_ns() + (uint64_t)(seconds * (double)NS_PER_SEC) + 1;
	return CTL_OK;
}

static int read_command_line(int argc, char **argv, struct ctl *ctl, struct merr *err)
{
	int r = ctl_options_parse(argc, argv, ctl, err);

	if (r != CTL_OK)
		return r;
	if (ctl_has(ctl, CTL_OPT_SOCKET))
		ctl->socket_path = ctl_value(ctl, CTL_OPT_SOCKET);
	if (ctl_has(ctl, CTL_OPT_GUEST))
		ctl->guest = ctl_value(ctl, CTL_OPT_GUEST);
	ctl->json = ctl->json || ctl_has(ctl, CTL_OPT_JSON);
	if (ctl->n_args == 0 && (ctl_has(ctl, CTL_OPT_HELP) || ctl_has(ctl, CTL_OPT_VERSION)))
		return CTL_OK;
	r = commands_choose(ctl, err);
	return r == CTL_OK ? read_timeout(ctl, err) : r;
}

static int connect_to_daemon(struct ctl *ctl, struct merr *err)
{
	int r = qmp_client_connect(ctl->socket_path, &ctl->client, err);

	if (r == -EACCES || r == -EPERM) {
		merr_prefix(err, "the socket's group and mode say who may");
		return CTL_NOT_PERMITTED;
	}
	if (r < 0) {
		merr_prefix(err, "is migd running?");
		return CTL_UNREACHABLE;
	}
	return CTL_OK;
}

static int run(struct ctl *ctl, struct merr *err)
{
	int r = CTL_OK;

	if (ctl_has(ctl, CTL_OPT_HELP)) {
		help_print(ctl->command);
		return CTL_OK;
	}
	if (ctl_has(ctl, CTL_OPT_VERSION)) {
		puts("migctl " MIGD_VERSION);
		return CTL_OK;
	}
	if (!ctl->command->no_daemon)
		r = connect_to_daemon(ctl, err);
	return r == CTL_OK ? ctl->command->run(ctl, err) : r;
}

static void report(const struct ctl *ctl, int status, const struct merr *err)
{
	char text[MERR_MSG_MAX];

	if (ctl->json && status != CTL_USAGE) {
		_cleanup_json_ json_t *j = json_pack("{s:{s:s, s:s, s:i}}", "error", "desc", merr_msg(err), "reason",
						     ctl_status_rows[status].word, "status", status);

		ctl_print_json(j);
	}
	fflush(stdout);
	fprintf(stderr, "migctl: %s", ctl_clean(merr_msg(err), text, sizeof(text)));
	if (status == CTL_USAGE && ctl->command)
		fprintf(stderr, " (migctl help %s)", ctl->command->name);
	else if (status == CTL_USAGE)
		fprintf(stderr, " (migctl --help)");
	fprintf(stderr, "\n");
}

int ctl_main(int argc, char **argv, const struct ctl *defaults)
{
	const char *from_env = getenv("MIGD_SOCKET");
	struct ctl ctl = { .socket_path = from_env && *from_env ? from_env : SOCKET_DEFAULT };
	struct merr err = MERR_INIT;
	int status;

	if (defaults)
		ctl = (struct ctl){ .socket_path = defaults->socket_path, .guest = defaults->guest, .json = defaults->json };
	status = read_command_line(argc, argv, &ctl, &err);
	if (status == CTL_OK)
		status = run(&ctl, &err);
	if (merr_is_set(&err))
		report(&ctl, status, &err);
	qmp_client_free(ctl.client);
	if (fflush(stdout) != 0 && status == CTL_OK)
		status = CTL_FAILED;
	return status;
}

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, NULL);
}
