/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest that nobody can foresee: it increments one byte of each page of its working set in a random order, and counts
 * how many clock ticks each of these accesses took, so that what it waited for its memory is told by itself.
 *
 * The order is x = (MULTIPLIER * x + INCREMENT) modulo the power of two that the number of pages fits, which meets each number
 * once before it repeats (multiplier 1 modulo 4, increment odd); those beyond the working set are left out.
 *
 * Counts by ticks: 16 equal parts of each power of two: number 16 * s + (ticks >> s), s such that ticks >> s is in 16..31;
 * fewer than 16 ticks count as 16, 2^32 and more as 2^32 - 1.
 */
#include "sector.h"

#define MULTIPLIER 0x5851f42d
#define INCREMENT 0x14057b7f
#define RESULT_CLOCK 0x80	/* 64 bits: the clock after the last access */
#define RESULT_TICKS 0x100	/* the counts, 32 bits each */
#define PARTS 16
#define PARTS_SHIFT 4

	sector_begin
	xorl %esi, %esi
next:
	imull $MULTIPLIER, %esi, %esi
	addl $INCREMENT, %esi
	andl mask, %esi
	cmpl n_pages, %esi
	jae next
	movl %esi, %edi
	shll $PAGE_SHIFT, %edi
	addl work_start, %edi
	rdtsc
	movl %eax, %ecx
	movl %edx, %ebx
	incb (%edi)
	rdtsc
	movl %eax, RESULT + RESULT_CLOCK
	movl %edx, RESULT + RESULT_CLOCK + 4
	subl %ecx, %eax
	sbbl %ebx, %edx
	jz fits
	movl $-1, %eax
fits:
	cmpl $PARTS, %eax
	jae count
	movl $PARTS, %eax
count:
	bsrl %eax, %ecx
	subl $PARTS_SHIFT, %ecx
	shrl %cl, %eax
	shll $PARTS_SHIFT, %ecx
	addl %ecx, %eax
	incl RESULT + RESULT_TICKS(, %eax, 4)
	incl RESULT + RESULT_HEARTBEAT
	jmp next

	sector_parameters
work_start:
	.long 0
n_pages:
	.long 0
mask:
	.long 0
	sector_end
