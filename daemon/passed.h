/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that the service manager passed at the start, each with a name: the sockets of socket units
 * (FileDescriptorName=), and what a former daemon stored (daemon/fdstore.h). sd_listen_fds_with_names(3). Without a service
 * manager there are none.
 */
#ifndef MIGD_DAEMON_PASSED_H
#define MIGD_DAEMON_PASSED_H

#include <stddef.h>

#include "base/err.h"

struct passed;

/* Once, at the start of the process. -ENOMEM with ERR, or what is wrong with the environment. */
int passed_new(struct passed **ret, struct merr *err);
/* What nobody claimed is closed, taken out of the store, and named in the log. Returns NULL. */
struct passed *passed_free(struct passed *p);

/* One with this name, which is the caller's from now on; -ENOENT. There may be several. */
int passed_claim(struct passed *p, const char *name);

/*
 * A listening Unix socket of TYPE (SOCK_STREAM, SOCK_SEQPACKET) with this name. 0 with *RET_FD, which is -1 if there is none;
 * -EINVAL with ERR: it is something else.
 */
int passed_claim_socket(struct passed *p, const char *name, int type, int *ret_fd, struct merr *err);

#endif
