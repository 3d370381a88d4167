/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs: one thread each, which runs the guest through the library's gate and handles its exits. */
#ifndef MIGD_VMM_VCPU_H
#define MIGD_VMM_VCPU_H

#include <linux/kvm.h>
#include <migd/guest.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/boot.h"

struct machine;
struct power_on;
struct vcpus;

struct vcpu {
	struct vcpus *all;
	struct machine *machine;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	struct power_on *power_on;
	struct migd_guest_vcpu *gate;
	pthread_t thread;
	bool has_thread;
	/* Under all->lock. */
	bool held;			/* waits for a reset to be carried out */
	uint64_t n_resets;		/* that it went through */
	sem_t wake;			/* a hold is over; waited for with signals let in */
};

/* N vCPUs that do not run yet. 0 or a negative errno, logged. */
int vcpus_new(struct machine *m, unsigned int n, struct vcpus **ret);
/* All threads have ended. NULL is fine. */
struct vcpus *vcpus_free(struct vcpus *all);

/* Make the threads; each sets its registers by ENTRY (NULL: a guest will arrive) and registers with the library. Logged. */
int vcpus_start(struct vcpus *all, const struct boot_entry *entry);
/* Let them run, after migd_guest_start(). */
void vcpus_go(struct vcpus *all);
/*
 * After migd_guest_stop(), if the guest was started: wait for the threads to end. False: one does not, for it waits in the
 * kernel, for memory that has not come: only the process's end ends it.
 */
bool vcpus_join(struct vcpus *all);

/* Nudge those that are not held out of KVM_RUN. Any thread. */
void vcpus_kick(struct vcpus *all);
/* True if all are held, and stay so until vcpus_end_reset(). */
bool vcpus_begin_reset(struct vcpus *all);
/* They go on as ENTRY says, or as they were if it is NULL. */
void vcpus_end_reset(struct vcpus *all, const struct boot_entry *entry);

/* kHz, or 0 if KVM does not say. No vCPU runs. */
uint64_t vcpus_tsc_khz(const struct vcpus *all);

/* What KVM_RUN returned for the VMM (vcpu-exit.c). On the vCPU's thread. */
void vcpu_handle_exit(struct vcpu *v);
/* The guest cannot go on; why is logged. */
__attribute__((format(printf, 2, 3))) void vcpu_panic(struct vcpu *v, const char *fmt, ...);

/* A vCPU's state as KVM made it (power-on.c), and bringing it back there to start at ENTRY. Logged. */
int power_on_save(struct vcpu *v, struct power_on **ret);
struct power_on *power_on_free(struct power_on *p);
int power_on_enter(struct vcpu *v, const struct boot_entry *entry);

#endif
