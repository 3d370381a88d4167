/* SPDX-License-Identifier: Apache-2.0 */
/* The files of TLS credentials, named as docs/tls.md says: each certificate with its key, signed by the authority. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/doctor/doctor.h"

#define PATH_LEN 4096
#define SOON_DAYS 30
#define IDENTITIES_MAX 4

/* The authorities of a directory. */
struct authority {
	X509_STORE *store;
	unsigned int count;
};

static const char *path_in(const struct doctor *d, const char *name, char buf[PATH_LEN])
{
	(void)snprintf(buf, PATH_LEN, "%s/%s", ctl_value(d->ctl, CTL_OPT_TLS_DIR), name);
	return buf;
}

static bool is_there(const struct doctor *d, const char *name)
{
	char path[PATH_LEN];
	struct stat st;

	return lstat(path_in(d, name, path), &st) == 0;
}

static FILE *open_file(struct doctor *d, const char *name)
{
	char path[PATH_LEN];
	FILE *f = fopen(path_in(d, name, path), "re");

	if (!f)
		doctor_say(d, DOCTOR_PROBLEM, name, "it has to be there, and readable for migd's user", "cannot read '%s': %s", path,
			   strerror(errno));
	return f;
}

/* Whether the dates hold now; what they are is said. */
static void check_dates(struct doctor *d, const char *name, const X509 *cert)
{
	const ASN1_TIME *begin = X509_get0_notBefore(cert), *end = X509_get0_notAfter(cert);
	int days = 0, seconds = 0;

	if (X509_cmp_current_time(begin) > 0)
		doctor_say(d, DOCTOR_PROBLEM, name, "wait, or have another one made; is this host's clock right?",
			   "the certificate is not valid yet");
	else if (X509_cmp_current_time(end) < 0)
		doctor_say(d, DOCTOR_PROBLEM, name, "have another one made (docs/tls.md); is this host's clock right?",
			   "the certificate has expired");
	else if (ASN1_TIME_diff(&days, &seconds, NULL, end) && days < SOON_DAYS)
		doctor_say(d, DOCTOR_WARNING, name, "have another one made (docs/tls.md); migd reads it by itself when it was replaced",
			   "the certificate expires in %d days", days);
	else
		doctor_say(d, DOCTOR_OK, name, NULL, "the certificate is valid for %d days", days);
}

/* Into A all of ca-cert.pem, and ca-crl.pem if it is there. */
static void read_authority(struct doctor *d, struct authority *a)
{
	FILE *f = open_file(d, "ca-cert.pem");
	char path[PATH_LEN];
	X509 *cert;

	while (f && (cert = PEM_read_X509(f, NULL, NULL, NULL))) {
		check_dates(d, "ca-cert.pem", cert);
		a->count += X509_STORE_add_cert(a->store, cert) == 1;
		X509_free(cert);
	}
	if (f && a->count == 0)
		doctor_say(d, DOCTOR_PROBLEM, "ca-cert.pem", "it has to be the authority's certificate in PEM",
			   "there is no certificate in it");
	if (f)
		(void)fclose(f);
	if (!is_there(d, "ca-crl.pem"))
		return;
	if (X509_STORE_load_file(a->store, path_in(d, "ca-crl.pem", path)) == 1)
		X509_STORE_set_flags(a->store, X509_V_FLAG_CRL_CHECK);
	else
		doctor_say(d, DOCTOR_PROBLEM, "ca-crl.pem", "it has to be a list of revoked certificates in PEM, readable for migd's user",
			   "it cannot be read");
}

static void check_chain(struct doctor *d, const char *name, const char *end, X509 *cert, STACK_OF(X509) *between,
			const struct authority *a)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (ctx && X509_STORE_CTX_init(ctx, a->store, cert, between) == 1) {
		(void)X509_STORE_CTX_set_purpose(ctx, strcmp(end, "server") == 0 ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
		if (X509_verify_cert(ctx) == 1)
			doctor_say(d, DOCTOR_OK, name, NULL, "the authority in ca-cert.pem signed it, for a %s", end);
		else
			doctor_say(d, DOCTOR_PROBLEM, name, "peers will refuse it: have one made by the authority, for this end (docs/tls.md)",
				   "it does not hold: %s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	X509_STORE_CTX_free(ctx);
}

/* Encrypted ones are not asked for their passwords. */
static int no_password(char *buf, int size, int writing, void *opaque)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)opaque = true;
	return -1;
}

