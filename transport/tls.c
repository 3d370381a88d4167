/* SPDX-License-Identifier: Apache-2.0 */
/* What one side brings to its TLS handshakes. */
#include "transport/tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tls-internal.h"

/*
 * One read takes so many bytes of records that are there; decrypted in place, so it should stay in a core's cache.
 */
#define READ_BUFFER_BYTES (64 * 1024)

static OSSL_LIB_CTX *library;

static void make_library(void)
{
	OSSL_LIB_CTX *lib;

	/* No configuration: it would be a file, and could change what is negotiated behind our back. */
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return;
	lib = OSSL_LIB_CTX_new();
	if (!lib || !OSSL_PROVIDER_load(lib, "default") || tls_key_register(lib) < 0) {
		OSSL_LIB_CTX_free(lib);
		return;
	}
	library = lib;
}

int tls_init(struct merr *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, make_library);
	return library ? 0 : tls_complain(err, "starting OpenSSL");
}

OSSL_LIB_CTX *tls_library(void)
{
	return library;
}

/* AES in hardware is three times as fast as ChaCha20, without it that is the faster one. */
static bool has_aes(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
	return true;
#endif
}

/* 128 bits first: a tenth faster than 256 and strong enough for memory that is worth nothing in 20 years. */
static const char *default_suites(bool psk)
{
	/* A shared key goes with one hash, SHA-256, so not with AES-256-GCM-SHA384. */
	if (psk)
		return has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
				 : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
	return has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
			 : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

static const char *default_ciphers12(bool psk)
{
	if (psk)
		return "kECDHEPSK+CHACHA20:kDHEPSK+AESGCM:kECDHEPSK+AES:kPSK+AESGCM";
	return has_aes() ? "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20" : "ECDHE+CHACHA20:ECDHE+AESGCM";
}

static int set_version(SSL_CTX *ctx, const char *text, bool max, struct merr *err)
{
	int version;

	if (!text)
		version = max ? TLS1_3_VERSION : TLS1_2_VERSION;
	else if (strcmp(text, "1.2") == 0)
		version = TLS1_2_VERSION;
	else if (strcmp(text, "1.3") == 0)
		version = TLS1_3_VERSION;
	else
		return merr_set(err, -EINVAL, "TLS version '%s': 1.2 or 1.3 is meant", text);
	if ((max ? SSL_CTX_set_max_proto_version(ctx, version) : SSL_CTX_set_min_proto_version(ctx, version)) != 1)
		return tls_complain(err, "TLS version");
	return 0;
}

static int offer(struct tls *t, const struct tls_config *c, struct merr *err)
{
	const char *suites = c->ciphersuites13 ? c->ciphersuites13 : default_suites(c->psk);
	const char *ciphers = c->ciphers12 ? c->ciphers12 : default_ciphers12(c->psk);

	if (set_version(t->ctx, c->min_version, false, err) < 0 || set_version(t->ctx, c->max_version, true, err) < 0)
		return err ? err->code : -EINVAL;
	if (SSL_CTX_set_ciphersuites(t->ctx, suites) != 1)
		return tls_complain(err, "ciphers of TLS 1.3");
	if (SSL_CTX_set_cipher_list(t->ctx, ciphers) != 1)
		return tls_complain(err, "ciphers of TLS 1.2");
	if (c->groups && SSL_CTX_set1_groups_list(t->ctx, c->groups) != 1)
		return tls_complain(err, "groups");
	return 0;
}

static int setup(struct tls *t, const struct tls_config *c, struct merr *err)
{
	int r;

	t->ctx = SSL_CTX_new_ex(library, TLS_PROPERTIES, c->server ? TLS_server_method() : TLS_client_method());
	if (!t->ctx)
		return tls_complain(err, "a TLS context");
	/*
	 * A source need not read: tickets in its receive queue when it closes make the kernel send a reset, which destroys
	 * the tail of the stream (WIRE.md 10.4).
	 */
	(void)SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
						  (c->server_precedence ? SSL_OP_CIPHER_SERVER_PREFERENCE : 0) |
						  (c->no_ktls ? 0 : SSL_OP_ENABLE_KTLS));
	if (SSL_CTX_set_num_tickets(t->ctx, 0) != 1)
		return tls_complain(err, "no tickets");
	(void)SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	/* To TLS 1.3 a shared key is a session that is resumed, for which libssl wants a name. */
	if (c->server)
		(void)SSL_CTX_set_session_id_context(t->ctx, (const uint8_t *)"migd", 4);
	SSL_CTX_set_default_read_buffer_len(t->ctx, READ_BUFFER_BYTES);
	(void)SSL_CTX_set_dh_auto(t->ctx, 1);
	if (c->server_name && !(t->server_name = strdup(c->server_name)))
		return merr_set_errno(err, -ENOMEM, "TLS");
	r = offer(t, c, err);
	if (r < 0)
		return r;
	return c->psk ? tls_psk_setup(t, c, err) : tls_x509_setup(t, c, err);
}

struct tls *tls_new(const struct tls_config *c, struct merr *err)
{
	struct tls *t;

	if (tls_init(err) < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t) {
		(void)merr_set_errno(err, -ENOMEM, "TLS");
		return NULL;
	}
	atomic_init(&t->n_refs, 1);
	t->server = c->server;
	t->psk = c->psk;
	t->verify_peer = c->verify_peer;
	t->sign = c->sign;
	t->authorize = c->authorize;
	t->opaque = c->opaque;
	return setup(t, c, err) < 0 ? tls_unref(t) : t;
}

struct tls *tls_ref(struct tls *t)
{
	(void)atomic_fetch_add(&t->n_refs, 1);
	return t;
}

struct tls *tls_unref(struct tls *t)
{
	if (!t || atomic_fetch_sub(&t->n_refs, 1) > 1)
		return NULL;
	SSL_CTX_free(t->ctx);
	if (t->keys)
		OPENSSL_cleanse(t->keys, t->n_keys * sizeof(*t->keys));
	free(t->keys);
	free(t->hostname);
	free(t->server_name);
	free(t);
	return NULL;
}

bool tls_is_server(const struct tls *t)
{
	return t->server;
}
