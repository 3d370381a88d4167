/* SPDX-License-Identifier: Apache-2.0 */
/* Where every vCPU of a payload starts, and where its interrupts and exceptions arrive. */

	.code64
	.section .entry, "ax"
	.globl	payload_entry
/* RDI = vCPU index, RSI = parameter page, RSP = a stack of this vCPU's own (vmm/payload-abi.h). */
payload_entry:
	cld
	lgdt	gdt_pointer(%rip)
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	pushq	$0x08
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
1:	xorl	%ebp, %ebp
	call	runtime_start
2:	cli
	hlt
	jmp	2b

	.section .rodata
	.balign	16
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: flat data */
gdt_end:
	.balign	16
	.skip	6
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

/*
 * One stub a vector, 16 bytes apart: trap_stubs + 16 * vector is what the IDT holds. Where the processor pushes no
 * error code the stub does, so that the frame is always the same (struct trap_frame).
 */
	.text
	.balign	16
	.globl	trap_stubs
trap_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr

	.balign	16
trap_common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	cld
	leaq	72(%rsp), %rdi
	call	trap_dispatch
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
