/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for a whole host. */
#include "daemon/host.h"

#include <errno.h>

#include "daemon/daemon.h"
#include "qmp/server.h"
#include "schema/commands.h"

int host_init(struct daemon *d, struct merr *err)
{
	if (host_parameters_defaults(&d->host) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	return 0;
}

void host_done(struct daemon *d)
{
	host_parameters_done(&d->host);
}

int host_set_parameters(struct daemon *d, const struct host_parameters *changes, struct merr *err)
{
	struct host_parameters merged = { 0 };
	int r = host_parameters_copy(&merged, &d->host);

	if (r == 0)
		r = host_parameters_merge(&merged, changes);
	if (r < 0)
		(void)merr_set(err, r, "out of memory");
	else
		r = host_parameters_check(&merged, err);
	if (r < 0) {
		host_parameters_done(&merged);
		return r;
	}
	host_parameters_done(&d->host);
	d->host = merged;
	return 0;
}

void cmd_host_set_parameters(struct qmp_call *call, const struct host_set_parameters_args *args)
{
	struct merr err = MERR_INIT;

	if (host_set_parameters(qmp_call_opaque(call), &args->data, &err) < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, NULL);
}

void cmd_query_host_parameters(struct qmp_call *call, const struct query_host_parameters_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);

	(void)args;
	qmp_return(call, host_parameters_to_json(&d->host));
}
