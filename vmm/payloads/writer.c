/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites its working set pass after pass and verifies each page before it does.
 *
 * The working set is working_set_bytes from PAYLOAD_WORK_GPA on (cut to the memory there is below 3
 * GiB); each vCPU has its own share of it and its own pass number, which starts at 1. Pass s leaves
 * in page i (counted from PAYLOAD_WORK_GPA) word 0                        PAYLOAD_WRITER_HEAD(s,
 * i), the pass and the page's index word PAYLOAD_WRITER_SLOT(s)   PAYLOAD_WRITER_CHECK(head), a
 * checksum of that and touches nothing else. The checksum wanders through the page, one word a
 * pass, so that after 511 passes every word is known: each then says in which pass it was written.
 * A vCPU instruction takes about a microsecond where KVM emulates, hence three words a page and not
 * all 512: the head and the checksum that the last pass left, and the word about to be overwritten,
 * as it was left 511 passes ago. A page that is lost, old, torn (its two halves from different
 * passes), or another page's is seen in the next pass; a single damaged word within 511 passes.
 *
 * At full speed vCPU 0 beats once a page. At pages_per_second, which the vCPUs share, they work in
 * bursts, one for each tick of their local APIC's timer, and sleep in between; vCPU 0 then beats
 * for each page and each tick.
 *
 * detail[0]  pass of vCPU 0
 * detail[1]  pages in the working set
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/runtime.h"

const char payload_name[] = "writer";

#define TICK_HZ       1000
#define DEFAULT_BYTES (1u << 20)
#define PAGE_WORDS    512

/* From a page's head in one pass to the next pass's; from a page's checksum to the next page's. */
#define ONE_PASS       PAYLOAD_WRITER_HEAD(1, 0)
#define ONE_PAGE_CHECK PAYLOAD_WRITER_CHECK(1)

/* The pages that one vCPU looks after. */
struct share {
	uint64_t first_page;
	uint64_t n_pages;
};

/* What a tick has allowed and the work has not used yet, in 1/256 pages; each vCPU its own. */
static volatile uint64_t allowance[PAYLOAD_MAX_VCPUS];
static uint64_t allowance_per_tick;

/*
 * One run through consecutive pages in pass seq; what is known about the page at hand moves along
 * with it.
 */
struct run {
	uint64_t *page;
	uint64_t *end;
	uint64_t slot; /* the word that this pass's checksum goes to */
	uint64_t last_slot;
	uint64_t last_head;
	uint64_t last_check;
	uint64_t check;
	uint64_t old_check; /* what the word at slot holds when all slots were written before */
	volatile uint64_t *beat;
};

static struct run run_of(unsigned int vcpu, uint64_t seq, uint64_t index, uint64_t n)
{
	uint64_t *base = (uint64_t *)PAYLOAD_WORK_GPA;

	return (struct run){
		.page = base + index * PAGE_WORDS,
		.end = base + (index + n) * PAGE_WORDS,
		.slot = PAYLOAD_WRITER_SLOT(seq),
		.last_slot = PAYLOAD_WRITER_SLOT(seq - 1),
		.last_head = PAYLOAD_WRITER_HEAD(seq - 1, index),
		.last_check = PAYLOAD_WRITER_CHECK(PAYLOAD_WRITER_HEAD(seq - 1, index)),
		.check = PAYLOAD_WRITER_CHECK(PAYLOAD_WRITER_HEAD(seq, index)),
		.old_check = PAYLOAD_WRITER_CHECK(
			PAYLOAD_WRITER_HEAD(seq - PAYLOAD_WRITER_SLOTS, index)),
		.beat = payload_beat_word(vcpu),
	};
}

/* Writes the page at hand, whatever it holds, and goes to the next. */
static void run_step(struct run *r)
{
	r->page[0] = r->last_head + ONE_PASS;
	r->page[r->slot] = r->check;
	*r->beat += 1;
	r->page += PAGE_WORDS;
	r->last_head++;
	r->last_check += ONE_PAGE_CHECK;
	r->check += ONE_PAGE_CHECK;
	r->old_check += ONE_PAGE_CHECK;
}

/*
 * run_step() for one page after the other, until the end or before a page that is not as the last
 * pass left it. In assembler since each instruction counts: 13 a page.
 */
static void run_while_good(struct run *r)
{
	__asm__ volatile(
		"1:	cmpq %[last_head], (%[page])\n"
		"	jne 2f\n"
		"	cmpq %[last_check], (%[page], %[last_slot], 8)\n"
		"	jne 2f\n"
		"	addq %[one_pass], (%[page])\n"
		"	movq %[check], (%[page], %[slot], 8)\n"
		"	incq (%[beat])\n"
		"	incq %[last_head]\n"
		"	addq %[one_page], %[last_check]\n"
		"	addq %[one_page], %[check]\n"
		"	addq $4096, %[page]\n"
		"	cmpq %[end], %[page]\n"
		"	jne 1b\n"
		"2:"
		: [page] "+r"(r->page), [last_head] "+r"(r->last_head),
		  [last_check] "+r"(r->last_check), [check] "+r"(r->check)
		: [end] "r"(r->end), [slot] "r"(r->slot), [last_slot] "r"(r->last_slot),
		  [beat] "r"(r->beat), [one_pass] "r"(ONE_PASS), [one_page] "r"(ONE_PAGE_CHECK)
		: "memory", "cc");
}

