/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-mmio disk in memory: virtio 1.2 sections 4.2.2 (registers), 2.7 (split ring) and 5.2
 * (block device).
 */
#include "bare-disk.h"

#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vmm/payload-abi.h"

#define QUEUE_MAX 64

struct bare_disk {
	int vm_fd;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint8_t *bytes;
	uint64_t size_bytes;
	pthread_t thread;     /* completes requests a little after they were submitted */
	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t changed;
	bool is_notified;
	bool is_ending;
	uint32_t status;
	uint32_t features_select;
	uint32_t interrupt_status;
	uint32_t queue_len;
	uint32_t queue_ready;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t n_taken; /* of the available ring */
};

static void update_line(struct bare_disk *disk)
{
	struct kvm_irq_level level = { .irq = PAYLOAD_VIRTIO_GSI,
				       .level = disk->interrupt_status != 0 };

	ioctl(disk->vm_fd, KVM_IRQ_LINE, &level);
}

static void *guest_range(struct bare_disk *disk, uint64_t gpa, uint64_t len_bytes)
{
	return gpa < disk->memory_bytes && len_bytes <= disk->memory_bytes - gpa
		       ? disk->memory + gpa
		       : NULL;
}

/* A request is a chain of three: header, data, status. Returns the bytes written to the guest. */
static uint32_t serve(struct bare_disk *disk, const struct vring_desc *descs, uint16_t head)
{
	const struct vring_desc *first = &descs[head % QUEUE_MAX];
	const struct vring_desc *data = &descs[first->next % QUEUE_MAX];
	const struct vring_desc *last = &descs[data->next % QUEUE_MAX];
	struct virtio_blk_outhdr *header = guest_range(disk, first->addr, sizeof(*header));
	uint8_t *buffer = guest_range(disk, data->addr, data->len);
	uint8_t *status = guest_range(disk, last->addr, 1);
	uint64_t offset = header ? header->sector * 512 : 0;

	if (!header || !buffer || !status)
		return 0;
	*status = VIRTIO_BLK_S_IOERR;
	if (offset > disk->size_bytes || data->len > disk->size_bytes - offset)
		return 1;
	*status = VIRTIO_BLK_S_OK;
	if (header->type == VIRTIO_BLK_T_OUT) {
		memcpy(disk->bytes + offset, buffer, data->len);
		return 1;
	}
	memcpy(buffer, disk->bytes + offset, data->len);
	return data->len + 1;
}

static void serve_all(struct bare_disk *disk)
{
	struct vring_desc *descs = guest_range(disk, disk->desc_gpa, sizeof(*descs) * QUEUE_MAX);
	struct vring_avail *avail = guest_range(disk, disk->avail_gpa, 4 + 2 * QUEUE_MAX);
	struct vring_used *used = guest_range(disk, disk->used_gpa, 4 + 8 * QUEUE_MAX);

	if (!descs || !avail || !used || !disk->queue_ready || !disk->queue_len ||
	    disk->queue_len > QUEUE_MAX)
		return;
	while (disk->n_taken != __atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) {
		uint16_t head = avail->ring[disk->n_taken++ % disk->queue_len];
		struct vring_used_elem *elem = &used->ring[used->idx % disk->queue_len];

		elem->id = head;
		elem->len = serve(disk, descs, head);
		__atomic_store_n(&used->idx, (uint16_t)(used->idx + 1), __ATOMIC_RELEASE);
		disk->interrupt_status |= VIRTIO_MMIO_INT_VRING;
	}
	update_line(disk);
}

/* Waits for a notification; false at the end. */
static bool await_notification(struct bare_disk *disk)
{
	bool is_ending;

	pthread_mutex_lock(&disk->lock);
	while (!disk->is_notified && !disk->is_ending)
		pthread_cond_wait(&disk->changed, &disk->lock);
	disk->is_notified = false;
	is_ending = disk->is_ending;
	pthread_mutex_unlock(&disk->lock);
	return !is_ending;
}

static void *disk_thread(void *arg)
{
	struct bare_disk *disk = arg;

	while (await_notification(disk)) {
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
		pthread_mutex_lock(&disk->lock);
		serve_all(disk);
		pthread_mutex_unlock(&disk->lock);
	}
	return NULL;
}

struct bare_disk *bare_disk_new(int vm_fd, uint8_t *memory, uint64_t memory_bytes,
				uint64_t size_bytes)
{
	struct bare_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->bytes = calloc(1, size_bytes);
	if (!disk->bytes) {
		free(disk);
		return NULL;
	}
	disk->vm_fd = vm_fd;
	disk->memory = memory;
	disk->memory_bytes = memory_bytes;
	disk->size_bytes = size_bytes;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->changed, NULL);
	if (pthread_create(&disk->thread, NULL, disk_thread, disk) != 0)
		abort();
	return disk;
}

void bare_disk_free(struct bare_disk *disk)
{
	if (!disk)
		return;
	pthread_mutex_lock(&disk->lock);
	disk->is_ending = true;
	pthread_cond_signal(&disk->changed);
	pthread_mutex_unlock(&disk->lock);
	pthread_join(disk->thread, NULL);
	pthread_mutex_destroy(&disk->lock);
	pthread_cond_destroy(&disk->changed);
	free(disk->bytes);
	free(disk);
}

void bare_disk_damage(struct bare_disk *disk, uint64_t offset)
{
	pthread_mutex_lock(&disk->lock);
	disk->bytes[offset]++;
	pthread_mutex_unlock(&disk->lock);
}

static uint32_t read_register(struct bare_disk *disk, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return 0x74726976;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return VIRTIO_ID_BLOCK;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return disk->features_select == 1 ? 1u << (VIRTIO_F_VERSION_1 - 32) : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return QUEUE_MAX;
	case VIRTIO_MMIO_QUEUE_READY:
		return disk->queue_ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return disk->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return disk->status;
	case VIRTIO_MMIO_CONFIG:
		return (uint32_t)(disk->size_bytes / 512);
	default:
		return 0;
	}
}

void bare_disk_read(struct bare_disk *disk, uint64_t offset, void *data, uint32_t len_bytes)
{
	uint32_t value;

	pthread_mutex_lock(&disk->lock);
	value = read_register(disk, offset);
	pthread_mutex_unlock(&disk->lock);
	memset(data, 0, len_bytes);
	memcpy(data, &value, len_bytes < sizeof(value) ? len_bytes : sizeof(value));
}

static void set_low(uint64_t *gpa, uint32_t value)
{
	*gpa = (*gpa & ~UINT64_C(0xffffffff)) | value;
}

static void set_high(uint64_t *gpa, uint32_t value)
{
	*gpa = (uint64_t)value << 32 | (uint32_t)*gpa;
}

static void write_register(struct bare_disk *disk, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		disk->features_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		disk->queue_len = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		disk->queue_ready = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		disk->is_notified = true;
		pthread_cond_signal(&disk->changed);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		disk->interrupt_status &= ~value;
		update_line(disk);
		break;
	case VIRTIO_MMIO_STATUS:
		disk->status = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&disk->desc_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&disk->desc_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&disk->avail_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&disk->avail_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&disk->used_gpa, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&disk->used_gpa, value);
		break;
	default:
		break;
	}
}

void bare_disk_write(struct bare_disk *disk, uint64_t offset, const void *data, uint32_t len_bytes)
{
	uint32_t value = 0;

	memcpy(&value, data, len_bytes < sizeof(value) ? len_bytes : sizeof(value));
	pthread_mutex_lock(&disk->lock);
	write_register(disk, offset, value);
	pthread_mutex_unlock(&disk->lock);
}
