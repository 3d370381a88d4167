/* SPDX-License-Identifier: Apache-2.0 */
/* The block device through a virtqueue in memory: every request, hostile rings, and its file's lock on the way of a move. */
/* LIBS: migd_vmm_core migd_guest_static */
/* SOURCES: board.c */
/* LABELS: quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "board.h"
#include "vmm/disk.h"
#include "vmm/io.h"
#include "vmm/payload-abi.h"

#define MEMORY (1 << 20)
#define QUEUE_LEN 8
#define DESC_GPA 0x1000
#define AVAIL_GPA 0x2000
#define USED_GPA 0x3000
#define HEADER_GPA 0x4000
#define DATA_GPA 0x5000
#define STATUS_GPA 0x6000
#define SECTORS 64

struct blk_test {
	struct board b;
	struct device *dev;
	char *path;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct virtio_blk_outhdr *header;
	uint8_t *data, *status;
	uint16_t n_requests;
};

static uint32_t rd(struct blk_test *t, unsigned int reg)
{
	return (uint32_t)bus_read(&t->b.m.mmio, PAYLOAD_VIRTIO_GPA + reg, 4);
}

static void wr(struct blk_test *t, unsigned int reg, uint32_t value)
{
	bus_write(&t->b.m.mmio, PAYLOAD_VIRTIO_GPA + reg, 4, value);
}

static void start_driver(struct blk_test *t)
{
	wr(t, VIRTIO_MMIO_STATUS, 0);
	wr(t, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES, 1);	/* VIRTIO_F_VERSION_1 */
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES, 1U << VIRTIO_BLK_F_FLUSH);
	uint32_t ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
	wr(t, VIRTIO_MMIO_STATUS, ok);
	assert_int_equal(rd(t, VIRTIO_MMIO_STATUS), ok);
	wr(t, VIRTIO_MMIO_QUEUE_SEL, 0);
	wr(t, VIRTIO_MMIO_QUEUE_NUM, QUEUE_LEN);
	wr(t, VIRTIO_MMIO_QUEUE_DESC_LOW, DESC_GPA);
	wr(t, VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL_GPA);
	wr(t, VIRTIO_MMIO_QUEUE_USED_LOW, USED_GPA);
	wr(t, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(rd(t, VIRTIO_MMIO_QUEUE_READY), 1);
	wr(t, VIRTIO_MMIO_STATUS, ok | VIRTIO_CONFIG_S_DRIVER_OK);
}

