/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of TLS share: the library context, one side's credentials, one connection's session. */
#ifndef MIGD_TRANSPORT_TLS_INTERNAL_H
#define MIGD_TRANSPORT_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "transport/tls.h"

/* Everything is OpenSSL's own but for the keys that are not here, and those only where nothing else will do. */
#define TLS_PROPERTIES "?provider=default"

struct tls_shared_key {
	char identity[TLS_PSK_IDENTITY_MAX + 1];
	uint8_t key[TLS_PSK_KEY_MAX];
	size_t len;
};

struct tls {
	atomic_uint n_refs;
	SSL_CTX *ctx;
	bool server, psk, verify_peer;
	char *hostname;
	char *server_name;	/* NULL: none is said */
	struct tls_shared_key *keys;
	size_t n_keys;
	int (*sign)(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
		    struct merr *err);
	int (*authorize)(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err);
	void *opaque;
};

/* tls.c: the library context; after tls_init(). */
OSSL_LIB_CTX *tls_library(void);

/* tls-key.c: make LIB know keys that are elsewhere; a key that CERT's public half stands for. NULL: it is of no known kind. */
int tls_key_register(OSSL_LIB_CTX *lib);
EVP_PKEY *tls_key_new(OSSL_LIB_CTX *lib, X509 *cert, unsigned int identity);

/* tls-x509.c, tls-psk.c: what of C concerns them, into T. */
int tls_x509_setup(struct tls *t, const struct tls_config *c, struct merr *err);
int tls_psk_setup(struct tls *t, const struct tls_config *c, struct merr *err);

/*
 * tls-x509.c: whether the server at the other end of SSL is the one that a client of T wants. After the handshake, as QEMU
 * does it: the server has seen then that a client which it knows came, and went without a word (engine/target.c).
 */
int tls_x509_check_host(const struct tls *t, const SSL *ssl, struct merr *err);

/*
 * tls-error.c: what OpenSSL's error queue says about a call that gave RESULT (SSL_get_error()), in words. ERR keeps what
 * callbacks found out before. -EPROTO, -ECONNRESET, ...
 */
struct tls_situation {
	bool server, psk, handshake;
};
int tls_explain(const struct tls_situation *at, int result, struct merr *err);
/* OpenSSL's latest complaint, for a set-up that failed. */
int tls_complain(struct merr *err, const char *what);

/* tls-session.c: whose handshake runs in this thread: what the callbacks need to know. */
struct tls_handshake {
	struct tls *tls;
	uint64_t deadline_ns;
	struct merr *err;	/* why a callback failed */
};
struct tls_handshake *tls_current(void);

#endif
