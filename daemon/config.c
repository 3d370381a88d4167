/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration. */
#include "daemon/config.h"

#include <errno.h>

int config_init(struct config *ret, struct merr *err)
{
	struct config c = { 0 };

	if (config_daemon_defaults(&c.daemon) == 0 && config_qmp_defaults(&c.qmp) == 0 &&
	    config_attach_defaults(&c.attach) == 0 && config_access_defaults(&c.access) == 0 &&
	    host_parameters_defaults(&c.host) == 0 && config_history_defaults(&c.history) == 0 &&
	    config_metrics_defaults(&c.metrics) == 0 && config_arrivals_defaults(&c.arrivals) == 0 &&
	    config_workers_defaults(&c.workers) == 0) {
		*ret = c;
		return 0;
	}
	config_done(&c);
	return merr_set(err, -ENOMEM, "out of memory");
}
