/* SPDX-License-Identifier: Apache-2.0 */
/* A userfaultfd for tests whose own threads touch what is missing. */
#ifndef MIGD_TESTS_ENGINE_USERFAULTFD_H
#define MIGD_TESTS_ENGINE_USERFAULTFD_H

#include <stdint.h>

/*
 * Non-blocking, with these UFFD_FEATURE_*. Where none is to be had the test is skipped (exit status 77), as under valgrind: it runs
 * one thread at a time, and the one that waits for a page keeps those from running that would bring it.
 */
int userfaultfd_or_skip(uint64_t features);

/* MODE: UFFDIO_REGISTER_MODE_*. */
void userfaultfd_register(int fd, uint64_t address, uint64_t len, uint64_t mode);

/* For memory of a memfd, whose pages are not there, or not shown yet. */
int userfaultfd_for_missing(const void *memory, uint64_t len);
/* The same for whoever waits for pages in system calls only, as valgrind has it; -1: none is to be had here. */
int userfaultfd_for_missing_if_any(const void *memory, uint64_t len);

#endif
