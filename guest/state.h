/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stopped guest's state outside RAM: the architecture's VM and vCPU state and the VMM's devices, as FULL sections of
 * QEMU's stream (WIRE.md 1.2, 2) and back. Service thread only, all vCPUs parked.
 */
#ifndef MIGD_GUEST_STATE_H
#define MIGD_GUEST_STATE_H

#include "attach/mismatch.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "guest/tables.h"

/* Architecture state that lives from start to free: buffers, capabilities, what was probed. */
struct arch_state;

/* Probe what KVM offers for this VM. -ENOTSUP with ERR naming the missing capability. */
int arch_state_new(const struct guest_tables *t, struct arch_state **ret, struct merr *err);
struct arch_state *arch_state_free(struct arch_state *a);

/*
 * Right after the last vCPU parked: read the VM clock (once per pause). Right before they run again on this side, or for the
 * first time on the target: set the clock (target only, from what was loaded) and tell every vCPU's kvmclock that it was
 * stopped. Failures of KVMCLOCK_CTRL are no errors.
 */
int arch_clock_stopped(struct arch_state *a, struct merr *err);
int arch_clock_resume(struct arch_state *a, bool loaded, struct merr *err);

/*
 * Append every section, ids counting up from FIRST_ID, to SECTIONS (header, body, footer each) and its
 * self-description to VMDESC ("{...}, {...}": the elements of "devices"). *ret_n: how many.
 */
int guest_state_save(struct arch_state *a, const struct guest_tables *t, uint32_t first_id,
		     struct buf *sections, struct buf *vmdesc, uint32_t *ret_n, struct merr *err);

/*
 * Load LEN bytes of sections as guest_state_save() made them; hostile input. Every section that the local guest would save
 * unconditionally must be there once. Fails with section, offset and field in ERR; the guest is then unusable (the
 * handover goes to DISCARDED) but nothing outside its own structs was touched.
 */
int guest_state_load(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		     size_t len, struct merr *err);

/*
 * The same from a stream that is not packaged: whoever reads it parses each section's header and footer and feeds the body,
 * which carries no length, in pieces of any size. OFFSETs are the stream's, for people. A failure is as guest_state_load()'s.
 */
struct state_feed;
int state_feed_new(struct arch_state *a, const struct guest_tables *t, struct state_feed **ret, struct merr *err);
struct state_feed *state_feed_free(struct state_feed *f);
/* A section whose body begins at OFFSET. */
int state_feed_begin(struct state_feed *f, const char *name, uint32_t instance, uint32_t version,
		     uint64_t offset, struct merr *err);
/*
 * Take what IN has of the body. 0: the section is complete, the rest of IN is not its. -EAGAIN: feed what is left and more,
 * at least *ret_needs bytes in all: they are its own, or the one byte behind it that shows its end.
 */
int state_feed_bytes(struct state_feed *f, struct rcur *in, size_t *ret_needs, struct merr *err);
/*
 * All came: check that, and write the architecture's state to KVM. RAM_ONLY: a stream without any device is fine, too; the
 * vCPUs and devices then stay as they are.
 */
int state_feed_end(struct state_feed *f, bool ram_only, struct merr *err);

/*
 * What the last save, load or resume went on from although it was not as it should be (an MSR that this KVM refuses but
 * whose value does not matter): lines for the log hook, "" if none. Owned by A, valid until its next call.
 */
const char *guest_state_notes(const struct arch_state *a);

/*
 * The description that decides whether a guest fits: architecture, RAM blocks and slots, vCPU indexes, CPUID of each vCPU,
 * feature MSRs, XSAVE size and mask, TSC frequency, irqchip kind, caps, devices with versions. At most
 * ATTACH_CONFIG_MAX bytes. Check sets *RET to all that differs from the guest here; it fails for a description
 * that is malformed, or of a newer kind.
 */
int guest_config_get(struct arch_state *a, const struct guest_tables *t, struct buf *out,
		     struct merr *err);
int guest_config_check(struct arch_state *a, const struct guest_tables *t, const uint8_t *data,
		       size_t len, struct mismatches *ret, struct merr *err);

#endif
