/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS credentials as they were read from their files. They do not change: what is read later is another one, and whoever
 * began with this one holds it as long as it needs the keys. Only the daemon has private keys.
 */
#ifndef MIGD_DAEMON_TLS_CREDS_H
#define MIGD_DAEMON_TLS_CREDS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "daemon/tls-priority.h"
#include "schema/types.h"

/* QEMU's: the one without a number, and those with 0 to 3. */
#define TLS_IDENTITIES_MAX  5U
#define TLS_FINGERPRINT_LEN 64U /* hex digits of SHA-256 */
#define TLS_PSKS_MAX	    1024U
#define TLS_PSK_USER_MAX    128U /* OpenSSL's limit for TLS 1.2 */
#define TLS_PSK_KEY_MAX	    256U /* bytes; OpenSSL's */

struct tls_identity {
	char *chain; /* PEM: the certificate, then those that signed it */
	X509 *certificate;
	EVP_PKEY *key;
	char fingerprint[TLS_FINGERPRINT_LEN + 1];
};

struct tls_psk {
	char *user;
	char key[2 * TLS_PSK_KEY_MAX + 1]; /* hex */
};

struct tls_creds {
	unsigned int n_refs;
	enum object_type type; /* tls-creds-x509, tls-creds-psk */
	enum tls_creds_endpoint endpoint;
	bool verify_peer;
	bool has_priority;	      /* else: what the library thinks best */
	struct tls_priority priority;

	/* X.509 */
	char *authorities; /* PEM */
	char *revoked;	   /* PEM, or NULL */
	struct tls_identity identities[TLS_IDENTITIES_MAX];
	size_t n_identities;
	struct tls_certificate_info *certificates; /* for people */
	size_t n_certificates;

	/* Pre-shared keys: a client's one, all of a server's. */
	struct tls_psk *psks;
	size_t n_psks;
};

/* The common members of X509 or PSK properties P. */
#define TLS_CREDS_COMMON(p)                                                            \
	(&(const struct tls_creds_properties){ .has_dir = (p)->has_dir,                \
					       .dir = (p)->dir,                        \
					       .has_endpoint = (p)->has_endpoint,      \
					       .endpoint = (p)->endpoint,              \
					       .has_verify_peer = (p)->has_verify_peer, \
					       .verify_peer = (p)->verify_peer,        \
					       .has_priority = (p)->has_priority,      \
					       .priority = (p)->priority })

/* Empty ones with one reference, of what X509 and PSK have in common. -EINVAL: P's priority; -ENOMEM. */
int tls_creds_new(enum object_type type, const struct tls_creds_properties *p, struct tls_creds **ret, struct merr *err);
struct tls_creds *tls_creds_ref(struct tls_creds *c);
/* NULL is fine; returns NULL. */
struct tls_creds *tls_creds_unref(struct tls_creds *c);

/* P's directory, checked: -EINVAL with ERR if it is not given, or not absolute. */
int tls_creds_dir(const struct tls_creds_properties *p, const char **ret, struct merr *err);

/* The one whose certificate has FINGERPRINT, or NULL. */
const struct tls_identity *tls_creds_find_identity(const struct tls_creds *c, const char *fingerprint);

#endif
