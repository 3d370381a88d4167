/* SPDX-License-Identifier: Apache-2.0 */
/* Copies come in order; whoever makes them waits when there are too many; either side's end is seen by the other. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/snapshot-queue.h"

#define ROOM 4U
#define N    1000U

struct made {
	struct snapshot_queue *q;
	_Atomic unsigned int n;	/* copies made so far */
	int error;		/* the maker ends with it */
};

static void *make(void *opaque)
{
	struct made *m = opaque;
	struct merr err = MERR_INIT;
	struct snapshot_copy *c;

	for (unsigned int i = 0; i < N && (c = snapshot_queue_room(m->q)); i++) {
		c->page = i;
		memset(c->data, (int)i, SNAPSHOT_COPY_BYTES);
		atomic_fetch_add(&m->n, 1);
		if (i % 7 == 0)
			snapshot_queue_return(m->q, c); /* not needed after all */
		else
			snapshot_queue_push(m->q, c);
	}
	if (m->error)
		(void)merr_set(&err, m->error, "the maker failed");
	snapshot_queue_end(m->q, &err);
	return NULL;
}

static pthread_t start(struct made *m, int error)
{
	pthread_t thread;

	*m = (struct made){ .q = snapshot_queue_new(ROOM), .error = error };
	assert_non_null(m->q);
	assert_int_equal(pthread_create(&thread, NULL, make, m), 0);
	return thread;
}

static void end(struct made *m, pthread_t thread)
{
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)snapshot_queue_free(m->q);
}

static uint64_t soon(void)
{
	return clock_now_ns() + 10 * NS_PER_SEC;
}

static void comes_in_order(void **state)
{
	struct made m;
	pthread_t thread = start(&m, 0);
	struct snapshot_copy *c = NULL;
	struct merr err = MERR_INIT;

	(void)state;
	for (unsigned int i = 0; i < N; i++) {
		if (i % 7 == 0)
			continue;
		assert_int_equal(snapshot_queue_take(m.q, soon(), &c, &err), 1);
		assert_int_equal(c->page, i);
		assert_int_equal(c->data[SNAPSHOT_COPY_BYTES - 1], (uint8_t)i);
		snapshot_queue_return(m.q, c);
	}
	assert_int_equal(snapshot_queue_take(m.q, soon(), &c, &err), -ENODATA);
	end(&m, thread);
}

static void maker_waits_for_room(void **state)
{
	struct snapshot_copy *held[ROOM], *more = NULL;
	struct merr err = MERR_INIT;
	struct made m;
	pthread_t thread = start(&m, 0);
	unsigned int before;

	(void)state;
	for (unsigned int i = 0; i < ROOM; i++)
		assert_int_equal(snapshot_queue_take(m.q, soon(), &held[i], &err), 1);
	before = atomic_load(&m.n);
	assert_int_equal(snapshot_queue_take(m.q, clock_now_ns() + 50 * NS_PER_MS, &more, &err), 0);
	assert_int_equal(atomic_load(&m.n), before);
	snapshot_queue_return(m.q, held[0]);
	assert_int_equal(snapshot_queue_take(m.q, soon(), &more, &err), 1);
	/* Nobody takes any more: the maker, which waits for room, ends. */
	snapshot_queue_give_up(m.q);
	end(&m, thread);
}

static void failure_is_told(void **state)
{
	struct snapshot_copy *c = NULL;
	struct merr err = MERR_INIT;
	struct made m;
	pthread_t thread = start(&m, -EIO);
	int r;

	(void)state;
	while ((r = snapshot_queue_take(m.q, soon(), &c, &err)) == 1)
		snapshot_queue_return(m.q, c);
	assert_int_equal(r, -EIO);
	assert_string_equal(merr_msg(&err), "the maker failed");
	end(&m, thread);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_in_order),
		cmocka_unit_test(maker_waits_for_room),
		cmocka_unit_test(failure_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
