/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon says to a worker, as its control thread reads it: START and maybe TLS, then
 * messages in any order, until the daemon is gone. START always comes with the descriptors that it
 * has to have, other messages with those that the input says.
 */
/* LIBS: migd_engine */
#include <assert.h>

#include "engine/credentials.c" /* its serial and its question */
#include "engine/stats-page.h"
#include "engine/worker.c" /* migration_init(), migration_done() */
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_message_type types[] = {
	{ LINK_START, "", "", &worker_start_type },
	{ LINK_PARAMETERS, "", "", &worker_parameters_type },
	{ LINK_CANCEL, "", "", &worker_share_type },
	{ LINK_CONTINUE, "", "", &worker_share_type },
	{ LINK_CONNECTION, "", "", &worker_connection_type },
	{ LINK_RESOLVE, "", "", &worker_resolve_type },
	{ LINK_FINISHED, "", "", &worker_share_type },
	{ LINK_PUBLISHED, "", "", &worker_published_type },
	{ LINK_SHARE, "", "", &worker_share_type },
	{ LINK_ARRIVAL, "", "", &worker_share_type },
	{ LINK_SIGNED, "", "", &worker_signed_type },
	{ LINK_AUTHORIZED, "", "", &worker_authorized_type },
	{ LINK_TLS, "", "", &worker_tls_type },
	{ LINK_ADMITTED, "", "", &worker_admit_type },
	{ LINK_START_POSTCOPY, "", "", &worker_share_type },
	{ LINK_PAUSE, "", "", &worker_share_type },
	{ LINK_RECOVER, "", "", &worker_share_type },
};

static void send_start(struct conn *daemon, const struct fuzz_message *m)
{
	int fds[LINK_START_N_FDS];
	struct stats_page *page;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)close(fds[LINK_START_FD_GUEST]);
	(void)close(fds[LINK_START_FD_STATS]);
	fds[LINK_START_FD_GUEST] = fuzz_fd_socket(SOCK_SEQPACKET);
	assert(stats_page_create(&page, &fds[LINK_START_FD_STATS]) == 0);
	stats_page_unmap(page);
	(void)conn_send(daemon, LINK_START, m->body.p, m->body.left, fds, ARRAY_SIZE(fds), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* The daemon's end, to be closed at last: until then the worker may write. */
static struct conn *send_all(int fd, struct rcur in)
{
	struct conn *daemon = conn_new(fd);
	struct fuzz_message m = { 0 };
	uint32_t seq = 16;

	assert(daemon);
	while (fuzz_message_next(&in, &m))
		if (m.type == LINK_START && !(m.how & FUZZ_SECOND))
			send_start(daemon, &m);
		else
			fuzz_message_send(fd, &m, ++seq, 1, 0);
	(void)shutdown(fd, SHUT_WR);
	return daemon;
}

static void free_migration(struct migration *m)
{
	const int fds[] = { m->guest_fd,      m->stream_fd,   m->direct_fd,   m->adopt_fd,
			    m->decision_fd,   m->vmm_fd,      m->userfaultfd, m->stats_fd,
			    m->connection_fd, m->recovery_fd, m->cancel_fd,   m->report_fd,
			    m->answer_fd,     m->arrival_fd,  m->pause_fd,    m->told_fd };
	int fd;

	while ((fd = migration_take_arrival(m)) >= 0)
		(void)close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close_fd(fds[i]);
	if (m->stats)
		stats_page_unmap(m->stats);
	migration_done(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct migration m;
	struct merr err = MERR_INIT;
	struct conn *link, *daemon;
	int fds[2];

	log_init("fuzz", LOG_TARGET_NONE, LOG_DEBUG);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ||
	    migration_init(&m) < 0)
		abort();
	daemon = send_all(fds[1], rcur_of(data, size));
	link = conn_new(fds[0]);
	assert(link);
	if (control_start(link, &m, &err) == 0) {
		/* Of the other thread, which is none: it asked for all there is, and it is over. */
		report_status(&m, MIGRATION_STATUS_ACTIVE);
		if (m.credentials) {
			m.credentials->serial = 1;
			m.credentials->asking = size % 2 ? LINK_SIGN : LINK_AUTHORIZE;
		}
		report_done(&m, true);
		control_run(&m, link);
	} else {
		assert(merr_is_set(&err));
		(void)conn_free(link);
	}
	free_migration(&m);
	(void)conn_free(daemon);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 0, data, size, max_size, seed);
}
