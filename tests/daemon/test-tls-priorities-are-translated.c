/* SPDX-License-Identifier: Apache-2.0 */
/* LIBS: migd_daemon migd_base */
/*
 * GnuTLS priority strings become what OpenSSL takes, word by word; what is not understood is refused by name.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/tls-priority.h"

#define SUITES_ALL                                                                                                       \
	"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256"
#define GROUPS_ALL "X25519:P-256:X448:P-521:P-384:ffdhe2048:ffdhe3072:ffdhe4096:ffdhe6144:ffdhe8192"

static struct tls_priority parsed(const char *text, bool psk)
{
	struct tls_priority p;
	struct merr err = MERR_INIT;

	if (tls_priority_parse(text, psk, &p, &err) < 0)
		fail_msg("'%s': %s", text, merr_msg(&err));
	return p;
}

/* OpenSSL takes all of it. */
static void check_with_openssl(const char *text, const struct tls_priority *p)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	assert_non_null(ctx);
	assert_true(p->tls12 || p->tls13);
	assert_true(!p->tls13 || SSL_CTX_set_ciphersuites(ctx, p->suites_13) == 1);
	assert_int_equal(SSL_CTX_set1_groups_list(ctx, p->groups), 1);
	assert_true(p->tls12 == (p->ciphers_12[0] != '\0'));
	if (p->tls12 && SSL_CTX_set_cipher_list(ctx, p->ciphers_12) != 1)
		fail_msg("'%s': OpenSSL does not take '%s'", text, p->ciphers_12);
	SSL_CTX_free(ctx);
}

static void refused(const char *text, const char *word)
{
	struct tls_priority p;
	struct merr err = MERR_INIT;

	assert_int_equal(tls_priority_parse(text, false, &p, &err), -EINVAL);
	if (!strstr(merr_msg(&err), word) || !strstr(merr_msg(&err), "Parameter 'priority'"))
		fail_msg("'%s': '%s' does not say '%s'", text, merr_msg(&err), word);
}

