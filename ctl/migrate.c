/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that start, follow and end a migration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/address.h"
#include "ctl/ctl.h"
#include "ctl/preflight.h"
#include "ctl/progress.h"
#include "ctl/spec.h"

/* The daemon knows which strategies there are. */
static int add_options(json_t *args, const struct ctl *ctl, struct merr *err)
{
	int r = ctl_has(ctl, CTL_OPT_PRIORITY) ? ctl_add_number(args, "priority", ctl_value(ctl, CTL_OPT_PRIORITY), err) : CTL_OK;

	if (r == CTL_OK && ctl_has(ctl, CTL_OPT_DEADLINE))
		r = ctl_add_number(args, "deadline", ctl_value(ctl, CTL_OPT_DEADLINE), err);
	if (ctl_has(ctl, CTL_OPT_START_REMOTE))
		json_object_set_new(args, "start-remote", json_true());
	if (ctl_has(ctl, CTL_OPT_ALLOW_WEAK_HANDOVER))
		json_object_set_new(args, "allow-weak-handover", json_true());
	if (ctl_has(ctl, CTL_OPT_STRATEGY))
		json_object_set_new(args, "strategy", json_string(ctl_value(ctl, CTL_OPT_STRATEGY)));
	return r;
}

static int preflight_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);
	int r;

	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	json_object_set_new(args, "preflight", json_string("only"));
	r = ctl_execute(ctl, "migrate", args, NULL, err);
	return r == CTL_OK ? preflight_follow(ctl, err) : r;
}

static int migrate_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);
	int r = add_options(args, ctl, err);

	if (r != CTL_OK) {
		json_decref(args);
		return r;
	}
	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	if (ctl_has(ctl, CTL_OPT_PREFLIGHT)) {
		json_decref(args);
		return preflight_run(ctl, err);
	}
	if (ctl_has(ctl, CTL_OPT_DETACH))
		return ctl_do(ctl, "migrate", args, err);
	r = ctl_execute(ctl, "migrate", args, NULL, err);
	return r == CTL_OK ? progress_follow(ctl, false, err) : r;
}

#define SNAPSHOT "background-snapshot"

static int switch_snapshots(struct ctl *ctl, bool on, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);

	json_object_set_new(args, "capabilities", json_pack("[{s:s, s:b}]", "capability", SNAPSHOT, "state", on));
	return ctl_execute(ctl, "migrate-set-capabilities", args, NULL, err);
}

/* CTL_OK and *ret: whether the capability is on. */
static int snapshots_are_on(struct ctl *ctl, bool *ret, struct merr *err)
{
	_cleanup_json_ json_t *all = NULL;
	int r = ctl_query(ctl, "query-migrate-capabilities", &all, err);
	json_t *c;
	size_t i;

	*ret = false;
	json_array_foreach(all, i, c)
		if (strcmp(ctl_str(c, "capability", ""), SNAPSHOT) == 0)
			*ret = ctl_bool(c, "state");
	return r;
}

/* A migration to a file with the capability, which is on for so long only. */
static int snapshot_run(struct ctl *ctl, struct merr *err)
{
	struct merr ignored = MERR_INIT;
	bool was_on;
	int r = snapshots_are_on(ctl, &was_on, err);

	if (r == CTL_OK && !was_on)
		r = switch_snapshots(ctl, true, err);
	if (r != CTL_OK)
		return r;
	r = migrate_run(ctl, err);
	if (!was_on && switch_snapshots(ctl, false, r == CTL_OK ? err : &ignored) != CTL_OK)
		return CTL_FAILED;
	return r;
}

static int incoming_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *info = NULL;
	json_t *args = ctl_guest_args(ctl);
	size_t i;
	json_t *address;
	char text[256];
	int r;

	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	json_object_set_new(args, "exit-on-error", json_false());
	if (ctl_has(ctl, CTL_OPT_LAZY))
		json_object_set_new(args, "lazy", json_true());
	r = ctl_execute(ctl, "migrate-incoming", args, NULL, err);
	if (r == CTL_OK)
		r = ctl_query(ctl, "query-migrate", &info, err);
	if (r != CTL_OK)
		return r;
	if (!ctl->json) {
		json_array_foreach(json_object_get(info, "socket-address"), i, address)
			printf("listening on %s\n", address_text(address, text, sizeof(text)));
	} else if (!ctl_has(ctl, CTL_OPT_WAIT)) {
		ctl_print_json(info);
	}
	return ctl_has(ctl, CTL_OPT_WAIT) ? progress_follow(ctl, false, err) : CTL_OK;
}

