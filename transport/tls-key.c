/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys that are in another process: an OpenSSL provider (provider(7)) whose keys know their public half and ask
 * tls_config's sign() for signatures.
 *
 * libssl finds the way here by the key: whatever it does with it is first offered to the default provider, to which a key
 * must be exported for that; this one cannot be, its public half alone can. Whatever there is to know about a key is the
 * default provider's answer about that half.
 */
#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/proverr.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <string.h>

#include "transport/tls-internal.h"

#define PROVIDER "migd"
#define PARAM_KEY "migd-key"	/* a pointer to struct remote_key, to be copied */

struct remote_key {
	EVP_PKEY *public_half;	/* the default provider's */
	bool can_sign;
	unsigned int identity;
	char certificate[TLS_CERTIFICATE_HEX + 1];
};

/* ---- keys ---- */

static void *key_new(void *provider)
{
	(void)provider;
	return OPENSSL_zalloc(sizeof(struct remote_key));
}

static void key_free(void *key)
{
	struct remote_key *k = key;

	if (k)
		EVP_PKEY_free(k->public_half);
	OPENSSL_free(k);
}

static int key_has(const void *key, int selection)
{
	const struct remote_key *k = key;

	return k && k->public_half && (k->can_sign || !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY));
}

static int key_match(const void *a, const void *b, int selection)
{
	const struct remote_key *ka = a, *kb = b;

	(void)selection;
	return EVP_PKEY_eq(ka->public_half, kb->public_half) == 1;
}

/* One of ours; or the public half of any, to be compared with one of ours. */
static int key_import(struct remote_key *k, const char *type, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, PARAM_KEY);
	const struct remote_key *from;
	EVP_PKEY_CTX *ctx;
	int ok;

	if (p && p->data_size == sizeof(from)) {
		memcpy(&from, p->data, sizeof(from));
		*k = *from;
		return EVP_PKEY_up_ref(k->public_half);
	}
	ctx = EVP_PKEY_CTX_new_from_name(tls_library(), type, "provider=default");
	ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
	     EVP_PKEY_fromdata(ctx, &k->public_half, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) == 1;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static int key_export(void *key, int selection, OSSL_CALLBACK *cb, void *arg)
{
	const struct remote_key *k = key;

	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return 0;
	return EVP_PKEY_export(k->public_half, selection, cb, arg);
}

static int key_get_params(void *key, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct remote_key *)key)->public_half, params);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provider;
	return params;
}

/* What can be in an import or export is not fixed here: the default provider decides. */
static const OSSL_PARAM *key_types(int selection)
{
	static const OSSL_PARAM params[] = { OSSL_PARAM_octet_ptr(PARAM_KEY, NULL, 0), OSSL_PARAM_END };

	(void)selection;
	return params;
}

/* The functions are the same for all types but for these two. */
#define DEFINE_KEY_TYPE(lower, type, signature)                                             \
	static int lower##_import(void *key, int selection, const OSSL_PARAM params[])      \
	{                                                                                   \
		(void)selection;                                                            \
		return key_import(key, type, params);                                       \
	}                                                                                   \
	static const char *lower##_operation(int operation)                                 \
	{                                                                                   \
		return operation == OSSL_OP_SIGNATURE ? signature : type;                   \
	}                                                                                   \
	static const OSSL_DISPATCH lower##_key[] = {                                        \
		{ OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))key_new },                         \
		{ OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))key_free },                       \
		{ OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))key_has },                         \
		{ OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))key_match },                     \
		{ OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))lower##_import },               \
		{ OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))key_types },              \
		{ OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))key_export },                   \
		{ OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))key_types },              \
		{ OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))key_get_params },           \
		{ OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))key_gettable },        \
		{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))lower##_operation }, \
		{ 0, NULL },                                                                \
	}
DEFINE_KEY_TYPE(rsa, "RSA", "RSA");
DEFINE_KEY_TYPE(ec, "EC", "ECDSA");
DEFINE_KEY_TYPE(ed25519, "ED25519", "ED25519");

static const char *const key_type_names[] = { "RSA", "EC", "ED25519" };

/* ---- signatures ---- */

struct signing {
	const struct remote_key *key;
	enum tls_padding padding;
	char digest[32];
};

static void *sign_new(void *provider, const char *properties)
{
	(void)provider;
	(void)properties;
	return OPENSSL_zalloc(sizeof(struct signing));
}

static void sign_free(void *opaque)
{
	OPENSSL_free(opaque);
}

static void *sign_dup(void *opaque)
{
	return OPENSSL_memdup(opaque, sizeof(struct signing));
}

static int sign_set_params(void *opaque, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	struct signing *s = opaque;
	bool pss;
	int mode = 0;

	if (!p)
		return 1;
	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		pss = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
	else if (OSSL_PARAM_get_int(p, &mode))
		pss = mode == 6 /* RSA_PKCS1_PSS_PADDING */;
	else
		return 0;
	s->padding = pss ? TLS_PADDING_PSS : TLS_PADDING_PKCS1;
	return 1;
}

