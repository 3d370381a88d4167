/* SPDX-License-Identifier: Apache-2.0 */
/* Signing what a TLS handshake signs, and nothing else. */
#ifndef MIGD_DAEMON_TLS_SIGN_H
#define MIGD_DAEMON_TLS_SIGN_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/types.h"

/* A TLS 1.2 client signs all messages of the handshake up to then. */
#define TLS_SIGN_MAX_BYTES (16 * 1024)

/*
 * All channels of a migration at once, and as many strangers' connections, each of which costs a signature before its
 * client is known; after that, what a flood of them may cost the daemon.
 */
#define TLS_SIGN_BURST	    512U
#define TLS_SIGN_PER_SECOND 256U

/*
 * KEY's signature of what S says, in base64, malloc()ed. It has to be what the server (SERVER) or the client of a handshake
 * signs: TLS 1.3 CertificateVerify (RFC 8446, 4.4.3); TLS 1.2 ServerKeyExchange with an elliptic curve (RFC 8422, 5.4), or
 * CertificateVerify (RFC 5246, 7.4.8). -EPERM: it is something else, or signed in another way; -EINVAL; -EIO.
 */
int tls_sign(EVP_PKEY *key, bool server, const struct worker_sign *s, char **ret, struct merr *err);

#endif
