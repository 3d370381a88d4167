/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever ends a migration before RELEASE, the source runs on: unthrottled, untracked, no
 * descriptor more than before.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

static const struct vm_options source = { .program = VM_COUNT,
					  .role = MIGD_GUEST_RUNNING,
					  .n_vcpus = 2 };

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (fgets(line, sizeof(line), f))
		n += strstr(line, "migd-dirty") != NULL;
	(void)fclose(f);
	return n;
}

/* Wait until the library closed its end, too: the descriptors are then as at first. */
static void expect_as_before(struct fixture *f, int fds)
{
	peer_wait_state(&f->peer, HANDOVER_RUNNING);
	for (int ms = 0; (count_fds() != fds || count_maps()) && ms < 20000; ms++)
		(void)usleep(1000);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), 0);
}

static void test_channel_ends_in_precopy(void **state)
{
	struct fixture f;
	int fds;

	(void)state;
	fixture_begin(&f, &source);
	fds = count_fds();
	fixture_precopy(&f, id_a);
	peer_hang_up(&f.peer);
	expect_as_before(&f, fds);
	vm_expect_running(&f.vm);
	assert_int_equal(f.vm.log.quiesced, 0);
	fixture_end(&f);
}

static void test_channel_ends_in_paused(void **state)
{
	struct fixture f;
	int fds;

	(void)state;
	fixture_begin(&f, &source);
	fds = count_fds();
	for (uint8_t round = 1; round < 20; round++) {
		const uint8_t id[ATTACH_ID_LEN] = { 9, round };

		fixture_paused(&f, id);
		vm_expect_frozen(&f.vm);
		peer_hang_up(&f.peer);
		expect_as_before(&f, fds);
		vm_expect_running(&f.vm);
		assert_int_equal(f.vm.log.quiesced, round);
		assert_int_equal(f.vm.log.unquiesced, round);
	}
	assert_true(f.peer.events[ATTACH_EVENT_ROLLED_BACK] > 0);
	fixture_end(&f);
}

/* The channel ends before the vCPUs stopped. */
static void test_channel_ends_while_pausing(void **state)
{
	struct attach_mig_pause req = { .deadline_ms = 20000 };
	struct vm_options stuck = { .program = VM_HALT, .role = MIGD_GUEST_RUNNING, .stuck = true };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct fixture f;

	(void)state;
	fixture_begin(&f, &stuck);
	(void)sem_wait(&f.vm.out);
	fixture_precopy(&f, id_a);
	memcpy(req.handover_id, id_a, ATTACH_ID_LEN);
	assert_int_equal(attach_mig_pause_encode(&w, &req), 0);
	assert_int_equal(conn_send(f.peer.channel, ATTACH_MIG_PAUSE, bytes, w.len, NULL, 0, NULL),
			 0);
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_RUNNING);
	fixture_end(&f);
}

/*
 * A cancel does not wait behind a pause that cannot end, and a pause that times out leaves pre-copy
 * going.
 */
static void test_stuck_pause(void **state)
{
	struct vm_options stuck = { .program = VM_HALT, .role = MIGD_GUEST_RUNNING, .stuck = true };
	struct attach_mig_pause req = { .deadline_ms = 20000 };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct fixture f;

	(void)state;
	fixture_begin(&f, &stuck);
	(void)sem_wait(&f.vm.out);
	fixture_precopy(&f, id_a);
	assert_int_equal(peer_mig_pause(&f.peer, id_a, 30, NULL), -ETIMEDOUT);
	assert_non_null(strstr(f.peer.last_text, "vCPU 0"));
	assert_int_equal(peer_state(&f.peer), HANDOVER_PRECOPY);
	memcpy(req.handover_id, id_a, ATTACH_ID_LEN);
	assert_int_equal(attach_mig_pause_encode(&w, &req), 0);
	assert_int_equal(conn_send(f.peer.channel, ATTACH_MIG_PAUSE, bytes, w.len, NULL, 0, NULL),
			 0);
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	assert_int_equal(peer_state(&f.peer), HANDOVER_RUNNING);
	fixture_end(&f);
}

static void test_user_pause_outlasts_it(void **state)
{
	struct attach_mig_pause_reply rep;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	MUST(&f, peer_pause(&f.peer, 5000));
	fixture_precopy(&f, id_a);
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, &rep));
	assert_int_equal(rep.run_state_before, MIGD_GUEST_RS_PAUSED);
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_PAUSED);
	vm_expect_frozen(&f.vm);
	assert_int_equal(f.vm.log.quiesced, 1);
	assert_int_equal(f.vm.log.unquiesced, 0);
	MUST(&f, peer_resume(&f.peer));
	vm_expect_running(&f.vm);
	assert_int_equal(f.vm.log.unquiesced, 1);
	fixture_end(&f);
}

