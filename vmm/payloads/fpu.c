/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a pattern of its own in each of the 16 XMM registers and looks again and again whether it
 * is still there.
 *
 * Moves only (movaps), since KVM's emulator has no vector arithmetic. Nothing here touches the
 * upper halves of the registers (YMM, ZMM), the mask registers, MXCSR or PKRU: a test sets those
 * from outside and finds them unchanged. Each vCPU has patterns of its own. Heartbeat and checks
 * count the looks.
 *
 * detail[0]  pattern number of vCPU 0
 */
#include "vmm/payloads/lib/runtime.h"

const char payload_name[] = "fpu";

#define N_REGISTERS       16
#define N_WORDS           (2 * N_REGISTERS)
#define LOOKS_PER_PATTERN 16

struct __attribute__((aligned(16))) registers {
	uint64_t words[N_WORDS];
};

static void load(const struct registers *r)
{
	__asm__ volatile(
		"movaps 0x00(%0), %%xmm0;  movaps 0x10(%0), %%xmm1;  movaps 0x20(%0), %%xmm2;"
		"movaps 0x30(%0), %%xmm3;  movaps 0x40(%0), %%xmm4;  movaps 0x50(%0), %%xmm5;"
		"movaps 0x60(%0), %%xmm6;  movaps 0x70(%0), %%xmm7;  movaps 0x80(%0), %%xmm8;"
		"movaps 0x90(%0), %%xmm9;  movaps 0xa0(%0), %%xmm10; movaps 0xb0(%0), %%xmm11;"
		"movaps 0xc0(%0), %%xmm12; movaps 0xd0(%0), %%xmm13; movaps 0xe0(%0), %%xmm14;"
		"movaps 0xf0(%0), %%xmm15"
		:
		: "r"(r)
		: "memory");
}

static void store(struct registers *r)
{
	__asm__ volatile(
		"movaps %%xmm0, 0x00(%0);  movaps %%xmm1, 0x10(%0);  movaps %%xmm2, 0x20(%0);"
		"movaps %%xmm3, 0x30(%0);  movaps %%xmm4, 0x40(%0);  movaps %%xmm5, 0x50(%0);"
		"movaps %%xmm6, 0x60(%0);  movaps %%xmm7, 0x70(%0);  movaps %%xmm8, 0x80(%0);"
		"movaps %%xmm9, 0x90(%0);  movaps %%xmm10, 0xa0(%0); movaps %%xmm11, 0xb0(%0);"
		"movaps %%xmm12, 0xc0(%0); movaps %%xmm13, 0xd0(%0); movaps %%xmm14, 0xe0(%0);"
		"movaps %%xmm15, 0xf0(%0)"
		:
		: "r"(r)
		: "memory");
}

/* A different word for each vCPU, pattern and place. */
static uint64_t first_word(unsigned int vcpu, uint64_t pattern)
{
	return ((pattern << 8 | vcpu) + 1) * 0x9e3779b97f4a7c15u;
}

#define WORD_STEP 0xbf58476d1ce4e5b9u

static void fill(struct registers *r, uint64_t word)
{
	for (unsigned int i = 0; i < N_WORDS; i++, word += WORD_STEP)
		r->words[i] = word;
}

static void look(struct registers *r, uint64_t word)
{
	store(r);
	for (unsigned int i = 0; i < N_WORDS; i++, word += WORD_STEP) {
		if (r->words[i] != word)
			payload_fail("word of XMM registers", i, word, r->words[i]);
	}
}

void payload_main(unsigned int vcpu)
{
	struct registers in_memory;

	for (uint64_t pattern = 0;; pattern++) {
		uint64_t word = first_word(vcpu, pattern);

		if (vcpu == 0)
			result->detail[0] = pattern;
		fill(&in_memory, word);
		load(&in_memory);
		for (unsigned int i = 0; i < LOOKS_PER_PATTERN; i++) {
			look(&in_memory, word);
			payload_checked(1);
			payload_beat(vcpu);
		}
	}
}
