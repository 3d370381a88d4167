/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loaded guest: it increments one byte of each page of its working set and a heartbeat counter, round and round, as
 * fast as it goes; with an empty working set it halts for good (the idle guest). It touches nothing but its own sector,
 * the result page and the working set.
 */
#include "sector.h"

	sector_begin
	movl work_start, %ebx
	movl work_end, %edx
	cmpl %edx, %ebx
	jae idle
round:
	movl %ebx, %edi
touch:
	incb (%edi)
	incl RESULT + RESULT_HEARTBEAT
	addl $PAGE, %edi
	cmpl %edx, %edi
	jb touch
	jmp round

idle:
	hlt
	jmp idle

	sector_parameters
work_start:
	.long 0
work_end:
	.long 0
	sector_end
