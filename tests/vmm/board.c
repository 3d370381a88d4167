/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM for tests of devices. */
#include "board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/control.h"
#include "vmm/io.h"

void board_prepare(struct board *b, uint64_t memory_bytes)
{
	*b = (struct board){ .opt = { .name = "test", .memory_bytes = memory_bytes, .n_cpus = 1,
				      .cmdline = "" } };
	strcpy(b->dir, "/tmp/migd-test-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->m = (struct machine){ .opt = &b->opt, .kvm = { .fd = -1, .vm_fd = -1 }, .ram = { .fd = -1 },
				 .pio = { .absent = UINT64_MAX } };
	assert_int_equal(ram_init(&b->m.ram, memory_bytes, NULL, RAM_FILE_OWN, false), 0);
	b->m.kvm.cpuid = calloc(1, sizeof(*b->m.kvm.cpuid));
	assert_non_null(b->m.kvm.cpuid);
	assert_int_equal(control_new(&b->m.control), 0);
	assert_int_equal(io_new(&b->m.io), 0);
}

void board_start(struct board *b)
{
	assert_int_equal(devices_create(&b->m, &b->opt), 0);
}

void board_done(struct board *b)
{
	machine_done(&b->m);
	char command[128];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", b->dir);
	assert_int_equal(system(command), 0);
}

const char *board_path(struct board *b, const char *name)
{
	static char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	return path;
}

struct device *board_device(struct board *b, const char *type, unsigned int instance)
{
	for (size_t i = 0; i < b->m.n_devices; i++) {
		struct device *dev = b->m.devices[i];
		if (strcmp(dev->type->name, type) == 0 && dev->instance == instance)
			return dev;
	}
	fail_msg("there is no device '%s' %u", type, instance);
	return NULL;
}

bool board_irq(const struct device *dev)
{
	(void)pthread_mutex_lock((pthread_mutex_t *)&dev->lock);
	bool level = dev->irq_level;
	(void)pthread_mutex_unlock((pthread_mutex_t *)&dev->lock);
	return level;
}

void board_wait(bool (*ready)(void *arg), void *arg, const char *what)
{
	for (int i = 0; i < 10000; i++) {
		if (ready(arg))
			return;
		(void)usleep(1000);
	}
	fail_msg("not within 10 s: %s", what);
}
