/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a Unix socket. */
#include "qmp/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77	/* Linux 6.5 */
#endif

static int read_groups(int fd, struct qmp_peer *p)
{
	socklen_t size = 0;

	/* There are none if they take no room. */
	/* cppcheck-suppress nullPointer ; without room the kernel says how much it takes */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0)
		return 0;
	if (errno != ERANGE)
		return -errno;
	p->groups = malloc(size);
	if (!p->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &size) < 0)
		return -errno;
	p->n_groups = size / sizeof(p->groups[0]);
	return 0;
}

static void read_comm(struct qmp_peer *p)
{
	_cleanup_close_ int fd = -1;
	char path[40];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, p->comm, sizeof(p->comm) - 1);
	p->comm[n > 0 ? n : 0] = '\0';
	p->comm[strcspn(p->comm, "\n")] = '\0';
	for (char *at = p->comm; *at; at++)
		if (*at < ' ' || *at > '~' || *at == '\'')
			*at = '?';
}

/* The number may be another process's by now: what was read is true only if the process that connected is still there. */
static void read_process(int fd, struct qmp_peer *p)
{
	_cleanup_close_ int pidfd = -1;
	socklen_t size = sizeof(pidfd);
	struct pollfd ended = { .events = POLLIN };

	if (p->pid <= 0 || getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
		return;
	read_comm(p);
	ended.fd = pidfd;
	if (poll(&ended, 1, 0) != 0)
		p->comm[0] = '\0';
}

int qmp_peer_read(int fd, struct qmp_peer *ret)
{
	struct qmp_peer p = { 0 };
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	p.uid = cred.uid;
	p.gid = cred.gid;
	p.pid = cred.pid;
	r = read_groups(fd, &p);
	if (r < 0) {
		qmp_peer_done(&p);
		return r;
	}
	read_process(fd, &p);
	*ret = p;
	return 0;
}

void qmp_peer_done(struct qmp_peer *p)
{
	free(p->groups);
	*p = (struct qmp_peer){ 0 };
}