static const OSSL_PARAM *sign_settable(void *opaque, void *provider)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		/* TLS has but one length: the digest's. */
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)opaque;
	(void)provider;
	return params;
}

static int sign_init(void *opaque, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = opaque;

	s->key = key;
	s->padding = EVP_PKEY_is_a(s->key->public_half, "RSA") ? TLS_PADDING_PKCS1 : TLS_PADDING_NONE;
	(void)snprintf(s->digest, sizeof(s->digest), "%s", digest ? digest : "");
	return s->key->can_sign && (!params || sign_set_params(s, params));
}

static int sign(void *opaque, unsigned char *sig, size_t *ret_len, size_t max, const unsigned char *tbs, size_t len)
{
	struct tls_handshake *h = tls_current();
	struct signing *s = opaque;
	struct tls_to_sign what = { .identity = s->key->identity,
				    .certificate = s->key->certificate,
				    .digest = s->digest,
				    .padding = s->padding,
				    .tbs = tbs,
				    .len = len };
	size_t needs = (size_t)EVP_PKEY_get_size(s->key->public_half), n = 0;
	uint8_t result[TLS_SIGNATURE_MAX];

	if (!sig) {
		*ret_len = needs;
		return 1;
	}
	if (!h)
		return 0;
	if (len > TLS_TBS_MAX) {
		(void)merr_set(h->err, -E2BIG, "TLS: a handshake of %zu bytes is to be signed; at most %d are", len, TLS_TBS_MAX);
		return 0;
	}
	if (h->tls->sign(h->tls->opaque, h->deadline_ns, &what, result, &n, h->err) < 0)
		return 0;
	if (n > needs || n > max || n > sizeof(result)) {
		(void)merr_set(h->err, -EBADMSG, "TLS: a signature of %zu bytes came for a key that makes %zu", n, needs);
		return 0;
	}
	memcpy(sig, result, n);
	*ret_len = n;
	return 1;
}

static const OSSL_DISPATCH signature[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))sign_new },
	{ OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))sign_free },
	{ OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))sign_dup },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))sign_init },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))sign },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))sign_set_params },
	{ OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))sign_settable },
	{ 0, NULL },
};

/* ---- the provider ---- */

#define PROPERTIES "provider=" PROVIDER

static const OSSL_ALGORITHM keys[] = {
	{ "RSA", PROPERTIES, rsa_key, "RSA keys elsewhere" },
	{ "EC", PROPERTIES, ec_key, "EC keys elsewhere" },
	{ "ED25519", PROPERTIES, ed25519_key, "Ed25519 keys elsewhere" },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM signatures[] = {
	{ "RSA", PROPERTIES, signature, "made elsewhere" },
	{ "ECDSA", PROPERTIES, signature, "made elsewhere" },
	{ "ED25519", PROPERTIES, signature, "made elsewhere" },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT:
		return keys;
	case OSSL_OP_SIGNATURE:
		return signatures;
	default:
		return NULL;
	}
}

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **ret, void **ret_ctx)
{
	static const OSSL_DISPATCH dispatch[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
		{ 0, NULL },
	};

	(void)in;
	*ret = dispatch;
	*ret_ctx = (void *)(uintptr_t)core;
	return 1;
}

int tls_key_register(OSSL_LIB_CTX *lib)
{
	if (OSSL_PROVIDER_add_builtin(lib, PROVIDER, provider_init) != 1 || !OSSL_PROVIDER_load(lib, PROVIDER))
		return -EIO;
	return 0;
}

static int fingerprint(X509 *cert, char ret[TLS_CERTIFICATE_HEX + 1])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (X509_digest(cert, EVP_sha256(), digest, &len) != 1 || 2 * len != TLS_CERTIFICATE_HEX)
		return -EIO;
	for (unsigned int i = 0; i < len; i++)
		(void)snprintf(ret + (size_t)2 * i, 3, "%02x", digest[i]);
	return 0;
}

EVP_PKEY *tls_key_new(OSSL_LIB_CTX *lib, X509 *cert, unsigned int identity)
{
	struct remote_key key = { .public_half = X509_get0_pubkey(cert), .can_sign = true, .identity = identity };
	const struct remote_key *at = &key;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(PARAM_KEY, &at, sizeof(at)), OSSL_PARAM_construct_end() };
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *ret = NULL;

	if (!key.public_half || fingerprint(cert, key.certificate) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(key_type_names) / sizeof(*key_type_names); i++)
		if (EVP_PKEY_is_a(key.public_half, key_type_names[i]))
			ctx = EVP_PKEY_CTX_new_from_name(lib, key_type_names[i], PROPERTIES);
	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &ret, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	return ret;
}
