/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates: ours, loaded from PEM; the peer's, verified: chain, dates, revocation, purpose, name; then whoever decides
 * who may connect is asked. What is wrong is told in words, with what the certificate says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tls-internal.h"

#define TEXT_MAX 512

/* As RFC 4514 writes names, UTF-8 left alone; but their parts in the certificate's order, as QEMU compares them. */
#define NAME_FLAGS (XN_FLAG_RFC2253 & ~(unsigned long)(ASN1_STRFLGS_ESC_MSB | XN_FLAG_DN_REV))

/* ---- ours ---- */

/* There is nobody to ask for a password. */
static int no_password(char *buf, int size, int rw, void *opaque)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)opaque;
	return -1;
}

static BIO *open_pem(const char *pem)
{
	return BIO_new_mem_buf(pem, (int)strlen(pem));
}

static X509 *next_certificate(BIO *pem)
{
	X509 *x = X509_new_ex(tls_library(), TLS_PROPERTIES);

	if (x && !PEM_read_bio_X509(pem, &x, no_password, NULL)) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

static X509_CRL *next_crl(BIO *pem)
{
	X509_CRL *x = X509_CRL_new_ex(tls_library(), TLS_PROPERTIES);

	if (x && !PEM_read_bio_X509_CRL(pem, &x, no_password, NULL)) {
		X509_CRL_free(x);
		x = NULL;
	}
	return x;
}

/* The end of a PEM text is an error to OpenSSL; any other is one to us. */
static int at_end(unsigned int n, const char *what, struct merr *err)
{
	unsigned long e = ERR_peek_last_error();
	bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;

	if (!end)
		return tls_complain(err, what);
	ERR_clear_error();
	return n ? 0 : merr_set(err, -EINVAL, "TLS: %s: there is nothing in it", what);
}

static int trust(SSL_CTX *ctx, const char *pem, struct merr *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = open_pem(pem);
	unsigned int n = 0;
	X509 *x;
	int r;

	while (bio && (x = next_certificate(bio))) {
		n += X509_STORE_add_cert(store, x) == 1;
		/* A client is told whose certificates are wanted. */
		(void)SSL_CTX_add_client_CA(ctx, x);
		X509_free(x);
	}
	r = at_end(n, "the certificates of authorities", err);
	BIO_free(bio);
	return r;
}

static int revoke(SSL_CTX *ctx, const char *pem, struct merr *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = open_pem(pem);
	unsigned int n = 0;
	X509_CRL *x;
	int r;

	while (bio && (x = next_crl(bio))) {
		n += X509_STORE_add_crl(store, x) == 1;
		X509_CRL_free(x);
	}
	(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	r = at_end(n, "the list of revoked certificates", err);
	BIO_free(bio);
	return r;
}

/* Of each type of key libssl takes one; the first. */
static bool has_type(SSL_CTX *ctx, EVP_PKEY *key)
{
	int more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);

	for (; more == 1; more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
		if (EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_CTX_get0_certificate(ctx))) ==
		    EVP_PKEY_get_base_id(key))
			return true;
	return false;
}

static int use(SSL_CTX *ctx, X509 *leaf, BIO *chain, unsigned int identity, struct merr *err)
{
	EVP_PKEY *key = tls_key_new(tls_library(), leaf, identity);
	X509 *x;
	int r = 0;

	if (!key)
		return merr_set(err, -EINVAL, "TLS: certificate %u: its key is none of RSA, EC and Ed25519", identity);
	if (SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
		r = tls_complain(err, "a certificate");
	EVP_PKEY_free(key);
	while (r == 0 && (x = next_certificate(chain))) {
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			r = tls_complain(err, "a certificate's chain");
		}
	}
	return r < 0 ? r : at_end(1, "a certificate's chain", err);
}

static int identify(SSL_CTX *ctx, const char *pem, unsigned int identity, struct merr *err)
{
	BIO *bio = open_pem(pem);
	X509 *leaf = bio ? next_certificate(bio) : NULL;
	int r;

	if (!leaf)
		r = tls_complain(err, "a certificate");
	else if (!X509_get0_pubkey(leaf))
		r = tls_complain(err, "a certificate's key");
	else
		r = has_type(ctx, X509_get0_pubkey(leaf)) ? 0 : use(ctx, leaf, bio, identity, err);
	X509_free(leaf);
	BIO_free(bio);
	return r;
}

/* ---- the peer's ---- */

/* TEXT is filled from BIO, which is freed. */
static const char *into(char text[TEXT_MAX], BIO *bio)
{
	int n = bio ? BIO_read(bio, text, TEXT_MAX - 1) : 0;

	text[n > 0 ? n : 0] = '\0';
	BIO_free(bio);
	return text;
}

static const char *name_text(char text[TEXT_MAX], const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio)
		(void)X509_NAME_print_ex(bio, name, 0, NAME_FLAGS);
	return into(text, bio);
}

static const char *time_text(char text[TEXT_MAX], const ASN1_TIME *t)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio)
		(void)ASN1_TIME_print(bio, t);
	return into(text, bio);
}

/* Whom a certificate is for. */
static const char *hosts_text(char text[TEXT_MAX], X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	BIO *bio = BIO_new(BIO_s_mem());
	int n = names ? sk_GENERAL_NAME_num(names) : 0;

	for (int i = 0; bio && i < n; i++) {
		(void)BIO_puts(bio, i ? ", " : "");
		/* Escapes what cannot be printed. */
		(void)GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
	}
	if (bio && n == 0)
		(void)X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, NAME_FLAGS);
	GENERAL_NAMES_free(names);
	(void)into(text, bio);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

