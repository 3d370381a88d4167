/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that start, follow and end a migration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/preflight.h"
#include "ctl/progress.h"

/* The daemon knows which strategies there are. */
static int add_options(json_t *args, const struct ctl *ctl, struct merr *err)
{
	int r = ctl->priority ? ctl_add_number(args, "priority", ctl->priority, err) : CTL_OK;

	if (r == CTL_OK && ctl->deadline)
		r = ctl_add_number(args, "deadline", ctl->deadline, err);
	if (ctl->strategy)
		json_object_set_new(args, "strategy", json_string(ctl->strategy));
	return r;
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
	if (ctl->options & CTL_OPT_PREFLIGHT) {
		json_object_set_new(args, "preflight", json_string("only"));
		r = ctl_execute(ctl, "migrate", args, NULL, err);
		return r == CTL_OK ? preflight_follow(ctl, err) : r;
	}
	if (ctl->options & CTL_OPT_DETACH)
		return ctl_do(ctl, "migrate", args, err);
	r = ctl_execute(ctl, "migrate", args, NULL, err);
	return r == CTL_OK ? progress_follow(ctl, err) : r;
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

static void print_address(const json_t *a)
{
	const char *type = ctl_str(a, "type", "");
	const char *host = ctl_str(a, "host", "");
	const char *colon = strchr(host, ':');

	if (strcmp(type, "vsock") == 0)
		printf("listening on vsock:%s:%s\n", ctl_str(a, "cid", ""), ctl_str(a, "port", ""));
	else if (strcmp(type, "unix") == 0)
		printf("listening on unix%s:%s\n",
		       !json_is_true(json_object_get(a, "abstract")) ? ""
		       : json_is_false(json_object_get(a, "tight"))  ? "-abstract-padded"
								     : "-abstract",
		       ctl_str(a, "path", ""));
	else
		printf("listening on tcp:%s%s%s:%s\n", colon ? "[" : "", host, colon ? "]" : "",
		       ctl_str(a, "port", ""));
}

static int incoming_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *info = NULL;
	json_t *args = ctl_guest_args(ctl);
	size_t i;
	json_t *address;
	int r;

	json_object_set_new(args, "uri", json_string(ctl->args[0]));
	json_object_set_new(args, "exit-on-error", json_false());
	if (ctl->options & CTL_OPT_LAZY)
		json_object_set_new(args, "lazy", json_true());
	r = ctl_execute(ctl, "migrate-incoming", args, NULL, err);
	if (r == CTL_OK)
		r = ctl_query(ctl, "query-migrate", &info, err);
	if (r != CTL_OK)
		return r;
	if (!ctl->json) {
		json_array_foreach(json_object_get(info, "socket-address"), i, address)
			print_address(address);
	} else if (!(ctl->options & CTL_OPT_WAIT)) {
		ctl_print_json(info);
	}
	return ctl->options & CTL_OPT_WAIT ? progress_follow(ctl, err) : CTL_OK;
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
	return progress_follow(ctl, err);
}

static int cancel_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migrate_cancel", ctl_guest_args(ctl), err);
}

static int postcopy_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "migrate-start-postcopy", ctl_guest_args(ctl), err);
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

	if (!(ctl->options & CTL_OPT_FENCED)) {
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
	{ "migrate", "URI", 1, 1,
	  CTL_OPT_DETACH | CTL_OPT_PREFLIGHT | CTL_OPT_PRIORITY | CTL_OPT_STRATEGY | CTL_OPT_DEADLINE, false,
	  "migrate the guest to tcp:HOST:PORT, unix:PATH, vsock:CID:PORT or file:PATH, and wait for the end", migrate_run },
	{ "incoming", "URI", 1, 1, CTL_OPT_WAIT | CTL_OPT_LAZY, false,
	  "wait for a guest at tcp:HOST:PORT (port 0: any), unix:PATH or vsock:CID:PORT, or read it from file:PATH", incoming_run },
	{ "snapshot", "file:PATH", 1, 1, 0, false,
	  "save the guest as it is now, while it runs on, and wait for the end", snapshot_run },
	{ "status", "", 0, 0, 0, false, "what the guest does, and where its migration stands", status_run },
	{ "watch", "", 0, 0, 0, false, "follow the migration until it ends", watch_run },
	{ "cancel", "", 0, 0, 0, false, "cancel the migration; the guest runs on here", cancel_run },
	{ "postcopy", "", 0, 0, 0, false,
	  "switch the migration to post-copy: the guest goes on there, and its memory follows", postcopy_run },
	{ "pause", "", 0, 0, 0, false, "post-copy: give the connection up, and wait for recover and resume", pause_run },
	{ "recover", "URI", 1, 1, 0, false, "post-copy is paused, on the destination: listen there for the source", recover_run },
	{ "resume", "URI", 1, 1, 0, false, "post-copy is paused, on the source: go on over a new connection", resume_run },
	{ "priority", "N", 1, 1, 0, false, "change the priority of a migration that runs or waits: from -8 to 8",
	  priority_run },
	{ "resolve", "run|discard", 1, 1, CTL_OPT_FENCED, false,
	  "decide about a guest in doubt: run it here, or never again", resolve_run },
	{ 0 },
};
