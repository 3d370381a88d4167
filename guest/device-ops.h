/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that save and load themselves (struct migd_guest_device_ops). */
#ifndef MIGD_GUEST_DEVICE_OPS_H
#define MIGD_GUEST_DEVICE_OPS_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "guest/tables.h"

/* Append D's body to OUT. */
int device_ops_save(const struct guest_device *d, struct buf *out, struct merr *err);

/*
 * Load a body of VERSION from IN, whose first byte is at OFFSET, and leave IN behind it. -EAGAIN, unless FINAL: there is
 * less than *ret_wanted bytes of it, call again from the first byte with as many. IN is then as it was.
 */
int device_ops_load(const struct guest_device *d, uint32_t version, struct rcur *in, uint64_t offset, bool final,
		    size_t *ret_wanted, struct merr *err);

#endif
