/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device state by description: the library's side of migd/vmstate.h. Saves, loads, describes and checks.
 *
 * One walk over the tables writes both the bytes (WIRE.md 2) and the JSON that explains them (WIRE.md 1.4), so that
 * the two cannot disagree. The walk is plain recursion over tables that vmstate_check() has accepted: nothing here
 * copes with a table that it would refuse. Bytes to load are a peer's, hence hostile; tables and structs are ours.
 *
 * No locks, no globals: safe on any thread that owns the structs.
 */
#ifndef MIGD_GUEST_VMSTATE_H
#define MIGD_GUEST_VMSTATE_H

#include <migd/vmstate.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* Limits of a description; see vmstate_check(). */
#define VMSTATE_NAME_MAX 127	/* bytes: the analyser reads lengths as signed (WIRE.md 1.4) */
#define VMSTATE_DEPTH_MAX 16	/* nesting of structs and subsections: catches a table that holds itself */
#define VMSTATE_SUBSECTIONS_MAX 64	/* of one description: one bit each in a word while loading */

/*
 * 0 if D can be saved and loaded. -EINVAL: ERR says which description, field and rule. D may be NULL (-EINVAL).
 */
int vmstate_check(const struct migd_vmstate *d, struct merr *err);

/*
 * Run the hooks and append OPAQUE's body to BYTES, and, unless JSON is NULL, the keys
 * `"vmsd_name": ..., "version": ..., "fields": [...]` (and "subsections") to JSON, without braces. needed() of D
 * itself is the caller's business. On failure both buffers hold a part; ERR has the field's path. Buffer
 * errors (-ENOMEM) are returned too.
 */
int vmstate_save(const struct migd_vmstate *d, void *opaque, struct buf *bytes, struct buf *json,
		 struct merr *err);

/*
 * Load a body that was written with VERSION into OPAQUE and leave IN behind it. ERR's text has the field's path
 * and its offset from ORIGIN (where IN began). -EPROTO: the bytes are wrong; -EINVAL: a version, a
 * value or a hook does not fit. OPAQUE may be half loaded then.
 */
int vmstate_load(const struct migd_vmstate *d, void *opaque, uint32_t version, struct rcur *in,
		 const uint8_t *origin, struct merr *err);

/* TEXT as a JSON string, quotes included. */
void vmstate_json_str(struct buf *json, const char *text);

#endif