static void bases_are_what_they_are(void **state)
{
	static const struct {
		const char *text, *suites, *groups;
	} rows[] = {
		{ NULL, SUITES_ALL, GROUPS_ALL },
		{ "NORMAL", SUITES_ALL, GROUPS_ALL },
		{ "PFS", SUITES_ALL, GROUPS_ALL },
		{ "SECURE128", SUITES_ALL, GROUPS_ALL },
		{ "PERFORMANCE",
		  "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256", GROUPS_ALL },
		{ "SECURE192", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "X448:P-521:P-384:ffdhe8192" },
		{ "SECURE256", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "X448:P-521:P-384:ffdhe8192" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int psk = 0; psk < 2; psk++) {
			struct tls_priority p = parsed(rows[i].text, psk);

			assert_true(p.tls12 && p.tls13 && !p.server_precedence);
			/* With a shared key, TLS 1.3 takes SHA-256. */
			if (psk)
				assert_null(strstr(p.suites_13, "SHA384"));
			else
				assert_string_equal(p.suites_13, rows[i].suites);
			assert_string_equal(p.groups, rows[i].groups);
			assert_true((strstr(p.ciphers_12, "PSK") != NULL) == psk);
			assert_true((strstr(p.ciphers_12, "ECDSA") != NULL) != psk);
			check_with_openssl(rows[i].text ? rows[i].text : "(none)", &p);
		}
	assert_null(strstr(parsed("PFS", true).ciphers_12, ":PSK-"));
	assert_non_null(strstr(parsed("NORMAL", true).ciphers_12, ":PSK-"));
	assert_false(parsed("NORMAL:-CIPHER-ALL:+AES-256-GCM", true).tls13);
}

static void words_add_and_take_away(void **state)
{
	static const struct {
		const char *text, *suites, *groups;
		bool tls12, tls13;
	} rows[] = {
		{ "NORMAL:-VERS-TLS1.2", SUITES_ALL, GROUPS_ALL, false, true },
		{ "NORMAL:!VERS-TLS1.3", SUITES_ALL, GROUPS_ALL, true, false },
		{ "NORMAL:-VERS-ALL:+VERS-TLS1.3", SUITES_ALL, GROUPS_ALL, false, true },
		{ "NORMAL:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", GROUPS_ALL, true,
		  true },
		{ "NORMAL:-AES-256-GCM:-AES-128-CCM", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", GROUPS_ALL, true,
		  true },
		{ "NORMAL:+AES-128-GCM", SUITES_ALL, GROUPS_ALL, true, true },
		{ "NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-X25519", SUITES_ALL, "P-384:X25519", true, true },
		{ "NORMAL:-AES-256-GCM:+AES-256-GCM",
		  "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384", GROUPS_ALL,
		  true, true },
		{ "NONE:+VERS-TLS1.3:+CHACHA20-POLY1305:+CURVE-X25519:+AEAD:+SIGN-ALL:+COMP-NULL:+CTYPE-X509",
		  "TLS_CHACHA20_POLY1305_SHA256", "X25519", false, true },
		/* Nothing of TLS 1.2 is left to agree on. */
		{ "NORMAL:-KX-ALL", SUITES_ALL, GROUPS_ALL, false, true },
		{ "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:-3DES-CBC:-RSA:-SHA1", SUITES_ALL, GROUPS_ALL, true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tls_priority p = parsed(rows[i].text, false);

		assert_string_equal(p.suites_13, rows[i].suites);
		assert_string_equal(p.groups, rows[i].groups);
		assert_int_equal(p.tls12, rows[i].tls12);
		assert_int_equal(p.tls13, rows[i].tls13);
		check_with_openssl(rows[i].text, &p);
	}
	assert_true(parsed("NORMAL:%SERVER_PRECEDENCE", false).server_precedence);
	assert_string_equal(parsed("NONE:+VERS-TLS1.2:+AES-256-GCM:+GROUP-ALL:+ECDHE-RSA", false).ciphers_12,
			    "ECDHE-RSA-AES256-GCM-SHA384");
}

/* Every word there is, added to NONE with all else, and taken from NORMAL: never a crash, and OpenSSL agrees. */
static void every_word_is_understood(void **state)
{
	static const char *const words[] = {
		"VERS-TLS1.3", "VERS-TLS1.2", "VERS-ALL", "VERS-TLS-ALL", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-GCM",
		"AES-128-CCM", "CIPHER-ALL", "GROUP-X25519", "GROUP-X448", "GROUP-SECP256R1", "GROUP-SECP384R1",
		"GROUP-SECP521R1", "GROUP-FFDHE2048", "GROUP-FFDHE3072", "GROUP-FFDHE4096", "GROUP-FFDHE6144",
		"GROUP-FFDHE8192", "GROUP-ALL", "CURVE-X25519", "CURVE-X448", "CURVE-SECP256R1", "CURVE-SECP384R1",
		"CURVE-SECP521R1", "ECDHE-ECDSA", "ECDHE-RSA", "ECDHE-PSK", "DHE-PSK", "PSK", "KX-ALL",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (int psk = 0; psk < 2; psk++) {
			struct tls_priority p;
			struct merr err = MERR_INIT;

			(void)snprintf(text, sizeof(text), "NONE:+VERS-ALL:+CIPHER-ALL:+GROUP-ALL:+KX-ALL:+%s", words[i]);
			p = parsed(text, psk);
			check_with_openssl(text, &p);
			(void)snprintf(text, sizeof(text), "NORMAL:-%s", words[i]);
			if (tls_priority_parse(text, psk, &p, &err) == 0)
				check_with_openssl(text, &p);
			else
				assert_non_null(strstr(merr_msg(&err), "leaves no"));
		}
}

static void anything_else_is_refused(void **state)
{
	char text[TLS_PRIORITY_TEXT_MAX + 16];

	(void)state;
	refused("", "''");
	refused("SYSTEM", "'SYSTEM'");
	refused("@QEMU,SYSTEM", "'@QEMU,SYSTEM'");
	refused("normal", "'normal'");
	refused("+VERS-ALL", "begins with NORMAL");
	refused("NORMAL:", "''");
	refused("NORMAL::+PSK", "''");
	refused("NORMAL:VERS-ALL", "'VERS-ALL'");
	refused("NORMAL:+", "'+'");
	refused("NORMAL:+AES-256-GCMX", "'+AES-256-GCMX'");
	refused("NORMAL:+VERS-TLS1.1", "always off");
	refused("NORMAL:-AEAD", "always on");
	refused("NORMAL:%COMPAT", "'%COMPAT'");
	refused("NORMAL: +PSK", "' +PSK'");
	refused("NONE", "no version");
	refused("NORMAL:-VERS-ALL", "no version");
	refused("NORMAL:-CIPHER-ALL", "no cipher");
	refused("NORMAL:-GROUP-ALL", "no group");
	refused("NORMAL:-VERS-TLS1.3:-KX-ALL", "no cipher and key exchange");
	memset(text, 'A', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	refused(text, "longer than");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bases_are_what_they_are),
		cmocka_unit_test(words_add_and_take_away),
		cmocka_unit_test(every_word_is_understood),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
