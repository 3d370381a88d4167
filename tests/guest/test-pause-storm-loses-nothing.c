/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand stops and conts of two running vCPUs: each stop holds, each cont goes on. */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"
#include "vm.h"

#define ROUNDS 1000

struct fixture {
	char dir[64];
	struct peer peer;
	struct vm vm;
};

static void begin(struct fixture *f, enum vm_program program, unsigned int n_vcpus, bool stuck)
{
	tmp_dir_make(f->dir);
	peer_init(&f->peer, f->dir);
	vm_start(&f->vm, &(struct vm_options){ .name = "storm",
					       .program = program,
					       .dir = f->dir,
					       .role = MIGD_GUEST_RUNNING,
					       .n_vcpus = n_vcpus,
					       .stuck = stuck });
	peer_accept(&f->peer, 1);
}

static void end(struct fixture *f)
{
	vm_end(&f->vm);
	peer_done(&f->peer);
	tmp_dir_remove(f->dir);
}

static void test_storm(void **state)
{
	struct fixture f;
	uint32_t a, b;

	(void)state;
	begin(&f, VM_COUNT, 2, false);
	vm_expect_running(&f.vm);
	for (int i = 0; i < ROUNDS; i++) {
		if (peer_pause(&f.peer, 5000) < 0)
			fail_msg("round %d: %s", i, f.peer.last_text);
		assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_PAUSED);
		a = vm_counter(&f.vm, 0);
		b = vm_counter(&f.vm, 1);
		if (i % 100 == 0)
			vm_expect_frozen(&f.vm);
		assert_int_equal(vm_counter(&f.vm, 0), a);
		assert_int_equal(vm_counter(&f.vm, 1), b);
		if (peer_resume(&f.peer) < 0)
			fail_msg("round %d: %s", i, f.peer.last_text);
		if (i % 100 == 0)
			vm_expect_running(&f.vm);
	}
	vm_expect_running(&f.vm);
	assert_int_equal(f.vm.log.quiesced, ROUNDS);
	assert_int_equal(f.vm.log.unquiesced, ROUNDS);
	assert_int_equal(f.vm.vcpus[0].failed, 0);
	assert_int_equal(f.vm.vcpus[1].failed, 0);
	end(&f);
}

/* A guest that sleeps in KVM is woken for the pause and sleeps on. */
static void test_halted(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, VM_HALT, 1, false);
	(void)sem_wait(&f.vm.out);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(peer_pause(&f.peer, 5000), 0);
		assert_int_equal(peer_resume(&f.peer), 0);
	}
	end(&f);
}

static void test_stop_twice_is_one_stop(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, VM_COUNT, 1, false);
	assert_int_equal(peer_pause(&f.peer, 5000), 0);
	assert_int_equal(peer_pause(&f.peer, 5000), 0);
	assert_int_equal(peer_resume(&f.peer), 0);
	vm_expect_running(&f.vm);
	assert_int_equal(f.vm.log.quiesced, 1);
	assert_int_equal(f.vm.log.unquiesced, 1);
	end(&f);
}

/* A vCPU thread that is busy in the VMM: the stop fails by name, and the guest goes on. */
static void test_stuck_vcpu(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, VM_HALT, 1, true);
	(void)sem_wait(&f.vm.out);
	assert_int_equal(peer_pause(&f.peer, 50), -ETIMEDOUT);
	assert_non_null(strstr(f.peer.last_text, "vCPU 0 did not stop within 50 ms"));
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_RUNNING);
	assert_int_equal(f.vm.log.quiesced, 0);
	end(&f);
}

/* RESUME does not wait behind a PAUSE that cannot end. */
static void test_resume_cancels_a_stuck_pause(void **state)
{
	struct attach_pause req = { .deadline_ms = 20000 };
	uint8_t bytes[8];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct fixture f;
	uint32_t seq = 0;

	(void)state;
	begin(&f, VM_HALT, 1, true);
	(void)sem_wait(&f.vm.out);
	assert_int_equal(attach_pause_encode(&w, &req), 0);
	assert_int_equal(conn_send(f.peer.control, ATTACH_PAUSE, bytes, w.len, NULL, 0, &seq), 0);
	assert_int_equal(peer_resume(&f.peer), 0);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_RUNNING);
	end(&f);
}

static void test_failing_quiesce_fails_the_stop(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, VM_COUNT, 1, false);
	f.vm.log.fail_quiesce = EIO;
	assert_int_equal(peer_pause(&f.peer, 5000), -EIO);
	assert_non_null(strstr(f.peer.last_text, "could not quiesce"));
	vm_expect_running(&f.vm);
	assert_int_equal(f.vm.log.unquiesced, 1);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_halted),
		cmocka_unit_test(test_stop_twice_is_one_stop),
		cmocka_unit_test(test_stuck_vcpu),
		cmocka_unit_test(test_resume_cancels_a_stuck_pause),
		cmocka_unit_test(test_failing_quiesce_fails_the_stop),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
