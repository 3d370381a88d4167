/* SPDX-License-Identifier: Apache-2.0 */
/* The worker process: one guest, one direction. Started by the daemon from its own executable. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/control.h"
#include "engine/credentials.h"
#include "engine/report.h"
#include "engine/sandbox.h"

/* What tests/migration/test-reports-are-seen.py insists on being told of. */
static void read_freed_memory(void)
{
	char *p = malloc(1), *again = p;

	__asm__ volatile("" : "+r"(again)); /* no compiler and no analyser knows what it is */
	free(p);
	if (again && *(volatile char *)again)
		log_debug("freed memory has something in it");
}

static void *run(void *opaque)
{
	struct migration *m = opaque;

	if (fault_is_on("freed-memory-read"))
		read_freed_memory();
	if (m->start.direction == WORKER_DIRECTION_OUTGOING)
		source_run(m);
	else
		target_run(m);
	return NULL;
}

static int migration_init(struct migration *m)
{
	*m = (struct migration){ .guest_fd = -1,
				 .stream_fd = -1,
				 .direct_fd = -1,
				 .adopt_fd = -1,
				 .decision_fd = -1,
				 .vmm_fd = -1,
				 .userfaultfd = -1,
				 .stats_fd = -1,
				 .connection_fd = -1,
				 .recovery_fd = -1,
				 .publish_fd = -1,
				 .status = MIGRATION_STATUS_SETUP };
	m->cancel_fd = wake_new();
	m->report_fd = wake_new();
	m->told_fd = wake_new();
	m->answer_fd = wake_new();
	m->arrival_fd = wake_new();
	m->pause_fd = wake_new();
	if (m->cancel_fd < 0 || m->report_fd < 0 || m->told_fd < 0 || m->answer_fd < 0 || m->arrival_fd < 0 ||
	    m->pause_fd < 0)
		return -EMFILE;
	if (rate_init(&m->rate) < 0 || rate_init(&m->background) < 0)
		return -ENOMEM;
	return -pthread_mutex_init(&m->lock, NULL);
}

/* Memory only, so that a search for leaks finds leaks: descriptors end with the process. */
static void migration_done(struct migration *m)
{
	struct report *r;

	while ((r = report_take(m)))
		free(r);
	free(m->preflight);
	m->credentials = credentials_free(m->credentials);
	worker_start_done(&m->start);
	(void)pthread_mutex_destroy(&m->lock);
}

/* The migration on a thread of its own, the link to the daemon on this one. */
static int serve(struct migration *m, struct conn *link)
{
	pthread_t thread;
	int r;

	r = pthread_create(&thread, NULL, run, m);
	if (r != 0) {
		log_err("cannot start the migration's thread: %s", strerror(r));
		(void)conn_free(link);
		return EXIT_FAILURE;
	}
	control_run(m, link);
	(void)pthread_join(thread, NULL);
	return EXIT_SUCCESS;
}

int worker_main(void)
{
	struct merr err = MERR_INIT;
	struct migration m;
	struct conn *link;
	int status = EXIT_FAILURE;

	log_init_child(WORKER_ARGV0);
	/* The kernel shows this name; argv[0] is the same. */
	(void)pthread_setname_np(pthread_self(), WORKER_ARGV0);
	/* Writes to a peer that is gone give EPIPE, everywhere. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (migration_init(&m) < 0) {
		log_err("out of descriptors");
		return EXIT_FAILURE;
	}
	link = conn_new(LINK_FD);
	if (!link || control_start(link, &m, &err) < 0 || sandbox_enter(SANDBOX_WORKER, &err) < 0) {
		log_err("cannot start: %s", merr_msg(&err));
		(void)conn_free(link);
	} else {
		log_info("%s migration started guest=\"%s\" peer=\"%s\" mig=%s",
			 worker_direction_str(m.start.direction), m.start.guest, m.start.peer, m.start.id);
		status = serve(&m, link);
	}
	migration_done(&m);
	return status;
}
