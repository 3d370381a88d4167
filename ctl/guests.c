/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about guests: which there are, attaching and detaching, stopping and starting. */
#include <stdio.h>

#include "ctl/ctl.h"

static void print_guest(const json_t *g)
{
	char name[128], memory[32];
	const char *state = ctl_str(g, "run-state", "?");

	printf("%-20s %-16s %5lld %10s %8lld  %s%s%s\n",
	       ctl_clean(ctl_str(g, "name", "?"), name, sizeof(name)),
	       ctl_bool(g, "attached") ? state : "(detached)", (long long)ctl_int(g, "vcpus", 0),
	       ctl_size(ctl_number(g, "memory", 0), memory, sizeof(memory)),
	       (long long)ctl_int(g, "pid", 0), ctl_str(g, "role", "?"),
	       ctl_str(g, "handover.state", NULL) ? ", handover " : "",
	       ctl_str(g, "handover.state", ""));
}

static int guests_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *guests = NULL;
	int r = ctl_execute(ctl, "query-guests", NULL, &guests, err);
	size_t i;
	json_t *g;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(guests);
		return CTL_OK;
	}
	printf("%-20s %-16s %5s %10s %8s  %s\n", "NAME", "STATE", "VCPUS", "MEMORY", "PID", "ROLE");
	json_array_foreach(guests, i, g)
		print_guest(g);
	return CTL_OK;
}

static int attach_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "guest-attach",
		      json_pack("{s:s, s:s}", "id", ctl->args[0], "path", ctl->args[1]), err);
}

static int detach_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "guest-detach", json_pack("{s:s}", "guest", ctl->args[0]), err);
}

static int stop_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "stop", ctl_guest_args(ctl), err);
}

static int cont_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "cont", ctl_guest_args(ctl), err);
}

const struct ctl_command ctl_guest_commands[] = {
	{ "guests", "", 0, 0, 0, true, "list the guests of this daemon", guests_run },
	{ "attach", "NAME PATH", 2, 2, 0, true, "attach to a VMM that listens on PATH", attach_run },
	{ "detach", "NAME", 1, 1, 0, true, "let go of a guest, which goes on as it is", detach_run },
	{ "stop", "", 0, 0, 0, false, "stop the guest's vCPUs", stop_run },
	{ "cont", "", 0, 0, 0, false, "start them again", cont_run },
	{ 0 },
};
