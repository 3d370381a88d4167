/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture's folder (guest/x86/, one day guest/aarch64/) gives to the common code beyond guest/state.h.
 *
 * An architecture keeps all its state in structs of its own with fixed-width members, described by migd_vmstate
 * tables. Saving is: arch_capture() reads KVM into the structs, then the common code saves each section. Loading is:
 * arch_load_begin(), the common code loads the sections into the structs, then arch_load_apply() writes them to KVM in
 * the order that KVM needs. So hostile bytes meet only tables, and KVM sees nothing of a stream that does not parse.
 */
#ifndef MIGD_GUEST_ARCH_H
#define MIGD_GUEST_ARCH_H

#include "base/buf.h"
#include "base/err.h"
#include "attach/mismatch.h"
#include "guest/config.h"
#include "guest/state.h"

/* One FULL section of the architecture; all are sent, and all must come. */
struct arch_section {
	const char *name;
	uint32_t instance;
	const struct migd_vmstate *desc;
	void *opaque;
};

/* How many, and *RET: them, in the order of sending; owned by A, fixed for its life. */
size_t arch_sections(struct arch_state *a, const struct arch_section **ret);

/* Read the stopped guest's state from KVM into the structs. */
int arch_capture(struct arch_state *a, struct merr *err);

/* Forget what an earlier load left in the structs. */
void arch_load_begin(struct arch_state *a);

/* Write what was loaded to KVM. All sections have been loaded. The VM is unusable after a failure. */
int arch_load_apply(struct arch_state *a, struct merr *err);

/* Things that the last save or load went on from: one line each, "" if none. Owned by A, until the next one. */
const char *arch_notes(const struct arch_state *a);

/*
 * The architecture's part of a guest's description. arch_config_put() appends its records (kinds from
 * CONFIG_ARCH_FIRST); a check is begin, each of the source's records in its order, end. Records that are malformed fail
 * (-EPROTO); what does not fit is reported to M. What a later arch_load_apply() must adopt from the source (a CPUID
 * table) is kept in A.
 */
extern const char arch_name[];	/* "x86-64" */
int arch_config_put(struct arch_state *a, struct buf *out, struct merr *err);
int arch_config_begin(struct arch_state *a, struct merr *err);
int arch_config_record(struct arch_state *a, const struct config_record *rec, struct merr *err);
int arch_config_end(struct arch_state *a, struct mismatches *m, struct merr *err);

#endif
