/* SPDX-License-Identifier: Apache-2.0 */
/* The network device between virtqueues in memory and a tap in a network namespace of the test's own. */
/* LIBS: migd_vmm_core migd_guest_static */
/* SOURCES: board.c */
/* LABELS: quick */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "board.h"
#include "vmm/io.h"
#include "vmm/payload-abi.h"

#define MEMORY (1 << 20)
#define QUEUE_LEN 8
#define FRAME_LEN 100
#define HEADER_LEN sizeof(struct virtio_net_hdr_v1)
#define TEST_ETHERTYPE 0x88b5	/* for local experiments */
#define BUFFER_LEN 0x800

enum { RECEIVE, TRANSMIT };

/* One queue in guest memory: descriptors, rings and buffers from BASE on. */
struct ring {
	uint64_t base;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *buffers;	/* QUEUE_LEN of BUFFER_LEN */
	uint16_t n_given;
};

struct net_test {
	struct board b;
	struct device *dev;
	struct ring rings[2];
	int packet;		/* sees what is sent to the host, and sends to the guest */
	int ifindex;
};

static const uint8_t mac[ETH_ALEN] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

static uint32_t rd(struct net_test *t, unsigned int reg, unsigned int size)
{
	return (uint32_t)bus_read(&t->b.m.mmio, PAYLOAD_VIRTIO_GPA + reg, size);
}

static void wr(struct net_test *t, unsigned int reg, uint32_t value)
{
	bus_write(&t->b.m.mmio, PAYLOAD_VIRTIO_GPA + reg, 4, value);
}

static void start_ring(struct net_test *t, unsigned int index)
{
	struct ring *r = &t->rings[index];
	r->base = 0x10000 + 0x10000 * (uint64_t)index;
	r->desc = ram_at(&t->b.m.ram, r->base, 0x1000);
	r->avail = ram_at(&t->b.m.ram, r->base + 0x1000, 0x1000);
	r->used = ram_at(&t->b.m.ram, r->base + 0x2000, 0x1000);
	r->buffers = ram_at(&t->b.m.ram, r->base + 0x3000, QUEUE_LEN * BUFFER_LEN);
	r->n_given = 0;
	memset(r->avail, 0, 0x2000);
	wr(t, VIRTIO_MMIO_QUEUE_SEL, index);
	assert_int_equal(rd(t, VIRTIO_MMIO_QUEUE_NUM_MAX, 4), 128);
	wr(t, VIRTIO_MMIO_QUEUE_NUM, QUEUE_LEN);
	wr(t, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)r->base);
	wr(t, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)r->base + 0x1000);
	wr(t, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)r->base + 0x2000);
	wr(t, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(rd(t, VIRTIO_MMIO_QUEUE_READY, 4), 1);
}

