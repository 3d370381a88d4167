/* SPDX-License-Identifier: Apache-2.0 */
/* Objects authz-simple, authz-list and authz-listfile: which clients' certificates may connect. */
#ifndef MIGD_DAEMON_AUTHZ_H
#define MIGD_DAEMON_AUTHZ_H

#include <stdbool.h>

#include "base/err.h"
#include "daemon/cred-file.h"
#include "schema/types.h"

/* Far more than a host's peers. */
#define AUTHZ_RULES_MAX 65536U

struct authz;

/*
 * The rules that O, of one of the three kinds, says; a file is added to FILES, also on failure. A negative errno with ERR.
 */
int authz_load(const struct object_options *o, struct cred_files *files, struct authz **ret, struct merr *err);
/* NULL is fine; returns NULL. */
struct authz *authz_free(struct authz *a);

/* Whether the certificate with this distinguished name may connect: the first rule that matches says so, or the policy. */
bool authz_allows(const struct authz *a, const char *dn);

#endif
