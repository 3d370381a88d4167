/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port's ends on the host: a file or standard input and output. */
#include "vmm/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/util.h"

static size_t rx_room(const struct serial *s)
{
	return s->rx_count < serial_fifo_size(s) ? (size_t)(serial_fifo_size(s) - s->rx_count) : 0;
}

void serial_watch_input(struct serial *s)
{
	bool wanted = s->input.fd >= 0 && rx_room(s) > 0;
	if (wanted == s->input_added)
		return;
	if (wanted)
		s->input_added = io_add(s->dev->machine->io, &s->input) == 0;
	else
		io_remove(s->dev->machine->io, &s->input);
	s->input_added = wanted && s->input_added;
}

static void end_input(struct serial *s)
{
	if (s->input_added)
		io_remove(s->dev->machine->io, &s->input);
	s->input_added = false;
	(void)close(s->input.fd);
	s->input.fd = -1;
}

void serial_flush(struct serial *s)
{
	while (s->tx_count) {
		struct pollfd p = { .fd = s->output.fd, .events = POLLOUT };
		if (s->output.fd >= 0) {
			if (poll(&p, 1, 0) <= 0)
				break;
			ssize_t n = write(s->output.fd, s->tx, 1);
			if (n < 0 && (errno == EINTR || errno == EAGAIN))
				break;
			/* An error loses the byte, as an unplugged cable would. */
		}
		memmove(s->tx, s->tx + 1, --s->tx_count);
		if (!s->tx_count)
			s->thr_interrupt = true;
	}
	uint32_t events = s->tx_count ? EPOLLOUT : 0;
	if (s->output_added && s->output.events != events)
		io_set_events(s->dev->machine->io, &s->output, events);
}

static void input_ready(void *opaque, uint32_t events)
{
	struct serial *s = opaque;
	struct device *dev = s->dev;
	uint8_t bytes[SERIAL_FIFO_LEN];
	(void)events;
	(void)pthread_mutex_lock(&dev->lock);
	size_t room = rx_room(s);
	ssize_t n = room ? read(s->input.fd, bytes, room) : 0;
	for (ssize_t i = 0; i < n; i++)
		serial_receive(s, bytes[i]);
	serial_watch_input(s);
	if ((n == 0 && room) || (n < 0 && errno != EAGAIN && errno != EINTR))
		end_input(s);
	device_update_irq(dev);
	(void)pthread_mutex_unlock(&dev->lock);
}

static void output_ready(void *opaque, uint32_t events)
{
	struct serial *s = opaque;
	struct device *dev = s->dev;
	(void)events;
	(void)pthread_mutex_lock(&dev->lock);
	if (!s->tx_count) {	/* an error with nothing to send: nobody reads any more */
		io_remove(dev->machine->io, &s->output);
		s->output_added = false;
	}
	serial_flush(s);
	device_update_irq(dev);
	(void)pthread_mutex_unlock(&dev->lock);
}

int serial_host_init(struct device *dev, const struct options *opt)
{
	struct serial *s = dev->state;
	struct io *io = dev->machine->io;
	s->dev = dev;
	s->input = (struct io_watch){ .fd = -1, .ready = input_ready, .opaque = s, .events = EPOLLIN };
	s->output = (struct io_watch){ .fd = -1, .ready = output_ready, .opaque = s };
	if (!opt->serial)
		return 0;
	if (strcmp(opt->serial, "stdio") == 0) {
		s->input.fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		s->output.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		s->output.fd = open(opt->serial, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY,
				    0644);
	}
	if (s->output.fd < 0)
		return fail(-errno, "--serial: cannot open '%s': %m", opt->serial);
	/* Regular files cannot be waited for; as output they are always ready, as input they are none. */
	s->output_added = io_add(io, &s->output) == 0;
	s->input_added = s->input.fd >= 0 && io_add(io, &s->input) == 0;
	if (s->input.fd >= 0 && !s->input_added)
		end_input(s);
	return 0;
}

void serial_host_done(struct device *dev)
{
	struct serial *s = dev->state;
	if (s->input.fd >= 0)
		(void)close(s->input.fd);
	if (s->output.fd >= 0)
		(void)close(s->output.fd);
}
