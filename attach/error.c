/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of the attach protocol to errno and back: one table. */
#include <errno.h>
#include <stddef.h>

#include "attach/codec.h"
#include "base/cleanup.h"

/*
 * The first row of a name is its errno; the others are errnos that are sent under that name too.
 * What has no row is IO, in both directions. BAD_MESSAGE comes back as -EPROTO, so that a request
 * the other side could not read is not taken for a reply that this side could not.
 */
static const struct {
	enum attach_error error;
	int code;
} errors[] = {
	{ ATTACH_ERR_NOT_SUPPORTED, -EOPNOTSUPP },
	{ ATTACH_ERR_NOT_SUPPORTED, -ENOSYS },
	{ ATTACH_ERR_BAD_STATE, -EBADFD },
	{ ATTACH_ERR_BUSY, -EBUSY },
	{ ATTACH_ERR_TIMEOUT, -ETIMEDOUT },
	{ ATTACH_ERR_INCOMPATIBLE, -EINVAL },
	{ ATTACH_ERR_IO, -EIO },
	{ ATTACH_ERR_PEER_LOST, -ECONNRESET },
	{ ATTACH_ERR_PEER_LOST, -EPIPE },
	{ ATTACH_ERR_PEER_LOST, -ENOTCONN },
	{ ATTACH_ERR_BAD_MESSAGE, -EPROTO },
	{ ATTACH_ERR_BAD_MESSAGE, -EBADMSG },
	{ ATTACH_ERR_PERMISSION, -EPERM },
	{ ATTACH_ERR_PERMISSION, -EACCES },
	{ ATTACH_ERR_NO_MEMORY, -ENOMEM },
	{ ATTACH_ERR_GUEST_GONE, -ENODEV },
	{ ATTACH_ERR_GUEST_GONE, -ESHUTDOWN },
	{ ATTACH_ERR_STALE_EPOCH, -ESTALE },
	{ ATTACH_ERR_IN_DOUBT, -EINPROGRESS },
	{ ATTACH_ERR_EXISTS, -EEXIST },
	{ ATTACH_ERR_CANCELLED, -ECANCELED },
};

enum attach_error attach_error_of(int neg_errno)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].code == neg_errno)
			return errors[i].error;
	return ATTACH_ERR_IO;
}

int attach_error_to_errno(int32_t error)
{
	if (error == ATTACH_OK)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if ((int32_t)errors[i].error == error)
			return errors[i].code;
	return -EIO;
}
