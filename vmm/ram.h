/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: one file, one mapping; guest-physical addresses below 3 GiB are offsets in it, the rest begins at 4 GiB, so
 * that devices and APICs have the gigabyte between.
 */
#ifndef MIGD_VMM_RAM_H
#define MIGD_VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAM_LOW_MAX 0xc0000000ULL
#define RAM_HIGH_GPA 0x100000000ULL

struct ram {
	int fd;
	uint64_t fd_offset;
	uint8_t *host;
	uint64_t len;
};

enum ram_file_use {
	RAM_FILE_OWN = 0,	/* made or emptied; -EBUSY if another VMM has it */
	RAM_FILE_SHARED,	/* the same, but other VMMs may open it from now on */
	RAM_FILE_JOINED,	/* as it is, made if it is not there; others may have it */
};

/*
 * LEN bytes of memory: a memfd, in huge pages if HUGETLB, or the file PATH, as USE says. 0 or a negative errno, logged.
 */
int ram_init(struct ram *ram, uint64_t len, const char *path, enum ram_file_use use, bool hugetlb);

/*
 * The same for memory that is there already, from OFFSET of FD (duplicated): of another VMM, which may still use it. The
 * contents stay.
 */
int ram_init_shared(struct ram *ram, uint64_t len, int fd, uint64_t offset);
void ram_done(struct ram *ram);

/* Bytes below 3 GiB, and from 4 GiB on. */
uint64_t ram_low_len(const struct ram *ram);
uint64_t ram_high_len(const struct ram *ram);

/* Where [GPA, GPA + LEN) is mapped, or NULL unless all of it is RAM in one piece. Hostile arguments are fine. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len);

#endif
