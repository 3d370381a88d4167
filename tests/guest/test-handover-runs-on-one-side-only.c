/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole handover between two guests, its replays, and every way to settle it when the link is
 * lost.
 */
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

#include "fixture.h"

static const struct vm_options source = { .name = "vm",
					  .program = VM_COUNT,
					  .role = MIGD_GUEST_RUNNING };
static const struct vm_options target = { .name = "vm-in",
					  .program = VM_COUNT,
					  .role = MIGD_GUEST_INCOMING };

static void test_whole_handover(void **state)
{
	struct attach_handover_reply rep;
	struct attach_mig_pause_reply paused;
	struct fixture a, b;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	vm_expect_running(&a.vm);
	assert_int_equal(migd_guest_run_state(b.vm.guest), MIGD_GUEST_RS_INMIGRATE);
	assert_int_equal(migd_guest_wait_active(b.vm.guest, 0), -ETIMEDOUT);
	fixture_precopy(&a, id_a);
	vm_expect_running(&a.vm);
	MUST(&a, peer_mig_pause(&a.peer, id_a, 5000, &paused));
	assert_int_equal(paused.run_state_before, MIGD_GUEST_RS_RUNNING);
	assert_int_equal(migd_guest_run_state(a.vm.guest), MIGD_GUEST_RS_FINISH_MIGRATE);
	fixture_transfer(&a, &b, id_a, 0);
	assert_int_equal(decision_state(b.peer.decision), HANDOVER_LOADED);
	vm_expect_frozen(&b.vm);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, &rep));
	assert_int_equal(rep.handover_state, HANDOVER_RELEASED);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL)); /* a replay */
	vm_expect_frozen(&a.vm);
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, &rep));
	assert_int_equal(rep.handover_state, HANDOVER_RUNNING);
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL)); /* a replay */
	assert_int_equal(b.vm.log.activated, 1);
	vm_expect_running(&b.vm);
	vm_expect_frozen(&a.vm);
	assert_int_equal(migd_guest_wait_active(b.vm.guest, 0), 0);
	MUST(&a, peer_handover(&a.peer, ATTACH_RETIRE, id_a, NULL));
	MUST(&a, peer_handover(&a.peer, ATTACH_RETIRE, id_a, NULL)); /* a replay */
	assert_int_equal(migd_guest_wait_gone(a.vm.guest, 20000), 0);
	assert_int_equal(migd_guest_run_state(a.vm.guest), MIGD_GUEST_RS_POSTMIGRATE);
	vm_expect_frozen(&a.vm);
	assert_int_equal(a.vm.log.released, 1);
	assert_int_equal(a.vm.log.retired, 1);
	assert_int_equal(b.vm.vcpus[0].failed, 0);
	fixture_end(&a);
	fixture_end(&b);
}

/* Given up before, and while, it arrives; once, however often that is said. */
static void test_given_up(void **state)
{
	(void)state;
	for (int begun = 0; begun < 2; begun++) {
		struct fixture f;

		fixture_begin(&f, &target);
		if (begun) {
			peer_must_open(&f.peer, PEER_TARGET);
			MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
		}
		assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_DISCARD), 0);
		assert_int_equal(peer_plain(&f.peer, f.peer.control, ATTACH_DISCARD), 0);
		assert_int_equal(decision_state(f.peer.decision), HANDOVER_DISCARDED);
		assert_int_equal(migd_guest_wait_gone(f.vm.guest, 20000), -ECANCELED);
		assert_int_equal(f.vm.log.discarded, 1);
		vm_expect_frozen(&f.vm);
		fixture_end(&f);
	}
}

