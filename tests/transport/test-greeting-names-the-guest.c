/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a connection to a shared port is for, by its first bytes: what migd writes, what OpenSSL and GnuTLS send, and what
 * nobody should.
 */
/* LIBS: migd_transport migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "transport/greeting.h"

static const struct greeting one = {
	.guest = "guest one",
	.handover_id = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
};

/* GnuTLS 3.7's ClientHello with the server name of `one`. */
static const uint8_t gnutls_hello[] = {
	0x16, 0x03, 0x01, 0x01, 0xae, 0x01, 0x00, 0x01, 0xaa, 0x03, 0x03, 0x59, 0x49, 0xf4, 0x7f, 0x56,
	0x82, 0xfb, 0x7a, 0x3a, 0x2d, 0x98, 0xc1, 0x39, 0xfe, 0xe7, 0xf4, 0x62, 0x14, 0x17, 0x5b, 0xb8,
	0x11, 0x8b, 0x19, 0xfe, 0xcb, 0xc3, 0xfc, 0x30, 0xf5, 0xce, 0x73, 0x20, 0x94, 0xaa, 0x3f, 0x4d,
	0x08, 0xf9, 0x65, 0xa8, 0x27, 0xd4, 0x32, 0x5a, 0x3c, 0xfa, 0x43, 0xfd, 0x6b, 0x9a, 0x2c, 0xf7,
	0x0f, 0x84, 0x33, 0xc1, 0xb2, 0x44, 0x57, 0xb2, 0x7e, 0x66, 0xc1, 0x85, 0x00, 0x3a, 0x13, 0x02,
	0x13, 0x03, 0x13, 0x01, 0x13, 0x04, 0xc0, 0x2c, 0xcc, 0xa9, 0xc0, 0xad, 0xc0, 0x0a, 0xc0, 0x2b,
	0xc0, 0xac, 0xc0, 0x09, 0xc0, 0x30, 0xcc, 0xa8, 0xc0, 0x14, 0xc0, 0x2f, 0xc0, 0x13, 0x00, 0x9d,
	0xc0, 0x9d, 0x00, 0x35, 0x00, 0x9c, 0xc0, 0x9c, 0x00, 0x2f, 0x00, 0x9f, 0xcc, 0xaa, 0xc0, 0x9f,
	0x00, 0x39, 0x00, 0x9e, 0xc0, 0x9e, 0x00, 0x33, 0x01, 0x00, 0x01, 0x27, 0x00, 0x05, 0x00, 0x05,
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x16, 0x00, 0x14, 0x00, 0x17, 0x00, 0x18, 0x00,
	0x19, 0x00, 0x1d, 0x00, 0x1e, 0x01, 0x00, 0x01, 0x01, 0x01, 0x02, 0x01, 0x03, 0x01, 0x04, 0x00,
	0x0b, 0x00, 0x02, 0x01, 0x00, 0x00, 0x0d, 0x00, 0x22, 0x00, 0x20, 0x04, 0x01, 0x08, 0x09, 0x08,
	0x04, 0x04, 0x03, 0x08, 0x07, 0x05, 0x01, 0x08, 0x0a, 0x08, 0x05, 0x05, 0x03, 0x08, 0x08, 0x06,
	0x01, 0x08, 0x0b, 0x08, 0x06, 0x06, 0x03, 0x02, 0x01, 0x02, 0x03, 0x00, 0x16, 0x00, 0x00, 0x00,
	0x17, 0x00, 0x00, 0x00, 0x23, 0x00, 0x00, 0x00, 0x33, 0x00, 0x6b, 0x00, 0x69, 0x00, 0x17, 0x00,
	0x41, 0x04, 0xab, 0x53, 0x10, 0x70, 0x4a, 0xb0, 0x74, 0xea, 0x32, 0x93, 0x0f, 0x62, 0xae, 0xa7,
	0x9f, 0x19, 0xca, 0xd7, 0x68, 0xd1, 0xd9, 0xd0, 0xf3, 0x39, 0x9b, 0x8d, 0x83, 0x11, 0xb0, 0x36,
	0xc6, 0x3a, 0xd5, 0xe8, 0x54, 0xbf, 0x35, 0x0b, 0xda, 0xb3, 0x94, 0xd9, 0xe0, 0x8f, 0xee, 0x01,
	0xcd, 0xa1, 0xbb, 0x1e, 0xa6, 0x28, 0x7a, 0x85, 0xcb, 0x9f, 0x83, 0x66, 0xbc, 0x19, 0x9d, 0x07,
	0x27, 0x76, 0x00, 0x1d, 0x00, 0x20, 0xf9, 0x5c, 0xbb, 0x2c, 0x56, 0x1c, 0xa3, 0x34, 0x7a, 0xc9,
	0x14, 0x66, 0xf2, 0x82, 0x13, 0x46, 0x39, 0x2c, 0xcb, 0x00, 0x37, 0x31, 0x4d, 0x45, 0x5e, 0xe6,
	0x86, 0x7a, 0x23, 0x6b, 0xfc, 0x30, 0x00, 0x2b, 0x00, 0x09, 0x08, 0x03, 0x04, 0x03, 0x03, 0x03,
	0x02, 0x03, 0x01, 0xff, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x00, 0x38, 0x00, 0x00,
	0x35, 0x6d, 0x35, 0x32, 0x77, 0x6b, 0x34, 0x33, 0x75, 0x65, 0x62, 0x78, 0x77, 0x34, 0x7a, 0x69,
	0x2e, 0x61, 0x61, 0x61, 0x71, 0x65, 0x61, 0x79, 0x65, 0x61, 0x75, 0x64, 0x61, 0x6f, 0x63, 0x61,
	0x6a, 0x62, 0x69, 0x66, 0x71, 0x79, 0x64, 0x69, 0x6f, 0x62, 0x34, 0x2e, 0x67, 0x75, 0x65, 0x73,
	0x74, 0x2e, 0x6d, 0x69, 0x67, 0x64, 0x00, 0x2d, 0x00, 0x03, 0x02, 0x01, 0x00, 0x00, 0x1c, 0x00,
	0x02, 0x40, 0x01,
};

