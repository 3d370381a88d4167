/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live device's callbacks come in the header's order, each cleanup once however a migration ends, and a worker that asks
 * out of turn is refused without the device hearing of it.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static const uint8_t id[ATTACH_ID_LEN] = { 1, 2, 3 };

/* What the device heard, a letter each: see the callbacks. Written by the service thread. */
static char heard[64];
static pthread_mutex_t heard_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int load_result;
static uint8_t *area;

static void hear(char what)
{
	size_t len;

	(void)pthread_mutex_lock(&heard_lock);
	len = strlen(heard);
	if (len < sizeof(heard) - 1)
		heard[len] = what;
	(void)pthread_mutex_unlock(&heard_lock);
}

static void assert_heard(const char *all)
{
	char copy[sizeof(heard)];

	(void)pthread_mutex_lock(&heard_lock);
	memcpy(copy, heard, sizeof(copy));
	(void)pthread_mutex_unlock(&heard_lock);
	assert_string_equal(copy, all);
}

static int setup(void *opaque)
{
	(void)opaque;
	hear('s');
	return 0;
}

static int iterate(void *opaque, struct migd_live_chunk *chunk)
{
	(void)opaque;
	hear('i');
	assert_true(chunk->cap >= 65536 && chunk->len == 0);
	memcpy(chunk->data, "chunk", 5);
	chunk->len = 5;
	chunk->more = true;
	return 0;
}

static int complete(void *opaque, struct migd_live_chunk *chunk)
{
	(void)opaque;
	hear('c');
	chunk->len = 0;
	return 0;
}

static void cleanup(void *opaque, bool moved)
{
	(void)opaque;
	hear(moved ? 'M' : 'S');
}

static int load_setup(void *opaque, uint32_t version)
{
	(void)opaque;
	assert_int_equal(version, 2);
	hear('b');
	return 0;
}

static int load(void *opaque, const void *data, size_t len, uint32_t version)
{
	(void)opaque;
	(void)version;
	assert_int_equal(len, 5);
	assert_memory_equal(data, "chunk", 5);
	hear('l');
	return atomic_load(&load_result);
}

static int load_done(void *opaque)
{
	(void)opaque;
	hear('d');
	return 0;
}

static void load_cleanup(void *opaque, bool arrived)
{
	(void)opaque;
	hear(arrived ? 'A' : 'D');
}

static const struct migd_live live = {
	.size = sizeof(live),
	.name = "large",
	.version = 3,
	.minimum_version = 2,
	.setup = setup,
	.iterate = iterate,
	.complete = complete,
	.cleanup = cleanup,
	.load_setup = load_setup,
	.load = load,
	.load_done = load_done,
	.load_cleanup = load_cleanup,
};

/* LIVE_TABLE: one device; its area is mapped. */
static void open_table(struct fixture *f)
{
	struct attach_live_table_reply rep;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int fd;

	if (conn_call(f->peer.channel, ATTACH_LIVE_TABLE, NULL, 0, NULL, 0, PEER_DEADLINE, -1, &m,
		      &err) < 0)
		fail_msg("LIVE_TABLE: %s", err.msg);
	assert_int_equal(attach_live_table_reply_decode(&m.body, &rep, &err), 0);
	assert_int_equal(rep.n, 1);
	assert_int_equal(rep.area_len, ATTACH_LIVE_CHUNK_MAX);
	fd = conn_msg_take_fd(&m, 0);
	area = mmap(NULL, rep.area_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(area != MAP_FAILED);
	(void)close(fd);
	conn_msg_done(&m);
}

#define ASK(f, TYPE, req_body, req, rep_body, rep)                                                 \
	({                                                                                         \
		struct merr _err = MERR_INIT;                                                      \
		int _r = conn_request((f)->peer.channel, TYPE, req_body, req, rep_body, rep,       \
				      PEER_DEADLINE, -1, &_err);                                   \
		if (_r < 0)                                                                        \
			(void)snprintf(last, sizeof(last), "%s", _err.msg);                        \
		_r;                                                                                \
	})

static char last[MERR_MSG_MAX];

static int ask_setup(struct fixture *f, uint32_t index)
{
	struct attach_live req = { .index = index };
	struct attach_empty rep;

	return ASK(f, LIVE_SETUP, live, &req, empty, &rep);
}

static int ask_read(struct fixture *f, uint32_t index, bool stopped)
{
	struct attach_live_read req = { .index = index, .complete = stopped };
	struct attach_live_read_reply rep = { 0 };
	int r = ASK(f, LIVE_READ, live_read, &req, live_read_reply, &rep);

	if (r == 0 && !stopped) {
		assert_int_equal(rep.len, 5);
		assert_true(rep.more);
		assert_memory_equal(area, "chunk", 5);
	}
	return r;
}

static int ask_load(struct fixture *f, uint32_t version, uint8_t part, uint32_t len)
{
	struct attach_live_load req = { .version = version, .part = part, .len = len };
	struct attach_empty rep;

	memcpy(area, "chunk", 5);
	return ASK(f, LIVE_LOAD, live_load, &req, empty, &rep);
}

#define REFUSED(call, word)                                                                        \
	do {                                                                                       \
		if ((call) >= 0 || !strstr(last, word))                                            \
			fail_msg("%s: '%s' does not say '%s'", #call, last, word);                 \
	} while (0)

static void begin(struct fixture *f, enum migd_guest_role role)
{
	const struct vm_options o = { .program = VM_COUNT, .role = role, .live = &live };

	(void)pthread_mutex_lock(&heard_lock);
	memset(heard, 0, sizeof(heard));
	(void)pthread_mutex_unlock(&heard_lock);
	atomic_store(&load_result, 0);
	fixture_begin(f, &o);
}

static void end(struct fixture *f)
{
	(void)munmap(area, ATTACH_LIVE_CHUNK_MAX);
	fixture_end(f);
}

static void begin_source(struct fixture *f)
{
	begin(f, MIGD_GUEST_RUNNING);
	fixture_precopy(f, id);
	open_table(f);
}

static void begin_target(struct fixture *f)
{
	begin(f, MIGD_GUEST_INCOMING);
	peer_must_open(&f->peer, PEER_TARGET);
	MUST(f, peer_handover(&f->peer, ATTACH_HANDOVER_BEGIN, id, NULL));
	open_table(f);
}

static void test_the_source_in_turn(void **state)
{
	struct fixture f;

	(void)state;
	begin_source(&f);
	assert_int_equal(ask_setup(&f, 0), 0);
	assert_int_equal(ask_read(&f, 0, false), 0);
	MUST(&f, peer_mig_pause(&f.peer, id, 5000, NULL));
	assert_int_equal(ask_read(&f, 0, true), 0);
	MUST(&f, peer_handover(&f.peer, ATTACH_RELEASE, id, NULL));
	MUST(&f, peer_handover(&f.peer, ATTACH_RETIRE, id, NULL));
	peer_wait_state(&f.peer, HANDOVER_RETIRED);
	end(&f);
	assert_heard("sicM");
}

static void test_the_source_goes_on(void **state)
{
	struct fixture f;

	(void)state;
	begin_source(&f);
	assert_int_equal(ask_setup(&f, 0), 0);
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id, NULL));
	end(&f);
	assert_heard("sS");

	begin_source(&f);
	assert_int_equal(ask_setup(&f, 0), 0);
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	end(&f);
	assert_heard("sS");

	begin_source(&f); /* not set up: nothing to clean up */
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id, NULL));
	end(&f);
	assert_heard("");
}