static void start_driver(struct net_test *t)
{
	uint32_t ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
	wr(t, VIRTIO_MMIO_STATUS, 0);
	wr(t, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES, 1);	/* VIRTIO_F_VERSION_1 */
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	wr(t, VIRTIO_MMIO_DRIVER_FEATURES, 1U << VIRTIO_NET_F_MAC);
	wr(t, VIRTIO_MMIO_STATUS, ok);
	assert_int_equal(rd(t, VIRTIO_MMIO_STATUS, 4), ok);
	start_ring(t, RECEIVE);
	start_ring(t, TRANSMIT);
	wr(t, VIRTIO_MMIO_STATUS, ok | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* The tap comes up, and a packet socket hears what the guest sends through it. */
static void open_host_end(struct net_test *t)
{
	struct ifreq request = { 0 };
	struct timeval patience = { .tv_sec = 10 };
	t->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(t->packet >= 0);
	strcpy(request.ifr_name, t->b.opt.nets[0].tap);
	assert_int_equal(ioctl(t->packet, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(t->packet, SIOCSIFFLAGS, &request), 0);
	t->ifindex = (int)if_nametoindex(t->b.opt.nets[0].tap);
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = t->ifindex };
	assert_int_equal(bind(t->packet, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(setsockopt(t->packet, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
}

static int setup(void **state)
{
	struct net_test *t = calloc(1, sizeof(*t));
	assert_non_null(t);
	board_prepare(&t->b, MEMORY);
	t->b.opt.nets[0] = (struct net_options){ .tap = "migdtap0", .id = "net0", .has_mac = true };
	memcpy(t->b.opt.nets[0].mac, mac, sizeof(mac));
	t->b.opt.n_nets = 1;
	board_start(&t->b);
	t->dev = board_device(&t->b, "virtio-net", 0);
	open_host_end(t);
	start_driver(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct net_test *t = *state;
	(void)close(t->packet);
	board_done(&t->b);
	free(t);
	return 0;
}

/* An Ethernet frame of FRAME_LEN bytes whose payload is FILL. */
static void make_frame(uint8_t *frame, const uint8_t *to, uint8_t fill)
{
	memset(frame, fill, FRAME_LEN);
	memcpy(frame, to, ETH_ALEN);
	memcpy(frame + ETH_ALEN, (const uint8_t[]){ 2, 0, 0, 0, 0, 9 }, ETH_ALEN);
	frame[12] = TEST_ETHERTYPE >> 8;
	frame[13] = TEST_ETHERTYPE & 0xff;
}

/* Give buffer N of the ring, LEN bytes of it. */
static void give(struct net_test *t, unsigned int index, uint16_t n, uint32_t len)
{
	struct ring *r = &t->rings[index];
	r->desc[n] = (struct vring_desc){ r->base + 0x3000 + (uint64_t)n * BUFFER_LEN, len,
					  index == RECEIVE ? VRING_DESC_F_WRITE : 0, 0 };
	r->avail->ring[r->n_given % QUEUE_LEN] = n;
	__atomic_store_n(&r->avail->idx, ++r->n_given, __ATOMIC_RELEASE);
	wr(t, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

static bool all_used(void *arg)
{
	const struct ring *r = arg;
	return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->n_given;
}

/* The next frame of type ETHERTYPE that comes from the guest; others (the kernel's own) are passed over. */
static size_t hear(struct net_test *t, uint16_t ethertype, uint8_t *frame, size_t max)
{
	for (;;) {
		struct sockaddr_ll from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(t->packet, frame, max, 0, (struct sockaddr *)&from, &from_len);
		if (n < 0)
			fail_msg("no frame of type %#x came: %s", ethertype, strerror(errno));
		if (from.sll_pkttype != PACKET_OUTGOING && ntohs(from.sll_protocol) == ethertype)
			return (size_t)n;
	}
}

/* Frames that the kernel itself sends through the new interface go to the guest as well: not wanted. */
static void tell_guest(struct net_test *t, const uint8_t *frame)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = t->ifindex, .sll_halen = 6 };
	assert_int_equal(sendto(t->packet, frame, FRAME_LEN, 0, (struct sockaddr *)&to, sizeof(to)),
			 FRAME_LEN);
}

static void test_identity_and_configuration(void **state)
{
	struct net_test *t = *state;
	assert_int_equal(rd(t, VIRTIO_MMIO_DEVICE_ID, 4), 1);
	for (unsigned int i = 0; i < ETH_ALEN; i++)
		assert_int_equal(rd(t, VIRTIO_MMIO_CONFIG + i, 1), mac[i]);
	wr(t, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(rd(t, VIRTIO_MMIO_QUEUE_NUM_MAX, 4), 0);
}

static void test_what_the_guest_sends_arrives(void **state)
{
	struct net_test *t = *state;
	uint8_t seen[2048];
	for (uint8_t i = 0; i < 3 * QUEUE_LEN; i++) {
		uint8_t *buffer = t->rings[TRANSMIT].buffers + (i % QUEUE_LEN) * BUFFER_LEN;
		memset(buffer, 0, HEADER_LEN);
		make_frame(buffer + HEADER_LEN, (const uint8_t[]){ 2, 0, 0, 0, 0, 7 }, i);
		give(t, TRANSMIT, i % QUEUE_LEN, HEADER_LEN + FRAME_LEN);
		assert_int_equal(hear(t, TEST_ETHERTYPE, seen, sizeof(seen)), FRAME_LEN);
		assert_memory_equal(seen, buffer + HEADER_LEN, FRAME_LEN);
		board_wait(all_used, &t->rings[TRANSMIT], "the buffer comes back");
	}
}

/* Whether one of the buffers given back holds FRAME; those with frames of the kernel's own are passed over. */
static bool has_received(const struct ring *r, const uint8_t *frame)
{
	uint16_t used = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
	for (uint16_t i = 0; i < used; i++) {
		const struct vring_used_elem *e = &r->used->ring[i % QUEUE_LEN];
		const uint8_t *buffer = r->buffers + e->id * BUFFER_LEN;
		if (e->len == HEADER_LEN + FRAME_LEN && buffer[10] == 1 &&
		    memcmp(buffer + HEADER_LEN, frame, FRAME_LEN) == 0)
			return true;
	}
	return false;
}

static void wait_received(struct net_test *t, const uint8_t *frame)
{
	for (int i = 0; i < 10000; i++) {
		if (has_received(&t->rings[RECEIVE], frame))
			return;
		(void)usleep(1000);
	}
	fail_msg("the frame did not arrive");
}

static void test_what_is_sent_to_the_guest_arrives(void **state)
{
	struct net_test *t = *state;
	uint8_t frame[FRAME_LEN];
	for (uint16_t i = 0; i < QUEUE_LEN; i++)
		give(t, RECEIVE, i, BUFFER_LEN);
	make_frame(frame, mac, 0x5a);
	tell_guest(t, frame);
	wait_received(t, frame);
	assert_int_equal(rd(t, VIRTIO_MMIO_INTERRUPT_STATUS, 4), VIRTIO_MMIO_INT_VRING);
	assert_true(board_irq(t->dev));
}

static void test_without_a_buffer_a_frame_is_lost(void **state)
{
	struct net_test *t = *state;
	uint8_t lost[FRAME_LEN], kept[FRAME_LEN], heard[2048];
	make_frame(lost, mac, 1);
	make_frame(kept, mac, 2);
	tell_guest(t, lost);
	/* What the guest sends now is served after it, on the same thread. */
	make_frame(t->rings[TRANSMIT].buffers + HEADER_LEN, (const uint8_t[]){ 2, 0, 0, 0, 0, 7 }, 3);
	(void)usleep(100000);
	give(t, TRANSMIT, 0, HEADER_LEN + FRAME_LEN);
	(void)hear(t, TEST_ETHERTYPE, heard, sizeof(heard));
	for (uint16_t i = 0; i < QUEUE_LEN; i++)
		give(t, RECEIVE, i, BUFFER_LEN);
	tell_guest(t, kept);
	wait_received(t, kept);
	assert_false(has_received(&t->rings[RECEIVE], lost));
}

static void test_frames_wait_during_a_pause(void **state)
{
	struct net_test *t = *state;
	uint8_t frame[FRAME_LEN];
	for (uint16_t i = 0; i < QUEUE_LEN; i++)
		give(t, RECEIVE, i, BUFFER_LEN);
	make_frame(frame, mac, 0x77);
	assert_int_equal(io_pause(t->b.m.io), 0);
	tell_guest(t, frame);
	(void)usleep(100000);
	assert_false(has_received(&t->rings[RECEIVE], frame));
	t->dev->type->unquiesce(t->dev);
	io_resume(t->b.m.io);
	wait_received(t, frame);
}

static bool is_broken(void *arg)
{
	return rd(arg, VIRTIO_MMIO_STATUS, 4) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void test_broken_rings_stop_the_device_until_reset(void **state)
{
	struct net_test *t = *state;
	uint8_t frame[FRAME_LEN];
	give(t, TRANSMIT, 0, UINT32_MAX);
	board_wait(is_broken, t, "the device asks for a reset");
	start_driver(t);
	t->rings[RECEIVE].avail->ring[0] = QUEUE_LEN;	/* no such descriptor */
	__atomic_store_n(&t->rings[RECEIVE].avail->idx, 1, __ATOMIC_RELEASE);
	make_frame(frame, mac, 1);
	tell_guest(t, frame);
	board_wait(is_broken, t, "the device asks for a reset");
	start_driver(t);
	test_what_is_sent_to_the_guest_arrives(state);
}

static void test_short_buffers_are_given_back_empty(void **state)
{
	struct net_test *t = *state;
	uint8_t frame[FRAME_LEN];
	give(t, RECEIVE, 0, HEADER_LEN + FRAME_LEN - 1);
	make_frame(frame, mac, 1);
	tell_guest(t, frame);
	board_wait(all_used, &t->rings[RECEIVE], "the buffer comes back");
	assert_false(has_received(&t->rings[RECEIVE], frame));
}

static void test_announcements(void **state)
{
	static const char *const ours[] = { "other", "net0" }, *const others[] = { "net1" };
	struct net_test *t = *state;
	uint8_t seen[2048];
	t->dev->type->announce(t->dev, others, 1);	/* nothing */
	t->dev->type->announce(t->dev, NULL, 0);
	assert_int_equal(hear(t, ETH_P_RARP, seen, sizeof(seen)), ETH_ZLEN);
	static const uint8_t head[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44,
					0x55, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
	assert_memory_equal(seen, head, sizeof(head));
	assert_memory_equal(seen + 22, mac, ETH_ALEN);
	assert_memory_equal(seen + 32, mac, ETH_ALEN);
	t->dev->type->announce(t->dev, ours, 2);
	assert_int_equal(hear(t, ETH_P_RARP, seen, sizeof(seen)), ETH_ZLEN);
	struct pollfd p = { .fd = t->packet, .events = POLLIN };
	while (poll(&p, 1, 0) > 0) {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		assert_true(recvfrom(t->packet, seen, sizeof(seen), 0, (struct sockaddr *)&from, &len) > 0);
		assert_int_not_equal(ntohs(from.sll_protocol), ETH_P_RARP);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity_and_configuration),
		T(test_what_the_guest_sends_arrives),
		T(test_what_is_sent_to_the_guest_arrives),
		T(test_without_a_buffer_a_frame_is_lost),
		T(test_frames_wait_during_a_pause),
		T(test_broken_rings_stop_the_device_until_reset),
		T(test_short_buffers_are_given_back_empty),
		T(test_announcements),
	};
	if (access("/dev/net/tun", R_OK | W_OK) < 0 || unshare(CLONE_NEWNET) < 0) {
		printf("SKIPPED: needs /dev/net/tun and a network namespace of its own: %s\n",
		       strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