static void explain(X509_STORE_CTX *ctx, const struct tls *t, struct merr *err)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
	int code = X509_STORE_CTX_get_error(ctx);
	char subject[TEXT_MAX] = "", more[TEXT_MAX] = "";
	const char *side = t->server ? "the client's" : "the server's";

	if (!cert)
		cert = X509_STORE_CTX_get0_cert(ctx);
	(void)name_text(subject, X509_get_subject_name(cert));
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s' expired on %s", side, subject,
			       time_text(more, X509_get0_notAfter(cert)));
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s' is not valid before %s: is the clock right on both "
			       "hosts?", side, subject, time_text(more, X509_get0_notBefore(cert)));
		return;
	case X509_V_ERR_CERT_REVOKED:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s' was revoked", side, subject);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s' cannot be trusted: it is from '%s', which this side's "
			       "ca-cert.pem does not have", side, subject, name_text(more, X509_get_issuer_name(cert)));
		return;
	case X509_V_ERR_INVALID_PURPOSE:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s' is not made for a TLS %s (extendedKeyUsage)", side,
			       subject, t->server ? "client" : "server");
		return;
	default:
		(void)merr_set(err, -EACCES, "TLS: %s certificate '%s': %s", side, subject,
			       X509_verify_cert_error_string(code));
		return;
	}
}

/* An authority that has no list of revoked certificates has revoked none. */
static int judge(int ok, X509_STORE_CTX *ctx)
{
	if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL) {
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}
	return ok;
}

static int ask(X509_STORE_CTX *ctx, const struct tls_handshake *h)
{
	char dn[TEXT_MAX * 2];
	BIO *bio = BIO_new(BIO_s_mem());
	int n = 0, r;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(X509_STORE_CTX_get0_cert(ctx)), 0, NAME_FLAGS) >= 0)
		n = BIO_read(bio, dn, sizeof(dn));
	BIO_free(bio);
	/* A name that was cut could be taken for another. */
	if (n <= 0 || n == (int)sizeof(dn))
		r = merr_set(h->err, -EACCES, "TLS: the client's name is empty or too long");
	else {
		dn[n] = '\0';
		r = h->tls->authorize(h->tls->opaque, h->deadline_ns, dn, h->err);
	}
	if (r < 0)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
	return r == 0;
}

static int verify(X509_STORE_CTX *ctx, void *opaque)
{
	struct tls_handshake *h = tls_current();

	(void)opaque;
	X509_STORE_CTX_set_verify_cb(ctx, judge);
	if (X509_verify_cert(ctx) <= 0) {
		explain(ctx, h->tls, h->err);
		return 0;
	}
	return h->tls->authorize ? ask(ctx, h) : 1;
}

static bool is_address(const char *name)
{
	uint8_t bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int expect_host(struct tls *t, const char *name, struct merr *err)
{
	if (!name || !name[0])
		return 0;
	t->hostname = strdup(name);
	if (!t->hostname)
		return merr_set_errno(err, -ENOMEM, "TLS");
	/* The server may need it to choose its certificate; an address is not said. */
	if (!t->server_name && !is_address(name) && !(t->server_name = strdup(name)))
		return merr_set_errno(err, -ENOMEM, "TLS");
	return 0;
}

int tls_x509_check_host(const struct tls *t, const SSL *ssl, struct merr *err)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char more[TEXT_MAX] = "";
	int match;

	if (t->psk || t->server || !t->verify_peer)
		return 0;
	if (!t->hostname)
		return merr_set(err, -EACCES, "TLS: there is no host name that the server's certificate could be compared "
				"with; set tls-hostname");
	if (!cert)
		return merr_set(err, -EACCES, "TLS: the server has no certificate");
	match = is_address(t->hostname) ? X509_check_ip_asc(cert, t->hostname, 0) :
		X509_check_host(cert, t->hostname, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL);
	ERR_clear_error();
	if (match == 1)
		return 0;
	return merr_set(err, -EACCES, "TLS: the server is to be '%s', but its certificate is for '%s'; tls-hostname "
			"tells what to expect", t->hostname, hosts_text(more, cert));
}

static int setup_verify(struct tls *t, const struct tls_config *c, struct merr *err)
{
	int r;

	if (!c->verify_peer && c->authorize)
		return merr_set(err, -EINVAL, "TLS: clients cannot be authorized whose certificates are not verified");
	if (!c->verify_peer)
		return 0;
	if (!c->ca)
		return merr_set(err, -EINVAL, "TLS: without certificates of authorities no peer can be verified");
	r = trust(t->ctx, c->ca, err);
	if (r == 0 && c->crl)
		r = revoke(t->ctx, c->crl, err);
	if (r == 0 && !c->server)
		r = expect_host(t, c->hostname, err);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | (c->server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	SSL_CTX_set_cert_verify_callback(t->ctx, verify, NULL);
	return r;
}

int tls_x509_setup(struct tls *t, const struct tls_config *c, struct merr *err)
{
	int r;

	if (c->n_certificates > TLS_IDENTITIES_MAX || (c->server && c->n_certificates == 0) ||
	    (c->n_certificates > 0 && !c->sign))
		return merr_set(err, -EINVAL, "TLS: %zu certificates: a server needs at least one, %d are possible",
				c->n_certificates, TLS_IDENTITIES_MAX);
	for (unsigned int i = 0; i < c->n_certificates; i++) {
		r = identify(t->ctx, c->certificates[i], i, err);
		if (r < 0)
			return r;
	}
	return setup_verify(t, c, err);
}
