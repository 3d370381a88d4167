/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named fault points: what a test asks to go wrong, and where. MIGD_FAULT in the environment of a build with MIGD_FAULT_POINTS
 * names them, separated by commas; any other build has none of this. Any thread.
 *
 *   NAME              a fault that the code at NAME makes itself: fault_is_on()
 *   NAME[:N]=ACTION   what happens to the process that gets to NAME for the Nth time (the first), once:
 *
 *       stop          it is stopped (SIGSTOP), for a test to do something to anybody just then, and to send SIGCONT
 *       kill          it is killed
 *       EIO, ...      the operation at NAME, a FAULT_FAILS(), fails with this error
 *       clock+S       its wall clock is S seconds ahead from here on; clock-S: behind
 *
 * A name is AREA.STEP, and stands at one place of the code: tests/lib/migd_faults.py finds them all there.
 */
#ifndef MIGD_BASE_FAULT_H
#define MIGD_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef MIGD_FAULT_POINTS
#include <stdatomic.h>

/* One place of the code; how often it was reached. */
struct fault_site {
	const char *name;
	atomic_ulong reached;
};

/* The protocol took this step. */
#define FAULT_POINT(NAME) \
	do { \
		static struct fault_site site_ = { .name = (NAME) }; \
		(void)fault_reach(&site_); \
	} while (0)

/* 0, or the -errno with which what comes next is to fail: int r = FAULT_FAILS("file.write"); if (r == 0) r = ... */
#define FAULT_FAILS(NAME) \
	__extension__({ \
		static struct fault_site site_ = { .name = (NAME) }; \
		fault_reach(&site_); \
	})

int fault_reach(struct fault_site *site);
bool fault_is_on(const char *name);
/* This process goes on where one died, and is not to die of the same. */
void fault_survive(void);
/* How far this process's wall clock was stepped, ns. */
int64_t fault_clock_step(void);
#else
#define FAULT_POINT(NAME) \
	do { \
	} while (0)
#define FAULT_FAILS(NAME) 0

static inline bool fault_is_on(const char *name)
{
	(void)name;
	return false;
}

static inline void fault_survive(void)
{
}

static inline int64_t fault_clock_step(void)
{
	return 0;
}
#endif

#endif
