/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A boot sector that says on the serial port what it found and ends with status 42: "D" if DL names the first hard
 * disk, "T" for each of three PIT interrupts through the PIC.
 */
	.code16
	.globl _start
_start:
	cli
	cmpb	$0x80, %dl
	jne	fail
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movb	$'D', %al
	call	put
	movw	$tick, 8 * 4		/* vector 8 = IRQ 0 */
	movw	$0, 8 * 4 + 2
	movb	$0x11, %al		/* PIC: ICW1-4, vectors from 8 */
	outb	%al, $0x20
	movb	$8, %al
	outb	%al, $0x21
	movb	$4, %al
	outb	%al, $0x21
	movb	$1, %al
	outb	%al, $0x21
	movb	$0xfe, %al		/* only IRQ 0 */
	outb	%al, $0x21
	movb	$0x34, %al		/* PIT: channel 0, rate generator, 100 Hz */
	outb	%al, $0x43
	movb	$0x9c, %al
	outb	%al, $0x40
	movb	$0x2e, %al
	outb	%al, $0x40
wait:
	sti
	hlt
	cmpb	$3, count
	jb	wait
	cli
	movb	$'\n', %al
	call	put
	movb	$42, %al
	jmp	end
fail:
	movb	$1, %al
end:
	movw	$0x501, %dx
	outb	%al, %dx
	hlt

tick:
	pushw	%ax
	pushw	%dx
	incb	count
	movb	$'T', %al
	call	put
	movb	$0x20, %al
	outb	%al, $0x20
	popw	%dx
	popw	%ax
	iret

put:
	movw	$0x3f8, %dx
	outb	%al, %dx
	ret

count:
	.byte	0
	.org	510
	.byte	0x55, 0xaa
