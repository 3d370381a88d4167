/* SPDX-License-Identifier: Apache-2.0 */
/* The HMP commands. */
#include <stddef.h>

#include "daemon/hmp.h"

#define NO_DISKS "migd has no disks to keep snapshots in: save the guest by 'migrate file:PATH'"

#define MUST(name, kind) { name, kind, false }
#define MAY(name, kind)  { name, kind, true }

const struct hmp_command hmp_commands[] = {
	{ .name = "help", .alias = "?", .help = "what there is, or how one command is called",
	  .args = { MAY("command", HMP_WORD), MAY("topic", HMP_WORD) },
	  .print = hmp_print_help },

	{ .name = "info status", .help = "whether the guest runs",
	  .qmp = "query-status", .print = hmp_print_status },
	{ .name = "info name", .help = "the guest's name", .qmp = "query-name", .print = hmp_print_name },
	{ .name = "info uuid", .help = "the guest's UUID", .qmp = "query-uuid", .print = hmp_print_uuid },
	{ .name = "info version", .help = "what runs here", .qmp = "query-version", .print = hmp_print_version },
	{ .name = "info migrate", .help = "where the migration stands; -a: everything that is known",
	  .flags = { { 'a', "all" } },
	  .qmp = "query-migrate", .fill = hmp_fill_nothing, .print = hmp_print_migration },
	{ .name = "info migrate_capabilities", .help = "which capabilities are on",
	  .qmp = "query-migrate-capabilities", .print = hmp_print_capabilities },
	{ .name = "info migrate_parameters", .help = "the migration parameters",
	  .qmp = "query-migrate-parameters", .print = hmp_print_parameters },
	{ .name = "info dirty_rate", .help = "what calc_dirty_rate found",
	  .qmp = "query-dirty-rate", .print = hmp_print_dirty_rate },
	{ .name = "info vcpu_dirty_limit", .help = "the vCPUs' dirty limits",
	  .qmp = "query-vcpu-dirty-limit", .print = hmp_print_dirty_limit },

	{ .name = "migrate", .help = "migrate to URI; -d: do not wait (it never waits here); -r: go on with a paused post-copy",
	  .flags = { { 'd', "detach" }, { 'r', "resume" } }, .args = { MUST("uri", HMP_WORD) },
	  .qmp = "migrate", .print = hmp_print_detached },
	{ .name = "migrate_incoming", .help = "wait at URI for a guest; one that fails may be followed by another VMM's",
	  .args = { MUST("uri", HMP_WORD) },
	  .qmp = "migrate-incoming", .fill = hmp_fill_incoming },
	{ .name = "migrate_cancel", .help = "cancel the migration", .qmp = "migrate_cancel" },
	{ .name = "migrate_continue", .help = "leave STATE (pre-switchover), where it waits",
	  .args = { MUST("state", HMP_WORD) }, .qmp = "migrate-continue" },
	{ .name = "migrate_start_postcopy", .help = "switch to post-copy", .qmp = "migrate-start-postcopy" },
	{ .name = "migrate_pause", .help = "pause a post-copy migration", .qmp = "migrate-pause" },
	{ .name = "migrate_recover", .help = "wait at URI for the source of a paused post-copy",
	  .args = { MUST("uri", HMP_WORD) }, .qmp = "migrate-recover" },
	{ .name = "migrate_set_capability", .help = "turn a capability on or off",
	  .args = { MUST("capability", HMP_WORD), MUST("state", HMP_BOOL) },
	  .qmp = "migrate-set-capabilities", .fill = hmp_fill_capability },
	{ .name = "migrate_set_parameter",
	  .help = "set a parameter; sizes may have a suffix: 64M. max-bandwidth and avail-switchover-bandwidth are in "
		  "MiB/s without one",
	  .args = { MUST("parameter", HMP_WORD), MUST("value", HMP_WORD) },
	  .qmp = "migrate-set-parameters", .fill = hmp_fill_parameter },

	{ .name = "calc_dirty_rate",
	  .help = "measure for CALC-TIME seconds how much the guest dirties; -r: by the dirty ring, -b: by the dirty bitmap",
	  .flags = { { 'r', "ring" }, { 'b', "bitmap" } },
	  .args = { MUST("calc-time", HMP_INT), MAY("sample-pages", HMP_INT) },
	  .qmp = "calc-dirty-rate", .fill = hmp_fill_dirty_rate },
	{ .name = "set_vcpu_dirty_limit", .help = "limit, in MiB/s, what a vCPU may dirty; all, if none is named",
	  .args = { MUST("dirty-rate", HMP_INT), MAY("cpu-index", HMP_INT) },
	  .qmp = "set-vcpu-dirty-limit" },
	{ .name = "cancel_vcpu_dirty_limit", .help = "lift the limit of a vCPU; of all, if none is named",
	  .args = { MAY("cpu-index", HMP_INT) }, .qmp = "cancel-vcpu-dirty-limit" },

	{ .name = "announce_self",
	  .help = "announce the guest on INTERFACES (a list with commas; all, if missing), as the announce-* parameters say",
	  .args = { MAY("interfaces", HMP_WORD), MAY("id", HMP_WORD) },
	  .first = "query-migrate-parameters", .qmp = "announce-self", .fill = hmp_fill_announce },

	{ .name = "stop", .alias = "s", .help = "stop the guest", .qmp = "stop" },
	{ .name = "cont", .alias = "c", .help = "let the guest run", .qmp = "cont" },
	{ .name = "system_wakeup", .help = "wake the guest", .qmp = "system_wakeup" },
	{ .name = "quit", .alias = "q", .help = "end the guest's VMM, or migd if there is no guest", .qmp = "quit" },

	/* Behind all that begin with it. */
	{ .name = "info", .help = "what can be asked", .print = hmp_print_info_help },

	{ .name = "savevm", .absent = NO_DISKS },
	{ .name = "loadvm", .absent = NO_DISKS },
	{ .name = "delvm", .absent = NO_DISKS },
	{ .name = "x_colo_lost_heartbeat", .absent = "migd has no continuous replication (COLO)" },
	{ .name = NULL },
};
