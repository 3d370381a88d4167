/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the sandbox a worker can do with a userfaultfd what post-copy and snapshots need; a terminal's ioctls fail, any other
 * ends it. A greeter has none.
 */
/* LIBS: migd_engine migd_transport migd_schema */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/sandbox.h"

enum { NOT_ENTERED = 100, WORKED };

/* In a process of its own: errno after ioctl REQUEST on no descriptor, or minus the signal that ended it. */
static int try(enum sandbox kind, unsigned long request)
{
	struct merr err = MERR_INIT;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (sandbox_enter(kind, &err) < 0) {
			(void)fprintf(stderr, "%s\n", merr_msg(&err));
			_exit(NOT_ENTERED);
		}
		_exit(ioctl(-1, request, NULL) < 0 ? errno : WORKED);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_worker(void **state)
{
	static const unsigned long allowed[] = { UFFDIO_CONTINUE, UFFDIO_ZEROPAGE, UFFDIO_WAKE, UFFDIO_WRITEPROTECT };

	(void)state;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		assert_int_equal(try(SANDBOX_WORKER, allowed[i]), EBADF);
	assert_int_equal(try(SANDBOX_WORKER, TCGETS), EPERM);
	assert_int_equal(try(SANDBOX_WORKER, TIOCSTI), EPERM);
	assert_int_equal(try(SANDBOX_WORKER, UFFDIO_UNREGISTER), -SIGSYS);
	assert_int_equal(try(SANDBOX_WORKER, UFFDIO_COPY), -SIGSYS);
}

static void test_greeter(void **state)
{
	(void)state;
	assert_int_equal(try(SANDBOX_GREETER, TCGETS), EPERM);
	assert_int_equal(try(SANDBOX_GREETER, UFFDIO_CONTINUE), -SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker),
		cmocka_unit_test(test_greeter),
	};

	if (getenv("MIGD_SANITIZE") || getenv("MIGD_VALGRIND")) {
		(void)printf("SKIP: with sanitizers every ioctl is allowed, and valgrind complains of their arguments\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
