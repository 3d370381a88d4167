/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each payload runs on real KVM, and each that verifies something notices when that something is
 * damaged.
 */
/* LIBS: migd_payloads pthread */
/* SOURCES: bare-vm.c bare-disk.c */
/* LABELS: kvm */
/* TIMEOUT: 300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bare-disk.h"
#include "bare-vm.h"
#include "vmm/payload.h"

#define WORKING_SET_BYTES (16u * 4096)

/* The machine of the test that runs; freed after it, whether it passed or not. */
static struct bare_vm *vm;
static volatile struct payload_result *result;

static int free_machine(void **state)
{
	(void)state;
	bare_vm_free(vm);
	vm = NULL;
	return 0;
}

static void make(const char *payload, unsigned int n_vcpus, const struct payload_param *param)
{
	vm = bare_vm_new(payload, n_vcpus, param);
	result = bare_vm_result(vm);
}

static void start(const char *payload, unsigned int n_vcpus, const struct payload_param *param)
{
	make(payload, n_vcpus, param);
	bare_vm_start(vm);
}

static void assert_no_failure(void)
{
	assert_string_equal((const char *)result->text, "");
	assert_int_equal(result->failures, 0);
	assert_int_not_equal(result->status, PAYLOAD_FAILED);
}

static void await_text(const char *part)
{
	bare_vm_await(vm, result->status == PAYLOAD_FAILED);
	bare_vm_await(vm, bare_vm_has_printed(vm, "failed\r\n"));
	if (!strstr((const char *)result->text, part))
		fail_msg("expected '%s' in '%s'", part, (const char *)result->text);
	assert_true(result->failures >= 1);
}

static void pause_for_ms(unsigned int ms)
{
	bare_vm_pause(vm);
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
	bare_vm_resume(vm);
}

static void every_name_is_found_and_no_other(void **state)
{
	const uint8_t *image = NULL;
	size_t len_bytes = 0;

	(void)state;
	for (const char *const *name = payload_names(); *name; name++) {
		assert_int_equal(payload_find(*name, &image, &len_bytes), 0);
		assert_in_range(len_bytes, 1, PAYLOAD_IMAGE_MAX);
	}
	image = NULL;
	assert_true(payload_find("no-such-payload", &image, &len_bytes) < 0);
	assert_null(image);
}

static void every_payload_says_that_it_runs(void **state)
{
	const struct payload_param param = { .working_set_bytes = WORKING_SET_BYTES };

	(void)state;
	for (const char *const *name = payload_names(); *name; name++) {
		char line[64];

		if (!strcmp(*name, "vault"))
			continue; /* needs migd-vmm's: tests/migration/test-live-device.py */
		snprintf(line, sizeof(line), "payload %s running\r\n", *name);
		make(*name, 1, &param);
		bare_vm_add_disk(vm, 1 << 20);
		bare_vm_start(vm);
		bare_vm_await(vm, bare_vm_has_printed(vm, line));
		bare_vm_await(vm, result->heartbeat >= 10);
		assert_int_equal(result->magic, PAYLOAD_MAGIC);
		assert_no_failure();
		free_machine(NULL);
	}
}

static void vault_misses_its_device(void **state)
{
	(void)state;
	start("vault", 1, &(struct payload_param){ 0 });
	await_text("vault magic");
}

static void idle_gets_ticks_of_both_timers_on_all_vcpus(void **state)
{
	(void)state;
	start("idle", 2, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 20 && result->detail[1] >= 20 &&
				  result->vcpu_beat[1] >= 20);
	assert_no_failure();
}

static void writer_verifies_pages_on_all_vcpus(void **state)
{
	(void)state;
	start("writer", 2, &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES });
	/* More than PAYLOAD_WRITER_SLOTS passes, so that every word of every page counts. */
	bare_vm_await(vm, result->detail[0] > 2 * PAYLOAD_WRITER_SLOTS);
	bare_vm_await(vm, result->vcpu_beat[1] > 100 && result->checks > 1000);
	assert_int_equal(result->detail[1], WORKING_SET_BYTES / 4096);
	assert_no_failure();
}

