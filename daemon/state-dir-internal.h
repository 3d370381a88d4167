/* SPDX-License-Identifier: Apache-2.0 */
/* What the state directory's files share. */
#ifndef MIGD_DAEMON_STATE_DIR_INTERNAL_H
#define MIGD_DAEMON_STATE_DIR_INTERNAL_H

#include "daemon/state-dir.h"

struct state_dir {
	int lock_fd;
	int migrations_fd;
	int settings_fd;
	int workers_fd;
};

#endif
