/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A userfaultfd of a VMM's, as a worker uses it: what its library opened and registered (attach/proto.h, UFFD_OPEN). Addresses
 * are the VMM's: a block's are host_base + offset. Any thread; kernel: Documentation/admin-guide/mm/userfaultfd.rst.
 *
 * In post-copy whoever writes a page into a block's file writes into what nobody sees: the VMM's mapping shows it only
 * after uffd_continue().
 */
#ifndef MIGD_ENGINE_UFFD_H
#define MIGD_ENGINE_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uffd_fault {
	uint64_t address;	/* of the page, in the VMM */
	uint32_t thread_id;	/* 0: not told */
	bool minor;		/* the page is in the file, and not in the mapping */
	bool write_protected;
};

/* At most N faults that are there already: how many; 0: none; -errno. */
int uffd_read(int fd, struct uffd_fault *faults, size_t n);

/*
 * Show [address, +len) of the files, in pages of PAGE_SIZE, in the VMM's mapping, and wake who waits for it. What is shown
 * already stays as it is. 0; -ENOENT: a page of it is not in the file, all before it is shown, *ret_done bytes; -ESRCH: the
 * VMM is gone; else -errno.
 */
int uffd_continue(int fd, uint64_t address, uint64_t len, uint64_t page_size, uint64_t *ret_done);

/* Show one page of zeros that is not in the file, and wake who waits for it. 0 also if it is shown already. Not hugetlb. */
int uffd_zero(int fd, uint64_t address, uint64_t page_size);

/* Whoever waits there looks again, and faults again if it must. */
int uffd_wake(int fd, uint64_t address, uint64_t len);

/* Write-protect, or let be written to again and wake who waits. */
int uffd_protect(int fd, uint64_t address, uint64_t len, bool on);

#endif
