/* SPDX-License-Identifier: Apache-2.0 */
/* Objects tls-creds-psk: `keys.psk`, a line `USER:HEXKEY` for each key that both sides know (WIRE.md 10.2). */
#ifndef MIGD_DAEMON_PSK_H
#define MIGD_DAEMON_PSK_H

#include "base/err.h"
#include "daemon/cred-file.h"
#include "daemon/tls-creds.h"

/* P's keys as credentials; the file is added to FILES, also on failure. A negative errno with ERR, which holds no key. */
int psk_load(const struct tls_creds_psk_properties *p, struct cred_files *files, struct tls_creds **ret,
	     struct merr *err);

#endif