/* What arrived is an ordinary guest: it can leave again, under a new id. */
static void test_moves_on(void **state)
{
	struct fixture a, b, c;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_begin(&c, &target);
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 0);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL));
	MUST(&a, peer_handover(&a.peer, ATTACH_RETIRE, id_a, NULL));
	peer_hang_up(&b.peer);
	vm_expect_running(&b.vm);
	fixture_paused(&b, id_b);
	fixture_transfer(&b, &c, id_b, 0);
	MUST(&b, peer_handover(&b.peer, ATTACH_RELEASE, id_b, NULL));
	MUST(&c, peer_handover(&c.peer, ATTACH_ACTIVATE, id_b, NULL));
	MUST(&b, peer_handover(&b.peer, ATTACH_RETIRE, id_b, NULL));
	vm_expect_running(&c.vm);
	vm_expect_frozen(&b.vm);
	fixture_end(&a);
	fixture_end(&b);
	fixture_end(&c);
}

static void test_paused_stays_paused(void **state)
{
	struct fixture a, b;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 1);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL));
	assert_int_equal(migd_guest_run_state(b.vm.guest), MIGD_GUEST_RS_PAUSED);
	vm_expect_frozen(&b.vm);
	assert_int_equal(b.vm.log.unquiesced, 0);
	MUST(&b, peer_resume(&b.peer));
	vm_expect_running(&b.vm);
	assert_int_equal(b.vm.log.unquiesced, 1);
	fixture_end(&a);
	fixture_end(&b);
}

static void test_stop_before_arrival_holds(void **state)
{
	struct fixture a, b;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	MUST(&b, peer_pause(&b.peer, 1000));
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 0);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL));
	vm_expect_frozen(&b.vm);
	MUST(&b, peer_resume(&b.peer));
	vm_expect_running(&b.vm);
	fixture_end(&a);
	fixture_end(&b);
}

/* Aborted in LOADED: never again, not even by a replayed ACTIVATE; the source is taken back. */
static void test_discarded_is_for_good(void **state)
{
	struct attach_handover_reply rep;
	struct fixture a, b;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 0);
	MUST(&b, peer_handover(&b.peer, ATTACH_MIG_ABORT, id_a, &rep));
	assert_int_equal(rep.handover_state, HANDOVER_DISCARDED);
	MUST(&b, peer_handover(&b.peer, ATTACH_MIG_ABORT, id_a, NULL)); /* a replay */
	assert_int_equal(peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL), -EBADFD);
	assert_int_equal(migd_guest_wait_active(b.vm.guest, 20000), -ECANCELED);
	assert_int_equal(migd_guest_wait_gone(b.vm.guest, 20000), -ECANCELED);
	assert_int_equal(migd_guest_run_state(b.vm.guest), MIGD_GUEST_RS_DISCARDED);
	assert_int_equal(b.vm.log.discarded, 1);
	assert_int_equal(peer_resolve(&b.peer, id_a, true), -EBADFD);
	assert_int_equal(peer_pause(&b.peer, 100), -EBADFD);
	vm_expect_frozen(&b.vm);
	MUST(&a, peer_handover(&a.peer, ATTACH_MIG_ABORT, id_a, &rep));
	assert_int_equal(rep.handover_state, HANDOVER_RUNNING);
	vm_expect_running(&a.vm);
	fixture_end(&a);
	fixture_end(&b);
}

/* In doubt: frozen, refuses abort and resume; a successor worker reclaims. */
static void test_released_waits_for_the_answer(void **state)
{
	struct fixture a;

	(void)state;
	fixture_begin(&a, &source);
	fixture_paused(&a, id_a);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	assert_int_equal(peer_handover(&a.peer, ATTACH_MIG_ABORT, id_a, NULL), -EINPROGRESS);
	assert_int_equal(peer_resume(&a.peer), -EINPROGRESS);
	peer_hang_up(&a.peer);
	vm_expect_frozen(&a.vm);
	assert_int_equal(peer_state(&a.peer), HANDOVER_RELEASED);
	peer_must_open(&a.peer, PEER_SOURCE);
	assert_int_equal(peer_handover(&a.peer, ATTACH_RECLAIM, id_b, NULL), -EBADFD);
	vm_expect_frozen(&a.vm);
	MUST(&a, peer_handover(&a.peer, ATTACH_RECLAIM, id_a, NULL));
	MUST(&a, peer_handover(&a.peer, ATTACH_RECLAIM, id_a, NULL)); /* a replay */
	assert_int_equal(a.vm.log.reclaimed, 1);
	vm_expect_running(&a.vm);
	/* And it can be migrated again. */
	MUST(&a, peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_b, NULL));
	fixture_end(&a);
}

