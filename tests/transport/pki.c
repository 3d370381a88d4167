/* SPDX-License-Identifier: Apache-2.0 */
#include "pki.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static EVP_PKEY *make_key(enum pki_key type)
{
	switch (type) {
	case PKI_RSA:
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	case PKI_P256:
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	case PKI_P384:
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
	case PKI_ED25519:
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	default:
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
	}
}

static const EVP_MD *digest_for(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : EVP_sha256();
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(x, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static char *to_pem(int (*write)(BIO *, const void *), const void *what)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *copy;
	long len;

	assert_int_equal(write(bio, what), 1);
	len = BIO_get_mem_data(bio, &text);
	copy = strndup(text, (size_t)len);
	BIO_free(bio);
	return copy;
}

static int write_cert(BIO *bio, const void *x)
{
	return PEM_write_bio_X509(bio, x);
}

static int write_crl(BIO *bio, const void *x)
{
	return PEM_write_bio_X509_CRL(bio, x);
}

static void name_it(X509_NAME *name, const struct pki_wants *w)
{
	uint8_t unit[60];

	if (!w->cn)
		return;
	memset(unit, 'u', sizeof(unit));
	(void)X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"Example", -1, -1, 0);
	for (unsigned int i = 0; i < w->n_units; i++)
		assert_int_equal(X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_UTF8, unit, sizeof(unit), -1, 0), 1);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)w->cn, -1, -1, 0);
}

void pki_make(struct pki *p, const struct pki_wants *w)
{
	static long serial = 1;
	const struct pki *issuer = w->ca ? w->ca : p;

	p->key = make_key(w->type);
	p->cert = X509_new();
	assert_non_null(p->key);
	(void)X509_set_version(p->cert, X509_VERSION_3);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(p->cert), serial++);
	(void)X509_gmtime_adj(X509_getm_notBefore(p->cert), w->from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(p->cert), w->to_s);
	(void)X509_set_pubkey(p->cert, p->key);
	name_it(X509_get_subject_name(p->cert), w);
	(void)X509_set_issuer_name(p->cert, X509_get_subject_name(issuer->cert));
	extend(p->cert, issuer->cert, NID_basic_constraints, w->ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
	extend(p->cert, issuer->cert, NID_key_usage,
	       w->ca ? "critical,digitalSignature,keyEncipherment" : "critical,keyCertSign,cRLSign");
	if (w->san)
		extend(p->cert, issuer->cert, NID_subject_alt_name, w->san);
	if (w->purpose)
		extend(p->cert, issuer->cert, NID_ext_key_usage, w->purpose);
	assert_true(X509_sign(p->cert, issuer->key, digest_for(issuer->key)) > 0);
	p->pem = to_pem(write_cert, p->cert);
}

void pki_done(struct pki *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	free(p->pem);
}

char *pki_revoke(const struct pki *ca, const struct pki *revoked)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();
	X509_REVOKED *entry;
	char *pem;

	(void)X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	(void)X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
	(void)X509_gmtime_adj(t, -60);
	(void)X509_CRL_set1_lastUpdate(crl, t);
	if (revoked) {
		entry = X509_REVOKED_new();
		(void)X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->cert));
		(void)X509_REVOKED_set_revocationDate(entry, t);
		(void)X509_CRL_add0_revoked(crl, entry);
	}
	(void)X509_gmtime_adj(t, 3600);
	(void)X509_CRL_set1_nextUpdate(crl, t);
	ASN1_TIME_free(t);
	(void)X509_CRL_sort(crl);
	assert_true(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
	pem = to_pem(write_crl, crl);
	X509_CRL_free(crl);
	return pem;
}

/* As the daemon does it. */
static int sign(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
		struct merr *err)
{
	struct side *s = opaque;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	int ok;

