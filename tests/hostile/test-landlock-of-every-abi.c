/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel's Landlock can forbid is forbidden, be it the first ABI or the newest: each that this kernel has is really
 * applied, in a process of its own that then tries everything. No seccomp filter stands before it here.
 */
/* LIBS: migd_engine migd_transport migd_schema */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "engine/landlock.h"

#define ABI_NEWEST 6
#define OPEN_FOR_IOCTLS 3 /* neither to read nor to write, which no ABI before 5 minds: open(2) */

enum { WORKED = 0, NOT_APPLIED = 200 };

static pid_t outside;
static struct sockaddr_in tcp = { .sin_family = AF_INET };
static struct sockaddr_un abstract = { .sun_family = AF_UNIX };
static char path[] = "/tmp/migd-landlock-XXXXXX";

static int try_open(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static int try_make(void)
{
	return mkdir("/tmp/migd-landlock-folder", 0700);
}

static int try_truncate(void)
{
	return truncate(path, 0);
}

static int try_bind(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&any, sizeof(any));
}

static int try_connect(void)
{
	return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&tcp, sizeof(tcp));
}

static int try_ioctl(void)
{
	int fd = open("/dev/null", OPEN_FOR_IOCTLS | O_CLOEXEC), value = 0;

	return fd < 0 || (ioctl(fd, 0x40049999, &value) < 0 && errno != ENOTTY) ? -1 : 0;
}

static int try_signal(void)
{
	return kill(outside, 0);
}

static int try_abstract(void)
{
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&abstract, sizeof(abstract));
}

static const struct row {
	const char *name;
	int (*try)(void);
	int since; /* the ABI that forbids it */
	int error;
} rows[] = {
	{ "open a file", try_open, 1, EACCES },
	{ "make a folder", try_make, 1, EACCES },
	{ "truncate a file", try_truncate, 3, EACCES },
	{ "bind a TCP socket", try_bind, 4, EACCES },
	{ "connect a TCP socket", try_connect, 4, EACCES },
	{ "a device's ioctl", try_ioctl, 5, EACCES },
	{ "signal a process outside", try_signal, 6, EPERM },
	{ "connect to an abstract socket outside", try_abstract, 6, EPERM },
};

/* ABI 0: without Landlock. */
static int outcome(const struct row *row, int abi)
{
	struct merr err = MERR_INIT;
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || (abi > 0 && landlock_forbid_all(abi, &err) < 0)) {
			(void)fprintf(stderr, "ABI %d: %s\n", abi, merr_msg(&err));
			_exit(NOT_APPLIED);
		}
		_exit(row->try() < 0 ? errno : WORKED);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)rmdir("/tmp/migd-landlock-folder");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_each_abi(void **state)
{
	int newest = landlock_abi(), wrong = 0, is, expected;

	(void)state;
	print_message("this kernel's Landlock has ABI %d\n", newest);
	for (int abi = 0; abi <= newest; abi++)
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			is = outcome(&rows[i], abi);
			expected = abi >= rows[i].since ? rows[i].error : WORKED;
			if (is != expected) {
				print_error("ABI %d: %s: %d, not %d\n", abi, rows[i].name, is, expected);
				wrong++;
			}
		}
	assert_int_equal(wrong, 0);
	if (newest < ABI_NEWEST) {
		print_message("SKIP: ABI %d to %d: this kernel has none\n", newest + 1, ABI_NEWEST);
		skip();
	}
}

/* From the kernel's include/uapi/linux/landlock.h: what each ABI knows of, and not one bit more, which it would refuse. */
static void test_rights_are_the_kernels(void **state)
{
	static const struct landlock_rights of_abi[] = {
		{ 0, 0, 0 },	  { 0x1fff, 0, 0 }, { 0x3fff, 0, 0 }, { 0x7fff, 0, 0 },
		{ 0x7fff, 3, 0 }, { 0xffff, 3, 0 }, { 0xffff, 3, 3 }, { 0xffff, 3, 3 },
	};
	struct landlock_rights r;

	(void)state;
	for (int abi = 0; abi < (int)ARRAY_SIZE(of_abi); abi++) {
		r = landlock_rights(abi);
		assert_memory_equal(&r, &of_abi[abi], sizeof(r));
	}
}

static int prepare(void **state)
{
	socklen_t len = sizeof(tcp);
	int listener = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0), file = mkstemp(path);

	(void)state;
	outside = getpid();
	tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "migd-landlock-%d", outside);
	return file < 0 || bind(listener, (struct sockaddr *)&tcp, len) < 0 || listen(listener, 64) < 0 ||
	       getsockname(listener, (struct sockaddr *)&tcp, &len) < 0 ||
	       bind(local, (struct sockaddr *)&abstract, sizeof(abstract)) < 0 || listen(local, 64) < 0;
}

static int clean_up(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_abi),
		cmocka_unit_test(test_rights_are_the_kernels),
	};

	return cmocka_run_group_tests(tests, prepare, clean_up);
}
