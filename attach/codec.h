/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of attach messages to bytes and back; one pair of functions per struct of attach/proto.h. */
#ifndef MIGD_ATTACH_CODEC_H
#define MIGD_ATTACH_CODEC_H

#include "attach/proto.h"
#include "base/bytes.h"
#include "base/err.h"

/*
 * attach_X_encode: append X to C; -EMSGSIZE if it does not fit.
 * attach_X_decode: read X from C, and nothing but X unless X may be followed by another of its kind
 * (ram_block, interface, mismatch, vcpu_dirty, live_device). -EBADMSG: too short, too long, a string that is too long or holds a NUL, or a blob beyond the
 * end; ERR names the message and the field.
 */
#define ATTACH_CODEC(upper, lower)                                                          \
	int attach_##lower##_encode(struct wcur *c, const struct attach_##lower *v);        \
	int attach_##lower##_decode(struct rcur *c, struct attach_##lower *v, struct merr *err);
ATTACH_BODIES(ATTACH_CODEC)
#undef ATTACH_CODEC

/* Fails with -EBADMSG if bytes are left over. */
int attach_decode_end(const struct rcur *c, struct merr *err);

/* "RELEASE", or "type 77". The buffer is the thread's own, until its next call. */
const char *attach_type_name(uint16_t type);

/*
 * A negative errno to a name, and back: NOT_SUPPORTED -EOPNOTSUPP, BAD_STATE -EBADFD, BUSY -EBUSY, TIMEOUT -ETIMEDOUT,
 * INCOMPATIBLE -EINVAL, IO -EIO and whatever is not listed, PEER_LOST -ECONNRESET, BAD_MESSAGE -EPROTO (-EBADMSG is sent
 * as it, too), PERMISSION -EPERM, NO_MEMORY -ENOMEM, GUEST_GONE -ENODEV, STALE_EPOCH -ESTALE, IN_DOUBT -EINPROGRESS,
 * EXISTS -EEXIST, CANCELLED -ECANCELED.
 */
enum attach_error attach_error_of(int neg_errno);
int attach_error_to_errno(int32_t error);

#endif