static void print_handover(const json_t *info)
{
	char peer[128];

	if (!json_object_get(info, "handover"))
		return;
	printf("handover:  %s, id %s, peer %s%s\n", ctl_str(info, "handover.state", "?"),
	       ctl_str(info, "handover.id", "?"),
	       ctl_clean(ctl_str(info, "handover.peer", "?"), peer, sizeof(peer)),
	       ctl_bool(info, "handover.in-doubt") ? ", IN DOUBT (see migctl resolve)" : "");
}

/* The last one says what is going on. */
static void print_decision(const json_t *info)
{
	const json_t *list = json_object_get(info, "decisions");
	const json_t *last = json_array_get(list, json_array_size(list) - 1);
	char reason[256];

	if (last)
		printf("decided:   %s: %s\n", ctl_str(last, "decision", "?"),
		       ctl_clean(ctl_str(last, "reason", "?"), reason, sizeof(reason)));
}

static int status_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *state = NULL, *info = NULL;
	char line[512];
	int r = ctl_query(ctl, "query-status", &state, err);

	if (r == CTL_OK)
		r = ctl_query(ctl, "query-migrate", &info, err);
	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		_cleanup_json_ json_t *both = json_pack("{s:O, s:O}", "status", state, "migration", info);

		ctl_print_json(both);
		return CTL_OK;
	}
	printf("guest:     %s\n", ctl_str(state, "status", "?"));
	printf("migration: %s\n", progress_line(info, 0, line, sizeof(line)));
	print_handover(info);
	print_decision(info);
	preflight_print_line(info);
	if (ctl_str(info, "error-desc", NULL))
		printf("error:     %s\n", ctl_clean(ctl_str(info, "error-desc", ""), line, sizeof(line)));
	return CTL_OK;
}

static int watch_run(struct ctl *ctl, struct merr *err)
{
	return progress_follow(ctl, true, err);
}

static int cancel_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migrate_cancel", ctl_guest_args(ctl), err);
}

static int postcopy_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migrate-start-postcopy", ctl_guest_args(ctl), err);
}

static int switchover_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);

	json_object_set_new(args, "state", json_string("pre-switchover"));
	return ctl_do(ctl, "migrate-continue", args, err);
}

/* The parameters announce-* are what the daemon itself would do. */
static int announce_run(struct ctl *ctl, struct merr *err)
{
	static const char *const settings[] = { "initial", "max", "rounds", "step" };
	_cleanup_json_ json_t *parameters = NULL, *args = ctl_guest_args(ctl);
	int r = spec_add_all(args, spec_arguments(ctl->command->settings), "announce", ctl->args, ctl->n_args, err);
	char name[32];

	if (r == CTL_OK)
		r = ctl_query(ctl, "query-migrate-parameters", &parameters, err);
	if (r != CTL_OK)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		(void)snprintf(name, sizeof(name), "announce-%s", settings[i]);
		if (!json_object_get(args, settings[i]))
			json_object_set(args, settings[i], json_object_get(parameters, name));
	}
	return ctl_do(ctl, "announce-self", json_incref(args), err);
}

static int yank_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);

	json_object_set_new(args, "instances", json_pack("[{s:s}]", "type", "migration"));
	return ctl_do(ctl, "yank", args, err);
}

static int pause_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migrate-pause", ctl_guest_args(ctl), err);
}

static int recover_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);

	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	return ctl_do(ctl, "migrate-recover", args, err);
}

static int resume_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);

	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	json_object_set_new(args, "resume", json_true());
	return ctl_do(ctl, "migrate", args, err);
}

static int priority_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = ctl_guest_args(ctl);
	int r = ctl_add_number(args, "priority", ctl->args[0], err);

	if (r == CTL_OK)
		return ctl_do(ctl, "migrate-set-priority", args, err);
	json_decref(args);
	return r;
}