static void writer_fills_pages_as_the_interface_says(void **state)
{
	uint64_t pass;

	(void)state;
	start("writer", 1, &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES });
	bare_vm_await(vm, result->detail[0] > PAYLOAD_WRITER_SLOTS + 1);
	bare_vm_pause(vm);
	pass = result->detail[0];
	/* The page in progress and those after it are still as the last pass left them. */
	for (uint64_t i = 0; i < WORKING_SET_BYTES / 4096; i++) {
		const uint64_t *page = bare_vm_memory(vm, PAYLOAD_WORK_GPA + i * 4096);
		uint64_t page_pass = page[0] >> 32;

		assert_in_range(page_pass, pass - 1, pass);
		for (uint64_t p = page_pass - 1; p > page_pass - PAYLOAD_WRITER_SLOTS; p--)
			assert_true(page[PAYLOAD_WRITER_SLOT(p)] ==
				    PAYLOAD_WRITER_CHECK(PAYLOAD_WRITER_HEAD(p, i)));
	}
	bare_vm_resume(vm);
}

static void touch_counts_in_every_page(void **state)
{
	uint8_t first, last;

	(void)state;
	start("touch", 1, &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES });
	bare_vm_await(vm, result->detail[0] >= 300);
	bare_vm_await(vm, bare_vm_has_printed(vm, "A\r\nB\r\nB\r\n"));
	bare_vm_pause(vm);
	assert_int_equal(result->detail[1], WORKING_SET_BYTES / 4096);
	first = *(const uint8_t *)bare_vm_memory(vm, PAYLOAD_WORK_GPA);
	last = first;
	for (uint64_t i = 0; i < WORKING_SET_BYTES / 4096; i++) {
		uint8_t count = *(const uint8_t *)bare_vm_memory(vm, PAYLOAD_WORK_GPA + i * 4096);

		assert_true(count == last || (last == first && count == (uint8_t)(first - 1)));
		last = count;
	}
	bare_vm_resume(vm);
	assert_no_failure();
}

static void writer_keeps_to_its_share_of_a_rate(void **state)
{
	(void)state;
	start("writer", 2,
	      &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES,
				       .pages_per_second = 3000 });
	bare_vm_await(vm, result->detail[0] >= 20 && result->vcpu_beat[1] > 100);
	assert_no_failure();
}

/* The third page, damaged at the given word while the writer stands still. */
static void damage_writer(uint64_t n_passes, uint64_t word, const char *expected_text)
{
	uint64_t n_checks;

	start("writer", 1, &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES });
	bare_vm_await(vm, result->detail[0] > n_passes);
	bare_vm_pause(vm);
	assert_no_failure();
	*(uint64_t *)bare_vm_memory(vm, PAYLOAD_WORK_GPA + 2 * 4096 + word * 8) ^= 1u << 20;
	bare_vm_resume(vm);
	await_text(expected_text);
	/* It goes on, and finds nothing more. */
	n_checks = result->checks;
	bare_vm_await(vm, result->checks > n_checks + 10 * PAYLOAD_WRITER_SLOTS);
	assert_int_equal(result->failures, 1);
}

static void writer_notices_a_page_of_an_earlier_pass(void **state)
{
	(void)state;
	damage_writer(2, 0, "head of page at 0x2");
}

static void writer_notices_any_damaged_word(void **state)
{
	(void)state;
	damage_writer(PAYLOAD_WRITER_SLOTS + 2, 300, "of page at 0x2");
}

static void clock_runs_on_with_all_timers(void **state)
{
	(void)state;
	start("clock", 2, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[2] >= 20 && result->detail[3] >= 20 &&
				  result->vcpu_beat[1] >= 20);
	bare_vm_await(vm, result->checks >= 100);
	assert_no_failure();
}

static void clock_reports_how_long_it_stood_still(void **state)
{
	const uint64_t pause_ns = 300000000;

	(void)state;
	start("clock", 1, &(struct payload_param){ .arg = { 1 } });
	bare_vm_await(vm, result->detail[2] >= 10 && result->detail[3] >= 10);
	pause_for_ms(300);
	/*
	 * Both clocks go on while the machine stands still, and the timers' silence is at least as
	 * long.
	 */
	bare_vm_await(vm, result->detail[0] >= pause_ns && result->detail[1] >= pause_ns);
	bare_vm_await(vm, result->detail[4] >= pause_ns && result->detail[5] >= pause_ns);
	assert_no_failure();
}

