/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses resolved: names by getaddrinfo(), the others as they are. */
#include "transport/resolve.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"

static void set_target(struct sock_target *ret, const void *sa, size_t len, int family)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->sa, sa, len);
	ret->len = (socklen_t)len;
	ret->family = family;
}

static int resolve_unix(const struct addr *a, struct sock_target *ret)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = sizeof(sun);

	if (a->abstract) {
		/* unix(7): a NUL, then the name, as long as the address says. */
		memcpy(sun.sun_path + 1, a->path, sizeof(sun.sun_path) - 1);
		if (!a->padded)
			len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->path);
	} else {
		memcpy(sun.sun_path, a->path, sizeof(sun.sun_path));
	}
	set_target(ret, &sun, len, AF_UNIX);
	return 1;
}

static int resolve_vsock(const struct addr *a, bool listen, struct sock_target *ret, struct merr *err)
{
	struct sockaddr_vm svm = { .svm_family = AF_VSOCK, .svm_cid = a->cid, .svm_port = a->vsock_port };

	if (!listen && (a->cid == VMADDR_CID_ANY || a->vsock_port == VMADDR_PORT_ANY))
		return merr_set(err, -EINVAL,
				"%u as CID or port means any, which is for listening; a connection needs the "
				"listener's", VMADDR_CID_ANY);
	set_target(ret, &svm, sizeof(svm), AF_VSOCK);
	return 1;
}

/* ---- names ---- */

static void cleanup_addrinfo(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

/* Listening anywhere: IPv6's any-address comes first, for it takes IPv4 as well. */
static void put_ipv6_first(struct sock_target *targets, int n)
{
	struct sock_target first = targets[0];

	for (int i = 1; i < n; i++) {
		if (targets[i].family != AF_INET6)
			continue;
		targets[0] = targets[i];
		targets[i] = first;
		return;
	}
}

static int family_of(const struct addr *a)
{
	if (a->ipv4 == a->ipv6)
		return source_family(&a->source);
	return a->ipv4 ? AF_INET : AF_INET6;
}

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static int check_direction(const struct addr *a, bool listen, struct merr *err)
{
	int source = source_family(&a->source), family = family_of(a);

	if (listen && source_is_set(&a->source))
		return merr_set(err, -EINVAL,
				"a source address or interface is for connecting; listen at an address of this host's");
	if (!listen && a->port[strspn(a->port, "0")] == '\0')
		return merr_set(err, -EINVAL, "port 0 is for listening; a connection to '%s' needs the listener's",
				a->host);
	if (source != AF_UNSPEC && source != family)
		return merr_set(err, -EINVAL, "source address '%s' is of %s, the connection is to be %s", a->source.address,
				family_name(source), family_name(family));
	return 0;
}

static int look_up(const struct addr *a, bool listen, struct addrinfo **ret, struct merr *err)
{
	struct addrinfo hints = { .ai_family = family_of(a), .ai_socktype = SOCK_STREAM };
	int r;

	hints.ai_flags = (listen ? AI_PASSIVE : AI_ADDRCONFIG) | (a->numeric ? AI_NUMERICHOST : 0);
	r = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, ret);
	/* Without any address but loopback's, AI_ADDRCONFIG hides even 127.0.0.1 and ::1. */
	if (r == EAI_NONAME || r == EAI_ADDRFAMILY || r == EAI_NODATA) {
		hints.ai_flags &= ~AI_ADDRCONFIG;
		r = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, ret);
	}
	if (r == 0)
		return 0;
	return merr_set(err, r == EAI_SYSTEM && errno ? -errno : -EHOSTUNREACH,
			"address resolution failed for '%s:%s'%s%s: %s; check the name, or "
			"give a numeric address",
			a->host, a->port, hints.ai_family == AF_UNSPEC ? "" : " over ",
			hints.ai_family == AF_UNSPEC ? "" : family_name(hints.ai_family),
			r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
}

static int resolve_tcp(const struct addr *a, bool listen, struct sock_target targets[SOCK_TARGETS_MAX],
		       struct merr *err)
{
	_cleanup_(cleanup_addrinfo) struct addrinfo *list = NULL;
	int n = 0, r;

	r = check_direction(a, listen, err);
	if (r == 0)
		r = look_up(a, listen, &list, err);
	if (r < 0)
		return r;
	for (struct addrinfo *i = list; i && n < SOCK_TARGETS_MAX; i = i->ai_next)
		set_target(&targets[n++], i->ai_addr, i->ai_addrlen, i->ai_family);
	if (listen && !a->host[0])
		put_ipv6_first(targets, n);
	return n;
}

int sock_resolve(const struct addr *a, bool listen, struct sock_target targets[SOCK_TARGETS_MAX],
		 struct merr *err)
{
	switch (a->type) {
	case ADDR_TCP:
		return resolve_tcp(a, listen, targets, err);
	case ADDR_UNIX:
		return resolve_unix(a, targets);
	case ADDR_VSOCK:
		return resolve_vsock(a, listen, targets, err);
	default:
		return merr_set(err, -EOPNOTSUPP,
				"only a tcp, unix or vsock address can be connected to again");
	}
}
