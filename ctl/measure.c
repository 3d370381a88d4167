/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that look deeper: how much a guest dirties, limiting that, and the threads that send. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/spec.h"
#include "ctl/table.h"

#define POLL_NS (50 * NS_PER_MS)

static void print_dirty_rate(const json_t *info)
{
	const json_t *vcpus = json_object_get(info, "vcpu-dirty-rate");
	json_t *v;
	size_t i;

	if (strcmp(ctl_str(info, "status", ""), "measured") != 0) {
		printf("%s\n", ctl_str(info, "status", "?"));
		return;
	}
	printf("%lld MiB/s, by %s, over %lld %ss\n", (long long)ctl_int(info, "dirty-rate", 0), ctl_str(info, "mode", "?"),
	       (long long)ctl_int(info, "calc-time", 0), ctl_str(info, "calc-time-unit", "?"));
	json_array_foreach(vcpus, i, v)
		printf("vCPU %lld: %lld MiB/s\n", (long long)ctl_int(v, "id", 0), (long long)ctl_int(v, "dirty-rate", 0));
}

static int start_measuring(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);
	int r = spec_add_all(args, spec_arguments(ctl->command->settings), "dirty-rate", ctl->args, ctl->n_args, err);

	if (r != CTL_OK) {
		json_decref(args);
		return r;
	}
	if (!json_object_get(args, "calc-time"))
		json_object_set_new(args, "calc-time", json_integer(1));
	return ctl_execute(ctl, "calc-dirty-rate", args, NULL, err);
}

static int dirty_rate_run(struct ctl *ctl, struct merr *err)
{
	const struct timespec wait = { 0, POLL_NS };
	int r = ctl_has(ctl, CTL_OPT_LAST) ? CTL_OK : start_measuring(ctl, err);

	while (r == CTL_OK) {
		_cleanup_json_ json_t *info = NULL;

		r = ctl_query(ctl, "query-dirty-rate", &info, err);
		if (r != CTL_OK)
			break;
		if (ctl_has(ctl, CTL_OPT_LAST) || strcmp(ctl_str(info, "status", ""), "measuring") != 0) {
			if (ctl->json)
				ctl_print_json(info);
			else
				print_dirty_rate(info);
			break;
		}
		r = ctl_check_time(ctl, err);
		(void)nanosleep(&wait, NULL);
	}
	return r;
}

static int show_limits(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *limits = NULL;
	struct table t = { .n_columns = 3 };
	int r = ctl_query(ctl, "query-vcpu-dirty-limit", &limits, err);
	size_t i;
	json_t *l;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(limits);
		return CTL_OK;
	}
	table_add(&t, ">VCPU");
	table_add(&t, ">LIMIT");
	table_add(&t, ">DIRTIES");
	json_array_foreach(limits, i, l) {
		table_add(&t, "%lld", (long long)ctl_int(l, "cpu-index", 0));
		table_add(&t, "%lld MiB/s", (long long)ctl_int(l, "limit-rate", 0));
		table_add(&t, "%lld MiB/s", (long long)ctl_int(l, "current-rate", 0));
	}
	table_print(&t);
	return CTL_OK;
}

static int dirty_limit_run(struct ctl *ctl, struct merr *err)
{
	json_t *args;
	bool off;
	int r = CTL_OK;

	if (ctl->n_args == 0)
		return show_limits(ctl, err);
	args = ctl_guest_args(ctl);
	off = strcmp(ctl->args[0], "off") == 0;
	if (!off)
		r = ctl_add_number(args, "dirty-rate", ctl->args[0], err);
	if (r == CTL_OK && ctl_has(ctl, CTL_OPT_VCPU))
		r = ctl_add_number(args, "cpu-index", ctl_value(ctl, CTL_OPT_VCPU), err);
	if (r == CTL_OK)
		return ctl_do(ctl, off ? "cancel-vcpu-dirty-limit" : "set-vcpu-dirty-limit", args, err);
	json_decref(args);
	return r;
}

static int threads_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *threads = NULL;
	struct table t = { .n_columns = 4 };
	int r = ctl_query(ctl, "query-migrationthreads", &threads, err);
	char sent[32], speed[32];
	size_t i;
	json_t *x;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(threads);
		return CTL_OK;
	}
	table_add(&t, "THREAD");
	table_add(&t, ">ID");
	table_add(&t, ">SENT");
	table_add(&t, ">SPEED");
	json_array_foreach(threads, i, x) {
		bool channel = json_object_get(x, "channel");

		table_add(&t, "%s", ctl_str(x, "name", "?"));
		table_add(&t, "%lld", (long long)ctl_int(x, "thread-id", 0));
		table_add(&t, "%s", channel ? ctl_size(ctl_number(x, "channel.transferred", 0), sent, sizeof(sent)) : "-");
		table_add(&t, "%s%s", channel ? ctl_size(ctl_number(x, "channel.bandwidth", 0), speed, sizeof(speed)) : "-",
			  !channel ? "" : ctl_bool(x, "channel.failed") ? "/s, FAILED" : "/s");
	}
	table_print(&t);
	return CTL_OK;
}

const struct ctl_command ctl_measure_commands[] = {
	{ .name = "dirty-rate",
	  .args = "[SETTING=VALUE]...",
	  .help = "measure how much memory the guest dirties in a second",
	  .text = "For a second, or as long as is said, and waits for the result. What is to be sent by a migration has to outrun it. "
		  "Settings: `calc-time` (how long), `calc-time-unit` (second, millisecond), `mode` (page-sampling, which costs the "
		  "guest nothing; dirty-ring, for each vCPU; dirty-bitmap) and `sample-pages` (of a GiB, for page-sampling). With "
		  "`--last` nothing is measured: the last result is shown.",
	  .trouble = "Mode dirty-ring needs KVM's dirty ring: the VMM has to be started with one (migd-vmm: --dirty-ring).",
	  .examples = "# is a migration over 1 GiB/s going to converge?\nmigctl -g web1 dirty-rate\n# longer\nmigctl -g web1 dirty-rate calc-time=10",
	  .related = "dirty-limit migrate set",
	  .settings = "calc-dirty-rate",
	  .options = CTL_TAKES(CTL_OPT_LAST) | CTL_TAKES(CTL_OPT_TIMEOUT),
	  .run = dirty_rate_run },
	{ .name = "dirty-limit",
	  .args = "[MB/S]",
	  .help = "show or set how much memory each vCPU may dirty in a second",
	  .text = "Without an argument, show the limits there are. `off` lifts them. `--vcpu` is about one vCPU only. A vCPU that dirties "
		  "more sleeps.",
	  .trouble = "A dirty limit needs KVM's dirty ring: the VMM has to be started with one (migd-vmm: --dirty-ring).\n"
		     "A migration with the capability dirty-limit has set the limit: wait until it is over.",
	  .examples = "# 20 MiB/s each\nmigctl -g web1 dirty-limit 20\n# and no more\nmigctl -g web1 dirty-limit off",
	  .related = "dirty-rate migrate",
	  .options = CTL_TAKES(CTL_OPT_VCPU),
	  .run = dirty_limit_run },
	{ .name = "threads",
	  .help = "list the threads that send the guest, and what each channel sent",
	  .text = "Of an outgoing migration that runs; with the capability multifd there are several.",
	  .examples = "# is one channel slower than the others?\nmigctl -g web1 threads",
	  .related = "status watch",
	  .run = threads_run },
	{ 0 },
};
