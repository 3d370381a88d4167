/* SPDX-License-Identifier: Apache-2.0 */
/* LIBS: migd_daemon migd_base */
/* The key in the daemon signs what TLS handshakes sign: what a hostile worker would like to have signed is refused. */
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/tls-sign.h"

#define BUF_MAX (TLS_SIGN_MAX_BYTES + 16)

struct text {
	uint8_t b[BUF_MAX];
	size_t len;
};

static void add(struct text *t, const void *bytes, size_t len)
{
	assert_true(t->len + len <= sizeof(t->b));
	memcpy(t->b + t->len, bytes, len);
	t->len += len;
}

static void add_n(struct text *t, uint8_t byte, size_t n)
{
	while (n-- > 0)
		add(t, &byte, 1);
}

static struct text tls13(const char *whose, size_t hash_len)
{
	struct text t = { .len = 0 };

	add_n(&t, ' ', 64);
	add(&t, whose, strlen(whose) + 1);
	add_n(&t, 0xAB, hash_len);
	return t;
}

#define SERVER "TLS 1.3, server CertificateVerify"
#define CLIENT "TLS 1.3, client CertificateVerify"

/* Both randoms, x25519, a point of 32 bytes. */
static struct text key_exchange(void)
{
	struct text t = { .len = 0 };

	add_n(&t, 0x11, 64);
	add(&t, (const uint8_t[]){ 3, 0, 29, 32 }, 4);
	add_n(&t, 0x22, 32);
	return t;
}

static struct text transcript(void)
{
	struct text t = { .len = 0 };

	add(&t, (const uint8_t[]){ 1, 0, 0, 3, 7, 7, 7 }, 7);
	add(&t, (const uint8_t[]){ 2, 0, 0, 1, 7 }, 5);
	add(&t, (const uint8_t[]){ 16, 0, 0, 0 }, 4);
	return t;
}

static int sign_as(EVP_PKEY *key, bool server, const struct text *t, const char *digest, enum worker_sign_padding padding,
		   char **ret, struct merr *err)
{
	char *tbs = malloc((t->len + 2) / 3 * 4 + 1);
	struct worker_sign s = { .digest = (char *)(uintptr_t)digest, .padding = padding, .tbs = tbs };
	int r;

	(void)EVP_EncodeBlock((unsigned char *)tbs, t->b, (int)t->len);
	r = tls_sign(key, server, &s, ret, err);
	free(tbs);
	return r;
}

static void signs(EVP_PKEY *key, bool server, struct text t, const char *digest, enum worker_sign_padding padding)
{
	struct merr err = MERR_INIT;
	char *text = NULL;
	uint8_t *signature;
	EVP_PKEY_CTX *ctx;
	EVP_MD_CTX *md;
	size_t len;
	int n;

	if (sign_as(key, server, &t, digest, padding, &text, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	len = strlen(text);
	signature = malloc(len);
	n = EVP_DecodeBlock(signature, (unsigned char *)text, (int)len);
	n -= text[len - 1] == '=' ? 1 + (text[len - 2] == '=') : 0;
	md = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(md, &ctx, digest[0] ? EVP_get_digestbyname("SHA256") : NULL, NULL, key), 1);
	if (padding == WORKER_SIGN_PADDING_PSS)
		assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0);
	assert_int_equal(EVP_DigestVerify(md, signature, (size_t)n, t.b, t.len), 1);
	EVP_MD_CTX_free(md);
	free(signature);
	free(text);
}

static void refuses(EVP_PKEY *key, bool server, struct text t, const char *digest, enum worker_sign_padding padding,
		    const char *word)
{
	struct merr err = MERR_INIT;
	char *text = NULL;

	assert_true(sign_as(key, server, &t, digest, padding, &text, &err) < 0);
	assert_null(text);
	if (!strstr(merr_msg(&err), word))
		fail_msg("'%s' does not say '%s'", merr_msg(&err), word);
}

static EVP_PKEY *ec, *rsa, *ed;

#define NONE  WORKER_SIGN_PADDING_NONE
#define PKCS1 WORKER_SIGN_PADDING_PKCS1
#define PSS   WORKER_SIGN_PADDING_PSS

