/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a built-in payload, the VMM that runs it and those who watch it share: where things are in
 * guest memory, which ports and windows the platform has, and in which state a vCPU enters.
 *
 * Observers map the VMM's --memory-file and look at the result page; guest-physical addresses below
 * 3 GiB are offsets in that file.
 *
 * Entry. Every vCPU starts at PAYLOAD_LOAD_GPA in 64-bit mode, ring 0, flat segments, interrupts
 * off, CR4.OSFXSR set (SSE), RDI = vCPU index, RSI = PAYLOAD_PARAM_GPA, RSP =
 * PAYLOAD_STACK_TOP(index). The first 4 GiB are identity mapped with writable 2 MiB pages, so that
 * RAM, the virtio windows and the APICs are all reachable. All vCPUs are runnable from the start
 * (no SIPI) and their APIC id is their index. The payload brings its own GDT and IDT. The VMM's
 * page tables must lie in [PAYLOAD_BOOT_GPA, PAYLOAD_BOOT_END), which no payload touches.
 *
 * Reset (port 0x64 <- 0xfe, or a triple fault if the VMM resets on those) starts everything again
 * from the image, with the parameter page written anew. RAM outside image, parameter page, page
 * tables and stacks keeps its contents: heartbeat and PAYLOAD_KEEP_GPA go on counting across
 * resets.
 */
#ifndef MIGD_VMM_PAYLOAD_ABI_H
#define MIGD_VMM_PAYLOAD_ABI_H

#include <stdint.h>

/* The VMM's page tables and whatever else it needs to enter: 7 pages do. */
#define PAYLOAD_BOOT_GPA        0x1000
#define PAYLOAD_BOOT_END        0x10000
#define PAYLOAD_RESULT_GPA      0x10000 /* struct payload_result */
#define PAYLOAD_PARAM_GPA       0x11000 /* struct payload_param, written before the start */
#define PAYLOAD_KEEP_GPA        0x12000 /* a page that neither VMM nor reset touches */
#define PAYLOAD_STACK_GPA       0x20000 /* one page a vCPU */
#define PAYLOAD_STACK_TOP(vcpu) (PAYLOAD_STACK_GPA + ((uint64_t)(vcpu) + 1) * 0x1000)
#define PAYLOAD_MAX_VCPUS       64
#define PAYLOAD_LOAD_GPA        0x100000   /* flat binary, entered in 64-bit mode */
#define PAYLOAD_IMAGE_MAX       0x100000   /* an image with its .bss ends below 2 MiB */
#define PAYLOAD_SCRATCH_GPA     0x200000   /* up to the working set: the payload's buffers */
#define PAYLOAD_WORK_GPA        0x1000000  /* 16 MiB: the working set starts here */
#define PAYLOAD_LOW_RAM_END     0xc0000000 /* more RAM lies above 4 GiB, unused by payloads */

/* Ports (I/O space). The PIC, PIT, CMOS and i8042 are where a PC has them. */
#define PAYLOAD_PORT_SERIAL    0x3f8 /* 16550A, IRQ 4 */
#define PAYLOAD_PORT_EXIT      0x501 /* a byte written ends the VMM with that status */
#define PAYLOAD_PORT_PVPANIC   0x505 /* PAYLOAD_PVPANIC_PANICKED: read, it is there; written, the guest crashed */
#define PAYLOAD_PVPANIC_PANICKED 0x01
#define PAYLOAD_PORT_POWEROFF  0x600 /* PAYLOAD_POWEROFF_VALUE powers the guest off */
#define PAYLOAD_POWEROFF_VALUE 0x34
#define PAYLOAD_PORT_SLEEP     0x604 /* PAYLOAD_SLEEP_VALUE suspends; after it, awake again */
#define PAYLOAD_SLEEP_VALUE    1
#define PAYLOAD_PORT_RESET     0x64 /* i8042 command port */
#define PAYLOAD_RESET_VALUE    0xfe

