/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option structs of the public interface: they begin with their size, so that old and new builds
 * fit together.
 */
#ifndef MIGD_GUEST_COPY_SIZED_H
#define MIGD_GUEST_COPY_SIZED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"

/*
 * Copy the struct at SRC, whose first member is its size, to the zeroed DST of DST_SIZE bytes. An
 * older caller's is shorter: the rest stays zero. A newer caller's is longer: what this library
 * does not know must be zero, else -EINVAL.
 */
static inline int copy_sized(void *dst, size_t dst_size, const void *src, const char *what,
			     struct merr *err)
{
	const unsigned char *bytes = src;
	size_t size = 0;

	if (!src)
		return merr_set(err, -EINVAL, "%s: NULL", what);
	memcpy(&size, src, sizeof(size));
	if (size < sizeof(size))
		return merr_set(err, -EINVAL,
				"%s: field 'size' is %zu: set it to sizeof the struct", what, size);
	for (size_t i = dst_size; i < size; i++)
		if (bytes[i]) /* NOLINT(clang-analyzer-core.uninitialized.Branch): the caller says that they are there */
			return merr_set(err, -EINVAL,
					"%s: made for a newer libmigd-guest (byte %zu is set)",
					what, i);
	memcpy(dst, src, size < dst_size ? size : dst_size);
	return 0;
}

#endif