static void clock_notices_kvmclock_going_back(void **state)
{
	(void)state;
	start("clock", 1, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[6] >= 50000000);
	bare_vm_set_clock(vm, 1000000);
	await_text("kvmclock went back, vCPU at 0x0");
}

static void smp_passes_the_token(void **state)
{
	(void)state;
	start("smp", 2, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 1000 && result->detail[1] >= 400);
	assert_no_failure();
}

static void smp_works_alone(void **state)
{
	(void)state;
	start("smp", 1, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 1000);
	assert_no_failure();
}

static void set_token_back(void)
{
	bare_vm_pause(vm);
	result->detail[0] -= 2;
	bare_vm_resume(vm);
}

static void smp_notices_a_token_that_changed(void **state)
{
	(void)state;
	start("smp", 2, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 100);
	bare_vm_await(vm, (set_token_back(), result->failures > 0));
	await_text("vCPU at 0x");
}

static void fpu_finds_its_registers(void **state)
{
	(void)state;
	start("fpu", 2, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 20 && result->vcpu_beat[1] >= 100);
	assert_no_failure();
}

static void fpu_notices_a_register_that_changed(void **state)
{
	(void)state;
	start("fpu", 1, &(struct payload_param){ 0 });
	bare_vm_await(vm, result->detail[0] >= 2);
	/*
	 * More than once, since the payload may have been about to load or write it anew; likewise
	 * with the disk.
	 */
	bare_vm_await(vm, (bare_vm_damage_xmm(vm, 13), result->failures > 0));
	await_text("word of XMM registers at 0x1b");
}

static void disk_writes_and_verifies(void **state)
{
	(void)state;
	make("disk", 1, &(struct payload_param){ .arg = { 32, 4 } });
	bare_vm_add_disk(vm, 1 << 20);
	bare_vm_start(vm);
	bare_vm_await(vm, result->detail[1] >= 3);
	assert_true(result->detail[2] > 0);
	assert_int_equal(result->detail[4], 4);
	assert_int_equal(result->detail[5], (1 << 20) / 4096);
	assert_no_failure();
}

static void disk_notices_a_damaged_sector(void **state)
{
	(void)state;
	make("disk", 1, &(struct payload_param){ .arg = { 32 } });
	bare_vm_add_disk(vm, 1 << 20);
	bare_vm_start(vm);
	bare_vm_await(vm, result->detail[1] >= 1);
	bare_vm_await(vm, (bare_vm_damage_disk(vm, 5 * 4096 + 512), result->failures > 0));
	await_text("word of sector at 0x29");
}

static void start_soak(void)
{
	make("soak", 1,
	     &(struct payload_param){ .working_set_bytes = WORKING_SET_BYTES, .arg = { 8 } });
	bare_vm_add_disk(vm, 1 << 20);
	bare_vm_start(vm);
	bare_vm_await(vm,
		      result->detail[0] >= 3 && result->detail[3] >= 3 && result->detail[4] > 0);
	assert_no_failure();
}

static void soak_notices_a_damaged_page(void **state)
{
	(void)state;
	start_soak();
	bare_vm_pause(vm);
	*(uint64_t *)bare_vm_memory(vm, PAYLOAD_WORK_GPA + 5 * 4096) += 1;
	bare_vm_resume(vm);
	await_text("head of page at 0x5");
}

static void soak_notices_a_damaged_block(void **state)
{
	(void)state;
	start_soak();
	bare_vm_await(vm, (bare_vm_damage_disk(vm, 5 * 4096 + 1600), result->failures > 0));
	await_text("byte of disk at 0x5640");
}

static void soak_notices_kvmclock_going_back(void **state)
{
	(void)state;
	start_soak();
	bare_vm_set_clock(vm, 1000);
	await_text("kvmclock went back, vCPU at 0x0");
}

