/* SPDX-License-Identifier: Apache-2.0 */
/* What another VMM offers as guest memory, or a program left in the environment, is checked before
 * anything is mapped. */
/* LIBS: migd_guest */
#include <errno.h>
#include <fcntl.h>
#include <migd/guest.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "guest/cpr.h"
#include "guest/unix-socket.h"

#define RAM_LEN 65536U

static char dir[] = "/tmp/migd-cpr-XXXXXX", path[64];

/* The two sides of one attempt; the old VMM's, which waits for its answer, on a thread. */
struct offer {
	struct migd_guest_cpr *cpr;
	struct conn *conn;
	pthread_t thread;
	uint16_t type;
	uint8_t body[2048];
	size_t len, n_fds;
	const int *fds;
	int answer; /* conn_call()'s */
	struct merr why;
};

static void *ask(void *arg)
{
	struct offer *o = arg;
	struct conn_msg m;

	o->answer = conn_call(o->conn, o->type, o->body, o->len, o->fds, o->n_fds,
			      clock_now_ns() + 20 * NS_PER_SEC, -1, &m, &o->why);
	if (o->answer == 0)
		conn_msg_done(&m);
	return NULL;
}

static void offer_send(struct offer *o, uint16_t type)
{
	o->type = type;
	assert_int_equal(pthread_create(&o->thread, NULL, ask, o), 0);
}

static struct offer offer_begin(void)
{
	struct offer o = { .why = MERR_INIT };
	int fd;

	assert_int_equal(migd_guest_cpr_listen(path, &o.cpr), 0);
	fd = unix_connect(path);
	assert_true(fd >= 0);
	o.conn = conn_new(fd);
	return o;
}

static void offer_end(struct offer *o)
{
	migd_guest_cpr_free(o->cpr);
	o->conn = conn_free(o->conn);
	assert_int_equal(access(path, F_OK), -1);
}

/* RAM_OFFER's body: ROWS, said to be N. */
static size_t encode(uint8_t *bytes, const struct attach_ram_block *rows, size_t n_rows, uint32_t n)
{
	uint8_t blocks[1024];
	struct wcur inner = wcur_of(blocks, sizeof(blocks)), w = wcur_of(bytes, 2048);
	struct attach_ram_offer o = { .handover_id = { 7 }, .n = n };

	for (size_t i = 0; i < n_rows; i++)
		assert_int_equal(attach_ram_block_encode(&inner, &rows[i]), 0);
	o.blocks = (struct attach_blob){ .data = blocks, .len = (uint32_t)inner.len };
	assert_int_equal(attach_ram_offer_encode(&w, &o), 0);
	return w.len;
}

static struct attach_ram_block row_of(const char *name, uint64_t fd_offset, uint64_t len)
{
	struct attach_ram_block row = { .len = len, .fd_offset = fd_offset, .page_size = 4096 };

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	return row;
}

/* The new VMM fails, whoever offered is told why, and both say WORDS. */
static void expect_refused(const struct attach_ram_block *rows, size_t n_rows, uint32_t n,
			   const int *fds, size_t n_fds, const char *words)
{
	struct offer o = offer_begin();

	o.len = encode(o.body, rows, n_rows, n);
	o.fds = fds;
	o.n_fds = n_fds;
	offer_send(&o, ATTACH_RAM_OFFER);
	assert_int_equal(migd_guest_cpr_receive(o.cpr, 10000), -EBADMSG);
	if (!strstr(migd_guest_error(), words))
		fail_msg("'%s' instead of '%s'", migd_guest_error(), words);
	(void)pthread_join(o.thread, NULL);
assert_int_equal(o.answer, -EPROTO);
	if (!strstr(merr_msg(&o.why), words))
		fail_msg("the other VMM heard '%s' instead of '%s'", merr_msg(&o.why), words);
	offer_end(&o);
}

static void test_offers_that_cannot_be(void **state)
{
	_cleanup_close_ int ram = fd_memfd("ram", RAM_LEN),
			    null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int readable = -1;
	struct attach_ram_block good = row_of("ram", 0, RAM_LEN), nameless = row_of("", 0, RAM_LEN);
	struct attach_ram_block twice[] = { good, good };
	struct attach_ram_block far = row_of("ram", 4096, RAM_LEN), none = row_of("ram", 0, 0),
				wraps = row_of("ram", UINT64_MAX - 4095, 8192);
	int both[] = { ram, ram };
	char link[64];

	(void)state;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", ram);
	readable = open(link, O_RDONLY | O_CLOEXEC);
	assert_true(readable >= 0);
	expect_refused(&good, 1, 0, NULL, 0, "0 blocks");
	expect_refused(&good, 1, 2, &ram, 1, "2 blocks with 1");
	expect_refused(&good, 1, ATTACH_RAM_BLOCKS_MAX + 1, &ram, 1, "blocks with 1");
	expect_refused(&nameless, 1, 1, &ram, 1, "is empty or there twice");
	expect_refused(twice, 2, 2, both, 2, "is empty or there twice");
	expect_refused(&good, 1, 1, &null, 1, "no file open for reading and writing");
	expect_refused(&good, 1, 1, &readable, 1, "no file open for reading and writing");
	expect_refused(&far, 1, 1, &ram, 1, "of a file of 65536 bytes");
	expect_refused(&none, 1, 1, &ram, 1, "of a file of 65536 bytes");
	expect_refused(&wraps, 1, 1, &ram, 1, "of a file of 65536 bytes");
	expect_refused(twice, 2, 1, &ram, 1, "bytes too many"); /* a row behind the last */
	expect_refused(&good, 1, 2, both, 2, "ends beyond the end"); /* a row too few */
}

