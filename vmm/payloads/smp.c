/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPUs pass a token round, each waking the next with an inter-processor interrupt and sleeping
 * until its own.
 *
 * The token is a number; it belongs to vCPU (token mod vCPUs), which adds one. Each vCPU expects to
 * see it exactly n_vcpus further than the last time, and one interrupt each time. An interrupt that
 * got lost shows when the token is there but the interrupt is not for two seconds of ticks; the
 * payload then goes on without it.
 *
 * vCPU 0 beats for each token it gets and for each tick, so that its heartbeat says that it runs
 * and detail[0] that the vCPUs reach each other.
 *
 * detail[0]  the token
 * detail[1]  interrupts that vCPU 0 got
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"

const char payload_name[] = "smp";

#define LOST_AFTER_TICKS (2 * TICK_HZ)

static volatile uint64_t n_received[PAYLOAD_MAX_VCPUS];

static uint64_t token(void)
{
	return __atomic_load_n(&result->detail[0], __ATOMIC_ACQUIRE);
}

static void on_ipi(unsigned int vcpu)
{
	n_received[vcpu]++;
	if (vcpu == 0)
		result->detail[1] = n_received[0];
}

/* Until the interrupt that announces the token came in; n_expected counts all so far. */
static void await_interrupt(unsigned int vcpu, uint64_t expected_token, uint64_t n_expected)
{
	uint64_t seen_at = UINT64_MAX;

	while (n_received[vcpu] < n_expected) {
		interrupt_wait();
		if (token() != expected_token)
			continue;
		if (seen_at == UINT64_MAX)
			seen_at = ticks_now(vcpu);
		if (ticks_now(vcpu) - seen_at > LOST_AFTER_TICKS) {
			payload_fail("interrupts lost, vCPU", vcpu, n_expected, n_received[vcpu]);
			n_received[vcpu] = n_expected;
		}
	}
}

static void pass_token(unsigned int vcpu, uint64_t value)
{
	unsigned int next = vcpu + 1 == param->n_vcpus ? 0 : vcpu + 1;

	__atomic_store_n(&result->detail[0], value + 1, __ATOMIC_RELEASE);
	ipi_send(next);
}

void payload_main(unsigned int vcpu)
{
	uint64_t expected = vcpu;

	irq_handle(VECTOR_IPI, on_ipi);
	ticks_start();
	for (uint64_t n = 0;; n++, expected += param->n_vcpus) {
		/* vCPU 0 has the first token without having been told. */
		await_interrupt(vcpu, expected, vcpu == 0 ? n : n + 1);
		if (token() != expected)
			payload_fail("token, vCPU", vcpu, expected, token());
		payload_checked(1);
		payload_beat(vcpu);
		pass_token(vcpu, expected);
	}
}
