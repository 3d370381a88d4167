/* SPDX-License-Identifier: Apache-2.0 */
/* Loading certificates and keys. */
#include "daemon/x509.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define NUMBERED_MAX  4U
#define NAME_MAX_LEN  32U
#define CHAIN_MAX     16
#define AUTHORITY_MAX 256

/* Where one load stands. */
struct loader {
	const char *dir;
	const struct secret *password; /* or NULL */
	const char *password_id;
	bool sanity;
	struct cred_files *files;
	struct tls_creds *creds;
	STACK_OF(X509) *authorities;
	STACK_OF(X509_CRL) *revoked; /* or NULL */
};

static void free_certificates(STACK_OF(X509) *list)
{
	sk_X509_pop_free(list, X509_free);
}

/* ---- PEM ---- */

static int read_public(struct loader *l, const char *name, char **ret, struct merr *err)
{
	size_t len = 0;
	char *text = NULL;
	int r = cred_file_read(l->files, l->dir, name, CRED_FILE_PUBLIC, &text, &len, err);

	if (r < 0)
		return r;
	if (strlen(text) != len) {
		free(text);
		return merr_set(err, -EINVAL, "'%s/%s' is no PEM file: there is a NUL in it", l->dir, name);
	}
	*ret = text;
	return 0;
}

/* All certificates in TEXT, at least one. */
static int parse_certificates(const char *text, int max, STACK_OF(X509) **ret)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	STACK_OF(X509) *list = sk_X509_new_null();
	X509 *x = NULL;
	bool ok = bio && list;

	while (ok && sk_X509_num(list) <= max && (x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)))
		ok = sk_X509_push(list, x) > 0;
	BIO_free(bio);
	/* The end is an error to OpenSSL: there is no further start line. Any other is one. */
	ok = ok && sk_X509_num(list) > 0 && sk_X509_num(list) <= max &&
	     ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (!ok) {
		free_certificates(list);
		return -EINVAL;
	}
	*ret = list;
	return 0;
}

static int read_certificates(struct loader *l, const char *name, int max, char **ret_text, STACK_OF(X509) **ret,
			     struct merr *err)
{
	_cleanup_free_ char *text = NULL;
	int r = read_public(l, name, &text, err);

	if (r < 0)
		return r;
	if (parse_certificates(text, max, ret) < 0)
		return merr_set(err, -EINVAL, "'%s/%s' is not a list of 1 to %d certificates in PEM", l->dir, name, max);
	*ret_text = TAKE_PTR(text);
	return 0;
}

static int describe(struct tls_creds *c, X509 *x, enum tls_certificate_role role)
{
	struct tls_certificate_info *list = reallocarray(c->certificates, c->n_certificates + 1, sizeof(*list));
	int r;

	if (!list)
		return -ENOMEM;
	c->certificates = list;
	r = x509_describe(x, role, &list[c->n_certificates]);
	if (r == 0)
		c->n_certificates++;
	return r;
}

/* ---- authorities ---- */

static int load_authorities(struct loader *l, struct merr *err)
{
	char path[PATH_MAX];
	int r = read_certificates(l, "ca-cert.pem", AUTHORITY_MAX, &l->creds->authorities, &l->authorities, err);

	(void)snprintf(path, sizeof(path), "%s/ca-cert.pem", l->dir);
	for (int i = 0; r == 0 && i < sk_X509_num(l->authorities); i++) {
		X509 *x = sk_X509_value(l->authorities, i);

		r = l->sanity ? x509_check_authority(x, path, err) : 0;
		if (r == 0 && describe(l->creds, x, TLS_CERTIFICATE_ROLE_AUTHORITY) < 0)
			r = merr_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

static int load_revoked(struct loader *l, struct merr *err)
{
	_cleanup_free_ char *text = NULL;
	struct merr why = MERR_INIT;
	X509_CRL *crl;
	BIO *bio;
	int r = read_public(l, "ca-crl.pem", &text, &why);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return merr_copy(err, &why);
	bio = BIO_new_mem_buf(text, -1);
	l->revoked = sk_X509_CRL_new_null();
	while (bio && l->revoked && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)))
		(void)sk_X509_CRL_push(l->revoked, crl);
	BIO_free(bio);
	ERR_clear_error();
	if (sk_X509_CRL_num(l->revoked) <= 0)
		return merr_set(err, -EINVAL, "'%s/ca-crl.pem' is no list of revoked certificates in PEM", l->dir);
	l->creds->revoked = TAKE_PTR(text);
	return 0;
}

/* ---- own certificates ---- */

struct password_use {
	const struct secret *password;
	bool asked;
};

static int give_password(char *buf, int size, int rwflag, void *opaque)
{
	struct password_use *u = opaque;

	(void)rwflag;
	u->asked = true;
	if (!u->password || u->password->len > (size_t)size)
		return -1;
	memcpy(buf, u->password->bytes, u->password->len);
	return (int)u->password->len;
}

