/* SPDX-License-Identifier: Apache-2.0 */
/* The URI forms of streams that stay on this host: Unix sockets, descriptors, commands, files (QMP.md 6.2). For addr.c. */
#ifndef MIGD_TRANSPORT_ADDR_LOCAL_H
#define MIGD_TRANSPORT_ADDR_LOCAL_H

#include "transport/addr-text.h"

/* REST is what follows the first colon; it ends with NUL but for Unix sockets. A's type is set; -EINVAL with ERR. */
int addr_parse_unix(struct span rest, struct addr *a, struct merr *err);
int addr_parse_abstract(struct span rest, struct addr *a, struct merr *err);
int addr_parse_abstract_padded(struct span rest, struct addr *a, struct merr *err);
int addr_parse_fd(struct span rest, struct addr *a, struct merr *err);
int addr_parse_exec(struct span rest, struct addr *a, struct merr *err);
int addr_parse_file(struct span rest, struct addr *a, struct merr *err);

void addr_format_local(const struct addr *a, char *buf, size_t len);

#endif