static void assert_named(const void *p, size_t len, const struct greeting *want, bool tls)
{
	struct greeting g;

	assert_int_equal(greeting_read(p, len, &g), GREETING_NAMED);
	assert_string_equal(g.guest, want->guest);
	assert_memory_equal(g.handover_id, want->handover_id, sizeof(g.handover_id));
	assert_int_equal(g.tls, tls);
	/* Nothing is said before it is known. */
	for (size_t i = 0; i < len; i++)
		assert_int_equal(greeting_read(p, i, &g), GREETING_MORE);
}

static void test_announcements(void **state)
{
	struct greeting told = one, g;
	char name[GREETING_SERVER_NAME_MAX + 1];
	uint8_t bytes[GREETING_LEN];

	(void)state;
	for (int announces = 0; announces <= 1; announces++) {
		told.announces = announces;
		greeting_write(&told, bytes);
		assert_named(bytes, sizeof(bytes), &told, false);
		assert_int_equal(greeting_read(bytes, sizeof(bytes), &g), GREETING_NAMED);
		assert_int_equal(g.announces, announces);
		greeting_server_name(&told, name);
		assert_true(strstr(name, announces ? ".comes.migd" : ".guest.migd"));
	}
	bytes[7] = 2; /* an unknown flag */
	assert_int_equal(greeting_read(bytes, sizeof(bytes), &g), GREETING_GARBAGE);
}

static enum greeting_verdict verdict(const void *p, size_t len)
{
	struct greeting g;

	return greeting_read(p, len, &g);
}

/* A name of LEN bytes, of all kinds. */
static struct greeting named(size_t len)
{
	struct greeting g = one;

	for (size_t i = 0; i < len; i++)
		g.guest[i] = (char)(i % 3 ? ' ' + i % 90 : 0x80 + i);
	g.guest[len] = '\0';
	return g;
}

static void test_preambles(void **state)
{
	uint8_t bytes[GREETING_LEN];

	(void)state;
	for (size_t len = 1; len <= GREETING_NAME_MAX; len++) {
		struct greeting g = named(len);

		greeting_write(&g, bytes);
		assert_named(bytes, sizeof(bytes), &g, false);
	}
}

