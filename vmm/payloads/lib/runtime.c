/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a payload on each vCPU, and its result page. */
#include "vmm/payloads/lib/runtime.h"

#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/serial.h"
#include "vmm/payloads/lib/text.h"

volatile struct payload_result *const result = (volatile struct payload_result *)PAYLOAD_RESULT_GPA;
const struct payload_param *const param = (const struct payload_param *)PAYLOAD_PARAM_GPA;

/* In the image, hence 0 again after a reset. */
static uint32_t is_open; /* by vCPU 0: the others may go on */
static uint32_t n_ready; /* vCPUs that can take interrupts */
static uint32_t has_failed;

uint64_t payload_arg(unsigned int i, uint64_t fallback)
{
	return param->arg[i] ? param->arg[i] : fallback;
}

void payload_checked(uint64_t n)
{
	__atomic_fetch_add(&result->checks, n, __ATOMIC_RELAXED);
}

static void result_line(const char *what)
{
	char line[64 + sizeof(result->text)];
	struct text t = text_on(line, sizeof(line));

	text_add(&t, "payload ");
	text_add(&t, payload_name);
	text_add(&t, what);
	serial_line(line);
}

void payload_fail(const char *what, uint64_t where, uint64_t expected, uint64_t seen)
{
	char line[sizeof(result->text)];
	struct text t = text_on(line, sizeof(line));

	__atomic_fetch_add(&result->failures, 1, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&has_failed, 1, __ATOMIC_ACQ_REL))
		return;
	text_add(&t, ": ");
	text_add(&t, what);
	text_add(&t, " at ");
	text_add_hex(&t, where);
	text_add(&t, ": expected ");
	text_add_hex(&t, expected);
	text_add(&t, ", saw ");
	text_add_hex(&t, seen);
	for (unsigned int i = 0; i + 2 < sizeof(line); i++)
		result->text[i] = line[i + 2];
	result->status = PAYLOAD_FAILED;
	text_add(&t, "; failed");
	result_line(line);
}

void payload_pass(void)
{
	if (__atomic_load_n(&has_failed, __ATOMIC_ACQUIRE))
		return;
	result->status = PAYLOAD_PASSED;
	result_line(" passed");
}

/* A page that an earlier run left (a reset keeps it) goes on counting; anything else is cleared. */
static void result_open(void)
{
	volatile uint64_t *word = (volatile uint64_t *)PAYLOAD_RESULT_GPA;

	if (result->magic != PAYLOAD_MAGIC) {
		for (unsigned int i = 0; i < sizeof(*result) / sizeof(*word); i++)
			word[i] = 0;
		result->magic = PAYLOAD_MAGIC;
	}
	has_failed = result->status == PAYLOAD_FAILED;
}

static void start_first(void)
{
	result_open();
	serial_open();
	irq_open();
	result_line(" running");
	if (!has_failed)
		result->status = PAYLOAD_RUNNING;
	if (param->magic != PAYLOAD_MAGIC)
		payload_fail("parameter page", PAYLOAD_PARAM_GPA, PAYLOAD_MAGIC, param->magic);
	__atomic_store_n(&is_open, 1, __ATOMIC_RELEASE);
}

void runtime_start(unsigned int vcpu)
{
	if (vcpu == 0)
		start_first();
	while (!__atomic_load_n(&is_open, __ATOMIC_ACQUIRE))
		cpu_relax();
	irq_open_vcpu(vcpu);
	__atomic_fetch_add(&n_ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&n_ready, __ATOMIC_ACQUIRE) < param->n_vcpus)
		cpu_relax();
	payload_main(vcpu);
}