static int parse_key(struct loader *l, const char *name, const char *text, size_t len, EVP_PKEY **ret, struct merr *err)
{
	struct password_use u = { .password = l->password };
	BIO *bio = BIO_new_mem_buf(text, (int)len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_password, &u) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (!key && u.asked && !l->password)
		return merr_set(err, -ENOKEY,
				"'%s/%s' is encrypted: add a 'secret' with its password, and give the secret's id as 'passwordid'",
				l->dir, name);
	if (!key && u.asked)
		return merr_set(err, -EKEYREJECTED, "'%s/%s': the password of the secret '%s' does not open it", l->dir, name,
				l->password_id);
	if (!key)
		return merr_set(err, -EINVAL, "'%s/%s' is no private key in PEM", l->dir, name);
	*ret = key;
	return 0;
}

static int load_key(struct loader *l, const char *name, EVP_PKEY **ret, struct merr *err)
{
	char *text = NULL;
	size_t len = 0;
	int r = cred_file_read(l->files, l->dir, name, CRED_FILE_SECRET, &text, &len, err);

	if (r < 0)
		return r;
	r = parse_key(l, name, text, len, ret, err);
	cred_file_free(text, len);
	return r;
}

static int check_pair(struct loader *l, const char *cert, const char *key, X509 *x, EVP_PKEY *k, struct merr *err)
{
	int match = X509_check_private_key(x, k);

	ERR_clear_error();
	return match == 1 ? 0
			  : merr_set(err, -EKEYREJECTED,
				     "'%s/%s' is not the key of the certificate in '%s': they have to be replaced together", l->dir,
				     key, cert);
}

/* ID takes over what was loaded; the first of LIST is its certificate, the rest leads to an authority. */
static int check_identity(struct loader *l, struct tls_identity *id, const char *cert, STACK_OF(X509) *list,
			  struct merr *err)
{
	char path[PATH_MAX];
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", l->dir, cert);
	id->certificate = sk_X509_shift(list);
	r = l->sanity ? x509_check_own(id->certificate, list, l->authorities, l->revoked, l->creds->endpoint, path, err) : 0;
	if (r == 0 && (x509_fingerprint(id->certificate, id->fingerprint) < 0 ||
		       describe(l->creds, id->certificate, TLS_CERTIFICATE_ROLE_OWN) < 0))
		r = merr_set(err, -ENOMEM, "out of memory");
	return r;
}

static int load_identity(struct loader *l, const char *cert, const char *key, struct merr *err)
{
	struct tls_identity *id = &l->creds->identities[l->creds->n_identities];
	STACK_OF(X509) *list = NULL;
	int r = read_certificates(l, cert, CHAIN_MAX, &id->chain, &list, err);

	if (r < 0)
		return r;
	l->creds->n_identities++;
	r = check_identity(l, id, cert, list, err);
	if (r == 0)
		r = load_key(l, key, &id->key, err);
	if (r == 0)
		r = check_pair(l, cert, key, id->certificate, id->key, err);
	free_certificates(list);
	return r;
}

/* Both files or, if it is not MANDATORY, none. */
static int load_optional(struct loader *l, const char *cert, const char *key, bool mandatory, struct merr *err)
{
	bool has_cert = cred_file_exists(l->files, l->dir, cert), has_key = cred_file_exists(l->files, l->dir, key);

	if (!has_cert && !has_key && !mandatory)
		return 0;
	if (!has_cert || !has_key)
		return merr_set(err, -ENOENT, "'%s/%s' is missing%s%s", l->dir, has_cert ? key : cert,
				has_cert || has_key ? "; it belongs to " : "", has_cert ? cert : has_key ? key : "");
	return load_identity(l, cert, key, err);
}

static int load_identities(struct loader *l, struct merr *err)
{
	const char *side = tls_creds_endpoint_str(l->creds->endpoint);
	char cert[NAME_MAX_LEN], key[NAME_MAX_LEN];
	int r;

	(void)snprintf(cert, sizeof(cert), "%s-cert.pem", side);
	(void)snprintf(key, sizeof(key), "%s-key.pem", side);
	r = load_optional(l, cert, key, l->creds->endpoint == TLS_CREDS_ENDPOINT_SERVER, err);
	for (unsigned int i = 0; r == 0 && i < NUMBERED_MAX; i++) {
		(void)snprintf(cert, sizeof(cert), "%s-cert-%u.pem", side, i);
		(void)snprintf(key, sizeof(key), "%s-key-%u.pem", side, i);
		r = load_optional(l, cert, key, false, err);
	}
	return r;
}

int x509_load(const struct tls_creds_x509_properties *p, const struct secret *password, struct cred_files *files,
	      struct tls_creds **ret, struct merr *err)
{
	struct loader l = {
		.password = password,
		.password_id = p->passwordid,
		.sanity = !p->has_sanity_check || p->sanity_check,
		.files = files,
	};
	int r = tls_creds_dir(TLS_CREDS_COMMON(p), &l.dir, err);

	if (r == 0)
		r = tls_creds_new(OBJECT_TYPE_TLS_CREDS_X509, TLS_CREDS_COMMON(p), &l.creds, err);
	if (r == 0)
		r = load_authorities(&l, err);
	if (r == 0)
		r = load_revoked(&l, err);
	if (r == 0)
		r = load_identities(&l, err);
	free_certificates(l.authorities);
	sk_X509_CRL_pop_free(l.revoked, X509_CRL_free);
	if (r < 0) {
		(void)tls_creds_unref(l.creds);
		return r;
	}
	*ret = l.creds;
	return 0;
}
