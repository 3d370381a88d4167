/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about guests: which there are, attaching and detaching, stopping and starting. */
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/table.h"

static void add_guest(struct table *t, const json_t *g)
{
	char memory[32];

	table_add(t, "%s", ctl_str(g, "name", "?"));
	table_add(t, "%s", ctl_bool(g, "attached") ? ctl_str(g, "run-state", "?") : "(detached)");
	table_add(t, "%lld", (long long)ctl_int(g, "vcpus", 0));
	table_add(t, "%s", ctl_size(ctl_number(g, "memory", 0), memory, sizeof(memory)));
	table_add(t, "%lld", (long long)ctl_int(g, "pid", 0));
	table_add(t, "%s%s%s", ctl_str(g, "role", "?"), ctl_str(g, "handover.state", NULL) ? ", handover " : "",
		  ctl_str(g, "handover.state", ""));
}

static int guests_run(struct ctl *ctl, struct merr *err)
{
	static const char *const titles[] = { "NAME", "STATE", ">VCPUS", ">MEMORY", ">PID", "ROLE" };
	_cleanup_json_ json_t *guests = NULL;
	int r = ctl_execute(ctl, "query-guests", NULL, &guests, err);

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(guests);
		return CTL_OK;
	}
	table_print_list(titles, ARRAY_SIZE(titles), guests, add_guest);
	return CTL_OK;
}

/* One text of an answer. */
static int print_member(struct ctl *ctl, const char *command, const char *member, struct merr *err)
{
	_cleanup_json_ json_t *info = NULL;
	int r = ctl_query(ctl, command, &info, err);
	char text[256];

	if (r == CTL_OK && ctl->json)
		ctl_print_json(info);
	else if (r == CTL_OK)
		printf("%s\n", ctl_clean(ctl_str(info, member, "-"), text, sizeof(text)));
	return r;
}

static int name_run(struct ctl *ctl, struct merr *err)
{
	return print_member(ctl, "query-name", "name", err);
}

static int uuid_run(struct ctl *ctl, struct merr *err)
{
	return print_member(ctl, "query-uuid", "UUID", err);
}

static int wakeup_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "system_wakeup", ctl_guest_args(ctl), err);
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

static int socket_run(struct ctl *ctl, struct merr *err)
{
	const char *command = ctl_has(ctl, CTL_OPT_CLOSE) ? "guest-close-qmp" : "guest-open-qmp";

	return ctl_do(ctl, command, json_pack("{s:s, s:s}", "guest", ctl->args[0], "path", ctl->args[1]), err);
}

const struct ctl_command ctl_guest_commands[] = {
	{ .name = "guests",
	  .help = "list the guests of this daemon",
	  .text = "One line a guest: what it does, how large it is, its VMM's process, and which side of a migration it can be. A guest "
		  "whose VMM is gone or restarting is shown as (detached) as long as there is a record of it.",
	  .examples = "# names only, for a script\nmigctl --json guests | jq -r '.[].name'",
	  .related = "list status attach",
	  .no_guest = true,
	  .run = guests_run },
	{ .name = "attach",
	  .args = "NAME PATH",
	  .help = "attach to a VMM that listens on a Unix socket",
	  .text = "The guest of the VMM that listens on the Unix socket PATH is called NAME from then on. VMMs that connect to the "
		  "daemon's attach socket by themselves need no such command.",
	  .trouble = "The name is taken: choose another, or detach the guest that has it.\n"
		     "Nobody listens on the path: start the VMM (migd-vmm: --attach-listen PATH).",
	  .examples = "# a VMM that was started with --attach-listen\nmigctl attach web1 /run/vmm/web1.sock",
	  .related = "detach guests",
	  .no_guest = true,
	  .run = attach_run },
	{ .name = "detach",
	  .args = "GUEST",
	  .help = "let go of a guest, which goes on as it is",
	  .text = "The daemon forgets the guest and does not let it come back by itself. The guest goes on as it is.",
	  .trouble = "It is being migrated: wait for the end (`migctl watch`) or cancel it first.",
	  .examples = "# before its VMM is handed to another daemon\nmigctl detach web1",
	  .related = "attach guests",
	  .no_guest = true,
	  .run = detach_run },
	{ .name = "stop",
	  .help = "stop the guest's vCPUs",
	  .text = "The guest stands still until `migctl cont`. Nothing happens if it does already. A guest that is migrated while it is "
		  "stopped is stopped at the destination too.",
	  .examples = "# one of several guests\nmigctl -g web1 stop",
	  .related = "cont status",
	  .run = stop_run },
	{ .name = "cont",
	  .help = "start the guest's vCPUs again",
	  .text = "Nothing happens if they run. A guest that waits for an incoming migration will start after it.",
	  .trouble = "Its migration is not finished: wait for the end.\n"
		     "It may run on the other side of a migration: `migctl status` says so; see `migctl help resolve`.",
	  .examples = "# after a stop\nmigctl -g web1 cont",
	  .related = "stop status resolve",
	  .run = cont_run },
	{ .name = "wakeup",
	  .help = "wake a guest that sleeps",
	  .text = "The event WAKEUP tells when it did.",
	  .trouble = "It does not sleep: `migctl status` says what it does. Its VMM cannot wake it: not every one can.",
	  .examples = "# one that suspended itself\nmigctl -g web1 wakeup",
	  .related = "status cont",
	  .run = wakeup_run },
	{ .name = "name",
	  .help = "print the guest's name",
	  .text = "A dash if it has none.",
	  .examples = "# of the only guest\nmigctl name",
	  .related = "uuid guests",
	  .run = name_run },
	{ .name = "uuid",
	  .help = "print the guest's UUID",
	  .text = "All zeros if it has none.",
	  .examples = "# the same on both sides of a migration\nmigctl -g web1 uuid",
	  .related = "name guests",
	  .run = uuid_run },
	{ .name = "guest-socket",
	  .args = "GUEST PATH",
	  .help = "make a QMP socket for one guest, or remove it",
	  .text = "For clients that know QEMU's QMP only: what is said there is about that guest, and its clients get only its events. "
		  "The path is absolute. It is there until `--close`, until the guest's record is gone, or until the daemon ends.",
	  .trouble = "It takes class privileged: the text says how to get that (section [access] of migd.conf).",
	  .examples = "# for a tool that talks to QEMU\nmigctl guest-socket web1 /run/migd/web1.qmp\n# no more\n"
		      "migctl guest-socket --close web1 /run/migd/web1.qmp",
	  .related = "guests qmp",
	  .options = CTL_TAKES(CTL_OPT_CLOSE),
	  .no_guest = true,
	  .run = socket_run },
	{ 0 },
};
