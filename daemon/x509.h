/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects tls-creds-x509: PEM files under QEMU's names (schema/object.json), loaded and looked at. A certificate that is
 * going to be refused by every peer is better refused here, where somebody reads why (WIRE.md 10.2).
 */
#ifndef MIGD_DAEMON_X509_H
#define MIGD_DAEMON_X509_H

#include <openssl/x509.h>

#include "base/err.h"
#include "daemon/cred-file.h"
#include "daemon/secret.h"
#include "daemon/tls-creds.h"

/*
 * P's files as credentials; those looked at are added to FILES, also on failure. PASSWORD: of the keys, or NULL. A
 * negative errno with ERR, which names the file and says what to do.
 */
int x509_load(const struct tls_creds_x509_properties *p, const struct secret *password, struct cred_files *files,
	      struct tls_creds **ret, struct merr *err);

/* ---- looking at certificates (daemon/x509-check.c) ---- */

/* RFC 4514's form, the parts in the certificate's order; malloc()ed; NULL: out of memory. */
char *x509_name(const X509_NAME *name);

/* Fill *RET for people. -ENOMEM. */
int x509_describe(X509 *x, enum tls_certificate_role role, struct tls_certificate_info *ret);

/* SHA-256 of X, hex digits. */
int x509_fingerprint(const X509 *x, char ret[TLS_FINGERPRINT_LEN + 1]);

/* X, which came from FILE, can sign certificates, today. -EINVAL with ERR. */
int x509_check_authority(X509 *x, const char *file, struct merr *err);

/*
 * X, which came from FILE with the chain behind it, is one for ENDPOINT, today, and AUTHORITIES signed it; REVOKED may
 * be NULL.
 */
int x509_check_own(X509 *x, STACK_OF(X509) *chain, STACK_OF(X509) *authorities, STACK_OF(X509_CRL) *revoked,
		   enum tls_creds_endpoint endpoint, const char *file, struct merr *err);

#endif
