/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of buffers. */
#ifndef MIGD_BASE_IOV_H
#define MIGD_BASE_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

static inline size_t iov_len(const struct iovec *iov, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* DONE bytes of the N at *IOV are dealt with: entries are shortened, and left out when they are empty. */
static inline void iov_advance(struct iovec **iov, size_t *n, size_t done)
{
	while (*n > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)->iov_len = 0;
		(*iov)++;
		(*n)--;
	}
	if (*n > 0 && done > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

#endif
