/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that somebody waits for, and that has little to do at a time. */
#ifndef MIGD_BASE_SHORT_SLICE_H
#define MIGD_BASE_SHORT_SLICE_H

/*
 * The calling thread wants to run soon after it was woken, and gives way soon: it asks the scheduler for a short slice
 * (sched_setattr(2), sched_runtime; Linux 6.12). Its own threads and processes do not inherit that. Where that is not
 * to be had, all stays as it is.
 */
void short_slice(void);

#endif
