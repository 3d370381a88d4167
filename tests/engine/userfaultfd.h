/* SPDX-License-Identifier: Apache-2.0 */
/* A userfaultfd for tests whose own threads touch what is missing. */
#ifndef MIGD_TESTS_ENGINE_USERFAULTFD_H
#define MIGD_TESTS_ENGINE_USERFAULTFD_H

/*
 * Non-blocking, its API not chosen yet. Where none is to be had the test is skipped (exit status 77), as under valgrind: it runs
 * one thread at a time, and the one that waits for a page keeps those from running that would bring it.
 */
int userfaultfd_or_skip(void);

#endif
