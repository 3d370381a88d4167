/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of TLS handshakes. */
#include "daemon/tls-sign.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SPACES_LEN 64U
#define RANDOM_LEN 32U

enum form { FORM_NONE = 0, FORM_TLS12, FORM_TLS13 };

/* ---- what it is ---- */

/* 64 spaces, whose it is and a NUL, a hash. */
static bool is_tls13(const uint8_t *b, size_t len, bool server)
{
	const char *whose = server ? "TLS 1.3, server CertificateVerify" : "TLS 1.3, client CertificateVerify";
	size_t head = SPACES_LEN + strlen(whose) + 1;

	for (size_t i = 0; i < SPACES_LEN; i++)
		if (i >= len || b[i] != ' ')
			return false;
	/* The hashes of TLS 1.3's ciphers: SHA-256 and SHA-384. */
	return (len == head + 32 || len == head + 48) && memcmp(b + SPACES_LEN, whose, strlen(whose) + 1) == 0;
}

/* Both randoms, then a named curve and a point: curve type 3, its number, a length, the point. */
static bool is_server_key_exchange(const uint8_t *b, size_t len)
{
	size_t at = 2 * (size_t)RANDOM_LEN;

	return len > at + 4 && b[at] == 3 && b[at + 3] > 0 && len == at + 4 + b[at + 3];
}

/* Whole handshake messages, from client_hello to client_key_exchange. */
static bool is_transcript(const uint8_t *b, size_t len)
{
	enum { CLIENT_HELLO = 1, SERVER_HELLO = 2, CLIENT_KEY_EXCHANGE = 16 };
	size_t at = 0, n = 0, left;
	uint8_t type = 0;

	for (; len - at >= 4; n++) {
		size_t body = ((size_t)b[at + 1] << 16) | ((size_t)b[at + 2] << 8) | b[at + 3];

		type = b[at];
		left = len - at - 4;
		if (body > left || (n == 0 && type != CLIENT_HELLO) || (n == 1 && type != SERVER_HELLO))
			return false;
		at += 4 + body;
	}
	return at == len && n > 2 && type == CLIENT_KEY_EXCHANGE;
}

static enum form form_of(const uint8_t *b, size_t len, bool server)
{
	if (is_tls13(b, len, server))
		return FORM_TLS13;
	return (server ? is_server_key_exchange(b, len) : is_transcript(b, len)) ? FORM_TLS12 : FORM_NONE;
}

/* ---- how it is signed ---- */

/* *RET NULL: the key has a digest of its own. */
static int find_digest(const char *name, const EVP_MD **ret, struct merr *err)
{
	static const struct {
		const char *name;
		const EVP_MD *(*digest)(void);
	} digests[] = {
		{ "SHA2-256", EVP_sha256 }, { "SHA2-384", EVP_sha384 }, { "SHA2-512", EVP_sha512 },
		{ "SHA256", EVP_sha256 },   { "SHA384", EVP_sha384 },   { "SHA512", EVP_sha512 },
	};

	*ret = NULL;
	if (!name[0])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(digests); i++)
		if (strcmp(name, digests[i].name) == 0) {
			*ret = digests[i].digest();
			return 0;
		}
	return merr_set(err, -EPERM, "nothing is signed with the digest '%s'", name);
}

static int check_way(EVP_PKEY *key, enum form form, const EVP_MD *digest, enum worker_sign_padding padding, struct merr *err)
{
	bool rsa = EVP_PKEY_is_a(key, "RSA") == 1, own = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;

	if (own == (digest != NULL))
		return merr_set(err, -EPERM, "this key %s", own ? "takes no digest" : "takes a digest");
	if (rsa != (padding != WORKER_SIGN_PADDING_NONE))
		return merr_set(err, -EPERM, "this key takes %s", rsa ? "a padding" : "no padding");
	if (rsa && form == FORM_TLS13 && padding != WORKER_SIGN_PADDING_PSS)
		return merr_set(err, -EPERM, "TLS 1.3 takes the padding 'pss'");
	return 0;
}

static bool pad(EVP_PKEY_CTX *ctx, enum worker_sign_padding padding)
{
	switch (padding) {
	case WORKER_SIGN_PADDING_PKCS1:
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
	case WORKER_SIGN_PADDING_PSS:
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
	default:
		return true;
	}
}

/* ---- base64 ---- */

static int decode(const char *text, uint8_t **ret, size_t *ret_len, struct merr *err)
{
	size_t len = strlen(text), padding = 0;
	uint8_t *bytes;
	int n;

	if (len == 0 || len % 4 != 0 || len / 4 * 3 > TLS_SIGN_MAX_BYTES + 2)
		return merr_set(err, -EINVAL, "what is to be signed is no base64 of 1 to %d bytes", TLS_SIGN_MAX_BYTES);
	while (padding < 2 && text[len - 1 - padding] == '=')
		padding++;
	bytes = malloc(len / 4 * 3);
	n = bytes ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len) : -1;
	if (n < 0 || (size_t)n < padding) {
		free(bytes);
		return merr_set(err, -EINVAL, "what is to be signed is no base64");
	}
	*ret = bytes;
	*ret_len = (size_t)n - padding;
	return 0;
}

static char *encode(const uint8_t *bytes, size_t len)
{
	char *text = malloc((len + 2) / 3 * 4 + 1);

	if (text)
		(void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
	return text;
}

static char *make_signature(EVP_PKEY *key, const EVP_MD *digest, enum worker_sign_padding padding, const uint8_t *tbs,
			    size_t tbs_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_ctx = NULL;
	size_t len = (size_t)EVP_PKEY_get_size(key);
	uint8_t *signature = malloc(len);
	char *text = NULL;

	if (ctx && signature && EVP_DigestSignInit(ctx, &key_ctx, digest, NULL, key) == 1 && pad(key_ctx, padding) &&
	    EVP_DigestSign(ctx, signature, &len, tbs, tbs_len) == 1)
		text = encode(signature, len);
	EVP_MD_CTX_free(ctx);
	free(signature);
	ERR_clear_error();
	return text;
}

int tls_sign(EVP_PKEY *key, bool server, const struct worker_sign *s, char **ret, struct merr *err)
{
	_cleanup_free_ uint8_t *tbs = NULL;
	const EVP_MD *digest = NULL;
	size_t len = 0;
	enum form form;
	int r = decode(s->tbs, &tbs, &len, err);

	if (r == 0)
		r = find_digest(s->digest, &digest, err);
	if (r < 0)
		return r;
	form = form_of(tbs, len, server);
	if (form == FORM_NONE)
		return merr_set(err, -EPERM, "what is to be signed is not what a TLS %s signs", server ? "server" : "client");
	r = check_way(key, form, digest, s->padding, err);
	if (r < 0)
		return r;
	*ret = make_signature(key, digest, s->padding, tbs, len);
	return *ret ? 0 : merr_set(err, -EIO, "the key cannot make that signature");
}
