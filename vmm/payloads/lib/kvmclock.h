/* SPDX-License-Identifier: Apache-2.0 */
/* Kvmclock: nanoseconds, by a page that KVM keeps for each vCPU, and the TSC. */
#ifndef MIGD_VMM_PAYLOADS_KVMCLOCK_H
#define MIGD_VMM_PAYLOADS_KVMCLOCK_H

#include <stdint.h>

/* Each vCPU for itself, before it reads the clock. */
void kvmclock_open(unsigned int vcpu);
uint64_t kvmclock_now(unsigned int vcpu);
/* What a difference of the TSC is in nanoseconds, by the scale of vCPU 0. */
uint64_t kvmclock_scale(uint64_t tsc_delta);

#endif
