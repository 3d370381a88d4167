/* SPDX-License-Identifier: Apache-2.0 */
/* The first words on the link: START, and TLS where there is any. */
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/control.h"
#include "engine/credentials.h"

/* START comes at once. */
#define START_TIMEOUT_MS 10000

static bool is_dev_null(int fd)
{
	/* An absent descriptor is /dev/null's. */
	struct stat st;

	return fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int take_fds(struct migration *m, struct conn_msg *msg)
{
	int fds[LINK_START_N_FDS];

	if (msg->n_fds != LINK_START_N_FDS)
		return -EBADMSG;
	for (size_t i = 0; i < LINK_START_N_FDS; i++) {
		fds[i] = conn_msg_take_fd(msg, i);
		if (is_dev_null(fds[i]))
			fds[i] = close_fd(fds[i]);
	}
	m->guest_fd = fds[LINK_START_FD_GUEST];
	m->stats_fd = fds[LINK_START_FD_STATS];
	m->adopt_fd = fds[LINK_START_FD_ADOPT];
	m->decision_fd = fds[LINK_START_FD_DECISION];
	m->stream_fd = fds[LINK_START_FD_STREAM];
	m->direct_fd = fds[LINK_START_FD_DIRECT];
	m->vmm_fd = fds[LINK_START_FD_VMM];
	m->userfaultfd = fds[LINK_START_FD_USERFAULTFD];
	if (m->guest_fd < 0 && m->start.mode != WORKER_MODE_ABORT)
		return -EBADMSG;
	return m->stats_fd < 0 ? -EBADMSG : 0;
}

static int apply_start(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	json_t *body;
	int r;

	r = link_body(msg, &body, err);
	if (r < 0)
		return r;
	r = worker_start_from_json(body, &m->start, err);
	json_decref(body);
	if (r < 0)
		return r;
	if (m->start.version != LINK_VERSION)
		return merr_set(err, -EPROTONOSUPPORT, "worker link version %u instead of %u",
				m->start.version, LINK_VERSION);
	r = handover_id_parse(m->start.handover_id, m->handover_id);
	if (r < 0)
		return merr_set(err, r, "handover id '%s'", m->start.handover_id);
	r = take_fds(m, msg);
	if (r < 0)
		return merr_set(err, r, "START with %zu descriptors", msg->n_fds);
	r = stats_page_open(m->stats_fd, &m->stats);
	if (r < 0)
		return merr_set_errno(err, r, "statistics page");
	migration_apply(m, &m->start.parameters);
	if (m->start.has_share)
		migration_apply_share(m, m->start.share);
	m->rate.waited_us = &m->stats->limited_us;
	return 0;
}

/* Wait for a message of TYPE, which APPLY takes; called NAME. */
static int expect(struct conn *link, struct migration *m, enum link_type type, const char *name,
		  int (*apply)(struct migration *m, struct conn_msg *msg, struct merr *err), struct merr *err)
{
	uint64_t deadline_ns = clock_now_ns() + START_TIMEOUT_MS * NS_PER_MS;
	struct conn_msg msg;
	int r;

	do {
		r = fd_wait(conn_fd(link), POLLIN, -1, deadline_ns);
		if (r < 0)
			return merr_set_errno(err, r, "waiting for %s", name);
		r = conn_recv(link, &msg, err);
	} while (r == 0);
	if (r < 0)
		return merr_set_errno(err, r, "waiting for %s", name);
	r = msg.type == type ? apply(m, &msg, err) :
			       merr_set(err, -EBADMSG, "message %u instead of %s", msg.type, name);
	conn_msg_done(&msg);
	return r;
}

int control_start(struct conn *link, struct migration *m, struct merr *err)
{
	int r = expect(link, m, LINK_START, "START", apply_start, err);

	FAULT_POINT("link.start-received");
	if (r < 0 || !m->start.has_tls || !m->start.tls)
		return r;
	m->credentials = credentials_new(m);
	if (!m->credentials)
		return merr_set_errno(err, -ENOMEM, "TLS");
	return expect(link, m, LINK_TLS, "TLS", credentials_receive, err);
}
