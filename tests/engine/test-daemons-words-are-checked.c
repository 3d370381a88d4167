/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker is told over its link: bodies that are no message's, credentials, signatures and
 * pages that are none. */
/* LIBS: migd_engine migd_schema migd_base */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/link.h"
#include "engine/stats-page.h"
#include "engine/tls-bundle.h"

struct ends {
	struct conn *daemon, *worker;
};

static struct ends ends_new(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	return (struct ends){ conn_new(fds[0]), conn_new(fds[1]) };
}

static void ends_free(struct ends *e)
{
	e->daemon = conn_free(e->daemon);
	e->worker = conn_free(e->worker);
}

static void expect_words(const struct merr *err, const char *words)
{
	if (!strstr(merr_msg(err), words))
		fail_msg("'%s' is not about '%s'", merr_msg(err), words);
}

/* ---- short bodies ---- */

static void test_bodies(void **state)
{
	const struct {
		const char *body, *why;
	} all[] = {
		{ "", "expected near" },
		{ "{", "expected near" },
		{ "[1]", "not a JSON object" },
		{ "7", "expected near" },
		{ "{\"a\": 1, \"a\": 2}", "duplicate" },
		{ "{} {}", "end of file expected" },
		{ "{\"a\": \"\xff\"}", "unable to decode byte 0xff" },
	};
	struct ends e = ends_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct merr err = MERR_INIT;
		struct conn_msg m;
		json_t *j = NULL;

		assert_int_equal(conn_send(e.daemon, LINK_CANCEL, all[i].body, strlen(all[i].body),
					   NULL, 0, NULL),
				 0);
		assert_int_equal(conn_recv(e.worker, &m, NULL), 1);
		assert_int_equal(link_body(&m, &j, &err), -EBADMSG);
		assert_null(j);
		expect_words(&err, "worker link: message 202");
		expect_words(&err, all[i].why);
		conn_msg_done(&m);
	}
	ends_free(&e);
}

/* ---- long ones ---- */

#define KEY "{\"kind\": \"psk\", \"verify-peer\": true, \"secret\": \"0123456789abcdef\" oops}"

/* FD, or -1, as a body of at most 100 bytes. */
static void expect_no_long_body(int fd, const char *why)
{
	struct ends e = ends_new();
	struct merr err = MERR_INIT;
	struct conn_msg m;
	json_t *j = NULL;

	assert_int_equal(link_send(e.daemon, LINK_TLS, NULL, &fd, fd >= 0), 0);
	assert_int_equal(conn_recv(e.worker, &m, NULL), 1);
	assert_int_equal(link_receive_long(&m, 100, &j, &err), -EBADMSG);
	assert_null(j);
	expect_words(&err, why);
	assert_null(
		strstr(merr_msg(&err), "0123456789abcdef")); /* what may be a key is not told on */
	conn_msg_done(&m);
	ends_free(&e);
}