static void test_out_of_turn_on_the_source(void **state)
{
	struct fixture f;

	(void)state;
	begin_source(&f);
	REFUSED(ask_read(&f, 0, false), "was not set up");
	REFUSED(ask_setup(&f, 1), "field 'index'");
	REFUSED(ask_setup(&f, UINT32_MAX), "field 'index'");
	assert_int_equal(ask_setup(&f, 0), 0);
	REFUSED(ask_setup(&f, 0), "set up already");
	REFUSED(ask_read(&f, 0, true), "not stopped");
	REFUSED(ask_read(&f, 7, false), "field 'index'");
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_START, 0), "not possible");
	assert_heard("s");
	end(&f);
}

static void test_the_target_in_turn(void **state)
{
	struct fixture f;

	(void)state;
	begin_target(&f);
	assert_int_equal(ask_load(&f, 2, ATTACH_LIVE_START, 0), 0);
	assert_int_equal(ask_load(&f, 2, ATTACH_LIVE_CHUNK, 5), 0);
	assert_int_equal(ask_load(&f, 2, ATTACH_LIVE_END, 0), 0);
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id, NULL));
	peer_wait_state(&f.peer, HANDOVER_DISCARDED);
	end(&f);
	assert_heard("bldD");
}

static void test_the_target_runs(void **state)
{
	struct fixture src, dst;

	(void)state;
	begin_source(&src);
	MUST(&src, peer_mig_pause(&src.peer, id, 5000, NULL));
	(void)munmap(area, ATTACH_LIVE_CHUNK_MAX);
	begin_target(&dst);
	assert_int_equal(ask_load(&dst, 2, ATTACH_LIVE_START, 0), 0);
	assert_int_equal(ask_load(&dst, 2, ATTACH_LIVE_END, 0), 0);
	fixture_transfer(&src, &dst, id, 0);
	MUST(&dst, peer_handover(&dst.peer, ATTACH_ACTIVATE, id, NULL));
	end(&dst);
	fixture_end(&src);
	assert_heard("bdA");
}

static void test_out_of_turn_on_the_target(void **state)
{
	struct fixture f;

	(void)state;
	begin_target(&f);
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_CHUNK, 5), "not being loaded");
	REFUSED(ask_load(&f, 1, ATTACH_LIVE_START, 0), "field 'version': 1, 2 to 3");
	REFUSED(ask_load(&f, 4, ATTACH_LIVE_START, 0), "field 'version': 4");
	REFUSED(ask_setup(&f, 0), "not possible");
	assert_int_equal(ask_load(&f, 2, ATTACH_LIVE_START, 0), 0);
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_START, 0), "being loaded already");
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_CHUNK, 0), "field 'len'");
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_CHUNK, ATTACH_LIVE_CHUNK_MAX + 1), "field 'len'");
	REFUSED(ask_load(&f, 2, 9, 5), "field 'part'");
	atomic_store(&load_result, -EBADMSG);
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_CHUNK, 5), "device 'large' instance 0: load");
	assert_int_equal(ask_load(&f, 2, ATTACH_LIVE_END, 0), 0);
	REFUSED(ask_load(&f, 2, ATTACH_LIVE_END, 0), "not being loaded");
	assert_heard("bld");
	end(&f);
	assert_heard("bldD");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_source_in_turn),
		cmocka_unit_test(test_the_source_goes_on),
		cmocka_unit_test(test_out_of_turn_on_the_source),
		cmocka_unit_test(test_the_target_in_turn),
		cmocka_unit_test(test_the_target_runs),
		cmocka_unit_test(test_out_of_turn_on_the_target),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		printf("SKIPPED: /dev/kvm: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
