/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device (virtio 1.2, section 5.2) over a file. It serves requests only while it holds the file's lock: from
 * the start, or on the target from `activate`, until `release`.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "vmm/devices.h"
#include "vmm/disk.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/util.h"
#include "vmm/virtio.h"

#define SECTOR 512
#define SEGMENTS_MAX (VIRTQUEUE_LEN_MAX - 2)	/* header and status take a descriptor each */
#define LOCK_RETRY_MS 100

struct virtio_blk {
	struct virtio virtio;
	uint64_t capacity;	/* sectors */
	struct disk disk;
	const char *id;
	struct io_watch retry;	/* a timer: the lock is to be tried again */
};

static const struct migd_vmstate_field virtio_blk_fields[] = {
	MIGD_VMS_FIELD_STRUCT(struct virtio_blk, virtio, struct virtio, &virtio_state),
	MIGD_VMS_FIELD_U64_EQUAL(struct virtio_blk, capacity),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate virtio_blk_state = {
	.name = "virtio-blk", .version = 1, .minimum_version = 1, .fields = virtio_blk_fields
};

static const struct device_derived virtio_blk_derived[] = {
	VIRTIO_DERIVED(struct virtio_blk),
	DEVICE_DERIVED(struct virtio_blk, disk, "of this host"),
	DEVICE_DERIVED(struct virtio_blk, id, "command line"),
	DEVICE_DERIVED(struct virtio_blk, retry, "of this process"),
	DEVICE_DERIVED_END,
};

static struct iovec *in_iov(struct virtq_chain *c)
{
	return c->iov + c->n_out;
}

/* The whole of the buffers, from or to OFFSET of the file. */
static int transfer(struct virtio_blk *b, struct iovec *iov, unsigned int n, uint64_t offset,
		    bool write)
{
	while (iov_len(iov, n) > 0) {
		ssize_t done = write ? pwritev(b->disk.fd, iov, (int)n, (off_t)offset) :
				       preadv(b->disk.fd, iov, (int)n, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		offset += (uint64_t)done;
		for (size_t left = (size_t)done; left > 0; iov++, n--) {
			size_t part = MIN(left, iov->iov_len);
			iov->iov_base = (uint8_t *)iov->iov_base + part;
			iov->iov_len -= part;
			left -= part;
			if (iov->iov_len)
				break;
		}
	}
	return 0;
}

static uint8_t serve_transfer(struct virtio_blk *b, const struct virtio_blk_outhdr *header,
			      struct iovec *iov, unsigned int n)
{
	bool write = header->type == VIRTIO_BLK_T_OUT;
	uint64_t len = iov_len(iov, n), sectors = len / SECTOR;
	if (len % SECTOR || header->sector > b->capacity || sectors > b->capacity - header->sector)
		return VIRTIO_BLK_S_IOERR;
	int r = transfer(b, iov, n, header->sector * SECTOR, write);
	if (r < 0)
		note(LOG_WARNING, "disk '%s': %s of %llu bytes at sector %llu: %s", b->disk.path,
		     write ? "write" : "read", (unsigned long long)len,
		     (unsigned long long)header->sector, strerrordesc_np(-r));
	return r < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t serve_flush(struct virtio_blk *b)
{
	if (fdatasync(b->disk.fd) == 0)
		return VIRTIO_BLK_S_OK;
	note(LOG_WARNING, "disk '%s': flush: %m", b->disk.path);
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t serve_get_id(const struct virtio_blk *b, struct iovec *iov, unsigned int n)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };
	memcpy(id, b->id, strnlen(b->id, sizeof(id)));
	(void)iov_write_front(iov, n, id, sizeof(id));
	return VIRTIO_BLK_S_OK;
}

static uint8_t serve_by_type(struct virtio_blk *b, const struct virtio_blk_outhdr *header,
			     struct virtq_chain *c)
{
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		return serve_transfer(b, header, in_iov(c), c->n_in);
	case VIRTIO_BLK_T_OUT:
		return serve_transfer(b, header, c->iov, c->n_out);
	case VIRTIO_BLK_T_FLUSH:
		return serve_flush(b);
	case VIRTIO_BLK_T_GET_ID:
		return serve_get_id(b, in_iov(c), c->n_in);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* The status is the last byte that the driver lets us write; everything before it is data. */
static uint32_t serve(struct virtio *v, struct virtq_chain *c)
{
	struct virtio_blk *b = (struct virtio_blk *)v;
	struct virtio_blk_outhdr header;
	while (c->n_in && !c->iov[c->n_out + c->n_in - 1].iov_len)
		c->n_in--;
	if (!c->n_in)
		return 0;
	struct iovec *last = &c->iov[c->n_out + c->n_in - 1];
	uint8_t *status = (uint8_t *)last->iov_base + --last->iov_len;
	uint64_t room = iov_len(in_iov(c), c->n_in);
	if (iov_read_front(c->iov, c->n_out, &header, sizeof(header)) < sizeof(header))
		*status = VIRTIO_BLK_S_IOERR;
	else
		*status = serve_by_type(b, &header, c);
	return (uint32_t)MIN(room, UINT32_MAX - 1) + 1;
}

static void retry_in(struct virtio_blk *b, long ms)
{
	struct itimerspec spec = { .it_value = { .tv_nsec = ms * 1000000 } };
	(void)timerfd_settime(b->retry.fd, 0, &spec, NULL);
}

/* Take the lock, or go on trying: the guest is here, nothing can be undone, but nothing is written without it. */
static void lock_or_retry(struct virtio_blk *b)
{
	int r = disk_lock(&b->disk);
	if (r == 0)
		return;
	if (r != -EAGAIN)
		note(LOG_ERR, "cannot lock '%s': %s", b->disk.path, strerrordesc_np(-r));
	retry_in(b, LOCK_RETRY_MS);
}

static void retry_ready(void *opaque, uint32_t events)
{
	struct virtio_blk *b = opaque;
	uint64_t ticks;
	(void)events;
	if (read(b->retry.fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	lock_or_retry(b);
	if (b->disk.locked)
		note(LOG_NOTICE, "'%s' is locked now", b->disk.path);
	virtio_kick(&b->virtio);
}

static bool may_serve(struct virtio *v)
{
	return ((struct virtio_blk *)v)->disk.locked;
}

static uint32_t read_config(struct virtio *v, uint64_t offset, unsigned int size)
{
	const struct virtio_blk *b = (struct virtio_blk *)v;
	struct virtio_blk_config config = { .capacity = b->capacity, .seg_max = SEGMENTS_MAX };
	uint32_t value = 0;
	if (offset <= sizeof(config) - sizeof(value))
		memcpy(&value, (const char *)&config + offset, size);
	return value;
}

static const struct virtio_ops ops = {
	.device_id = VIRTIO_ID_BLOCK,
	.features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_FLUSH,
	.serve = serve,
	.may_serve = may_serve,
	.read_config = read_config,
};

static int open_retry_timer(struct virtio_blk *b, struct device *dev)
{
	b->retry = (struct io_watch){ .ready = retry_ready, .opaque = b, .events = EPOLLIN };
	b->retry.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (b->retry.fd < 0)
		return fail(-errno, "timerfd_create: %m");
	int r = io_add(dev->machine->io, &b->retry);
	return r < 0 ? fail(r, "cannot wait for a timer: %s", strerrordesc_np(-r)) : 0;
}

static int virtio_blk_init(struct device *dev, const struct options *opt)
{
	struct virtio_blk *b = dev->state;
	b->disk.fd = b->retry.fd = -1;
	b->id = opt->disks[dev->instance].id;
	uint64_t bytes = 0;
	int r = virtio_init(&b->virtio, dev, &ops);
	if (r == 0)
		r = open_retry_timer(b, dev);
	if (r == 0)
		r = disk_open(&b->disk, opt->disks[dev->instance].path);
	if (r == 0)
		r = disk_size(&b->disk, &bytes);
	if (r < 0)
		return r;
	b->capacity = bytes / SECTOR;
	if (opt->incoming)
		return 0;
	r = disk_lock(&b->disk);
	return r < 0 ? fail(r, "--disk: cannot lock '%s': %s", b->disk.path,
			    r == -EAGAIN ? "another guest has it" : strerrordesc_np(-r)) :
		       0;
}

static void virtio_blk_done(struct device *dev)
{
	struct virtio_blk *b = dev->state;
	virtio_done(&b->virtio);
	disk_close(&b->disk);
	if (b->retry.fd >= 0)
		(void)close(b->retry.fd);
}

/* Not too late to refuse the guest: its disk became smaller. */
static int virtio_blk_check(struct device *dev)
{
	const struct virtio_blk *b = dev->state;
	uint64_t bytes;
	int r = disk_size(&b->disk, &bytes);
	if (r == 0 && bytes / SECTOR < b->capacity)
		r = fail(-ENXIO, "disk '%s' has %llu sectors, the guest's has %llu", b->disk.path,
			 (unsigned long long)(bytes / SECTOR), (unsigned long long)b->capacity);
	return r;
}

static void virtio_blk_activate(struct device *dev)
{
	struct virtio_blk *b = dev->state;
	lock_or_retry(b);
	if (!b->disk.locked)
		note(LOG_ERR, "'%s' is locked by another guest; its requests wait", b->disk.path);
}

static int virtio_blk_release(struct device *dev)
{
	struct virtio_blk *b = dev->state;
	retry_in(b, 0);
	return disk_flush_and_unlock(&b->disk);
}

static int virtio_blk_reclaim(struct device *dev)
{
	struct virtio_blk *b = dev->state;
	int r = disk_lock(&b->disk);
	return r < 0 ? fail(r, "cannot lock '%s' again: %s", b->disk.path, strerrordesc_np(-r)) : 0;
}

const struct device_type virtio_blk_type = {
	.name = "virtio-blk",
	.state_size = sizeof(struct virtio_blk),
	.state = &virtio_blk_state,
	.derived = virtio_blk_derived,
	.access_max = 4,
	.init = virtio_blk_init,
	.done = virtio_blk_done,
	.reset = virtio_reset,
	.read = virtio_read,
	.write = virtio_write,
	.irq_level = virtio_irq_level,
	.unquiesce = virtio_unquiesce,
	.check = virtio_blk_check,
	.activate = virtio_blk_activate,
	.release = virtio_blk_release,
	.reclaim = virtio_blk_reclaim,
};