static int resolve_run(struct ctl *ctl, struct merr *err)
{
	json_t *args;

	if (!ctl_has(ctl, CTL_OPT_FENCED)) {
		merr_set(err, -EINVAL,
			 "resolve: make sure that the other side cannot run the guest (or, for 'discard', that "
			 "it does), then say so with --fenced");
		return CTL_USAGE;
	}
	args = ctl_guest_args(ctl);
	json_object_set_new(args, "outcome", json_string(ctl->args[0]));
	json_object_set_new(args, "fenced", json_true());
	return ctl_do(ctl, "migrate-resolve", args, err);
}

const struct ctl_command ctl_migrate_commands[] = {
	{ .name = "migrate",
	  .args = "URI",
	  .help = "migrate the guest away, and wait for the end",
	  .text = "To where another migd waits (`migctl incoming`), or to a file. On a terminal one line shows the phase, the pass over "
		  "memory, how much is done and left, the rate at which the guest dirties memory, the bandwidth, the blackout to be "
		  "expected if the guest were stopped now, and the time it will take; elsewhere a plain line is printed at each change "
		  "and every five seconds. Ending migctl does not end the migration.\n"
		  "With `--preflight` nothing is migrated: the two sides are compared, and everything that has to be changed first is "
		  "printed as a table. With `--priority` it has its turn before others of this host, and a larger share of the host's "
		  "bandwidth; each step doubles it. `--strategy` is `precopy` (by default), `postcopy` (one pass, then post-copy) or "
		  "`auto` (whatever gets it done: throttling if auto-converge is on, else post-copy if postcopy-ram is). With "
		  "`--deadline`, `auto` goes to post-copy in time for it; otherwise the migration fails when the time has passed, and "
		  "the guest stays. With `--start-remote` the guest is announced at a shared port of the other host, whose migd starts a "
		  "VMM for it, or has one that waits. `--allow-weak-handover` sends a running guest into a pipe or a command, where "
		  "nobody can say whether it arrived: if that fails there, it is lost.",
	  .trouble = "Connection refused: nobody waits there: `migctl incoming` on the other host first.\n"
		     "It does not get done: what the guest dirties outruns the bandwidth: raise max-bandwidth or downtime-limit, or use "
		     "--strategy auto with auto-converge or postcopy-ram.\n"
		     "In doubt: the other side cannot be reached at the last step: `migctl help resolve`.\n"
		     "docs/errors-and-limits.md lists more.",
	  .examples = "# to another host\nmigctl -g web1 migrate tcp:host-b:4444\n# only see whether it fits there\n"
		      "migctl -g web1 migrate --preflight tcp:host-b:4444\n# to a host where nothing was prepared\nmigctl -g web1 migrate --start-remote tcp:host-b:4450\n"
		      "# whatever it takes, within a minute\n"
		      "migctl -g web1 migrate --strategy auto --deadline 60000 tcp:host-b:4444",
	  .related = "incoming watch cancel set postcopy resolve",
	  .options = CTL_TAKES(CTL_OPT_DETACH) | CTL_TAKES(CTL_OPT_PREFLIGHT) | CTL_TAKES(CTL_OPT_PRIORITY) |
		     CTL_TAKES(CTL_OPT_STRATEGY) | CTL_TAKES(CTL_OPT_DEADLINE) | CTL_TAKES(CTL_OPT_START_REMOTE) |
		     CTL_TAKES(CTL_OPT_ALLOW_WEAK_HANDOVER),
	  .waits = true,
	  .run = migrate_run },
	{ .name = "preflight",
	  .args = "URI",
	  .help = "would the guest fit the destination? Lists every mismatch, and moves nothing",
	  .text = "As `migctl migrate --preflight`. The destination goes on waiting. With --json it is query-migrate's `preflight`.",
	  .trouble = "The guest does not fit: the table says what to change, and where.\n"
		     "The two sides could not be compared: the destination cannot be reached, or is no migd; the text says which.",
	  .examples = "# before a maintenance window\nmigctl -g web1 preflight tcp:host-b:4444",
	  .related = "migrate incoming doctor",
	  .options = CTL_TAKES(CTL_OPT_TIMEOUT),
	  .run = preflight_run },
	{ .name = "incoming",
	  .args = "URI",
	  .help = "have the guest wait for a migration, or read it from a file",
	  .text = "The guest's VMM was started to wait for one (migd-vmm: --incoming). Prints where it listens: with port 0 one that is "
		  "free is taken. With `--wait` the command ends when the guest has arrived, or will not. With `--lazy` a guest from a "
		  "file with mapped-ram runs at once, and its memory is read when it needs it, the rest meanwhile.",
	  .trouble = "Failed to listen: the port or the path is taken: choose another.\n"
		     "It does not wait for a migration: start its VMM as a destination.",
	  .examples = "# at a port that is free\nmigctl -g web1 incoming tcp:0.0.0.0:0\n# at the ports that all guests of the host share\n"
		      "migctl -g web1 incoming shared:\n# back from a file\nmigctl -g web1 incoming --wait file:/var/lib/guests/web1",
	  .related = "migrate watch host",
	  .options = CTL_TAKES(CTL_OPT_WAIT) | CTL_TAKES(CTL_OPT_LAZY),
	  .waits = true,
	  .run = incoming_run },
	{ .name = "snapshot",
	  .args = "URI",
	  .help = "save the guest as it is now, while it runs on, and wait for the end",
	  .text = "To `file:PATH` or a command. The guest stops for milliseconds only, for its state outside memory; `migctl incoming` "
		  "makes a guest of the file again. This is `migctl migrate` with the capability background-snapshot, which is turned "
		  "on for so long. Ending migctl does not end the snapshot, and leaves the capability on.",
	  .trouble = "Background-snapshot is not supported: the kernel is too old, or the VMM gets no userfaultfd: `migctl doctor`.",
	  .examples = "# to a file\nmigctl -g web1 snapshot file:/var/lib/guests/web1.snapshot",
	  .related = "incoming migrate",
	  .waits = true,
	  .run = snapshot_run },
	{ .name = "status",
	  .help = "what the guest does, and where its migration stands",
	  .text = "Also what the migration decided last, whether its handover is in doubt, and why the last one failed.",
	  .examples = "# of the only guest\nmigctl status\n# the bytes left, for a script\n"
		      "migctl --json -g web1 status | jq .migration.ram.remaining",
	  .related = "watch list",
	  .run = status_run },
	{ .name = "watch",
	  .help = "follow the migration until it ends",
	  .text = "As `migctl migrate` does, of a migration that is under way, on either side; the exit status says how it ended. With "
		  "--json there is a line at each change, and one a second.",
	  .trouble = "There is no migration of this guest: nothing was ever started; `migctl list` shows all there are.",
	  .examples = "# until the end\nmigctl -g web1 watch\n# for ten seconds\nmigctl -g web1 watch --timeout 10",
	  .related = "migrate status events",
	  .waits = true,
	  .run = watch_run },
	{ .name = "cancel",
	  .help = "cancel the migration; the guest runs on here",
	  .text = "Within 100 ms. Nothing happens if there is none.",
	  .trouble = "It is too late: the guest was released to the other side, or post-copy runs: wait for the end.",
	  .examples = "# one guest's\nmigctl -g web1 cancel",
	  .related = "migrate watch",
	  .run = cancel_run },
	{ .name = "yank",
	  .help = "shut down the connections of the guest's migration, which may hang",
	  .text = "For a network that is stuck, where `migctl cancel` is not wanted: the migration sees a broken connection at once, and "
		  "does what it does then: it makes another one, fails, or pauses post-copy.",
	  .trouble = "There is nothing to shut down: no migration of this guest runs.",
	  .examples = "# the other host hangs\nmigctl -g web1 yank",
	  .related = "cancel pause status",
	  .run = yank_run },
	{ .name = "switchover",
	  .help = "let a migration go on that waits before its switchover",
	  .text = "With the capability pause-before-switchover a migration stops the guest and waits in the state pre-switchover, for "
		  "disks to be handed over, say. This lets it go on.",
	  .trouble = "It is not in the expected state: `migctl status` says where it stands.",
	  .examples = "# stop there\nmigctl -g web1 set pause-before-switchover=on\nmigctl -g web1 migrate --detach tcp:host-b:4444\n"
		      "# and go on\nmigctl -g web1 switchover",
	  .related = "migrate status set",
	  .run = switchover_run },
	{ .name = "announce",
	  .args = "[SETTING=VALUE]...",
	  .help = "have the guest's VMM announce the guest on its networks",
	  .text = "So that switches and neighbours learn where it is now; the migd that a guest migrated to does this by itself. Settings: "
		  "`initial`, `max`, `step` (milliseconds between rounds: the first time, the most, how much longer each time) and "
		  "`rounds`, by default the parameters announce-*; `interfaces` (names, with commas), by default all; `id` (names a "
		  "timer).",
	  .trouble = "The VMM does not announce: it has no network devices, or does not know how.",
	  .examples = "# once more\nmigctl -g web1 announce\n# ten times, on one interface\n"
		      "migctl -g web1 announce rounds=10 interfaces=net0",
	  .related = "status set",
	  .settings = "announce-self",
	  .run = announce_run },
	{ .name = "priority",
	  .args = "N",
	  .help = "change the priority of a migration that runs or waits: from -8 to 8",
	  .text = "At once: its place in the queue, and its share of the host's max-bandwidth. Write a negative one behind `--`.",
	  .examples = "# let it pass\nmigctl -g web1 priority 8\n# let others pass\nmigctl -g web1 priority -- -3",
	  .related = "list host migrate",
	  .run = priority_run },
	{ .name = "resolve",
	  .args = "run|discard",
	  .help = "decide about a guest in doubt: run it here, or never again",
	  .text = "The guest was released to the other side, and the other side cannot be reached to say whether it runs there. `run` runs "
		  "it here, `discard` makes sure that it never does. `--fenced` says that you made sure of the other side: for `run`, "
		  "that the guest cannot run there (its VMM was killed, or its host is off). Without that, it would run twice.",
	  .trouble = "It is not in doubt: nothing is to be decided; `migctl status` says where it is.",
	  .examples = "# the other host is off\nmigctl -g web1 resolve run --fenced\n# it runs there, and that host cannot be reached from here\n"
		      "migctl -g web1 resolve discard --fenced",
	  .related = "status watch",
	  .options = CTL_TAKES(CTL_OPT_FENCED),
	  .run = resolve_run },
	{ 0 },
};

