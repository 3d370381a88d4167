/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials as the daemon tells them (LINK_TLS), and its signatures, in what transport/tls.h takes. No state: who asks the
 * daemon, and how, is engine/credentials.h's in a worker, and engine/herald.c's in a herald.
 */
#ifndef MIGD_ENGINE_TLS_BUNDLE_H
#define MIGD_ENGINE_TLS_BUNDLE_H

#include "base/err.h"
#include "schema/types.h"
#include "transport/tls.h"

typedef int (*tls_sign_fn)(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
			   struct merr *err);
typedef int (*tls_authorize_fn)(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err);

/* One side's credentials of bundle B, whose shared keys are overwritten. AUTHORIZE may be NULL. -errno with ERR. */
int tls_bundle_open(const struct worker_tls *b, bool server, tls_sign_fn sign, tls_authorize_fn authorize, void *opaque,
		    struct tls **ret, struct merr *err);

/*
 * The question for a signature of WHAT, without its serial number. Its strings are WHAT's and *RET_TBS, which the caller
 * frees. -ENOMEM with ERR.
 */
int tls_bundle_question(const struct tls_to_sign *what, struct worker_sign *ret, char **ret_tbs, struct merr *err);

/* The signature that is TEXT in base64. -EBADMSG. */
int tls_bundle_signature(const char *text, uint8_t ret[TLS_SIGNATURE_MAX], size_t *ret_len);

#endif
