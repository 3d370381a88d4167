/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopped in the middle of an IN whose device has a side effect, moved, and so on for several hops:
 * the guest sees each value exactly once, and the device counts as in a run without interruption.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

#define HOPS          8
#define READS_BETWEEN 37

/* Wait until the guest is inside its read number PORT->stop_at. */
static void wait_for_the_read(struct fixture *f, struct port *port)
{
	for (int ms = 0; sem_trywait(&port->stopped_there) < 0; ms++) {
		if (f->vm.ram[VM_FAILED])
			fail_msg("the guest saw a value twice or missed one, at read %llu",
				 (unsigned long long)port->reads);
		if (ms == 20000)
			fail_msg("the guest does not read");
		(void)usleep(1000);
	}
}

/* Stop VM exactly inside its read number PORT->stop_at. */
static void pause_inside_the_read(struct fixture *f, struct port *port, const uint8_t *id)
{
	fixture_precopy(f, id);
	wait_for_the_read(f, port);
	MUST(f, peer_mig_pause(&f->peer, id, 20000, NULL));
	assert_int_equal(port->reads, port->stop_at);
	/* The value has arrived: the guest's next instruction is the one after the IN. */
	assert_int_equal(f->vm.ram[VM_FAILED], 0);
}

static void test_hops(void **state)
{
	struct port port = { .stop_at = READS_BETWEEN };
	struct fixture f[2];
	uint8_t id[ATTACH_ID_LEN] = { 1 };

	(void)state;
	(void)sem_init(&port.stopped_there, 0, 0);
	fixture_begin(&f[0], &(struct vm_options){ .program = VM_INPUT,
						   .role = MIGD_GUEST_RUNNING,
						   .port = &port });
	for (unsigned int hop = 0; hop < HOPS; hop++) {
		struct fixture *a = &f[hop % 2], *b = &f[(hop + 1) % 2];

		id[1] = (uint8_t)hop;
		fixture_begin(b, &(struct vm_options){ .program = VM_INPUT,
						       .role = MIGD_GUEST_INCOMING,
						       .port = &port });
		pause_inside_the_read(a, &port, id);
		fixture_transfer(a, b, id, 0);
		MUST(a, peer_handover(&a->peer, ATTACH_RELEASE, id, NULL));
		port.stop_at += READS_BETWEEN + hop;
		MUST(b, peer_handover(&b->peer, ATTACH_ACTIVATE, id, NULL));
		MUST(a, peer_handover(&a->peer, ATTACH_RETIRE, id, NULL));
		fixture_end(a);
		peer_hang_up(&b->peer);
	}
	wait_for_the_read(&f[HOPS % 2], &port);
	fixture_paused(&f[HOPS % 2], (const uint8_t[ATTACH_ID_LEN]){ 2 });
	assert_int_equal(f[HOPS % 2].vm.ram[VM_FAILED], 0);
	assert_int_equal(port.reads, port.stop_at);
	/* The last read's increment comes after it. */
	assert_int_equal(vm_counter(&f[HOPS % 2].vm, 0), port.reads - 1);
	fixture_end(&f[HOPS % 2]);
	(void)sem_destroy(&port.stopped_there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hops),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
