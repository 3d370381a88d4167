/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of migd-vmm, parsed and checked. */
#ifndef MIGD_VMM_OPTIONS_H
#define MIGD_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/options-net.h"

#define OPTIONS_VIRTIO_MAX 7	/* disks and networks: with the entropy device, as many as there are virtio windows */
#define OPTIONS_DISKS_MAX OPTIONS_VIRTIO_MAX
#define OPTIONS_NETS_MAX OPTIONS_VIRTIO_MAX
#define OPTIONS_CPUS_MAX 64
#define OPTIONS_PAYLOAD_ARGS 8

enum boot_kind {
	BOOT_NONE = 0,
	BOOT_SECTOR,
	BOOT_LINUX,
	BOOT_PAYLOAD,
};

struct disk_options {
	const char *path;
	const char *id;		/* at most 20 bytes, what the guest reads as the disk's serial number */
};

struct vault_options {
	uint64_t bytes;		/* 0: there is none */
	uint32_t ready_after;	/* chunks */
};

/* Strings are borrowed from argv, except what options_done() frees. */
struct options {
	const char *name;
	uint8_t uuid[16];
	const char *attach_path;
	const char *listen_path;
	uint64_t memory_bytes;
	unsigned int n_cpus;
	bool incoming;
	bool ram_only;			/* --machine none: no vCPU, no device */

	enum boot_kind boot;
	const char *boot_path;		/* boot sector or bzImage */
	const char *initrd_path;	/* NULL: none */
	const char *cmdline;		/* "" by default */
	const char *payload;

	uint64_t working_set_bytes;	/* struct payload_param */
	uint64_t pages_per_second;
	uint64_t payload_arg[OPTIONS_PAYLOAD_ARGS];

	const char *serial;		/* NULL: output goes nowhere; "stdio"; a file */
	struct disk_options disks[OPTIONS_DISKS_MAX];
	unsigned int n_disks;
	struct net_options nets[OPTIONS_NETS_MAX];
	unsigned int n_nets;
	struct vault_options vault;
	bool dongle;
	const char *memory_file;	/* NULL: memfd */
	const char *memory_id;		/* the RAM block's name in the stream */
	bool memory_shared;		/* the memory file is the other side's, too */
	bool has_poison;
	uint64_t poison_gpa;
	bool hugetlb;
	const char *cpr_path;		/* RAM comes from another VMM, by this socket; NULL: it does not */
	uint32_t dirty_ring_entries;	/* 0: dirty log */
};

enum options_outcome {
	OPTIONS_RUN = 1,
	OPTIONS_DONE = 2,	/* --help or --version was printed */
};

/* An enum options_outcome, or a negative errno after saying on stderr what is wrong. */
int options_parse(struct options *ret, int argc, char **argv);
void options_done(struct options *opt);

#endif
