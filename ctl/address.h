/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as people write them. */
#ifndef MIGD_CTL_ADDRESS_H
#define MIGD_CTL_ADDRESS_H

#include <jansson.h>
#include <stddef.h>

/* The URI of a SocketAddress. Returns BUF. */
const char *address_text(const json_t *address, char *buf, size_t len);

#endif