static void test_operator_resolves_the_source(void **state)
{
	struct fixture a;

	(void)state;
	fixture_begin(&a, &source);
	fixture_paused(&a, id_a);
	assert_int_equal(peer_resolve(&a.peer, id_a, true), -EBADFD); /* nothing is in doubt yet */
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	peer_hang_up(&a.peer);
	assert_int_equal(peer_resolve(&a.peer, id_b, true), -EBADFD);
	MUST(&a, peer_resolve(&a.peer, id_a, true));
	vm_expect_running(&a.vm);
	MUST(&a, peer_resolve(&a.peer, id_a, true));
	fixture_paused(&a, id_b);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_b, NULL));
	peer_hang_up(&a.peer);
	MUST(&a, peer_resolve(&a.peer, id_b, false));
	assert_int_equal(migd_guest_wait_gone(a.vm.guest, 20000), 0);
	vm_expect_frozen(&a.vm);
	assert_int_equal(peer_resolve(&a.peer, id_b, true), -EBADFD);
	fixture_end(&a);
}

/* LOADED survives the worker; only a successor or an operator decides. */
static void test_loaded_outlives_its_worker(void **state)
{
	struct fixture a, b, c;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_begin(&c, &target);
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 0);
	fixture_transfer(&a, &c, id_a, 0);
	peer_hang_up(&b.peer);
	peer_hang_up(&c.peer);
	assert_int_equal(peer_state(&b.peer), HANDOVER_LOADED);
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	peer_must_open(&b.peer, PEER_TARGET);
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL));
	vm_expect_running(&b.vm);
	assert_int_equal(peer_handover(&b.peer, ATTACH_MIG_ABORT, id_a, NULL), -EBADFD);
	peer_must_open(&c.peer, PEER_TARGET);
	MUST(&c, peer_resolve(&c.peer, id_a, false));
	assert_int_equal(peer_handover(&c.peer, ATTACH_ACTIVATE, id_a, NULL), -EBADFD);
	vm_expect_running(&b.vm);
	vm_expect_frozen(&c.vm);
	fixture_end(&a);
	fixture_end(&b);
	fixture_end(&c);
}

