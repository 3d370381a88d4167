/* SPDX-License-Identifier: Apache-2.0 */
/* query-migrate's numbers of post-copy. */
#ifndef MIGD_DAEMON_POSTCOPY_INFO_H
#define MIGD_DAEMON_POSTCOPY_INFO_H

struct migration;
struct migration_info;

/* Fill RET's, if there are any: what M's worker counts. -ENOMEM. */
int postcopy_info(const struct migration *m, struct migration_info *ret);

#endif