static void disk_fails_where_there_is_none(void **state)
{
	(void)state;
	start("disk", 1, &(struct payload_param){ .arg = { 0, 0, 1 } });
	await_text("virtio register at 0xd0001000");
	bare_vm_await(vm, result->heartbeat >= 10);
}

static void poweroff_powers_off(void **state)
{
	(void)state;
	start("poweroff", 2, &(struct payload_param){ .arg = { 10 } });
	bare_vm_await(vm, bare_vm_count(vm, BARE_POWEROFFS) == 1);
	assert_int_equal(result->status, PAYLOAD_PASSED);
	assert_true(bare_vm_has_printed(vm, "payload poweroff passed\r\n"));
}

static void reset_remembers_how_often(void **state)
{
	(void)state;
	start("reset", 1, &(struct payload_param){ .arg = { 2, 10 } });
	bare_vm_await(vm, result->status == PAYLOAD_PASSED);
	assert_int_equal(bare_vm_count(vm, BARE_RESETS), 2);
	assert_int_equal(result->detail[0], 2);
	assert_true(result->heartbeat >= 20);
	assert_no_failure();
}

static void panic_ends_in_a_triple_fault(void **state)
{
	(void)state;
	start("panic", 1, &(struct payload_param){ .arg = { 10 } });
	bare_vm_await(vm, bare_vm_count(vm, BARE_SHUTDOWNS) == 1);
	assert_no_failure();
}

static void panic_ends_by_the_exit_port(void **state)
{
	(void)state;
	start("panic", 1, &(struct payload_param){ .arg = { 10, 1, 42 } });
	bare_vm_await(vm, bare_vm_count(vm, BARE_EXITS) == 1);
	assert_int_equal(bare_vm_exit_status(vm), 42);
}

static void suspend_counts_its_wakeups(void **state)
{
	(void)state;
	start("suspend", 2, &(struct payload_param){ .arg = { 10, 3 } });
	bare_vm_await(vm, result->status == PAYLOAD_PASSED);
	assert_int_equal(bare_vm_count(vm, BARE_SLEEPS), 3);
	assert_int_equal(result->detail[1], 3);
}

#define VM_TEST(f) cmocka_unit_test_teardown(f, free_machine)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(every_name_is_found_and_no_other),
		VM_TEST(every_payload_says_that_it_runs),
		VM_TEST(vault_misses_its_device),
		VM_TEST(idle_gets_ticks_of_both_timers_on_all_vcpus),
		VM_TEST(touch_counts_in_every_page),
		VM_TEST(writer_verifies_pages_on_all_vcpus),
		VM_TEST(writer_fills_pages_as_the_interface_says),
		VM_TEST(writer_keeps_to_its_share_of_a_rate),
		VM_TEST(writer_notices_a_page_of_an_earlier_pass),
		VM_TEST(writer_notices_any_damaged_word),
		VM_TEST(clock_runs_on_with_all_timers),
		VM_TEST(clock_reports_how_long_it_stood_still),
		VM_TEST(clock_notices_kvmclock_going_back),
		VM_TEST(smp_passes_the_token),
		VM_TEST(smp_works_alone),
		VM_TEST(smp_notices_a_token_that_changed),
		VM_TEST(fpu_finds_its_registers),
		VM_TEST(fpu_notices_a_register_that_changed),
		VM_TEST(disk_writes_and_verifies),
		VM_TEST(disk_notices_a_damaged_sector),
		VM_TEST(disk_fails_where_there_is_none),
		VM_TEST(soak_notices_a_damaged_page),
		VM_TEST(soak_notices_a_damaged_block),
		VM_TEST(soak_notices_kvmclock_going_back),
		VM_TEST(poweroff_powers_off),
		VM_TEST(reset_remembers_how_often),
		VM_TEST(panic_ends_in_a_triple_fault),
		VM_TEST(panic_ends_by_the_exit_port),
		VM_TEST(suspend_counts_its_wakeups),
	};
	const char *reason;

	if (!bare_vm_is_possible(&reason)) {
		fprintf(stderr,
			"payloads/payloads-check-themselves: skipped, no usable /dev/kvm (%s)\n",
			reason);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
