/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-mmio device with one queue. */
#include "vmm/payloads/lib/virtio.h"

#include "vmm/payload-abi.h"
#include "vmm/payloads/lib/runtime.h"

/* Registers (virtio 1.2, section 4.2.2). */
enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SELECT = 0x024,
	REG_QUEUE_SELECT = 0x030,
	REG_QUEUE_LEN_MAX = 0x034,
	REG_QUEUE_LEN = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESCRIPTORS = 0x080,
	REG_QUEUE_AVAILABLE = 0x090,
	REG_QUEUE_USED = 0x0a0,
	REG_CONFIG = 0x100,
};
#define MAGIC                  0x74726976
#define STATUS_ACKNOWLEDGE     1
#define STATUS_DRIVER          2
#define STATUS_DRIVER_OK       4
#define STATUS_FEATURES_OK     8
#define FEATURE_VERSION_1_HIGH 1u /* bit 32 */

struct virtio_descriptor {
	uint64_t gpa;
	uint32_t len_bytes;
	uint16_t flags;
	uint16_t next;
};

struct virtio_used {
	uint32_t head;
	uint32_t len_bytes;
};

/* The three parts of a split queue, aligned as section 2.7 demands. */
struct virtio_queue {
	struct virtio_descriptor descriptors[VIRTIO_QUEUE_LEN];
	uint16_t available_flags;
	uint16_t available_index;
	uint16_t available[VIRTIO_QUEUE_LEN];
	uint16_t used_event;
	__attribute__((aligned(4))) uint16_t used_flags;
	uint16_t used_index;
	struct virtio_used used[VIRTIO_QUEUE_LEN];
};

static struct virtio_queue __attribute__((aligned(16))) queue;

static uint32_t read_register(const struct virtio *v, unsigned int reg)
{
	return *(volatile uint32_t *)(v->window_gpa + reg);
}

static void write_register(const struct virtio *v, unsigned int reg, uint32_t value)
{
	*(volatile uint32_t *)(v->window_gpa + reg) = value;
}

static void write_address(const struct virtio *v, unsigned int reg, const void *p)
{
	write_register(v, reg, (uint32_t)(uint64_t)p);
	write_register(v, reg + 4, (uint32_t)((uint64_t)p >> 32));
}

/* Whether the register holds what it must; the payload fails where it does not. */
static bool expect(const struct virtio *v, unsigned int reg, uint32_t expected)
{
	uint32_t seen = read_register(v, reg);

	if (seen != expected)
		payload_fail("virtio register", v->window_gpa + reg, expected, seen);
	return seen == expected;
}

static bool negotiate(const struct virtio *v)
{
	const uint32_t status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	write_register(v, REG_STATUS, 0);
	write_register(v, REG_STATUS, STATUS_ACKNOWLEDGE);
	write_register(v, REG_STATUS, status);
	write_register(v, REG_DRIVER_FEATURES_SELECT, 0);
	write_register(v, REG_DRIVER_FEATURES, 0);
	write_register(v, REG_DRIVER_FEATURES_SELECT, 1);
	write_register(v, REG_DRIVER_FEATURES, FEATURE_VERSION_1_HIGH);
	write_register(v, REG_STATUS, status | STATUS_FEATURES_OK);
	return expect(v, REG_STATUS, status | STATUS_FEATURES_OK);
}

static bool start_queue(struct virtio *v)
{
	write_register(v, REG_QUEUE_SELECT, 0);
	if (read_register(v, REG_QUEUE_LEN_MAX) < VIRTIO_QUEUE_LEN)
		return expect(v, REG_QUEUE_LEN_MAX, VIRTIO_QUEUE_LEN);
	write_register(v, REG_QUEUE_LEN, VIRTIO_QUEUE_LEN);
	write_address(v, REG_QUEUE_DESCRIPTORS, v->queue->descriptors);
	write_address(v, REG_QUEUE_AVAILABLE, &v->queue->available_flags);
	write_address(v, REG_QUEUE_USED, &v->queue->used_flags);
	write_register(v, REG_QUEUE_READY, 1);
	return expect(v, REG_QUEUE_READY, 1);
}

bool virtio_open(struct virtio *v, unsigned int window, uint32_t device_id)
{
	v->window_gpa = PAYLOAD_VIRTIO_GPA + (uint64_t)window * PAYLOAD_VIRTIO_STRIDE;
	v->queue = &queue;
	v->n_submitted = 0;
	v->n_taken = 0;
	if (!expect(v, REG_MAGIC, MAGIC) || !expect(v, REG_VERSION, 2) ||
	    !expect(v, REG_DEVICE_ID, device_id))
		return false;
	if (!negotiate(v) || !start_queue(v))
		return false;
	write_register(v, REG_STATUS, read_register(v, REG_STATUS) | STATUS_DRIVER_OK);
	return true;
}

uint64_t virtio_config64(const struct virtio *v, unsigned int offset)
{
	return read_register(v, REG_CONFIG + offset) |
	       (uint64_t)read_register(v, REG_CONFIG + offset + 4) << 32;
}

void virtio_describe(struct virtio *v, unsigned int index, volatile void *data, uint32_t len_bytes,
		     uint16_t flags)
{
	v->queue->descriptors[index] = (struct virtio_descriptor){
		.gpa = (uint64_t)data,
		.len_bytes = len_bytes,
		.flags = flags,
		.next = (uint16_t)(index + 1),
	};
}

void virtio_submit(struct virtio *v, unsigned int head)
{
	v->queue->available[v->n_submitted++ % VIRTIO_QUEUE_LEN] = (uint16_t)head;
	__atomic_store_n(&v->queue->available_index, v->n_submitted, __ATOMIC_SEQ_CST);
	write_register(v, REG_QUEUE_NOTIFY, 0);
}

bool virtio_has_used(const struct virtio *v)
{
	return __atomic_load_n(&v->queue->used_index, __ATOMIC_ACQUIRE) != v->n_taken;
}

bool virtio_take_used(struct virtio *v, unsigned int *ret_head)
{
	if (!virtio_has_used(v))
		return false;
	*ret_head = v->queue->used[v->n_taken++ % VIRTIO_QUEUE_LEN].head;
	return true;
}

bool virtio_ack(const struct virtio *v)
{
	uint32_t status = read_register(v, REG_INTERRUPT_STATUS);

	if (!status)
		return false;
	write_register(v, REG_INTERRUPT_ACK, status);
	return true;
}
