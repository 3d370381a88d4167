/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep register, and what wakes the guest. */
#ifndef MIGD_VMM_SLEEP_H
#define MIGD_VMM_SLEEP_H

struct device;

/* Wake the guest if it sleeps. Any thread. */
void sleep_wake(struct device *dev);

#endif
