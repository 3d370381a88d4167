/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loaded guest: a boot sector that increments one byte of each page of its working set and a heartbeat counter,
 * round and round, as fast as it goes; with an empty working set it halts for good (the idle guest).
 *
 * Entered in real mode at 0:0x7c00 (by migd-vmm's --boot-sector, or copied there by rom.S); goes to flat 32-bit mode
 * and touches nothing but its own sector, the result page and the working set. bench/lib/guest.py fills in the
 * parameters at the end of the sector. The result page is laid out as vmm/payload-abi.h says, so that whatever watches
 * a payload's heartbeat can watch this one.
 */
#define RESULT 0x10000		/* PAYLOAD_RESULT_GPA */
#define RESULT_STATUS 4
#define RESULT_HEARTBEAT 8	/* its low 32 bits: hours at this guest's speed */
#define MAGIC 0x444c5950	/* PAYLOAD_MAGIC */
#define RUNNING 1		/* PAYLOAD_RUNNING */
#define PAGE 4096
#define CODE32 0x08
#define DATA32 0x10
#define PARAMETERS 0x1f2

	.text
	.code16
	.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl gdt_pointer
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $CODE32, $flat

	.code32
flat:
	movw $DATA32, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0, RESULT + RESULT_HEARTBEAT
	movl $MAGIC, RESULT
	movl $RUNNING, RESULT + RESULT_STATUS
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

	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* flat code, accessed */
	.quad 0x00cf93000000ffff	/* flat data, accessed */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.org PARAMETERS
work_start:
	.long 0
work_end:
	.long 0
	.org 510
	.word 0xaa55
