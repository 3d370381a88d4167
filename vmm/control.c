/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread's loop: signals, resets, and the end of the VMM. */
#include "vmm/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "vmm/machine.h"
#include "vmm/reset.h"
#include "vmm/sleep.h"
#include "vmm/util.h"

struct control {
	int event_fd;
	int signal_fd;
	pthread_mutex_t lock;	/* of the rest */
	enum end_reason reason;
	int status;
	bool quiesced;
};

static const int handled_signals[] = { SIGTERM, SIGINT, SIGUSR1 };

static int open_fds(struct control *c)
{
	sigset_t set;
	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(handled_signals); i++)
		(void)sigaddset(&set, handled_signals[i]);
	int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (error)
		return fail(-error, "cannot block signals: %s", strerrordesc_np(error));
	c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->event_fd < 0)
		return fail(-errno, "eventfd: %m");
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c->signal_fd < 0)
		return fail(-errno, "signalfd: %m");
	return 0;
}

int control_new(struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return fail(-ENOMEM, "out of memory");
	*c = (struct control){ .event_fd = -1, .signal_fd = -1 };
	(void)pthread_mutex_init(&c->lock, NULL);
	int r = open_fds(c);
	if (r < 0)
		(void)control_free(c);
	else
		*ret = c;
	return r;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	if (c->event_fd >= 0)
		(void)close(c->event_fd);
	if (c->signal_fd >= 0)
		(void)close(c->signal_fd);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void control_wake(struct control *c)
{
	(void)!write(c->event_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

void control_end(struct control *c, enum end_reason reason, int status)
{
	(void)pthread_mutex_lock(&c->lock);
	if (c->reason == END_NONE) {
		c->reason = reason;
		c->status = status;
	}
	(void)pthread_mutex_unlock(&c->lock);
	control_wake(c);
}

void control_set_quiesced(struct control *c, bool quiesced)
{
	(void)pthread_mutex_lock(&c->lock);
	c->quiesced = quiesced;
	(void)pthread_mutex_unlock(&c->lock);
	control_wake(c);
}

static bool may_reset(struct machine *m)
{
	struct control *c = m->control;
	(void)pthread_mutex_lock(&c->lock);
	bool may = c->reason == END_NONE && !c->quiesced;
	(void)pthread_mutex_unlock(&c->lock);
	return may && m->reset && reset_pending(m->reset);
}

static void handle_signals(struct machine *m)
{
	struct signalfd_siginfo si;
	while (read(m->control->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGUSR1) {
			if (m->sleep)
				sleep_wake(m->sleep);
			continue;
		}
		note(LOG_NOTICE, "ended by %s", sigabbrev_np((int)si.ssi_signo));
		control_end(m->control, END_SIGNAL, 0);
	}
}

enum end_reason control_run(struct machine *m, int *ret_status)
{
	struct control *c = m->control;
	for (;;) {
		struct pollfd fds[] = { { .fd = c->event_fd, .events = POLLIN },
					{ .fd = c->signal_fd, .events = POLLIN } };
		/* While a reset waits for vCPUs to leave the guest, they are nudged again and again. */
		int timeout_ms = may_reset(m) ? RESET_KICK_MS : -1;
		if (poll(fds, ARRAY_SIZE(fds), timeout_ms) < 0 && errno != EINTR)
			note(LOG_ERR, "poll: %m");
		(void)!read(c->event_fd, &(uint64_t){ 0 }, sizeof(uint64_t));
		handle_signals(m);
		if (may_reset(m))
			reset_step(m);
		(void)pthread_mutex_lock(&c->lock);
		enum end_reason reason = c->reason;
		*ret_status = c->status;
		(void)pthread_mutex_unlock(&c->lock);
		if (reason != END_NONE)
			return reason;
	}
}