static void check_key(struct doctor *d, const char *name, const X509 *cert)
{
	FILE *f = open_file(d, name);
	bool encrypted = false;
	EVP_PKEY *key;
	struct stat st;

	if (!f)
		return;
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077))
		doctor_say(d, DOCTOR_PROBLEM, name, "migd refuses it: chmod 600, and think about who may have read it",
			   "others may read the key (mode %04o)", (unsigned int)st.st_mode & 07777);
	key = PEM_read_PrivateKey(f, NULL, no_password, &encrypted);
	(void)fclose(f);
	if (encrypted)
		doctor_say(d, DOCTOR_OK, name, NULL, "the key is encrypted: only migd can look at it, with the secret that passwordid names");
	else if (!key)
		doctor_say(d, DOCTOR_PROBLEM, name, "it has to be a private key in PEM", "there is no private key in it");
	else if (X509_check_private_key(cert, key) != 1)
		doctor_say(d, DOCTOR_PROBLEM, name, "one of the two files is from another pair: make both anew (docs/tls.md)",
			   "the key does not belong to the certificate");
	else
		doctor_say(d, DOCTOR_OK, name, NULL, "the key belongs to the certificate");
	EVP_PKEY_free(key);
}

static void check_certificate(struct doctor *d, const char *name, const char *key_name, const char *end,
			      const struct authority *a)
{
	FILE *f = open_file(d, name);
	X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL, *next;
	STACK_OF(X509) *between = sk_X509_new_null();

	while (cert && (next = PEM_read_X509(f, NULL, NULL, NULL)))
		if (!sk_X509_push(between, next))
			X509_free(next);
	if (f)
		(void)fclose(f);
	if (cert) {
		check_dates(d, name, cert);
		if (a->count > 0)
			check_chain(d, name, end, cert, between, a);
		check_key(d, key_name, cert);
	} else if (f) {
		doctor_say(d, DOCTOR_PROBLEM, name, "it has to be a certificate in PEM", "there is no certificate in it");
	}
	sk_X509_pop_free(between, X509_free);
	X509_free(cert);
	ERR_clear_error();
}

/* One identity of an end; NUMBER < 0: the one without. True if any of its files is there. */
static bool check_identity(struct doctor *d, const char *end, int number, const struct authority *a)
{
	char cert[64], key[64], suffix[16] = "";
	bool has_cert, has_key;

	if (number >= 0)
		(void)snprintf(suffix, sizeof(suffix), "-%d", number);
	(void)snprintf(cert, sizeof(cert), "%s-cert%s.pem", end, suffix);
	(void)snprintf(key, sizeof(key), "%s-key%s.pem", end, suffix);
	has_cert = is_there(d, cert);
	has_key = is_there(d, key);
	if (has_cert && has_key)
		check_certificate(d, cert, key, end, a);
	else if (has_cert || has_key)
		doctor_say(d, DOCTOR_PROBLEM, has_cert ? key : cert, "both files are needed, or none", "it is not there, but %s is",
			   has_cert ? cert : key);
	return has_cert || has_key;
}

static void check_x509(struct doctor *d)
{
	struct authority a = { .store = X509_STORE_new() };
	static const char *const ends[] = { "server", "client" };
	bool any = false;

	if (!a.store)
		return;
	read_authority(d, &a);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		for (int number = -1; number < IDENTITIES_MAX; number++)
			any = check_identity(d, ends[i], number, &a) || any;
	if (!any)
		doctor_say(d, DOCTOR_WARNING, "identity", "a destination needs server-cert.pem and server-key.pem (docs/tls.md)",
			   "there is no certificate of this host's own");
	X509_STORE_free(a.store);
}

static void check_psk(struct doctor *d)
{
	FILE *f = open_file(d, "keys.psk");
	struct stat st;

	if (!f)
		return;
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077))
		doctor_say(d, DOCTOR_PROBLEM, "keys.psk", "migd refuses it: chmod 600, and make other keys", "others may read the keys (mode %04o)",
			   (unsigned int)st.st_mode & 07777);
	else
		doctor_say(d, DOCTOR_OK, "keys.psk", NULL, "the keys are there, and only their owner may read them");
	(void)fclose(f);
}

void doctor_check_tls(struct doctor *d)
{
	const char *dir = ctl_value(d->ctl, CTL_OPT_TLS_DIR);
	bool psk;

	if (!dir)
		return;
	if (access(dir, R_OK | X_OK) < 0) {
		doctor_say(d, DOCTOR_PROBLEM, "tls-dir", "it has to be there, and readable for migd's user", "'%s': %s", dir, strerror(errno));
		return;
	}
	psk = is_there(d, "keys.psk");
	if (psk)
		check_psk(d);
	if (!psk || is_there(d, "ca-cert.pem"))
		check_x509(d);
}