/* One byte changed: another name or id at most. */
static void test_changed_preambles(void **state)
{
	uint8_t bytes[GREETING_LEN];

	(void)state;
	for (size_t at = 0; at < GREETING_LEN; at++) {
		bool is_id = at >= 8 && at < 24, is_name = at >= 25 && at < 25 + strlen(one.guest);

		greeting_write(&one, bytes);
		bytes[at] ^= 0x40;
		assert_int_equal(verdict(bytes, sizeof(bytes)),
				 is_id || is_name ? GREETING_NAMED : GREETING_GARBAGE);
	}
	greeting_write(&one, bytes);
	bytes[24] = 0;
	memset(bytes + 25, 0, GREETING_NAME_MAX);
	assert_int_equal(verdict(bytes, sizeof(bytes)), GREETING_GARBAGE);
	greeting_write(&one, bytes);
	bytes[26] = '\n';
	assert_int_equal(verdict(bytes, sizeof(bytes)), GREETING_GARBAGE);
}

/* ---- OpenSSL's ---- */

struct hello {
	const char *server_name;  /* NULL: none */
	int max_version;	  /* 0: the newest */
	unsigned int n_protocols; /* ALPN, of 255 bytes each */
	bool grease;
};

/* RFC 8701: values that a server has to ignore. */
static int add_grease(SSL *ssl, unsigned int type, unsigned int context, const unsigned char **out,
		      size_t *len, X509 *x, size_t chain, int *alert, void *arg)
{
	(void)ssl, (void)type, (void)context, (void)x, (void)chain, (void)alert, (void)arg;
	*out = (const unsigned char *)"\x7a";
	*len = 1;
	return 1;
}

static size_t make_hello(const struct hello *h, uint8_t *ret, size_t cap)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	uint8_t *alpn = calloc(256, 256);
	SSL *ssl;
	int n;

	assert_non_null(ctx);
	assert_non_null(alpn);
	if (h->grease)
		assert_int_equal(SSL_CTX_add_custom_ext(ctx, 0x7a7a, SSL_EXT_CLIENT_HELLO, add_grease,
							NULL, NULL, NULL, NULL), 1);
	ssl = SSL_new(ctx);
	assert_non_null(ssl);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	if (h->max_version)
		assert_int_equal(SSL_set_max_proto_version(ssl, h->max_version), 1);
	if (h->server_name)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, h->server_name), 1);
	for (unsigned int i = 0; i < h->n_protocols; i++) {
		memset(alpn + (size_t)i * 256, 'a', 256);
		alpn[i * 256] = 255;
	}
	if (h->n_protocols)
		assert_int_equal(SSL_set_alpn_protos(ssl, alpn, h->n_protocols * 256), 0);
	assert_int_equal(SSL_connect(ssl), -1);
	n = BIO_read(SSL_get_wbio(ssl), ret, (int)cap);
	assert_in_range(n, 1, cap);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	free(alpn);
	return (size_t)n;
}

/* The same message in records of SIZE bytes. */
static size_t fragment(const uint8_t *from, size_t len, size_t size, uint8_t *ret)
{
	size_t n = 0, here;

	for (size_t i = 5; i < len; i += here) {
		here = len - i < size ? len - i : size;
		memcpy(ret + n, from, 3);
		store_be16(ret + n + 3, (uint16_t)here);
		memcpy(ret + n + 5, from + i, here);
		n += 5 + here;
	}
	return n;
}

static void test_openssl(void **state)
{
	char name[GREETING_SERVER_NAME_MAX + 1];
	uint8_t bytes[4096], pieces[6 * 4096];
	const int versions[] = { 0, TLS1_2_VERSION };
	const size_t lengths[] = { 1, 39, 40, 127 };
	size_t len;

	(void)state;
	for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			struct greeting g = named(lengths[i]);
			struct hello h = { .server_name = name, .max_version = versions[v], .grease = i % 2 };

			greeting_server_name(&g, name);
			assert_in_range(strlen(name), 1, GREETING_SERVER_NAME_MAX);
			len = make_hello(&h, bytes, sizeof(bytes));
			assert_named(bytes, len, &g, true);
			assert_named(pieces, fragment(bytes, len, 1, pieces), &g, true);
			assert_named(pieces, fragment(bytes, len, 100, pieces), &g, true);
		}
	}
}

