/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread: serves the devices' back ends. While it is paused no callback runs, so nothing writes guest
 * memory or raises an interrupt.
 */
#ifndef MIGD_VMM_IO_H
#define MIGD_VMM_IO_H

#include <stdbool.h>
#include <stdint.h>

struct io;

/* Embedded in its owner, who keeps the descriptor. */
struct io_watch {
	int fd;
	void (*ready)(void *opaque, uint32_t events);	/* I/O thread; EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	void *opaque;
	uint32_t events;
};

int io_new(struct io **ret);
/* End the thread; watches are not called any more. NULL is fine. */
void io_stop(struct io *io);
struct io *io_free(struct io *io);

/* Begin to watch w->fd for w->events (0: errors only). -EPERM: the file cannot be waited for. */
int io_add(struct io *io, struct io_watch *w);
/* Change what is watched for. Any thread. */
void io_set_events(struct io *io, struct io_watch *w, uint32_t events);
void io_remove(struct io *io, struct io_watch *w);

/* Wait until no callback runs and let none begin. -ETIMEDOUT, and not paused, if one takes too long. */
int io_pause(struct io *io);
void io_resume(struct io *io);
/* Whether a pause is wanted: a callback with a lot to do returns then. */
bool io_pausing(struct io *io);

#endif