/* The same once every word of the page is known, the one to be overwritten included: 15 a page. */
static void run_while_all_good(struct run *r)
{
	__asm__ volatile(
		"1:	cmpq %[last_head], (%[page])\n"
		"	jne 2f\n"
		"	cmpq %[last_check], (%[page], %[last_slot], 8)\n"
		"	jne 2f\n"
		"	cmpq %[old_check], (%[page], %[slot], 8)\n"
		"	jne 2f\n"
		"	addq %[one_pass], (%[page])\n"
		"	addq %[all_slots], (%[page], %[slot], 8)\n"
		"	incq (%[beat])\n"
		"	incq %[last_head]\n"
		"	addq %[one_page], %[last_check]\n"
		"	addq %[one_page], %[old_check]\n"
		"	addq $4096, %[page]\n"
		"	cmpq %[end], %[page]\n"
		"	jne 1b\n"
		"2:"
		: [page] "+r"(r->page), [last_head] "+r"(r->last_head),
		  [last_check] "+r"(r->last_check), [old_check] "+r"(r->old_check)
		: [end] "r"(r->end), [slot] "r"(r->slot), [last_slot] "r"(r->last_slot),
		  [beat] "r"(r->beat), [one_pass] "r"(ONE_PASS), [one_page] "r"(ONE_PAGE_CHECK),
		  [all_slots] "r"(PAYLOAD_WRITER_SLOTS * (ONE_PAGE_CHECK << 32))
		: "memory", "cc");
	r->check = r->old_check + PAYLOAD_WRITER_SLOTS * (ONE_PAGE_CHECK << 32);
}

static void report_damage(const struct run *r, bool is_all_known)
{
	uint64_t index = (uint32_t)r->last_head;

	if (r->page[0] != r->last_head)
		payload_fail("head of page", index, r->last_head, r->page[0]);
	else if (r->page[r->last_slot] != r->last_check)
		payload_fail("checksum of page", index, r->last_check, r->page[r->last_slot]);
	else if (is_all_known)
		payload_fail("old word of page", index, r->old_check, r->page[r->slot]);
}

static void write_pages(unsigned int vcpu, uint64_t seq, uint64_t index, uint64_t n)
{
	struct run r = run_of(vcpu, seq, index, n);
	bool is_all_known = seq > PAYLOAD_WRITER_SLOTS;

	while (seq == 1 && r.page != r.end)
		run_step(&r);
	while (r.page != r.end) {
		if (is_all_known)
			run_while_all_good(&r);
		else
			run_while_good(&r);
		if (r.page == r.end)
			break;
		report_damage(&r, is_all_known);
		run_step(&r);
	}
	if (seq > 1)
		payload_checked(n);
}

static void on_tick(unsigned int vcpu)
{
	allowance[vcpu] += allowance_per_tick;
	payload_beat(vcpu);
}

/* Sleeps until the rate allows a page; the pages that may be written now, at most limit. */
static uint64_t await_allowance(unsigned int vcpu, uint64_t limit)
{
	uint64_t n;

	if (!allowance_per_tick)
		return limit;
	interrupts_off();
	while (allowance[vcpu] < 256)
		interrupt_wait();
	n = allowance[vcpu] / 256;
	if (n > limit)
		n = limit;
	allowance[vcpu] -= n * 256;
	interrupts_on();
	return n;
}

static uint64_t working_set_pages(void)
{
	uint64_t bytes = param->working_set_bytes ? param->working_set_bytes : DEFAULT_BYTES;
	uint64_t ram_end = param->memory_bytes < PAYLOAD_LOW_RAM_END ? param->memory_bytes
								     : PAYLOAD_LOW_RAM_END;
	uint64_t present = ram_end > PAYLOAD_WORK_GPA ? ram_end - PAYLOAD_WORK_GPA : 0;

	return (bytes < present ? bytes : present) / 4096;
}

static struct share share_of(unsigned int vcpu)
{
	uint64_t n_pages = working_set_pages();
	uint64_t first = n_pages * vcpu / param->n_vcpus;
	uint64_t end = n_pages * (vcpu + 1) / param->n_vcpus;
	if (vcpu == 0)
		result->detail[1] = n_pages;
	return (struct share){ .first_page = first, .n_pages = end - first };
}

void payload_main(unsigned int vcpu)
{
	struct share share = share_of(vcpu);
	uint64_t n;

	if (!share.n_pages) {
		payload_fail("no page to write, vCPU", vcpu, 1, 0);
		return;
	}
	if (param->pages_per_second) {
		allowance_per_tick = param->pages_per_second * 256 / TICK_HZ / param->n_vcpus;
		if (!allowance_per_tick)
			allowance_per_tick = 1;
		irq_handle(VECTOR_TICK, on_tick);
		tick_start(TICK_HZ);
	}
	for (uint64_t seq = 1;; seq++) {
		if (vcpu == 0)
			result->detail[0] = seq;
		for (uint64_t done = 0; done < share.n_pages; done += n) {
			n = await_allowance(vcpu, share.n_pages - done);
			write_pages(vcpu, seq, share.first_page + done, n);
		}
	}
}