/* A stop that comes while the migration holds the guest holds it after the rollback. */
static void test_stop_during_switchover(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	fixture_paused(&f, id_a);
	MUST(&f, peer_pause(&f.peer, 5000));
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	vm_expect_frozen(&f.vm);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_PAUSED);
	MUST(&f, peer_resume(&f.peer));
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void test_lease(void **state)
{
	struct vm_options o = source;
	struct fixture f;

	(void)state;
	o.lease_ms = 100;
	fixture_begin(&f, &o);
	fixture_precopy(&f, id_a);
	/* No lease while it runs. */
	(void)usleep(250000);
	assert_int_equal(peer_state(&f.peer), HANDOVER_PRECOPY);
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
	/* A worker that speaks keeps it. */
	for (int i = 0; i < 10; i++) {
		(void)usleep(40000);
		assert_int_equal(peer_plain(&f.peer, f.peer.channel, ATTACH_HEARTBEAT), 0);
	}
	assert_int_equal(peer_state(&f.peer), HANDOVER_PAUSED);
	peer_wait_state(&f.peer, HANDOVER_RUNNING);
	vm_expect_running(&f.vm);
	peer_wait_event(&f.peer, ATTACH_EVENT_ROLLED_BACK);
	/* What the worker says now comes too late. */
	assert_int_equal(peer_handover(&f.peer, ATTACH_RELEASE, id_a, NULL), -ENOTCONN);
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void test_no_lease_once_released(void **state)
{
	struct vm_options o = source;
	struct fixture f;

	(void)state;
	/* Long enough to get to RELEASE on a busy machine. */
	o.lease_ms = 1000;
	fixture_begin(&f, &o);
	fixture_paused(&f, id_a);
	MUST(&f, peer_handover(&f.peer, ATTACH_RELEASE, id_a, NULL));
	(void)usleep(1500000);
	assert_int_equal(peer_state(&f.peer), HANDOVER_RELEASED);
	vm_expect_frozen(&f.vm);
	fixture_end(&f);
}

/* A daemon that dies takes nothing with it. */
static void test_daemon_is_not_the_worker(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	fixture_precopy(&f, id_a);
	peer_drop_control(&f.peer);
	peer_accept(&f.peer, 2);
	assert_int_equal(f.peer.hello.prev_epoch, 1);
	assert_int_equal(f.peer.hello.handover_state, HANDOVER_PRECOPY);
	assert_memory_equal(f.peer.hello.handover_id, id_a, ATTACH_ID_LEN);
	assert_int_equal(peer_open(&f.peer, PEER_SOURCE), -EBUSY);
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
	assert_int_equal(peer_state(&f.peer), HANDOVER_PAUSED);
	fixture_end(&f);
}

static uint32_t counted_in_100ms(struct fixture *f)
{
	uint32_t before = vm_counter(&f->vm, 0);

	(void)usleep(100000);
	return vm_counter(&f->vm, 0) - before;
}

static int throttle(struct fixture *f, uint8_t percent)
{
	struct attach_throttle req = { .percent = percent };
	struct attach_empty rep;
	struct merr err = MERR_INIT;

	return conn_request(f->peer.channel, THROTTLE, throttle, &req, empty, &rep, PEER_DEADLINE,
			    -1, &err);
}

/*
 * A throttled guest still runs and still stops; the rollback lets it go. How fast it is says
 * nothing here.
 */
static void test_throttle(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	fixture_precopy(&f, id_a);
	assert_int_equal(throttle(&f, 100), -EINVAL);
	assert_int_equal(throttle(&f, 99), 0);
	vm_expect_running(&f.vm);
	(void)printf("counted in 100 ms: %u throttled by 99 percent\n", counted_in_100ms(&f));
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, NULL));
	vm_expect_frozen(&f.vm);
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	(void)printf("counted in 100 ms: %u unthrottled\n", counted_in_100ms(&f));
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

/* ---- a guest that ends ---- */

static void test_shutdown_parks_for_good(void **state)
{
	struct attach_mig_pause_reply rep;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	fixture_precopy(&f, id_a);
	assert_int_equal(migd_guest_notify(f.vm.guest, MIGD_GUEST_EVENT_SHUTDOWN), 0);
	peer_wait_event(&f.peer, ATTACH_EVENT_SHUTDOWN);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_SHUTDOWN);
	assert_int_equal(peer_resume(&f.peer), -EBADFD);
	assert_non_null(strstr(f.peer.last_text, "powered itself off"));
	MUST(&f, peer_mig_pause(&f.peer, id_a, 5000, &rep));
	assert_int_equal(rep.run_state_before, MIGD_GUEST_RS_SHUTDOWN);
	MUST(&f, peer_handover(&f.peer, ATTACH_MIG_ABORT, id_a, NULL));
	vm_expect_frozen(&f.vm);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_SHUTDOWN);
	assert_int_equal(migd_guest_notify(f.vm.guest, 99), -EINVAL);
	fixture_end(&f);
}

static void test_suspend_and_wake(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	assert_int_equal(migd_guest_notify(f.vm.guest, MIGD_GUEST_EVENT_SUSPEND), 0);
	peer_wait_event(&f.peer, ATTACH_EVENT_SUSPEND);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_SUSPENDED);
	MUST(&f, peer_pause(&f.peer, 5000));
	vm_expect_frozen(&f.vm);
	assert_int_equal(migd_guest_notify(f.vm.guest, MIGD_GUEST_EVENT_WAKEUP), 0);
	vm_expect_frozen(&f.vm); /* the operator's stop holds */
	MUST(&f, peer_resume(&f.peer));
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channel_ends_in_precopy),
		cmocka_unit_test(test_channel_ends_in_paused),
		cmocka_unit_test(test_channel_ends_while_pausing),
		cmocka_unit_test(test_stuck_pause),
		cmocka_unit_test(test_user_pause_outlasts_it),
		cmocka_unit_test(test_stop_during_switchover),
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_no_lease_once_released),
		cmocka_unit_test(test_daemon_is_not_the_worker),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_shutdown_parks_for_good),
		cmocka_unit_test(test_suspend_and_wake),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