	(void)err;
	assert_true(deadline_ns > clock_now_ns());
	assert_int_equal(what->identity, 0);
	assert_int_equal(strlen(what->certificate), TLS_CERTIFICATE_HEX);
	s->n_signed++;
	s->signed_with = *what;
	(void)snprintf(s->digest, sizeof(s->digest), "%s", what->digest);
	*ret_len = TLS_SIGNATURE_MAX;
	ok = EVP_DigestSignInit_ex(ctx, &pctx, what->digest[0] ? what->digest : NULL, NULL, NULL, s->identity->key, NULL);
	if (ok == 1 && what->padding == TLS_PADDING_PSS)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0;
	if (ok == 1)
		ok = EVP_DigestSign(ctx, sig, ret_len, what->tbs, what->len);
	EVP_MD_CTX_free(ctx);
	return ok == 1 ? 0 : merr_set(err, -EIO, "signing");
}

static int authorize(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err)
{
	struct side *s = opaque;

	(void)deadline_ns;
	(void)snprintf(s->dn, sizeof(s->dn), "%s", dn);
	return strcmp(dn, s->dn_wanted) == 0 ? 0 : merr_set(err, -EACCES, "'%s' may not connect", dn);
}

void side_x509(struct side *s, bool server, const struct pki *ca, const struct pki *identity, const char *hostname)
{
	*s = (struct side){ .identity = identity };
	s->config = (struct tls_config){ .server = server, .ca = ca->pem, .verify_peer = true, .hostname = hostname,
					 .sign = sign };
	if (identity) {
		s->certificates[0] = identity->pem;
		s->config.n_certificates = 1;
	}
}

void side_psk(struct side *s, bool server, const struct tls_psk *psk)
{
	*s = (struct side){ .config = { .server = server, .psk = true, .psks = psk, .n_psks = 1 } };
}

void pki_sockets(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(bind(listening, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&a, len), 0);
	fds[1] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	(void)close(listening);
}

void side_open(struct side *s, int fd)
{
	s->config.opaque = s;
	if (s->config.n_certificates)
		s->config.certificates = s->certificates;
	if (s->dn_wanted)
		s->config.authorize = authorize;
	if (!s->tls)
		s->tls = tls_new(&s->config, &s->err);
	if (!s->tls)
		print_error("%s\n", merr_msg(&s->err));
	assert_non_null(s->tls);
	s->chan = chan_new(fd, -1);
	assert_int_equal(chan_start_tls(s->chan, s->tls, clock_now_ns() + 10 * NS_PER_SEC, &s->err), 0);
	s->result = -EAGAIN;
}

bool side_step(struct side *s)
{
	short events = 0;

	if (s->result != -EAGAIN)
		return false;
	s->result = chan_handshake(s->chan, &events, &s->err);
	if (s->result == -EAGAIN)
		assert_int_not_equal(events, 0);
	return s->result != -EAGAIN;
}

void sides_meet(struct side *client, struct side *server)
{
	struct pollfd p[2];
	int fds[2];

	pki_sockets(fds);
	side_open(client, fds[0]);
	side_open(server, fds[1]);
	for (;;) {
		(void)side_step(client);
		(void)side_step(server);
		if (client->result != -EAGAIN && server->result != -EAGAIN)
			return;
		/* In TLS 1.2 a client may fail first, and its alert is on the way; otherwise closing tells. */
		if (client->result < 0 && client->result != -EAGAIN)
			chan_shutdown_write(client->chan);
		if (server->result < 0 && server->result != -EAGAIN)
			chan_shutdown_write(server->chan);
		p[0] = (struct pollfd){ .fd = client->result == -EAGAIN ? fds[0] : -1, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = server->result == -EAGAIN ? fds[1] : -1, .events = POLLIN };
		assert_true(poll(p, 2, 10000) > 0);
	}
}

void side_done(struct side *s)
{
	s->chan = chan_free(s->chan);
	s->tls = tls_unref(s->tls);
}

ssize_t read_all(struct chan *c, void *buf, size_t len, size_t piece)
{
	size_t got = 0;
	ssize_t n = 1;

	while (got < len && n > 0) {
		n = chan_read(c, (uint8_t *)buf + got, len - got < piece ? len - got : piece, clock_now_ns() + 10 * NS_PER_SEC);
		if (n > 0)
			got += (size_t)n;
	}
	return n < 0 ? n : (ssize_t)got;
}

int write_all(struct chan *c, const void *buf, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return chan_write(c, &iov, 1, false, clock_now_ns() + 10 * NS_PER_SEC);
}