static void handshakes_are_signed(void **state)
{
	(void)state;
	signs(ec, true, tls13(SERVER, 32), "SHA2-256", NONE);
	signs(ec, true, tls13(SERVER, 48), "SHA256", NONE);
	signs(ec, false, tls13(CLIENT, 32), "SHA2-256", NONE);
	signs(ed, true, tls13(SERVER, 32), "", NONE);
	signs(rsa, true, tls13(SERVER, 48), "SHA2-256", PSS);
	signs(rsa, true, key_exchange(), "SHA2-256", PKCS1);
	signs(rsa, true, key_exchange(), "SHA2-256", PSS);
	signs(ec, true, key_exchange(), "SHA2-256", NONE);
	signs(ec, false, transcript(), "SHA2-256", NONE);
}

static void other_texts_are_not(void **state)
{
	struct text t = { .len = 0 };

	(void)state;
	/* The other side's, and a client's certificate for a server's purpose. */
	refuses(ec, false, tls13(SERVER, 32), "SHA2-256", NONE, "not what a TLS client signs");
	refuses(ec, true, tls13(CLIENT, 32), "SHA2-256", NONE, "not what a TLS server signs");
	refuses(ec, true, transcript(), "SHA2-256", NONE, "not what");
	refuses(ec, false, key_exchange(), "SHA2-256", NONE, "not what");
	refuses(ec, true, tls13(SERVER, 31), "SHA2-256", NONE, "not what");
	refuses(ec, true, tls13(SERVER, 33), "SHA2-256", NONE, "not what");
	refuses(ec, true, tls13("TLS 1.3, server CertificateVerif", 33), "SHA2-256", NONE, "not what");
	/* A certificate request, a document. */
	add_n(&t, '0', 200);
	refuses(ec, true, t, "SHA2-256", NONE, "not what");
	refuses(ec, false, t, "SHA2-256", NONE, "not what");
	t.len = 0;
	add_n(&t, 'x', 1);
	refuses(ec, true, t, "SHA2-256", NONE, "not what");
	t.len = 0;
	refuses(ec, true, t, "SHA2-256", NONE, "no base64");
	add_n(&t, ' ', TLS_SIGN_MAX_BYTES + 8);
	refuses(ec, true, t, "SHA2-256", NONE, "no base64 of 1 to 16384");
}

static void torn_ones_are_not(void **state)
{
	struct text whole = key_exchange();

	(void)state;
	for (size_t n = 1; n < whole.len; n++) {
		struct text t = whole;

		t.len = n;
		refuses(ec, true, t, "SHA2-256", NONE, "not what");
	}
	whole = transcript();
	for (size_t n = 1; n < whole.len; n++) {
		struct text t = whole;

		t.len = n;
		refuses(ec, false, t, "SHA2-256", NONE, "not what");
	}
	add_n(&whole, 0, 3);
	refuses(ec, false, whole, "SHA2-256", NONE, "not what");
	whole = transcript();
	whole.b[1] = 0xFF; /* a length beyond the end */
	refuses(ec, false, whole, "SHA2-256", NONE, "not what");
}

static void other_ways_are_not(void **state)
{
	(void)state;
	refuses(ec, true, tls13(SERVER, 32), "SHA1", NONE, "digest 'SHA1'");
	refuses(ec, true, tls13(SERVER, 32), "MD5", NONE, "digest 'MD5'");
	refuses(ec, true, tls13(SERVER, 32), "", NONE, "takes a digest");
	refuses(ed, true, tls13(SERVER, 32), "SHA2-256", NONE, "takes no digest");
	refuses(ec, true, tls13(SERVER, 32), "SHA2-256", PSS, "takes no padding");
	refuses(rsa, true, tls13(SERVER, 32), "SHA2-256", NONE, "takes a padding");
	refuses(rsa, true, tls13(SERVER, 32), "SHA2-256", PKCS1, "'pss'");
	refuses(rsa, true, tls13(SERVER, 32), "", PSS, "takes a digest");
}

static int make_keys(void **state)
{
	(void)state;
	ec = EVP_EC_gen("P-256");
	rsa = EVP_RSA_gen(2048);
	ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return ec && rsa && ed ? 0 : -1;
}

static int free_keys(void **state)
{
	(void)state;
	EVP_PKEY_free(ec);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes_are_signed),
		cmocka_unit_test(other_texts_are_not),
		cmocka_unit_test(torn_ones_are_not),
		cmocka_unit_test(other_ways_are_not),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