static void test_gnutls(void **state)
{
	(void)state;
	assert_named(gnutls_hello, sizeof(gnutls_hello), &one, true);
}

static void test_other_names(void **state)
{
	static const char *const names[] = {
		NULL,
		"host.example",
		"migd",
		"guest.migd",
		".guest.migd",
		"aaaqeayeaudaocajbifqydiob4.guest.migd",
		"m4.aaaqeayeaudaocajbifqydiob4.guest.migdx",
		"m4.aaaqeayeaudaocajbifqydiob.guest.migd",
		"m1.aaaqeayeaudaocajbifqydiob4.guest.migd",
		"m5.aaaqeayeaudaocajbifqydiob4.guest.migd",
		"m.4.aaaqeayeaudaocajbifqydiob4.guest.migd",
		"m4..aaaqeayeaudaocajbifqydiob4.guest.migd",
	};
	uint8_t bytes[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = make_hello(&(struct hello){ .server_name = names[i] }, bytes, sizeof(bytes));

		if (verdict(bytes, len) != GREETING_NO_NAME)
			fail_msg("%s was taken for a guest's", names[i]);
	}
}

static void test_case_does_not_matter(void **state)
{
	const char name[] = "M4.AAAQEAYEAUDAOCAJBIFQYDIOB4.GUEST.MIGD";
	struct greeting g = one;
	uint8_t bytes[4096];
	size_t len = make_hello(&(struct hello){ .server_name = name }, bytes, sizeof(bytes));

	(void)state;
	memcpy(g.guest, "g", 2);
	assert_named(bytes, len, &g, true);
}

/* A ClientHello with EXTENSIONS and nothing special else. */
static size_t bare_hello(const void *extensions, size_t ext_len, uint8_t *ret)
{
	struct wcur w = wcur_of(ret, 65536);
	const uint8_t zeros[32] = { 0 };
	size_t len = 2 + 32 + 1 + 4 + 2 + (ext_len ? 2 + ext_len : 0);

	wcur_bytes(&w, "\x16\x03\x01", 3);
	wcur_be16(&w, (uint16_t)(4 + len));
	wcur_be32(&w, 1U << 24 | (uint32_t)len);
	wcur_be16(&w, 0x303);
	wcur_bytes(&w, zeros, 32);
	wcur_u8(&w, 0);
	wcur_bytes(&w, "\0\2\x13\1\1\0", 6);
	if (ext_len) {
		wcur_be16(&w, (uint16_t)ext_len);
		wcur_bytes(&w, extensions, ext_len);
	}
	assert_false(w.bad);
	return w.len;
}

/* Extension server_name with N entries of TYPE for the guest `one`. */
static size_t name_extension(unsigned int n, uint8_t type, uint8_t ret[1024])
{
	char name[GREETING_SERVER_NAME_MAX + 1];
	struct wcur w = wcur_of(ret, 1024);
	size_t len;

	greeting_server_name(&one, name);
	len = n * (3 + strlen(name));
	wcur_be16(&w, 0);
	wcur_be16(&w, (uint16_t)(2 + len));
	wcur_be16(&w, (uint16_t)len);
	while (n-- > 0) {
		wcur_u8(&w, type);
		wcur_be16(&w, (uint16_t)strlen(name));
		wcur_bytes(&w, name, strlen(name));
	}
	return w.len;
}

static void test_names_that_must_not_be(void **state)
{
	uint8_t ext[2048], bytes[4096];
	size_t len;

	(void)state;
	len = name_extension(1, 0, ext);
	assert_named(bytes, bare_hello(ext, len, bytes), &one, true);
	assert_int_equal(verdict(bytes, bare_hello(ext, name_extension(1, 1, ext), bytes)), GREETING_NO_NAME);
	assert_int_equal(verdict(bytes, bare_hello(ext, name_extension(2, 0, ext), bytes)), GREETING_GARBAGE);
	assert_int_equal(verdict(bytes, bare_hello(ext, name_extension(0, 0, ext), bytes)), GREETING_GARBAGE);
	len = name_extension(1, 0, ext);
	len += name_extension(1, 0, ext + len);
	assert_int_equal(verdict(bytes, bare_hello(ext, len, bytes)), GREETING_GARBAGE);
	assert_int_equal(verdict(bytes, bare_hello("\0\0\0\0", 4, bytes)), GREETING_GARBAGE);
	assert_int_equal(verdict(bytes, bare_hello("\0\x0a\0\5", 4, bytes)), GREETING_GARBAGE);
	assert_int_equal(verdict(bytes, bare_hello("\0", 1, bytes)), GREETING_GARBAGE);
	assert_int_equal(verdict(bytes, bare_hello(NULL, 0, bytes)), GREETING_NO_NAME);
}

