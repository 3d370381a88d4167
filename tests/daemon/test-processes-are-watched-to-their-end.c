/* SPDX-License-Identifier: Apache-2.0 */
/* A process of the daemon's, whichever of its link, its owner's interest and itself ends first: nothing is left of it. */
/* LIBS: migd_daemon */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/worker.h"
#include "engine/link.h"

/* This program is what it starts, too. */
#define CLOSES_ITS_LINK "migd-closer"
#define JUST_ENDS	"migd-ender"

#define LIVES_ON_US 300000

static int be_started(const char *name)
{
	if (strcmp(name, CLOSES_ITS_LINK) == 0)
		(void)close(LINK_FD);
	(void)usleep(LIVES_ON_US);
	return 0;
}

struct watched {
	struct event_base *base;
	struct worker *w;
	unsigned int exits;
};

static int on_message(void *opaque, struct conn_msg *m, struct merr *err)
{
	(void)opaque;
	(void)m;
	return merr_set(err, -EBADMSG, "it says nothing");
}

static void on_end(void *opaque, const char *how)
{
	struct watched *t = opaque;

	assert_non_null(strstr(how, "ended unexpectedly (status 0)"));
	t->exits++;
	t->w = worker_free(t->w);
}

static const struct worker_handler handler = { .on_message = on_message, .on_exit = on_end };

static void start(struct watched *t, const char *name)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct merr err = MERR_INIT;

	*t = (struct watched){ .base = event_base_new() };
	if (worker_spawn(t->base, self, name, NULL, &handler, t, &t->w, &err) < 0)
		fail_msg("%s", merr_msg(&err));
}

/* Until it is gone, and reaped; then no event may be left. */
static void see_its_end(struct watched *t, pid_t pid)
{
	while (kill(pid, 0) == 0)
		assert_int_equal(event_base_loop(t->base, EVLOOP_ONCE), 0);
	assert_true(event_base_loop(t->base, EVLOOP_NONBLOCK) >= 0);
	assert_int_equal(event_base_get_num_events(t->base, EVENT_BASE_COUNT_ADDED), 0);
	event_base_free(t->base);
}

static void its_end_is_told_once(void **state)
{
	struct watched t;

	(void)state;
	start(&t, JUST_ENDS);
	see_its_end(&t, worker_pid(t.w));
	assert_int_equal(t.exits, 1);
}

/* What NAME starts, when its link has ENDED or before. */
static void dismiss(const char *name, bool ended)
{
	struct watched t;
	pid_t pid;

	start(&t, name);
	pid = worker_pid(t.w);
	while (ended && worker_conn(t.w))
		assert_int_equal(event_base_loop(t.base, EVLOOP_ONCE), 0);
	t.w = worker_dismiss(t.w);
	see_its_end(&t, pid);
	assert_int_equal(t.exits, 0);
}

static void dismissed_while_its_link_is_there(void **state)
{
	(void)state;
	dismiss(JUST_ENDS, false);
}

static void dismissed_when_its_link_has_ended(void **state)
{
	(void)state;
	dismiss(CLOSES_ITS_LINK, true);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_end_is_told_once),
		cmocka_unit_test(dismissed_while_its_link_is_there),
		cmocka_unit_test(dismissed_when_its_link_has_ended),
	};

	if (argc > 0 && strncmp(argv[0], "migd-", strlen("migd-")) == 0)
		return be_started(argv[0]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