/*
 * virtio-mmio (virtio 1.2, section 4.2: register layout version 2, VIRTIO_F_VERSION_1, split
 * rings). Window k belongs to the k-th device: the disks in command line order, the network
 * interfaces likewise, then the entropy device. An absent window reads as zero. Interrupts: a level, high while InterruptStatus is not
 * zero, at GSI 5 + k (I/O APIC pin and PIC line of that number).
 */
#define PAYLOAD_VIRTIO_GPA     0xd0000000
#define PAYLOAD_VIRTIO_STRIDE  0x1000
#define PAYLOAD_VIRTIO_GSI     5
#define PAYLOAD_VIRTIO_WINDOWS 8

/*
 * What the payload "writer" leaves in page i of its working set in pass s (from 1 on): the head in
 * word 0, its checksum in word PAYLOAD_WRITER_SLOT(s). vmm/payloads/writer.c says more.
 */
#define PAYLOAD_WRITER_SLOTS            511
#define PAYLOAD_WRITER_HEAD(pass, page) ((uint64_t)(pass) << 32 | (uint64_t)(page))
#define PAYLOAD_WRITER_SLOT(pass)       (1 + (uint64_t)(pass) % PAYLOAD_WRITER_SLOTS)
/* 2^64 divided by the golden ratio; odd. */
#define PAYLOAD_WRITER_CHECK(head) ((uint64_t)(head)*0x9e3779b97f4a7c15u)

/*
 * The vault (vmm/vault.c), with --vault: pages of memory of its own, moved by a doorbell. 32-bit registers. A write to
 * VAULT_REG_COMMAND moves one page between guest memory and the vault, and sets VAULT_REG_STATUS.
 */
#define PAYLOAD_VAULT_GPA  0xd0010000
#define VAULT_REG_MAGIC    0x00
#define VAULT_REG_PAGES    0x04
#define VAULT_REG_PAGE     0x08
#define VAULT_REG_GPA_LOW  0x0c
#define VAULT_REG_GPA_HIGH 0x10
#define VAULT_REG_COMMAND  0x14
#define VAULT_REG_STATUS   0x18
#define VAULT_WINDOW_LEN   0x1000
#define VAULT_MAGIC        0x544c4156 /* "VALT" */
enum { VAULT_PUT = 1, VAULT_GET = 2 };
enum { VAULT_OK = 0, VAULT_BAD_PAGE = 1, VAULT_BAD_ADDRESS = 2, VAULT_BAD_COMMAND = 3 };

/* The dongle (vmm/dongle.c), with --dongle: a byte that says whether the guest has it and is asked to let go. */
#define PAYLOAD_PORT_DONGLE 0x620
enum { DONGLE_PLUGGED = 1, DONGLE_ASKED = 2 };
#define DONGLE_LET_GO 1

#define PAYLOAD_MAGIC 0x444c5950 /* "PYLD" */

enum payload_status {
	PAYLOAD_STARTING = 0,
	PAYLOAD_RUNNING = 1,
	PAYLOAD_FAILED = 2, /* detail and text say what was found wrong */
	PAYLOAD_PASSED = 3, /* finished what it had to do; not all do */
};

struct payload_result {
	uint32_t magic;
	uint32_t status;
	/* Counts up all the time while vCPU 0 runs; its longest gap is the blackout. */
	uint64_t heartbeat;
	uint64_t checks; /* things verified so far */
	uint64_t failures;
	uint64_t detail[8];                    /* by payload; see vmm/payloads/NAME.c */
	char text[128];                        /* what failed */
	uint64_t vcpu_beat[PAYLOAD_MAX_VCPUS]; /* heartbeats of the other vCPUs; [0] stays 0 */
};

struct payload_param {
	uint32_t magic;
	uint32_t n_vcpus;
	uint64_t memory_bytes;
	uint64_t working_set_bytes; /* writer */
	uint64_t pages_per_second;  /* writer: 0 = as fast as it goes */
	uint64_t tsc_khz;
	uint64_t arg[8]; /* by payload; 0 asks for the default; see vmm/payloads/NAME.c */
};

#endif
