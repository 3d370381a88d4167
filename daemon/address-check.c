/* SPDX-License-Identifier: Apache-2.0 */
/* Which transport is allowed, and can do what (QMP.md 6.4 and 6.5). In QEMU's order: the first that
 * does not fit is the answer. */
#include <errno.h>

#include "daemon/address.h"
#include "daemon/daemon.h"
#include "daemon/fdset.h"
#include "daemon/guest.h"
#include "qmp/server.h"

static bool has(const struct guest *g, enum migration_capability c)
{
	return g->capabilities[c];
}

/* Several channels to one place: a file has them only where each page has its own place. */
static bool is_multi_channel(const struct guest *g, const struct addr *a)
{
	return addr_is_network(a) || a->type == ADDR_SHARED ||
	       (a->type == ADDR_FILE && has(g, MIGRATION_CAPABILITY_MAPPED_RAM));
}

/* A guest is named by its source, and waits where it is. */
int address_check_direction(const struct addr *a, bool incoming, struct merr *err)
{
	if (incoming && a->to_guest)
		return merr_set(err, -EINVAL,
				"Option 'guest' is for migrate; to wait for a guest at this host's shared ports: "
				"shared:NAME");
	if (!incoming && a->type == ADDR_SHARED)
		return merr_set(err, -EINVAL,
				"'shared' is for migrate-incoming; to migrate to a host's shared port: "
				"tcp:HOST:PORT,guest=NAME");
	return 0;
}

int address_check_access(const struct qmp_call *call, const struct addr *a, struct merr *err)
{
	int64_t id;
	int r;

	if (a->type != ADDR_EXEC && (a->type != ADDR_FILE || fdsets_is_path(a->text, &id)))
		return 0;
	r = qmp_call_may(call, QMP_ACCESS_PRIVILEGED, err);
	if (r < 0)
		(void)merr_prefix(err, "An address of kind '%s:' makes migd %s", a->type == ADDR_EXEC ? "exec" : "file",
				  a->type == ADDR_EXEC ? "run a command" : "open a file by its name");
	return r;
}

int address_check(const struct guest *g, const struct addr *a, struct merr *err)
{
	bool multifd = has(g, MIGRATION_CAPABILITY_MULTIFD);
	bool preempt = has(g, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);

	if (a->type == ADDR_EXEC && !g->daemon->config.daemon.allow_exec)
		return merr_set(
			err, -EPERM,
			"An exec address runs a command as migd's user, which this migd was "
			"not told to allow; start it with --allow-exec");
	if (has(g, MIGRATION_CAPABILITY_MAPPED_RAM) && a->type != ADDR_FILE)
		return merr_set(
			err, -EINVAL,
			"Capability 'mapped-ram' needs a seekable transport: use file:PATH");
	if ((multifd || preempt) && !is_multi_channel(g, a))
		return merr_set(
			err, -EINVAL,
			"Capability '%s' needs a multi-channel transport: use tcp:HOST:PORT, "
			"unix:PATH or vsock:CID:PORT",
			multifd ? "multifd" : "postcopy-preempt");
	if (multifd && g->parameters.direct_io && a->type != ADDR_FILE)
		return merr_set(err, -EINVAL,
				"Parameter 'direct-io' with capability 'multifd' needs extra "
				"descriptors: use file:PATH");
	if (g->parameters.mode == MIG_MODE_CPR_TRANSFER && a->type == ADDR_FILE)
		return merr_set(err, -EINVAL,
				"Mode 'cpr-transfer' needs a streamable transport: use unix:PATH");
	return 0;
}
