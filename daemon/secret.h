/* SPDX-License-Identifier: Apache-2.0 */
/* Objects `secret`: passwords of keys. */
#ifndef MIGD_DAEMON_SECRET_H
#define MIGD_DAEMON_SECRET_H

#include <stddef.h>

#include "base/err.h"
#include "daemon/cred-file.h"
#include "schema/types.h"

struct secret {
	char *bytes; /* ends with a NUL that `len` does not count */
	size_t len;
};

/* The secret that P says; its file is added to FILES. -EINVAL, -ENOENT, ... with ERR, in which nothing of it is. */
int secret_load(const struct secret_properties *p, struct cred_files *files, struct secret **ret, struct merr *err);
/* Overwritten first. NULL is fine; returns NULL. */
struct secret *secret_free(struct secret *s);

#endif