/* Who goes without a word is no reason to give up; who says something else is. */
static void test_who_is_no_vmm(void **state)
{
	struct offer o = offer_begin();

	(void)state;
	o.conn = conn_free(o.conn);
	assert_int_equal(migd_guest_cpr_receive(o.cpr, 100), -ETIMEDOUT);
	o.conn = conn_new(unix_connect(path));
	offer_send(&o, ATTACH_HEARTBEAT);
	assert_int_equal(migd_guest_cpr_receive(o.cpr, 10000), -EBADMSG);
	assert_non_null(strstr(migd_guest_error(), "HEARTBEAT came instead of RAM_OFFER"));
	(void)pthread_join(o.thread, NULL);
	assert_true(o.answer < 0);
	offer_end(&o);

	o = offer_begin();
	assert_int_equal(send(conn_fd(o.conn), "hello", 5, MSG_NOSIGNAL), 5);
	assert_true(migd_guest_cpr_receive(o.cpr, 10000) < 0);
	assert_true(migd_guest_cpr_receive(o.cpr, 0) < 0);
	assert_non_null(strstr(migd_guest_error(), "received already"));
	offer_end(&o);
}

/* What the VMM registers has to be what it was given, all of it. */
static void test_claims(void **state)
{
	_cleanup_close_ int ram = fd_memfd("ram", RAM_LEN), other = fd_memfd("ram", RAM_LEN);
	struct attach_ram_block rows[] = { row_of("ram", 0, RAM_LEN / 2),
					   row_of("rom", RAM_LEN / 2, RAM_LEN / 2) };
	int fds[] = { ram, ram };
	struct offer o = offer_begin();
	struct merr err = MERR_INIT;
	struct migd_guest_ram got;
	struct ram_block b;

	(void)state;
	o.len = encode(o.body, rows, 2, 2);
	assert_int_equal(conn_send(o.conn, ATTACH_RAM_OFFER, o.body, o.len, fds, 2, NULL), 0);
	assert_int_equal(migd_guest_cpr_receive(o.cpr, 10000), 0);
	assert_true(migd_guest_cpr_ram(o.cpr, "video", &got) < 0);
	assert_non_null(strstr(migd_guest_error(), "'video'"));
	assert_int_equal(migd_guest_cpr_ram(o.cpr, "rom", &got), 0);
	assert_int_equal(got.len, RAM_LEN / 2);
	b = (struct ram_block){
		.name = "video", .fd = got.fd, .fd_offset = got.fd_offset, .len = got.len
	};
	assert_int_equal(cpr_claim(o.cpr, &b, &err), -EINVAL);
	(void)snprintf(b.name, sizeof(b.name), "rom");
	b.fd = other;
	merr_clear(&err);
	assert_int_equal(cpr_claim(o.cpr, &b, &err), -EINVAL);
	b.fd = got.fd;
	b.len = RAM_LEN / 4;
	merr_clear(&err);
	assert_int_equal(cpr_claim(o.cpr, &b, &err), -EINVAL);
	assert_non_null(strstr(merr_msg(&err), "not the memory that was handed over"));
	b.len = got.len;
	assert_int_equal(cpr_claim(o.cpr, &b, NULL), 0);
	merr_clear(&err);
	assert_int_equal(cpr_finish_claims(o.cpr, &err), -EINVAL);
	assert_non_null(strstr(merr_msg(&err), "'ram' was handed over and not registered"));
	offer_end(&o);
}

static void expect_not_inherited(const char *value, const char *words)
{
	struct migd_guest_cpr *cpr = NULL;

	assert_int_equal(setenv(CPR_VARIABLE, value, 1), 0);
	assert_true(migd_guest_cpr_inherit(&cpr) < 0);
	if (!strstr(migd_guest_error(), words))
		fail_msg("%s: '%s' instead of '%s'", value, migd_guest_error(), words);
	assert_null(cpr);
}

static void test_environment(void **state)
{
	static const char *const malformed[] = { "%d",     "%d:",      "%d:3",    "%d:3:",
						 "%d:3:x", "%d:3:4;5", "%d:-3:4", "%d:3:-4" };
	struct attach_ram_block row = row_of("ram", 0, RAM_LEN);
	uint8_t body[2048];
	size_t len = encode(body, &row, 1, 1);
	char value[64];
	int table;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		(void)snprintf(value, sizeof(value), malformed[i],
			       (int)getpid()); /* NOLINT: they are above */
		expect_not_inherited(value, "malformed");
	}
	(void)snprintf(value, sizeof(value), "%d:3:4", (int)getpid() + 1);
	expect_not_inherited(value, "for this process");
	table = fd_memfd("table", ATTACH_BODY_MAX + 1);
	(void)snprintf(value, sizeof(value), "%d:%d:4", (int)getpid(), table);
	expect_not_inherited(value, "no table of inherited memory");
	table = fd_memfd("table", len);
	assert_int_equal(fd_pwrite_full(table, body, len, 0), 0);
	(void)snprintf(value, sizeof(value), "%d:%d:4000", (int)getpid(), table);
	expect_not_inherited(value, "no file open for reading and writing");
	assert_int_equal(unsetenv(CPR_VARIABLE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offers_that_cannot_be),
		cmocka_unit_test(test_who_is_no_vmm),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_environment),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/cpr", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return r;
}
