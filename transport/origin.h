/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a connection comes from, as far as that tells people apart: for limits that one of them is not to use up for all. */
#ifndef MIGD_TRANSPORT_ORIGIN_H
#define MIGD_TRANSPORT_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

/* An IPv4 address, the network (/64) of an IPv6 one, a vsock CID; all zero: nobody in particular. Without padding. */
struct origin {
	uint8_t bytes[9];
};

/* The other end of the connected socket FD. */
struct origin origin_of(int fd);

bool origin_is_known(const struct origin *o);
bool origin_equals(const struct origin *a, const struct origin *b);

#endif