const struct ctl_command ctl_postcopy_commands[] = {
	{ .name = "postcopy",
	  .help = "switch the migration to post-copy: the guest goes on there, its memory follows",
	  .text = "The guest goes on at the destination at once, and gets its memory while it runs there. Needs the capability "
		  "postcopy-ram on both sides, turned on before `migctl incoming`. If the connection breaks then, both sides find each "
		  "other again by themselves; over another address by `migctl recover` there and `migctl resume` here.",
	  .trouble = "Capability 'postcopy-ram' is off: it can only be turned on before the migration.",
	  .examples = "# of a migration that does not get done\nmigctl -g web1 postcopy",
	  .related = "pause recover resume migrate",
	  .run = postcopy_run },
	{ .name = "pause",
	  .help = "post-copy: give the connection up, and wait for recover and resume",
	  .text = "On either side. The guest runs on at the destination, and waits for pages that it touches and that are not there.",
	  .examples = "# before a network is worked on\nmigctl -g web1 pause",
	  .related = "recover resume postcopy",
	  .run = pause_run },
	{ .name = "recover",
	  .args = "URI",
	  .help = "post-copy is paused, on the destination: listen there for the source",
	  .text = "May be repeated. As long as the old address can be reached, nothing of this is needed.",
	  .examples = "# on the destination\nmigctl -g web1 recover tcp:192.0.2.7:4445",
	  .related = "resume pause postcopy",
	  .run = recover_run },
	{ .name = "resume",
	  .args = "URI",
	  .help = "post-copy is paused, on the source: go on over a new connection",
	  .text = "To where the destination listens, after `migctl recover` there.",
	  .examples = "# on the source\nmigctl -g web1 resume tcp:192.0.2.7:4445",
	  .related = "recover pause postcopy",
	  .run = resume_run },
	{ 0 },
};
