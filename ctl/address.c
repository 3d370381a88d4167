/* SPDX-License-Identifier: Apache-2.0 */
/* A SocketAddress as a URI. */
#include "ctl/address.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

const char *address_text(const json_t *a, char *buf, size_t len)
{
	const char *type = ctl_str(a, "type", "");
	const char *host = ctl_str(a, "host", "");
	const char *colon = strchr(host, ':');

	if (strcmp(type, "vsock") == 0)
		(void)snprintf(buf, len, "vsock:%s:%s", ctl_str(a, "cid", ""), ctl_str(a, "port", ""));
	else if (strcmp(type, "unix") == 0)
		(void)snprintf(buf, len, "unix%s:%s",
			       !ctl_bool(a, "abstract")				? ""
			       : json_is_false(json_object_get(a, "tight"))	? "-abstract-padded"
										: "-abstract",
			       ctl_str(a, "path", ""));
	else
		(void)snprintf(buf, len, "tcp:%s%s%s:%s", colon ? "[" : "", host, colon ? "]" : "", ctl_str(a, "port", ""));
	return buf;
}
