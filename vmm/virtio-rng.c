/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (virtio 1.2, section 5.4): fills buffers from the host's random number generator. */
#include <linux/virtio_ids.h>
#include <sys/random.h>

#include "vmm/devices.h"
#include "vmm/util.h"
#include "vmm/virtio.h"

#define REQUEST_MAX (64 * KIB)	/* of entropy; a buffer may be filled in part */

struct virtio_rng {
	struct virtio virtio;
};

static const struct migd_vmstate_field virtio_rng_fields[] = {
	MIGD_VMS_FIELD_STRUCT(struct virtio_rng, virtio, struct virtio, &virtio_state),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate virtio_rng_state = {
	.name = "virtio-rng", .version = 1, .minimum_version = 1, .fields = virtio_rng_fields
};

static const struct device_derived virtio_rng_derived[] = {
	VIRTIO_DERIVED(struct virtio_rng),
	DEVICE_DERIVED_END,
};

static uint32_t serve(struct virtio *v, struct virtq_chain *chain)
{
	uint32_t written = 0;
	(void)v;
	for (unsigned int i = chain->n_out; i < chain->n_out + chain->n_in; i++) {
		uint8_t *at = chain->iov[i].iov_base;
		size_t left = MIN(chain->iov[i].iov_len, REQUEST_MAX - written);
		while (left > 0) {
			ssize_t n = getrandom(at, MIN(left, 256), 0);
			if (n <= 0)
				break;
			at += n;
			left -= (size_t)n;
			written += (uint32_t)n;
		}
	}
	return written;
}

static const struct virtio_ops ops = { .device_id = VIRTIO_ID_RNG, .serve = serve };

static int virtio_rng_init(struct device *dev, const struct options *opt)
{
	(void)opt;
	return virtio_init(dev->state, dev, &ops);
}

static void virtio_rng_done(struct device *dev)
{
	virtio_done(dev->state);
}

const struct device_type virtio_rng_type = {
	.name = "virtio-rng",
	.state_size = sizeof(struct virtio_rng),
	.state = &virtio_rng_state,
	.derived = virtio_rng_derived,
	.access_max = 4,
	.init = virtio_rng_init,
	.done = virtio_rng_done,
	.reset = virtio_reset,
	.read = virtio_read,
	.write = virtio_write,
	.irq_level = virtio_irq_level,
	.unquiesce = virtio_unquiesce,
};
