/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device (virtio 1.2, section 5.1) over a tap: queue 0 receives, queue 1 transmits. A frame that comes while
 * the driver has given no buffer is lost, as on a wire; frames that come during a pause wait in the tap.
 */
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/tap.h"
#include "vmm/util.h"
#include "vmm/virtio.h"

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, N_QUEUES };

#define FRAME_MAX (64 * KIB)	/* more than any MTU */
#define FRAMES_AT_ONCE 64	/* then others have their turn on the I/O thread */
#define HEADER_LEN sizeof(struct virtio_net_hdr_v1)

struct virtio_net {
	struct virtio virtio;
	struct virtqueue transmit;
	uint8_t mac[ETH_ALEN];	/* the guest's: it arrives with it */
	uint8_t padding[2];
	struct io_watch tap;
	const char *id;
	uint8_t *frame;		/* header and frame on the way in; of the I/O thread */
};

static int virtio_net_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	const struct virtio_net *n = opaque;
	(void)version;
	if (n->transmit.ready && !virtqueue_is_sane(&n->transmit))
		return migd_vmstate_fail(err, -EINVAL, "the transmit queue is not in the guest's memory");
	return 0;
}

static const struct migd_vmstate_field virtio_net_fields[] = {
	MIGD_VMS_FIELD_STRUCT(struct virtio_net, virtio, struct virtio, &virtio_state),
	MIGD_VMS_FIELD_STRUCT(struct virtio_net, transmit, struct virtqueue, &virtqueue_state),
	MIGD_VMS_FIELD_U8_ARRAY(struct virtio_net, mac, ETH_ALEN),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate virtio_net_state = { .name = "virtio-net",
						      .version = 1,
						      .minimum_version = 1,
						      .fields = virtio_net_fields,
						      .post_load = virtio_net_post_load };

static const struct device_derived virtio_net_derived[] = {
	VIRTIO_DERIVED(struct virtio_net),
	DEVICE_DERIVED(struct virtio_net, padding, "nothing"),
	DEVICE_DERIVED(struct virtio_net, tap, "of this host"),
	DEVICE_DERIVED(struct virtio_net, id, "command line"),
	DEVICE_DERIVED(struct virtio_net, frame, "of this process"),
	DEVICE_DERIVED_END,
};

/* A frame to the host. What the tap does not take (it is down, or full) is lost. */
static uint32_t serve(struct virtio *v, struct virtq_chain *c)
{
	const struct virtio_net *n = (const struct virtio_net *)v;
	struct virtio_net_hdr_v1 header;
	if (iov_read_front(c->iov, c->n_out, &header, sizeof(header)) == sizeof(header))
		(void)!writev(n->tap.fd, c->iov, (int)c->n_out);
	return 0;
}

static void tap_ready(void *opaque, uint32_t events)
{
	struct virtio_net *n = opaque;
	struct io *io = n->virtio.dev->machine->io;
	struct virtio_net_hdr_v1 header = { .num_buffers = 1 };
	(void)events;
	memcpy(n->frame, &header, sizeof(header));
	for (unsigned int i = 0; i < FRAMES_AT_ONCE && !io_pausing(io); i++) {
		ssize_t len = read(n->tap.fd, n->frame + HEADER_LEN, FRAME_MAX);
		if (len <= 0)
			return;
		virtio_fill(&n->virtio, QUEUE_RECEIVE, n->frame, HEADER_LEN + (size_t)len);
	}
}

static uint32_t read_config(struct virtio *v, uint64_t offset, unsigned int size)
{
	const struct virtio_net *n = (const struct virtio_net *)v;
	struct virtio_net_config config = { 0 };
	uint32_t value = 0;
	memcpy(config.mac, n->mac, sizeof(config.mac));
	if (offset <= sizeof(config) - sizeof(value))
		memcpy(&value, (const char *)&config + offset, size);
	return value;
}

static const struct virtio_ops ops = {
	.device_id = VIRTIO_ID_NET,
	.features = 1ULL << VIRTIO_NET_F_MAC,
	.n_queues = N_QUEUES,
	.serve_queue = QUEUE_TRANSMIT,
	.serve = serve,
	.read_config = read_config,
};

/* Locally administered, and another for each guest and interface: FNV-1a of the name. */
static void make_mac(const char *guest, unsigned int instance, uint8_t mac[ETH_ALEN])
{
	uint32_t hash = 2166136261U;
	for (const char *c = guest; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619U;
	mac[0] = 0x02;
	mac[1] = (uint8_t)instance;
	for (unsigned int i = 0; i < 4; i++)
		mac[2 + i] = (uint8_t)(hash >> (8 * i));
}

static int virtio_net_init(struct device *dev, const struct options *opt)
{
	struct virtio_net *n = dev->state;
	const struct net_options *net = &opt->nets[dev->instance];
	n->tap = (struct io_watch){ .fd = -1, .ready = tap_ready, .opaque = n, .events = EPOLLIN };
	n->id = net->id;
	n->virtio.more = &n->transmit;
	if (net->has_mac)
		memcpy(n->mac, net->mac, sizeof(n->mac));
	else
		make_mac(opt->name, dev->instance, n->mac);
	n->frame = malloc(HEADER_LEN + FRAME_MAX);
	if (!n->frame)
		return fail(-ENOMEM, "no memory for %s %u", dev->type->name, dev->instance);
	int r = virtio_init(&n->virtio, dev, &ops);
	if (r == 0)
		r = n->tap.fd = tap_open(net->tap);
	if (r < 0)
		return r;
	r = io_add(dev->machine->io, &n->tap);
	return r < 0 ? fail(r, "cannot wait for a tap: %s", strerrordesc_np(-r)) : 0;
}

static void virtio_net_done(struct device *dev)
{
	struct virtio_net *n = dev->state;
	virtio_done(&n->virtio);
	free(n->frame);
	if (n->tap.fd >= 0)
		(void)close(n->tap.fd);
}

/* A RARP request for the guest's own address (RFC 903): it has no IP address, which the VMM does not know. */
struct rarp {
	struct ethhdr ethernet;
	struct arphdr arp;
	uint8_t sender_mac[ETH_ALEN], sender_ip[4], target_mac[ETH_ALEN], target_ip[4];
	uint8_t padding[ETH_ZLEN - sizeof(struct ethhdr) - sizeof(struct arphdr) - 20];
} __attribute__((packed));

_Static_assert(sizeof(struct rarp) == ETH_ZLEN, "the shortest frame there is");

#define ARP_REVERSE_REQUEST 3

static void send_rarp(const struct virtio_net *n)
{
	struct rarp frame = {
		.ethernet.h_proto = htons(ETH_P_RARP),
		.arp = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETH_P_IP),
			 .ar_hln = ETH_ALEN, .ar_pln = 4, .ar_op = htons(ARP_REVERSE_REQUEST) },
	};
	memset(frame.ethernet.h_dest, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.h_source, n->mac, ETH_ALEN);
	memcpy(frame.sender_mac, n->mac, ETH_ALEN);
	memcpy(frame.target_mac, n->mac, ETH_ALEN);
	if (write(n->tap.fd, &frame, sizeof(frame)) != (ssize_t)sizeof(frame))
		note(LOG_WARNING, "interface '%s' cannot announce the guest: %m", n->id);
}

static void virtio_net_announce(struct device *dev, const char *const *ids, size_t n_ids)
{
	const struct virtio_net *n = dev->state;
	bool wanted = n_ids == 0;
	for (size_t i = 0; i < n_ids && !wanted; i++)
		wanted = strcmp(ids[i], n->id) == 0;
	if (wanted)
		send_rarp(n);
}

const struct device_type virtio_net_type = {
	.name = "virtio-net",
	.state_size = sizeof(struct virtio_net),
	.state = &virtio_net_state,
	.derived = virtio_net_derived,
	.access_max = 4,
	.init = virtio_net_init,
	.done = virtio_net_done,
	.reset = virtio_reset,
	.read = virtio_read,
	.write = virtio_write,
	.irq_level = virtio_irq_level,
	.unquiesce = virtio_unquiesce,
	.announce = virtio_net_announce,
};
