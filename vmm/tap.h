/* SPDX-License-Identifier: Apache-2.0 */
/* A tap interface of the host: whole Ethernet frames in and out of a descriptor that never blocks. */
#ifndef MIGD_VMM_TAP_H
#define MIGD_VMM_TAP_H

/* The descriptor of tap interface NAME, which is made if it is not there; or a negative errno, logged. */
int tap_open(const char *name);

#endif
