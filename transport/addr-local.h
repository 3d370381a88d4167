/* SPDX-License-Identifier: Apache-2.0 */
/* The URI forms of streams that stay on this host: descriptors, commands, files (QMP.md 6.2). For
 * addr.c. */
#ifndef MIGD_TRANSPORT_ADDR_LOCAL_H
#define MIGD_TRANSPORT_ADDR_LOCAL_H

#include "transport/addr.h"

/* REST is what follows "fd:", "exec:" and "file:". A's type is set; -EINVAL with ERR. */
int addr_parse_fd(const char *rest, struct addr *a, struct merr *err);
int addr_parse_exec(const char *rest, struct addr *a, struct merr *err);
int addr_parse_file(const char *rest, struct addr *a, struct merr *err);

void addr_format_local(const struct addr *a, char *buf, size_t len);

#endif
