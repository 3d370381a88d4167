/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loaded guests share: a boot sector that is entered in real mode at 0:0x7c00 (by migd-vmm's --boot-sector, or
 * copied there by rom.S), goes to flat 32-bit mode without interrupts or a stack, and counts in the result page, which is
 * laid out as vmm/payload-abi.h says, so that whatever watches a payload's heartbeat can watch this one.
 * bench/lib/guest.py fills in the parameters at the end of the sector.
 */
#define RESULT 0x10000		/* PAYLOAD_RESULT_GPA */
#define RESULT_STATUS 4
#define RESULT_HEARTBEAT 8	/* its low 32 bits: hours at these guests' speed */
#define MAGIC 0x444c5950	/* PAYLOAD_MAGIC */
#define RUNNING 1		/* PAYLOAD_RUNNING */
#define PAGE 4096
#define PAGE_SHIFT 12
#define CODE32 0x08
#define DATA32 0x10
#define PARAMETERS 0x1f2	/* three 32-bit words */

/* Ahead of the guest's own code, which is flat from here on. */
.macro sector_begin
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
.endm

/* Behind it; the guest's parameters follow. */
.macro sector_parameters
	.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* flat code, accessed */
	.quad 0x00cf93000000ffff	/* flat data, accessed */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.org PARAMETERS
.endm

.macro sector_end
	.org 510
	.word 0xaa55
.endm
