/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a built-in payload and those who watch it share: where things are in guest memory. Observers map the VMM's
 * --memory-file and look at the result page; guest-physical addresses below 3 GiB are offsets in that file.
 */
#ifndef MIGD_VMM_PAYLOAD_ABI_H
#define MIGD_VMM_PAYLOAD_ABI_H

#include <stdint.h>

#define PAYLOAD_LOAD_GPA 0x100000	/* flat binary, entered in 64-bit mode, identity mapped */
#define PAYLOAD_RESULT_GPA 0x10000	/* struct payload_result */
#define PAYLOAD_PARAM_GPA 0x11000	/* struct payload_param, written by the VMM before the start */
#define PAYLOAD_WORK_GPA 0x1000000	/* 16 MiB: the working set starts here */

#define PAYLOAD_MAGIC 0x444c5950	/* "PYLD" */

enum payload_status {
	PAYLOAD_STARTING = 0,
	PAYLOAD_RUNNING = 1,
	PAYLOAD_FAILED = 2,	/* detail and text say what was found wrong */
	PAYLOAD_PASSED = 3,	/* finished what it had to do; not all do */
};

struct payload_result {
	uint32_t magic;
	uint32_t status;
	uint64_t heartbeat;	/* counts up all the time while a vCPU runs; its longest gap is the blackout */
	uint64_t checks;	/* things verified so far */
	uint64_t failures;
	uint64_t detail[8];	/* by payload; see vmm/payloads/NAME.c */
	char text[128];		/* what failed */
};

struct payload_param {
	uint32_t magic;
	uint32_t n_vcpus;
	uint64_t memory_bytes;
	uint64_t working_set_bytes;	/* writer */
	uint64_t pages_per_second;	/* writer: 0 = as fast as it goes */
	uint64_t tsc_khz;
	uint64_t arg[8];
};

#endif
