/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory that is damaged: whoever touches it gets SIGBUS, as of memory that the hardware has lost. */
#ifndef MIGD_VMM_POISON_H
#define MIGD_VMM_POISON_H

#include <stdint.h>

struct machine;

/*
 * Poison the pages of [GPA, GPA + LEN) in this process's mapping by userfaultfd (UFFDIO_POISON, Linux 6.6). 0 or a negative
 * errno, logged. A vCPU that touches them makes KVM_RUN fail; this VMM injects no machine check.
 */
int poison_memory(struct machine *m, uint64_t gpa, uint64_t len);

/* The same for the page of --poison, which the library is told of as well. */
int poison_report(struct machine *m, uint64_t gpa);

#endif