static void test_incoming_is_discarded_with_its_channel(void **state)
{
	struct fixture b;

	(void)state;
	fixture_begin(&b, &target);
	/* Nothing had begun: it can still take a guest. */
	peer_must_open(&b.peer, PEER_TARGET);
	peer_hang_up(&b.peer);
	peer_must_open(&b.peer, PEER_TARGET);
	assert_int_equal(peer_state(&b.peer), HANDOVER_EMPTY);
	MUST(&b, peer_handover(&b.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	peer_hang_up(&b.peer);
	peer_wait_state(&b.peer, HANDOVER_DISCARDED);
	assert_int_equal(migd_guest_wait_gone(b.vm.guest, 20000), -ECANCELED);
	fixture_end(&b);
}

static void test_failing_hooks(void **state)
{
	struct attach_state_save_reply rep;
	struct fixture a, b;
	int fd = -1;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_paused(&a, id_a);
	MUST(&a, peer_save(&a.peer, &fd, &rep));
	peer_must_open(&b.peer, PEER_TARGET);
	MUST(&b, peer_handover(&b.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	assert_int_equal(peer_loaded(&b.peer, id_a, 0), -EBADFD); /* nothing was loaded */
	MUST(&b, peer_load(&b.peer, fd, rep.len));
	assert_int_equal(peer_load(&b.peer, fd, rep.len), -EBADFD); /* once is enough */
	b.vm.log.fail_after_load = EIO;
	assert_int_equal(peer_loaded(&b.peer, id_a, 0), -EIO);
	assert_int_equal(peer_state(&b.peer), HANDOVER_DISCARDED);
	a.vm.log.fail_release = EBUSY;
	assert_int_equal(peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL), -EBUSY);
	assert_int_equal(peer_state(&a.peer), HANDOVER_PAUSED);
	MUST(&a, peer_handover(&a.peer, ATTACH_MIG_ABORT, id_a, NULL));
	vm_expect_running(&a.vm);
	(void)close(fd);
	fixture_end(&a);
	fixture_end(&b);
}

/* The page outlives the VMM and says that nothing runs there; nobody else can write it. */
static void test_decision_page_outlives_the_vmm(void **state)
{
	uint32_t running = HANDOVER_RUNNING;
	struct fixture a, b;

	(void)state;
	fixture_begin(&a, &source);
	fixture_begin(&b, &target);
	fixture_paused(&a, id_a);
	fixture_transfer(&a, &b, id_a, 0);
	assert_int_equal(pwrite(b.peer.decision_fd, &running, sizeof(running), 24), -1);
	vm_end(&b.vm);
	assert_int_equal(decision_state(b.peer.decision), HANDOVER_DISCARDED);
	assert_memory_equal(b.peer.decision->handover_id, id_a, ATTACH_ID_LEN);
	fixture_end(&a);
	fixture_end(&b);
}

static void test_wrong_order_and_ids(void **state)
{
	static const uint8_t none[ATTACH_ID_LEN];
	struct fixture a;

	(void)state;
	fixture_begin(&a, &source);
	assert_int_equal(peer_open(&a.peer, PEER_TARGET),
			 0); /* a running guest may have been a target ... */
	assert_int_equal(peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL),
			 -EBADFD); /* ... but is none now */
	peer_hang_up(&a.peer);
	peer_must_open(&a.peer, PEER_SOURCE);
	assert_int_equal(peer_open(&a.peer, PEER_SOURCE), -EBUSY);
	assert_int_equal(peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, none, NULL), -EINVAL);
	assert_int_equal(peer_mig_pause(&a.peer, id_a, 100, NULL), -EBADFD);
	assert_int_equal(peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL), -EBADFD);
	MUST(&a, peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	MUST(&a, peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL)); /* a replay */
	assert_int_equal(peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_b, NULL), -EBUSY);
	assert_int_equal(peer_mig_pause(&a.peer, id_b, 100, NULL), -EBADFD);
	assert_non_null(strstr(a.peer.last_text, "is not the one under way"));
	assert_int_equal(peer_handover(&a.peer, ATTACH_ACTIVATE, id_a, NULL), -EBADFD);
	MUST(&a, peer_handover(&a.peer, ATTACH_MIG_ABORT, id_a, NULL));
	MUST(&a, peer_handover(&a.peer, ATTACH_MIG_ABORT, id_a, NULL)); /* a replay */
	assert_int_equal(peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL), -EEXIST);
	MUST(&a, peer_handover(&a.peer, ATTACH_HANDOVER_BEGIN, id_b, NULL));
	vm_expect_running(&a.vm);
	fixture_end(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_handover),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_moves_on),
		cmocka_unit_test(test_paused_stays_paused),
		cmocka_unit_test(test_stop_before_arrival_holds),
		cmocka_unit_test(test_discarded_is_for_good),
		cmocka_unit_test(test_released_waits_for_the_answer),
		cmocka_unit_test(test_operator_resolves_the_source),
		cmocka_unit_test(test_loaded_outlives_its_worker),
		cmocka_unit_test(test_incoming_is_discarded_with_its_channel),
		cmocka_unit_test(test_failing_hooks),
		cmocka_unit_test(test_decision_page_outlives_the_vmm),
		cmocka_unit_test(test_wrong_order_and_ids),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
