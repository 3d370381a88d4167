/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials and signatures between the daemon's words and OpenSSL's. */
#include "engine/tls-bundle.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BASE64_MAX (4 * ((TLS_TBS_MAX + 2) / 3) + 1)

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* HEX in place: its bytes overwrite its digits. */
static int take_key(const struct worker_tls_psk *from, struct tls_psk *ret, struct merr *err)
{
	uint8_t *bytes = (uint8_t *)from->key;
	size_t len = strlen(from->key);
	int high, low;

	for (size_t i = 0; i + 1 < len; i += 2) {
		high = hex_digit(from->key[i]);
		low = hex_digit(from->key[i + 1]);
		if (high < 0 || low < 0)
			return merr_set(err, -EBADMSG, "the shared key '%s' is not hexadecimal", from->identity);
		bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	if (len % 2)
		return merr_set(err, -EBADMSG, "the shared key '%s' has half a byte too much", from->identity);
	*ret = (struct tls_psk){ .identity = from->identity, .key = bytes, .len = len / 2 };
	return 0;
}

static int take_keys(const struct worker_tls *b, struct tls_psk *psks, struct merr *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->n_psks; i++)
		r = take_key(&b->psks[i], &psks[i], err);
	return r;
}

int tls_bundle_open(const struct worker_tls *b, bool server, tls_sign_fn sign, tls_authorize_fn authorize, void *opaque,
		    struct tls **ret, struct merr *err)
{
	_cleanup_free_ struct tls_psk *psks = calloc(b->n_psks + 1, sizeof(*psks));
	struct tls_config config = {
		.server = server,
		.psk = b->kind == WORKER_TLS_KIND_PSK,
		.ca = b->has_ca ? b->ca : NULL,
		.crl = b->has_crl ? b->crl : NULL,
		.certificates = (const char *const *)b->certificates,
		.n_certificates = b->n_certificates,
		.verify_peer = b->verify_peer,
		.hostname = b->has_hostname ? b->hostname : NULL,
		.server_name = b->has_server_name ? b->server_name : NULL,
		.psks = psks,
		.n_psks = b->n_psks,
		.ciphers12 = b->has_ciphers12 ? b->ciphers12 : NULL,
		.server_precedence = b->has_server_precedence && b->server_precedence,
		.ciphersuites13 = b->has_ciphersuites13 ? b->ciphersuites13 : NULL,
		.groups = b->has_groups ? b->groups : NULL,
		.min_version = b->has_min_version ? b->min_version : NULL,
		.max_version = b->has_max_version ? b->max_version : NULL,
		.sign = sign,
		.authorize = authorize,
		.opaque = opaque,
	};
	int r;

	if (!psks)
		return merr_set_errno(err, -ENOMEM, "TLS credentials");
	r = take_keys(b, psks, err);
	if (r == 0) {
		*ret = tls_new(&config, err);
		r = *ret ? 0 : -EINVAL;
	}
	for (size_t i = 0; i < b->n_psks; i++)
		if (psks[i].key)
			OPENSSL_cleanse((void *)(uintptr_t)psks[i].key, psks[i].len);
	return r;
}

int tls_bundle_question(const struct tls_to_sign *what, struct worker_sign *ret, char **ret_tbs, struct merr *err)
{
	static const enum worker_sign_padding paddings[] = {
		[TLS_PADDING_NONE] = WORKER_SIGN_PADDING_NONE,
		[TLS_PADDING_PKCS1] = WORKER_SIGN_PADDING_PKCS1,
		[TLS_PADDING_PSS] = WORKER_SIGN_PADDING_PSS,
	};

	*ret_tbs = malloc(BASE64_MAX);
	if (!*ret_tbs)
		return merr_set_errno(err, -ENOMEM, "TLS: a signature");
	(void)EVP_EncodeBlock((uint8_t *)*ret_tbs, what->tbs, (int)what->len);
	*ret = (struct worker_sign){ .identity = what->identity,
				     .certificate = (char *)(uintptr_t)what->certificate,
				     .digest = (char *)(uintptr_t)what->digest,
				     .padding = paddings[what->padding],
				     .tbs = *ret_tbs };
	return 0;
}

int tls_bundle_signature(const char *text, uint8_t ret[TLS_SIGNATURE_MAX], size_t *ret_len)
{
	size_t len = strlen(text), padding = 0;
	uint8_t decoded[TLS_SIGNATURE_MAX + 2];
	int n;

	if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof(decoded))
		return -EBADMSG;
	while (padding < 2 && text[len - 1 - padding] == '=')
		padding++;
	n = EVP_DecodeBlock(decoded, (const uint8_t *)text, (int)len);
	if (n <= 0 || (size_t)n - padding > TLS_SIGNATURE_MAX)
		return -EBADMSG;
	*ret_len = (size_t)n - padding;
	memcpy(ret, decoded, *ret_len);
	return 0;
}
