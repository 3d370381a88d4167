/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resetting the guest. Whoever wants it sets `pending`; vCPUs then gather in vcpus_hold(), the main thread resets
 * devices and loads the boot source again, and each vCPU resets itself as it leaves.
 *
 * vCPUs do not insist on gathering: when the library wants to pause them they go and park with the reset still
 * pending. It is therefore part of the guest's state and takes place after the pause, here or on another host.
 */
#ifndef MIGD_VMM_RESET_H
#define MIGD_VMM_RESET_H

#include <stdbool.h>

struct machine;
struct reset;

#define RESET_KICK_MS 2

/* Any thread, callbacks of the library too. */
void reset_request(struct machine *m);
bool reset_pending(const struct reset *reset);

/* Reset if all vCPUs are held; otherwise nudge them out of the guest. Main thread. */
void reset_step(struct machine *m);

#endif
