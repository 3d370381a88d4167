/* SPDX-License-Identifier: Apache-2.0 */
/* A written file gets its name as a whole, or nothing of it is left, whenever its owner goes. */
/* LIBS: migd_daemon */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/publication.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct event_base *base;
static char dir[] = "/tmp/migd-publication-XXXXXX";
static char path[64], temp[128];

static int begin(void **state)
{
	(void)state;
	base = event_base_new();
	if (!base || !mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/file", dir);
	(void)snprintf(temp, sizeof(temp), "%s." ID ".part", path);
	return 0;
}

static int end(void **state)
{
	(void)state;
	event_base_free(base);
	return rmdir(dir);
}

static bool is_there(const char *name)
{
	return access(name, F_OK) == 0;
}

struct answer {
	int n;
	struct merr err;
};

static void on_published(void *opaque, const struct merr *err)
{
	struct answer *a = opaque;

	a->n++;
	if (err)
		a->err = *err;
}

static struct publication *must_make(const char *name, int *ret_fd)
{
	struct merr err = MERR_INIT;
	struct publication *p = NULL;

	if (publication_of_file(base, name, ID, &p, ret_fd, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	assert_int_equal(write(*ret_fd, "stream", 6), 6);
	return p;
}

/* Until it was answered; 0 or the code. */
static int publish(struct publication *p)
{
	struct answer a = { .err = MERR_INIT };

	publication_publish(p, on_published, &a);
	while (a.n == 0)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(a.n, 1);
	return a.err.code;
}

static void test_gets_its_name(void **state)
{
	struct stat st;
	int fd;
	struct publication *p = must_make(path, &fd);

	(void)state;
	assert_false(is_there(path));
	assert_true(is_there(temp));
	assert_int_equal(publish(p), 0);
	assert_true(is_there(path));
	assert_false(is_there(temp));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_null(publication_done(p, true));
	assert_true(is_there(path));
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
}

static void test_leaves_nothing(void **state)
{
	int fd;
	struct publication *p;

	(void)state;
	for (int published = 0; published < 2; published++) {
		p = must_make(path, &fd);
		if (published)
			assert_int_equal(publish(p), 0);
		assert_null(publication_done(p, false));
		assert_false(is_there(path));
		assert_false(is_there(temp));
		(void)close(fd);
	}
}

/* Its owner goes while the thread renames. */
static void test_owner_goes_meanwhile(void **state)
{
	struct answer a = { .err = MERR_INIT };
	int fd;
	struct publication *p;

	(void)state;
	for (int keep = 0; keep < 2; keep++) {
		p = must_make(path, &fd);
		publication_publish(p, on_published, &a);
		assert_null(publication_done(p, keep));
		while (event_base_loop(base, EVLOOP_ONCE) == 0)
			;
		assert_int_equal(a.n, 0);
		assert_int_equal(is_there(path), keep);
		assert_false(is_there(temp));
		(void)close(fd);
	}
	assert_int_equal(unlink(path), 0);
}

static void test_cannot_be_renamed(void **state)
{
	char below[96];
	int fd;
	struct publication *p = must_make(path, &fd);

	(void)state;
	/* A directory with something in it is in the way by now. */
	(void)snprintf(below, sizeof(below), "%s/x", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(mkdir(below, 0700), 0);
	assert_true(publish(p) < 0);
	assert_null(publication_done(p, false));
	assert_false(is_there(temp));
	assert_int_equal(rmdir(below), 0);
	assert_int_equal(rmdir(path), 0);
	(void)close(fd);
}

/* By a successor of the daemon: before the file got its name, and after. */
static void test_is_found_again(void **state)
{
	int fd, other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct publication *p = must_make(path, &fd);

	(void)state;
	assert_null(publication_done(p, true));
	assert_null(publication_find_renamed(base, path, ID, fd));
	p = publication_find(base, path, ID);
	assert_non_null(p);
	assert_int_equal(publish(p), 0);
	assert_null(publication_done(p, true));
	assert_null(publication_find(base, path, ID));
	assert_null(publication_find_renamed(base, path, ID, other));
	p = publication_find_renamed(base, path, ID, fd);
	assert_non_null(p);
	assert_int_equal(publish(p), 0);
	assert_null(publication_done(p, false));
	assert_false(is_there(path));
	(void)close(fd);
	(void)close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gets_its_name),
		cmocka_unit_test(test_leaves_nothing),
		cmocka_unit_test(test_owner_goes_meanwhile),
		cmocka_unit_test(test_cannot_be_renamed),
		cmocka_unit_test(test_is_found_again),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
