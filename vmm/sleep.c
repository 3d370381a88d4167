/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sleep register: the guest suspends itself, vCPUs stop after the OUT, and go on there when woken.
 *
 *   +0, byte, write PAYLOAD_SLEEP_VALUE: suspend. Read: 1 while asleep (only seen by others), else 0.
 *   +4, 32 bits: the next sleep ends after so many milliseconds; 0: only by SIGUSR1. Reads back; 0 after a wake-up.
 */
#include "vmm/sleep.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "vmm/devices.h"
#include "vmm/io.h"
#include "vmm/machine.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

#define REG_SLEEP 0
#define REG_WAKE_MS 4

struct sleep {
	struct io_watch timer;
	uint64_t remaining_ns;	/* until the timer wakes the guest; valid while quiesced; 0: it does not */
	uint32_t wake_ms;
	bool sleeping;
	uint8_t unused[3];
};

static const struct migd_vmstate_field sleep_fields[] = {
	MIGD_VMS_FIELD_U64(struct sleep, remaining_ns),
	MIGD_VMS_FIELD_U32(struct sleep, wake_ms),
	MIGD_VMS_FIELD_BOOL(struct sleep, sleeping),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate sleep_state = {
	.name = "sleep", .version = 1, .minimum_version = 1, .fields = sleep_fields
};

static const struct device_derived sleep_derived[] = {
	DEVICE_DERIVED(struct sleep, timer, "of this process; set from remaining_ns"),
	DEVICE_DERIVED(struct sleep, unused, "padding"),
	DEVICE_DERIVED_END,
};

/* 0 stops it. */
static void set_timer(struct sleep *s, uint64_t ns)
{
	struct itimerspec spec = { .it_value = { .tv_sec = (time_t)(ns / 1000000000),
						 .tv_nsec = (long)(ns % 1000000000) } };
	if (timerfd_settime(s->timer.fd, 0, &spec, NULL) < 0)
		note(LOG_ERR, "timerfd_settime: %m");
}

static uint64_t timer_remaining_ns(const struct sleep *s)
{
	struct itimerspec spec;
	if (timerfd_gettime(s->timer.fd, &spec) < 0)
		return 0;
	return (uint64_t)spec.it_value.tv_sec * 1000000000 + (uint64_t)spec.it_value.tv_nsec;
}

void sleep_wake(struct device *dev)
{
	struct sleep *s = dev->state;
	(void)pthread_mutex_lock(&dev->lock);
	if (s->sleeping) {
		s->sleeping = false;
		s->wake_ms = 0;
		set_timer(s, 0);
		note(LOG_INFO, "the guest wakes up");
		machine_notify(dev->machine, MIGD_GUEST_EVENT_WAKEUP);
	}
	(void)pthread_mutex_unlock(&dev->lock);
}

static void timer_ready(void *opaque, uint32_t events)
{
	struct device *dev = opaque;
	struct sleep *s = dev->state;
	(void)events;
	uint64_t ticks;
	if (read(s->timer.fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		sleep_wake(dev);
}

static int sleep_init(struct device *dev, const struct options *opt)
{
	struct sleep *s = dev->state;
	(void)opt;
	s->timer = (struct io_watch){ .ready = timer_ready, .opaque = dev, .events = EPOLLIN };
	s->timer.fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->timer.fd < 0)
		return fail(-errno, "timerfd_create: %m");
	int r = io_add(dev->machine->io, &s->timer);
	if (r < 0)
		return fail(r, "cannot wait for a timer: %s", strerrordesc_np(-r));
	dev->machine->sleep = dev;
	return 0;
}

static void sleep_done(struct device *dev)
{
	struct sleep *s = dev->state;
	if (s->timer.fd >= 0)
		(void)close(s->timer.fd);
}

static void sleep_reset(struct device *dev)
{
	struct sleep *s = dev->state;
	s->sleeping = false;
	s->wake_ms = 0;
	set_timer(s, 0);
}

static uint64_t sleep_read(struct device *dev, uint64_t offset, unsigned int size)
{
	const struct sleep *s = dev->state;
	(void)size;
	if (offset == REG_SLEEP)
		return s->sleeping;
	return offset == REG_WAKE_MS ? s->wake_ms : 0;
}

static void sleep_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct sleep *s = dev->state;
	(void)size;
	if (offset == REG_WAKE_MS)
		s->wake_ms = (uint32_t)value;
	if (offset != REG_SLEEP || (uint8_t)value != PAYLOAD_SLEEP_VALUE || s->sleeping)
		return;
	s->sleeping = true;
	note(LOG_INFO, "the guest suspends itself");
	machine_notify(dev->machine, MIGD_GUEST_EVENT_SUSPEND);
	set_timer(s, (uint64_t)s->wake_ms * 1000000);
}

static void sleep_quiesce(struct device *dev)
{
	struct sleep *s = dev->state;
	s->remaining_ns = timer_remaining_ns(s);
	/* It ran out, but the I/O thread was paused before it could say so: right after the pause. */
	if (s->sleeping && s->wake_ms && s->remaining_ns == 0)
		s->remaining_ns = 1;
	set_timer(s, 0);
}

static void sleep_unquiesce(struct device *dev)
{
	struct sleep *s = dev->state;
	set_timer(s, s->sleeping ? s->remaining_ns : 0);
}

static void sleep_activate(struct device *dev)
{
	const struct sleep *s = dev->state;
	if (s->sleeping)
		machine_notify(dev->machine, MIGD_GUEST_EVENT_SUSPEND);
}

const struct device_type sleep_type = {
	.name = "sleep",
	.state_size = sizeof(struct sleep),
	.state = &sleep_state,
	.derived = sleep_derived,
	.access_max = 4,
	.init = sleep_init,
	.done = sleep_done,
	.reset = sleep_reset,
	.read = sleep_read,
	.write = sleep_write,
	.quiesce = sleep_quiesce,
	.unquiesce = sleep_unquiesce,
	.activate = sleep_activate,
};
