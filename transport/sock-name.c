/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses that sockets have. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "transport/sock.h"

/* Whatever family the kernel answers with. */
union any {
	struct sockaddr sa;
	struct sockaddr_storage storage;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_vm vm;
};

static int numeric_names(const union any *sa, socklen_t len, char host[ADDR_HOST_MAX + 1],
			 char port[ADDR_PORT_MAX + 1])
{
	return getnameinfo(&sa->sa, len, host, ADDR_HOST_MAX + 1, port, ADDR_PORT_MAX + 1,
			   NI_NUMERICHOST | NI_NUMERICSERV) == 0
		       ? 0
		       : -EIO;
}

static int socket_option(int fd, int level, int option)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, level, option, &value, &len) < 0 ? -errno : value;
}

static int name_tcp(int fd, const union any *sa, socklen_t len, struct addr *ret)
{
	ret->type = ADDR_TCP;
	/* Numbers tell the family, but for IPv6's any-address, which may take IPv4 as well. */
	ret->ipv6 = sa->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sa->in6.sin6_addr) &&
		    socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
	ret->mptcp = socket_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
	return numeric_names(sa, len, ret->host, ret->port);
}

static void name_unix(const struct sockaddr_un *un, socklen_t len, struct addr *ret)
{
	size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;

	ret->type = ADDR_UNIX;
	ret->abstract = n > 0 && !un->sun_path[0];
	ret->padded = ret->abstract && n == sizeof(un->sun_path);
	if (ret->abstract)
		memcpy(ret->path, un->sun_path + 1, n - 1);
	else
		memcpy(ret->path, un->sun_path, n < sizeof(ret->path) ? n : sizeof(ret->path) - 1);
}

int sock_local_addr(int fd, struct addr *ret)
{
	union any sa = { .storage = { 0 } };
	socklen_t len = sizeof(sa);
	struct addr a = { 0 };
	int r = 0;

	if (getsockname(fd, &sa.sa, &len) < 0)
		return -errno;
	switch (sa.sa.sa_family) {
	case AF_UNIX:
		name_unix(&sa.un, len, &a);
		break;
	case AF_VSOCK:
		a.type = ADDR_VSOCK;
		a.cid = sa.vm.svm_cid;
		a.vsock_port = sa.vm.svm_port;
		break;
	case AF_INET:
	case AF_INET6:
		r = name_tcp(fd, &sa, len, &a);
		break;
	default:
		r = -EAFNOSUPPORT;
	}
	if (r == 0)
		*ret = a;
	return r;
}

const char *sock_peer_name(int fd, char *buf, size_t len)
{
	union any sa = { .storage = { 0 } };
	socklen_t sa_len = sizeof(sa);
	struct addr a = { .type = ADDR_TCP };

	(void)snprintf(buf, len, "unknown");
	if (getpeername(fd, &sa.sa, &sa_len) < 0)
		return buf;
	if (sa.sa.sa_family == AF_UNIX)
		(void)snprintf(buf, len, "unix");
	else if (sa.sa.sa_family == AF_VSOCK)
		(void)snprintf(buf, len, "vsock:%u:%u", sa.vm.svm_cid, sa.vm.svm_port);
	else if (numeric_names(&sa, sa_len, a.host, a.port) == 0)
		(void)addr_endpoint(&a, buf, len);
	return buf;
}