static struct blk_test *blk_new(bool incoming)
{
	struct blk_test *t = calloc(1, sizeof(*t));
	assert_non_null(t);
	board_prepare(&t->b, MEMORY);
	t->path = strdup(board_path(&t->b, "disk"));
	int fd = open(t->path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
	(void)close(fd);
	t->b.opt.disks[0] = (struct disk_options){ .path = t->path, .id = "serial-7" };
	t->b.opt.n_disks = 1;
	t->b.opt.incoming = incoming;
	board_start(&t->b);
	t->dev = board_device(&t->b, "virtio-blk", 0);
	t->desc = ram_at(&t->b.m.ram, DESC_GPA, 0x1000);
	t->avail = ram_at(&t->b.m.ram, AVAIL_GPA, 0x1000);
	t->used = ram_at(&t->b.m.ram, USED_GPA, 0x1000);
	t->header = ram_at(&t->b.m.ram, HEADER_GPA, 0x1000);
	t->data = ram_at(&t->b.m.ram, DATA_GPA, 0x1000);
	t->status = ram_at(&t->b.m.ram, STATUS_GPA, 1);
	start_driver(t);
	return t;
}

static int setup(void **state)
{
	*state = blk_new(false);
	return 0;
}

static int setup_incoming(void **state)
{
	*state = blk_new(true);
	return 0;
}

static int teardown(void **state)
{
	struct blk_test *t = *state;
	board_done(&t->b);
	free(t->path);
	free(t);
	return 0;
}

static void notify(struct blk_test *t)
{
	t->avail->ring[t->n_requests % QUEUE_LEN] = 0;
	__atomic_store_n(&t->avail->idx, ++t->n_requests, __ATOMIC_RELEASE);
	wr(t, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* Header, LEN bytes of data that the device reads (or writes: IN), status. */
static void send(struct blk_test *t, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	*t->header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*t->status = 0xff;
	t->desc[0] = (struct vring_desc){ HEADER_GPA, sizeof(*t->header), VRING_DESC_F_NEXT,
					  len ? 1 : 2 };
	t->desc[1] = (struct vring_desc){
		DATA_GPA, len, (uint16_t)(VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0)), 2
	};
	t->desc[2] = (struct vring_desc){ STATUS_GPA, 1, VRING_DESC_F_WRITE, 0 };
	notify(t);
}

static bool is_done(void *arg)
{
	struct blk_test *t = arg;
	return __atomic_load_n(&t->used->idx, __ATOMIC_ACQUIRE) == t->n_requests;
}

static bool irq_is_high(void *arg)
{
	return board_irq(((struct blk_test *)arg)->dev);
}

/* Its status; the interrupt was raised, and is acknowledged. */
static uint8_t wait_done(struct blk_test *t)
{
	board_wait(is_done, t, "the request is in the used ring");
	board_wait(irq_is_high, t, "the interrupt is raised");
	assert_int_equal(rd(t, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	wr(t, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	assert_false(board_irq(t->dev));
	return *t->status;
}

static uint8_t request(struct blk_test *t, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	send(t, type, sector, len, in);
	return wait_done(t);
}

static bool is_broken(void *arg)
{
	return rd(arg, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void test_identity_and_configuration(void **state)
{
	struct blk_test *t = *state;
	assert_int_equal(rd(t, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(rd(t, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(rd(t, VIRTIO_MMIO_DEVICE_ID), 2);
	assert_int_equal(rd(t, VIRTIO_MMIO_CONFIG), SECTORS);
	assert_int_equal(rd(t, VIRTIO_MMIO_CONFIG + 4), 0);
	assert_int_equal(bus_read(&t->b.m.mmio, PAYLOAD_VIRTIO_GPA + 7 * PAYLOAD_VIRTIO_STRIDE, 4), 0);
}

static void test_written_sectors_read_back(void **state)
{
	struct blk_test *t = *state;
	for (unsigned int i = 0; i < 1024; i++)
		t->data[i] = (uint8_t)(i * 7);
	assert_int_equal(request(t, VIRTIO_BLK_T_OUT, 5, 1024, false), VIRTIO_BLK_S_OK);
	assert_int_equal(t->used->ring[0].len, 1);
	memset(t->data, 0, 1024);
	assert_int_equal(request(t, VIRTIO_BLK_T_IN, 5, 1024, true), VIRTIO_BLK_S_OK);
	assert_int_equal(t->used->ring[1].len, 1025);
	for (unsigned int i = 0; i < 1024; i++)
		assert_int_equal(t->data[i], (uint8_t)(i * 7));
}

static void test_the_ring_wraps(void **state)
{
	struct blk_test *t = *state;
	for (unsigned int i = 0; i < 3 * QUEUE_LEN; i++)
		assert_int_equal(request(t, VIRTIO_BLK_T_IN, i, 512, true), VIRTIO_BLK_S_OK);
}

static void test_flush_and_id(void **state)
{
	struct blk_test *t = *state;
	assert_int_equal(request(t, VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK);
	assert_int_equal(request(t, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES, true), VIRTIO_BLK_S_OK);
	assert_string_equal((char *)t->data, "serial-7");
}

static void test_wrong_requests_get_a_status(void **state)
{
	struct blk_test *t = *state;
	assert_int_equal(request(t, VIRTIO_BLK_T_IN, SECTORS, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(t, VIRTIO_BLK_T_OUT, SECTORS - 1, 1024, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(t, VIRTIO_BLK_T_IN, UINT64_MAX, 512, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(t, VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(t, 99, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
}

static void test_broken_rings_stop_the_device_until_reset(void **state)
{
	struct blk_test *t = *state;
	static const struct vring_desc broken[] = {
		{ MEMORY - 8, 16, VRING_DESC_F_NEXT, 2 },		/* beyond memory */
		{ UINT64_MAX - 8, 16, VRING_DESC_F_NEXT, 2 },		/* wraps */
		{ HEADER_GPA, 16, VRING_DESC_F_NEXT, 0 },		/* a loop */
		{ HEADER_GPA, 16, VRING_DESC_F_NEXT, QUEUE_LEN },	/* no such descriptor */
		{ HEADER_GPA, 16, VRING_DESC_F_INDIRECT, 0 },		/* not offered */
	};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		t->desc[0] = broken[i];
		t->desc[2] = (struct vring_desc){ STATUS_GPA, 1, VRING_DESC_F_WRITE, 0 };
		notify(t);
		board_wait(is_broken, t, "the device asks for a reset");
		memset(t->avail, 0, 64);
		memset(t->used, 0, 128);
		t->n_requests = 0;
		start_driver(t);
		assert_int_equal(request(t, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
		memset(t->avail, 0, 64);
		memset(t->used, 0, 128);
		t->n_requests = 0;
		start_driver(t);
	}
}

static void test_unoffered_features_are_refused(void **state)
{
	struct blk_test *t = *state;
	wr(t, VIRTIO_MMIO_STATUS, 0);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES, 1U << VIRTIO_BLK_F_RO);
	wr(t, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK);
	assert_false(rd(t, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
}

static bool other_can_lock(struct blk_test *t)
{
	struct disk other;
	assert_int_equal(disk_open(&other, t->path), 0);
	int r = disk_lock(&other);
	disk_close(&other);
	assert_true(r == 0 || r == -EAGAIN);
	return r == 0;
}

static void test_the_lock_is_held_while_the_guest_runs_here(void **state)
{
	struct blk_test *t = *state;
	assert_false(other_can_lock(t));
	assert_int_equal(io_pause(t->b.m.io), 0);
	assert_int_equal(t->dev->type->release(t->dev), 0);
	assert_true(other_can_lock(t));
	assert_int_equal(t->dev->type->reclaim(t->dev), 0);
	assert_false(other_can_lock(t));
}

static void test_an_incoming_guest_waits_for_the_lock(void **state)
{
	struct blk_test *t = *state;
	struct disk source;
	assert_true(other_can_lock(t));
	assert_int_equal(disk_open(&source, t->path), 0);
	assert_int_equal(disk_lock(&source), 0);
	assert_int_equal(io_pause(t->b.m.io), 0);
	t->dev->type->activate(t->dev);
	io_resume(t->b.m.io);
	send(t, VIRTIO_BLK_T_IN, 0, 512, true);
	(void)usleep(250000);	/* longer than a retry takes */
	assert_false(is_done(t));
	disk_close(&source);
	assert_int_equal(wait_done(t), VIRTIO_BLK_S_OK);
	assert_false(other_can_lock(t));
}

static void test_nothing_is_served_during_a_pause(void **state)
{
	struct blk_test *t = *state;
	assert_int_equal(io_pause(t->b.m.io), 0);
	send(t, VIRTIO_BLK_T_IN, 0, 512, true);
	(void)usleep(100000);
	assert_false(is_done(t));
	t->dev->type->unquiesce(t->dev);
	io_resume(t->b.m.io);
	assert_int_equal(wait_done(t), VIRTIO_BLK_S_OK);
}

#define T(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity_and_configuration, setup),
		T(test_written_sectors_read_back, setup),
		T(test_the_ring_wraps, setup),
		T(test_flush_and_id, setup),
		T(test_wrong_requests_get_a_status, setup),
		T(test_broken_rings_stop_the_device_until_reset, setup),
		T(test_unoffered_features_are_refused, setup),
		T(test_the_lock_is_held_while_the_guest_runs_here, setup),
		T(test_an_incoming_guest_waits_for_the_lock, setup_incoming),
		T(test_nothing_is_served_during_a_pause, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
