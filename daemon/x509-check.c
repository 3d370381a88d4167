/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at certificates. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/x509.h"

#define TIME_TEXT_MAX 32

/* ---- for people ---- */

/* As GnuTLS writes it, with which QEMU compares: UTF-8 stays what it is. */
#define NAME_FLAGS (XN_FLAG_RFC2253 & ~(unsigned long)(ASN1_STRFLGS_ESC_MSB | XN_FLAG_DN_REV))

char *x509_name(const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	const char *data;
	long len;

	if (bio && X509_NAME_print_ex(bio, name, 0, NAME_FLAGS) >= 0) {
		len = BIO_get_mem_data(bio, &data);
		text = strndup(len > 0 ? data : "", len > 0 ? (size_t)len : 0);
	}
	BIO_free(bio);
	return text;
}

static char *time_text(const ASN1_TIME *t)
{
	char text[TIME_TEXT_MAX] = "";
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) == 1)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return strdup(text);
}

int x509_fingerprint(const X509 *x, char ret[TLS_FINGERPRINT_LEN + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (X509_digest(x, EVP_sha256(), digest, &len) != 1 || 2 * len != TLS_FINGERPRINT_LEN)
		return -ENOMEM;
	for (unsigned int i = 0; i < len; i++)
		(void)snprintf(ret + 2 * (size_t)i, 3, "%02x", digest[i]);
	return 0;
}

int x509_describe(X509 *x, enum tls_certificate_role role, struct tls_certificate_info *ret)
{
	char fingerprint[TLS_FINGERPRINT_LEN + 1] = "";
	struct tls_certificate_info info = {
		.role = role,
		.subject = x509_name(X509_get_subject_name(x)),
		.issuer = x509_name(X509_get_issuer_name(x)),
		.not_before = time_text(X509_get0_notBefore(x)),
		.not_after = time_text(X509_get0_notAfter(x)),
	};
	int r = x509_fingerprint(x, fingerprint);

	info.fingerprint = strdup(fingerprint);
	if (r < 0 || !info.subject || !info.issuer || !info.not_before || !info.not_after || !info.fingerprint) {
		tls_certificate_info_done(&info);
		return -ENOMEM;
	}
	*ret = info;
	return 0;
}

/* ---- checks ---- */

static int check_dates(X509 *x, const char *file, const char *who, struct merr *err)
{
	_cleanup_free_ char *from = time_text(X509_get0_notBefore(x));
	_cleanup_free_ char *until = time_text(X509_get0_notAfter(x));

	if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0)
		return merr_set(err, -EKEYEXPIRED, "'%s': the certificate of '%s' has expired at %s: issue a new one", file,
				who, until ? until : "?");
	if (X509_cmp_current_time(X509_get0_notBefore(x)) >= 0)
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' is not valid before %s: look at this host's clock, or wait", file,
				who, from ? from : "?");
	return 0;
}

int x509_check_authority(X509 *x, const char *file, struct merr *err)
{
	_cleanup_free_ char *subject = x509_name(X509_get_subject_name(x));
	const char *who = subject ? subject : "?";
	uint32_t flags = X509_get_extension_flags(x);
	int r = check_dates(x, file, who, err);

	if (r < 0)
		return r;
	if (!(flags & EXFLAG_CA))
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' is no authority's: its basic constraints do not say CA:TRUE", file,
				who);
	if ((flags & EXFLAG_KUSAGE) && !(X509_get_key_usage(x) & KU_KEY_CERT_SIGN))
		return merr_set(err, -EKEYREJECTED,
				"'%s': the authority '%s' may not sign certificates: its key usage lacks keyCertSign", file, who);
	return 0;
}

/* No extension: for every purpose. */
static int check_purpose(X509 *x, enum tls_creds_endpoint endpoint, const char *file, const char *who, struct merr *err)
{
	bool server = endpoint == TLS_CREDS_ENDPOINT_SERVER;
	uint32_t flags = X509_get_extension_flags(x), wanted = server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;

	if (flags & EXFLAG_CA)
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' is an authority's, and must be a %s's: its basic constraints must "
				"not say CA:TRUE",
				file, who, tls_creds_endpoint_str(endpoint));
	if ((flags & EXFLAG_KUSAGE) && !(X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE))
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' may not sign handshakes: its key usage lacks digitalSignature", file,
				who);
	if ((flags & EXFLAG_XKUSAGE) && !(X509_get_extended_key_usage(x) & (wanted | XKU_ANYEKU)))
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' is not for a TLS %s: its extended key usage lacks %s", file, who,
				tls_creds_endpoint_str(endpoint), server ? "serverAuth" : "clientAuth");
	return 0;
}

static int add_all(X509_STORE *store, STACK_OF(X509) *authorities, STACK_OF(X509_CRL) *revoked)
{
	for (int i = 0; i < sk_X509_num(authorities); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(authorities, i)) != 1)
			return -ENOMEM;
	for (int i = 0; revoked && i < sk_X509_CRL_num(revoked); i++)
		if (X509_STORE_add_crl(store, sk_X509_CRL_value(revoked, i)) != 1)
			return -ENOMEM;
	if (revoked)
		(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

/* An authority that has no list of revoked certificates has revoked none. */
static int judge(int ok, X509_STORE_CTX *ctx)
{
	return ok || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL;
}

/* X509_V_OK, another X509_V_ERR_, or -errno. */
static int verify(X509_STORE *store, X509 *x, STACK_OF(X509) *chain, enum tls_creds_endpoint endpoint)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int r = -ENOMEM;

	if (ctx && X509_STORE_CTX_init(ctx, store, x, chain) == 1 &&
	    X509_STORE_CTX_set_purpose(ctx, endpoint == TLS_CREDS_ENDPOINT_SERVER ? X509_PURPOSE_SSL_SERVER
										  : X509_PURPOSE_SSL_CLIENT) == 1) {
		X509_STORE_CTX_set_verify_cb(ctx, judge);
		r = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	return r;
}

static int check_issuer(X509 *x, STACK_OF(X509) *chain, STACK_OF(X509) *authorities, STACK_OF(X509_CRL) *revoked,
			enum tls_creds_endpoint endpoint, const char *file, const char *who, struct merr *err)
{
	X509_STORE *store = X509_STORE_new();
	int r = store ? add_all(store, authorities, revoked) : -ENOMEM;

	if (r == 0)
		r = verify(store, x, chain, endpoint);
	X509_STORE_free(store);
	if (r < 0)
		return merr_set_errno(err, r, "'%s': the certificate of '%s' cannot be verified", file, who);
	if (r != X509_V_OK)
		return merr_set(err, -EKEYREJECTED,
				"'%s': the certificate of '%s' does not hold against the authorities in 'ca-cert.pem': %s", file,
				who, X509_verify_cert_error_string(r));
	return 0;
}

int x509_check_own(X509 *x, STACK_OF(X509) *chain, STACK_OF(X509) *authorities, STACK_OF(X509_CRL) *revoked,
		   enum tls_creds_endpoint endpoint, const char *file, struct merr *err)
{
	_cleanup_free_ char *subject = x509_name(X509_get_subject_name(x));
	const char *who = subject ? subject : "?";
	int r = check_dates(x, file, who, err);

	if (r == 0)
		r = check_purpose(x, endpoint, file, who, err);
	if (r == 0)
		r = check_issuer(x, chain, authorities, revoked, endpoint, file, who, err);
	return r;
}
