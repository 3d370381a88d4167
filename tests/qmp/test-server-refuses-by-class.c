/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: classes of commands, by whom the kernel says a client is. */
/* LIBS: migd_qmp migd_schema migd_base */
/* SOURCES: harness.c */
#include "harness.h"

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define READ "{\"execute\": \"echo\"}"
#define OPERATE "{\"execute\": \"operate\"}"
#define ADMIN "{\"execute\": \"admin\"}"
#define OPEN(what) "{\"execute\": \"open\", \"arguments\": {\"privileged\": " what "}}"
#define REFUSED(command, class) ERROR("GenericError", "The command " command " is refused: no " class)

static void who_may_everything_is_refused_nothing(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	client_exchange(h, fd, READ OPERATE ADMIN OPEN("true"), OK OK OK OK);
	close(fd);
}

static void each_class_is_a_right_of_its_own(void **state)
{
	struct harness *h = *state;
	int reader, admin;

	h->rights = QMP_ACCESS_BIT(QMP_ACCESS_READ) | QMP_ACCESS_BIT(QMP_ACCESS_OPERATE);
	reader = harness_client(h, NULL, NEGOTIATE);
	h->rights = QMP_ACCESS_BIT(QMP_ACCESS_ADMIN);
	admin = harness_client(h, NULL, NEGOTIATE);
	client_exchange(h, reader, READ OPERATE ADMIN, OK OK REFUSED("admin", "admin"));
	client_exchange(h, admin, READ OPERATE ADMIN, REFUSED("echo", "read") REFUSED("operate", "operate") OK);
	client_exchange(h, reader, OPEN("false") OPEN("true"), OK ERROR("GenericError", "open: no privileged"));
	close(reader);
	close(admin);
}

static void who_may_nothing_may_negotiate(void **state)
{
	struct harness *h = *state;
	int fd;

	h->rights = 0;
	fd = harness_client(h, NULL, NEGOTIATE_OOB);
	client_exchange(h, fd, "{\"execute\": \"query-version\"}{\"exec-oob\": \"oob-now\", \"id\": 1}",
			ERROR_ID("GenericError", "The command oob-now is refused: no read", "1") REFUSED("query-version", "read"));
	close(fd);
}

static void rights_of_open_sessions_change(void **state)
{
	struct harness *h = *state;
	int fd = harness_client(h, NULL, NEGOTIATE);

	h->rights = QMP_ACCESS_BIT(QMP_ACCESS_READ);
	client_exchange(h, fd, ADMIN, OK);
	qmp_server_review_rights(h->server);
	client_exchange(h, fd, ADMIN READ, REFUSED("admin", "admin") OK);
	close(fd);
}

static void clients_are_known(void **state)
{
	struct harness *h = *state;
	char name[17];
	int fd;

	assert_int_equal(prctl(PR_SET_NAME, "it's a \n name"), 0);
	fd = harness_client(h, NULL, NEGOTIATE);
	assert_int_equal(h->peer.uid, geteuid());
	assert_int_equal(h->peer.gid, getegid());
	assert_int_equal(h->peer.pid, getpid());
	assert_int_equal(h->peer.n_groups, getgroups(0, NULL));
	/* Where the kernel can say whether the process is still there. */
	if (h->peer.comm[0]) {
		memcpy(name, h->peer.comm, sizeof(name));
		assert_string_equal(name, "it?s a ");
	}
	close(fd);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, harness_set_up, harness_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_may_everything_is_refused_nothing),
		TEST(each_class_is_a_right_of_its_own),
		TEST(who_may_nothing_may_negotiate),
		TEST(rights_of_open_sessions_change),
		TEST(clients_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