static void test_too_long(void **state)
{
	static uint8_t bytes[70000], pieces[600000];
	char name[GREETING_SERVER_NAME_MAX + 1];
	struct hello h = { .server_name = name, .n_protocols = 60 };
	size_t len;

	(void)state;
	greeting_server_name(&one, name);
	len = make_hello(&h, bytes, sizeof(bytes));
	assert_in_range(len, 15000, GREETING_HELLO_MAX);
	assert_int_equal(verdict(bytes, len), GREETING_NAMED);
	/* In records so small that their headers are the most of it. */
	len = fragment(bytes, len, 2, pieces);
	assert_in_range(len, GREETING_PEEK_MAX + 1, sizeof(pieces));
	assert_int_equal(verdict(pieces, GREETING_PEEK_MAX - 1), GREETING_MORE);
	assert_int_equal(verdict(pieces, GREETING_PEEK_MAX), GREETING_TOO_LONG);
	/* What it says about its length is enough. */
	h.n_protocols = 70;
	len = make_hello(&h, bytes, sizeof(bytes));
	assert_in_range(len, GREETING_HELLO_MAX + 1, sizeof(bytes));
	assert_int_equal(verdict(bytes, 9), GREETING_TOO_LONG);
	assert_int_equal(verdict(bytes, len < GREETING_PEEK_MAX ? len : GREETING_PEEK_MAX), GREETING_TOO_LONG);
}

static void test_others(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum greeting_verdict verdict;
	} others[] = {
		{ "", 0, GREETING_MORE },
		{ "QEV", 3, GREETING_MORE },
		{ "QEVM", 4, GREETING_STREAM },
		{ "\x11\x22\x33\x44", 4, GREETING_STREAM },
		{ "GET / HTTP/1.1", 14, GREETING_GARBAGE },
		{ "SSH-2.0-x", 9, GREETING_GARBAGE },
		{ "\0\0\0\0", 4, GREETING_GARBAGE },
		{ "\x16\x03\x01\x00", 4, GREETING_MORE },
		{ "\x16\x03\x01\x00\x00", 5, GREETING_GARBAGE },	   /* an empty record */
		{ "\x16\x03\x01\x40\x01", 5, GREETING_GARBAGE },	   /* longer than a record may be */
		{ "\x16\x02\x01\x00\x05", 5, GREETING_GARBAGE },	   /* no TLS */
		{ "\x16\x03\x01\x00\x05\x02", 6, GREETING_GARBAGE },	   /* a ServerHello */
		{ "\x16\x03\x01\x00\x02\x01\x00\x17", 8, GREETING_MORE },
		{ "\x16\x03\x01\x00\x02\x01\x00\x17\x03\x01\x00\x05", 12, GREETING_GARBAGE }, /* data in between */
		{ "\x15\x03\x01\x00\x02\x02\x28", 7, GREETING_GARBAGE },   /* an alert */
		{ "\x80\x2e\x01\x03\x01", 5, GREETING_GARBAGE },	   /* SSL 2 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (verdict(others[i].bytes, others[i].len) != others[i].verdict)
			fail_msg("number %zu: %d", i, verdict(others[i].bytes, others[i].len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_announcements),
		cmocka_unit_test(test_preambles),
		cmocka_unit_test(test_changed_preambles),
		cmocka_unit_test(test_openssl),
		cmocka_unit_test(test_gnutls),
		cmocka_unit_test(test_other_names),
		cmocka_unit_test(test_case_does_not_matter),
		cmocka_unit_test(test_names_that_must_not_be),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