static void test_long_bodies(void **state)
{
	_cleanup_close_ int empty = fd_memfd("empty", 0), large = fd_memfd("large", 101),
			    text = fd_memfd("text", strlen(KEY));
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(fd_pwrite_full(text, KEY, strlen(KEY), 0), 0);
	expect_no_long_body(-1, "without a body");
	expect_no_long_body(empty, "without a body");
	expect_no_long_body(pipes[0], "without a body");
	expect_no_long_body(large, "more than 100 bytes");
	expect_no_long_body(text, "no JSON at byte");
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void test_what_is_too_long_is_not_sent(void **state)
{
	struct ends e = ends_new();
	json_t *body = json_pack("{s:s}", "a", "0123456789");
	struct conn_msg m;

	(void)state;
	assert_int_equal(link_send_long(e.daemon, LINK_TLS, body, 10), -E2BIG);
	assert_int_equal(conn_recv(e.worker, &m, NULL), 0);
	json_decref(body);
	ends_free(&e);
}

/* ---- credentials ---- */

/* HEX NULL: no key at all. */
static int open_keys(const char *name, const char *hex, struct merr *err)
{
	_cleanup_free_ char *identity = strdup(name), *key = strdup(hex ? hex : "");
	struct worker_tls_psk psk = { .identity = identity, .key = key };
	struct worker_tls b = {
		.kind = WORKER_TLS_KIND_PSK, .has_psks = true, .n_psks = hex != NULL, .psks = &psk
	};
	struct tls *tls = NULL;
	int r = tls_bundle_open(&b, true, NULL, NULL, NULL, &tls, err);

	assert_true((r == 0) == (tls != NULL));
	tls_unref(tls);
	return r;
}

static void test_shared_keys(void **state)
{
	char longest[TLS_PSK_IDENTITY_MAX + 1] = "", too_long[TLS_PSK_IDENTITY_MAX + 2] = "";
	char large[2 * TLS_PSK_KEY_MAX + 3] = "";
	const struct {
		const char *name, *hex, *why; /* WHY NULL: right */
	} all[] = {
		{ "qemu", "00fFAa", NULL },
		{ longest, "00", NULL },
		{ "qemu", "0g", "'qemu' is not hexadecimal" },
		{ "qemu", " 0", "'qemu' is not hexadecimal" },
		{ "qemu", "00f", "half a byte too much" },
		{ "qemu", "", "has 0 bytes" },
		{ "qemu", large, "has 257 bytes" },
		{ "", "00", "name has 0 bytes" },
		{ too_long, "00", "name has 129 bytes" },
		{ "qemu", NULL, "0 shared keys" },
	};

	(void)state;
	memset(longest, 'n', sizeof(longest) - 1);
	memset(too_long, 'n', sizeof(too_long) - 1);
	memset(large, 'a', sizeof(large) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct merr err = MERR_INIT;
		int r = open_keys(all[i].name, all[i].hex, &err);

		if (!all[i].why)
			assert_int_equal(r, 0);
		else if (r >= 0)
			fail_msg("taken: %s", all[i].why);
		else
			expect_words(&err, all[i].why);
	}
}

static void test_signatures(void **state)
{
	static const char *const none[] = { "", "AAA", "AAAA*AAA" };
	_cleanup_free_ char *large = malloc(2 * TLS_SIGNATURE_MAX + 1);
	uint8_t sig[TLS_SIGNATURE_MAX];
	size_t len;

	(void)state;
	assert_int_equal(tls_bundle_signature("aGk=", sig, &len), 0);
	assert_int_equal(len, 2);
	assert_memory_equal(sig, "hi", 2);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(tls_bundle_signature(none[i], sig, &len), -EBADMSG);
	/* From the longest there can be on, four digits at a time. */
	for (size_t digits = 4 * (TLS_SIGNATURE_MAX / 3); digits <= 2 * TLS_SIGNATURE_MAX;
	     digits += 4) {
		memset(large, 'A', digits);
		large[digits] = '\0';
		assert_int_equal(tls_bundle_signature(large, sig, &len),
				 digits / 4 * 3 <= TLS_SIGNATURE_MAX ? 0 : -EBADMSG);
	}
}

/* ---- the statistics page ---- */

static void test_statistics_pages(void **state)
{
	_cleanup_close_ int small = fd_memfd("small", STATS_PAGE_LEN / 2),
			    blank = fd_memfd("blank", STATS_PAGE_LEN), good = -1;
	struct stats_page *page = NULL, *other = NULL;

	(void)state;
	assert_int_equal(stats_page_open(-1, &page), -EBADF);
	assert_int_equal(stats_page_open(small, &page), -EBADMSG);
	assert_int_equal(stats_page_open(blank, &page), -EBADMSG);
	assert_int_equal(stats_page_create(&page, &good), 0);
	assert_int_equal(stats_page_open(good, &other), 0);
	stats_page_unmap(other);
	page->version++;
	assert_int_equal(stats_page_open(good, &other), -EBADMSG);
	stats_page_unmap(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_long_bodies),
		cmocka_unit_test(test_what_is_too_long_is_not_sent),
		cmocka_unit_test(test_shared_keys),
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_statistics_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
