/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a Unix socket, by the kernel's word at the time of connect(). */
#ifndef MIGD_QMP_PEER_H
#define MIGD_QMP_PEER_H

#include <stddef.h>
#include <sys/types.h>

/* Zero-initialise. */
struct qmp_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;	/* 0: in a PID namespace that is not seen from here */
	char comm[17];	/* the process's name, in printable ASCII; "": it had ended, or PID is 0 */
	size_t n_groups;	/* supplementary ones */
	gid_t *groups;
};

/* -errno: FD is no Unix socket, or there is no memory; RET is then as it was. Free with qmp_peer_done(). */
int qmp_peer_read(int fd, struct qmp_peer *ret);
void qmp_peer_done(struct qmp_peer *p);

#endif
