/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one side brings to its TLS handshakes (WIRE.md 10, RFC 8446, RFC 5246): whom it trusts, who it is, what it offers.
 * chan_start_tls() uses it for one connection. TLS 1.3, at least 1.2; no tickets, renegotiation or compression.
 *
 * The private key of a certificate need not be in this process: handshakes get their one signature from a callback. The
 * CPU's AES decides about the order of ciphers.
 *
 * A struct tls is constant and may be used by many threads. It uses a library context of its own: no configuration file of
 * OpenSSL is read, now or later, and nothing is opened.
 */
#ifndef MIGD_TRANSPORT_TLS_H
#define MIGD_TRANSPORT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct tls;

#define TLS_IDENTITIES_MAX 8
#define TLS_PSK_IDENTITY_MAX 128	/* bytes */
#define TLS_PSK_KEY_MAX 256		/* bytes; OpenSSL's limit for TLS 1.2 */
#define TLS_TBS_MAX 16384		/* bytes to be signed: a TLS 1.2 client signs the whole handshake */
#define TLS_SIGNATURE_MAX 1024		/* RSA with 8192 bits */
#define TLS_CERTIFICATE_HEX 64

/* How an RSA key is used; PSS: MGF1 with the same digest, a salt as long as it. */
enum tls_padding {
	TLS_PADDING_NONE = 1,	/* the key is not RSA */
	TLS_PADDING_PKCS1,
	TLS_PADDING_PSS,
};

struct tls_to_sign {
	unsigned int identity;		/* index in tls_config's certificates */
	const char *certificate;	/* SHA-256 of it in DER, hex */
	const char *digest;		/* as OpenSSL calls it; "": the key's own */
	enum tls_padding padding;
	const uint8_t *tbs;
	size_t len;
};

struct tls_psk {
	const char *identity;
	const uint8_t *key;
	size_t len;
};

/* Strings are copied; NULL where absent. */
struct tls_config {
	bool server;
	bool psk;	/* shared keys, no certificates */

	/* x509, PEM */
	const char *ca;				/* whom to trust; needed to verify */
	const char *crl;
	const char *const *certificates;	/* each a leaf, then what leads from it to an authority */
	size_t n_certificates;			/* one key type each; more of a type are ignored */
	bool verify_peer;
	const char *hostname;			/* client: name or IP address to verify; needed to */
	const char *server_name;		/* client: what it says instead of it in the ClientHello (RFC 6066, 3); psk too */

	/* psk: the client has one */
	const struct tls_psk *psks;
	size_t n_psks;

	/* OpenSSL's syntax; NULL: good ones. Versions: "1.2" or "1.3" */
	const char *ciphers12, *ciphersuites13, *groups, *min_version, *max_version;
	bool server_precedence;	/* server: its order of ciphers counts */
	bool no_ktls;	/* never let the kernel encrypt */

	/*
	 * Called in chan_handshake(), which waits for them, at most until DEADLINE_NS. sign(): at most TLS_SIGNATURE_MAX
	 * bytes; 0 or -errno. authorize(): server: may the client whose certificate holds, with the name DN (RFC 4514, in the certificate's order),
	 * connect? 0, or -errno with what is to be logged; NULL: all may.
	 */
	int (*sign)(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
		    struct merr *err);
	int (*authorize)(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err);
	void *opaque;
};

/*
 * OpenSSL's own threads-safe state, once a process; called by tls_new() too. In a sandboxed process before it is entered.
 * 0 or -errno.
 */
int tls_init(struct merr *err);

/* NULL with ERR, which says what is wrong with which part. One reference is the caller's. */
struct tls *tls_new(const struct tls_config *c, struct merr *err);
struct tls *tls_ref(struct tls *t);
struct tls *tls_unref(struct tls *t);	/* returns NULL */
bool tls_is_server(const struct tls *t);

#endif
