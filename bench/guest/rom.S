/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 64 KiB firmware image that only starts a boot sector: for a machine without firmware of its own, the same
 * sector that migd-vmm loads. bench/lib/guest.py puts the sector at offset 0.
 *
 * At reset CS has selector 0xf000 and the base 4 GiB - 64 KiB, and the image is mapped there.
 */
#define SECTOR_LEN 512
#define BOOT 0x7c00
#define RESET 0xfff0

	.text
	.code16
	.globl _start
_start:
	.org SECTOR_LEN
copy:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %es
	movw %ax, %si
	movw $BOOT, %di
	movw $(SECTOR_LEN / 2), %cx
	rep movsw %cs:(%si), %es:(%di)
	ljmpw $0, $BOOT

	.org RESET
	jmp copy
	.org 0x10000
