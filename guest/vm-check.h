/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a VM's memory can be migrated at all. */
#ifndef MIGD_GUEST_VM_CHECK_H
#define MIGD_GUEST_VM_CHECK_H

#include "base/err.h"

/*
 * -ENOTSUP with ERR if memory or registers of the VM belong to the guest alone (SEV, SEV-ES, SEV-SNP, TDX,
 * software-protected): KVM is asked, whatever the VMM says. The worker would read, and the target run, ciphertext. SEV may
 * be switched on after the VM was made: asked again before a migration.
 */
int vm_check(int vm_fd, struct merr *err);

#endif
