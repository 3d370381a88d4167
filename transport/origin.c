/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a connection comes from. */
#include "transport/origin.h"

#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct origin origin_of(int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	struct origin s = { { 0 } };
	const uint8_t *v6;

	if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0)
		return s;
	if (sa.ss_family == AF_INET) {
		s.bytes[0] = 4;
		memcpy(s.bytes + 1, &((struct sockaddr_in *)(void *)&sa)->sin_addr, 4);
	} else if (sa.ss_family == AF_INET6) {
		v6 = ((struct sockaddr_in6 *)(void *)&sa)->sin6_addr.s6_addr;
		s.bytes[0] = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)v6) ? 4 : 6;
		memcpy(s.bytes + 1, s.bytes[0] == 4 ? v6 + 12 : v6, s.bytes[0] == 4 ? 4 : 8);
	} else if (sa.ss_family == AF_VSOCK) {
		s.bytes[0] = AF_VSOCK;
		memcpy(s.bytes + 1, &((struct sockaddr_vm *)(void *)&sa)->svm_cid, 4);
	}
	return s;
}

bool origin_is_known(const struct origin *o)
{
	return o->bytes[0] != 0;
}

bool origin_equals(const struct origin *a, const struct origin *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
