/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy: calls to the library that look at the guest's memory. */
#include "engine/postcopy-call.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/target.h"

struct call {
	struct target *t;
	postcopy_call_fn fn;
	void *opaque;
	struct merr err;
	int result;
	int done_fd;	/* wake */
};

static void *run(void *opaque)
{
	struct call *c = opaque;

	(void)pthread_setname_np(pthread_self(), "mig/dst/call");
	c->result = c->fn(c->t, c->opaque, &c->err);
	wake_raise(c->done_fd);
	return NULL;
}

/* Until the call is over: 0; or the connection broke: -errno. */
static int take_pages(struct target *t, const struct call *c)
{
	struct pollfd p[] = {
		{ .fd = c->done_fd, .events = POLLIN },
		{ .fd = chan_fd(t->chan), .events = POLLIN },
	};
	int r = 0;

	for (;;) {
		if (!in_ready(t->in))
			(void)poll(p, ARRAY_SIZE(p), -1);
		if (fd_wait(c->done_fd, POLLIN, -1, 0) > 0)
			return 0;
		if (in_ready(t->in))
			r = target_receive_pages(t);
		if (r < 0)
			return r;
	}
}

int postcopy_call(struct target *t, postcopy_call_fn fn, void *opaque, bool must_end)
{
	struct call c = { .t = t, .fn = fn, .opaque = opaque };
	_cleanup_close_ int done_fd = -1;
	pthread_t thread;
	int r;

	/* A QEMU's guest has no devices here, nor vCPUs: nobody looks. */
	if (!postcopy_target_listens(t) || t->hello.peer != PEER_MIGD)
		return fn(t, opaque, &t->err);
	c.done_fd = done_fd = wake_new();
	r = done_fd < 0 ? -EMFILE : -pthread_create(&thread, NULL, run, &c);
	if (r < 0)
		return merr_set_errno(&t->err, r, "a thread that calls the library");
	r = take_pages(t, &c);
	if (r < 0 && !must_end)
		postcopy_target_let_go(t);
	(void)pthread_join(thread, NULL);
	/* The call says how it ended; a connection that broke meanwhile says so again. */
	if (r < 0 && !must_end)
		return r;
	return c.result < 0 ? merr_copy(&t->err, &c.err) : c.result;
}
