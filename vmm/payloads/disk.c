/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and verifies blocks of a virtio disk, several requests in flight all the time.
 *
 * The blocks (4 KiB) of a range from the disk's start are taken in turn, lap after lap. Each is
 * read and must hold what the last lap left (the first lap takes what it finds), then written, then
 * read back. The first and the last word of every sector say which block, which lap and which
 * sector it is; so a request that is lost, done twice, torn or done to the wrong place shows at the
 * latest in the next lap. A request that takes longer than 20 s of ticks, and one that completes
 * without an interrupt, are failures as well.
 *
 * Memory can go with the blocks: pages of its own for each, which are verified and rewritten whenever the block is.
 * So memory and disk that are not of the same moment show, too.
 *
 * Only vCPU 0 works. It beats for each tick and each completed request.
 *
 * arg[0]     blocks of the range (64)
 * arg[1]     requests in flight, at most 8 (8)
 * arg[2]     virtio window (0)
 * arg[3]     pages of memory that go with each block (0)
 * arg[4]     ticks to sleep before completed requests are looked at: leaves the host's CPU to others (0)
 * detail[0]  requests completed
 * detail[1]  laps completed
 * detail[2]  interrupts
 * detail[3]  blocks verified
 * detail[4]  requests in flight
 * detail[5]  blocks of the disk
 * detail[6]  pages of memory verified
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"
#include "vmm/payloads/lib/virtio.h"

const char payload_name[] = "disk";

#define N_SLOTS_MAX             8
#define BLOCK_BYTES             4096
#define SECTOR_BYTES            512
#define BLOCK_SECTORS           (BLOCK_BYTES / SECTOR_BYTES)
#define SECTOR_WORDS            (SECTOR_BYTES / 8)
#define PAGE_WORDS              512
#define STUCK_AFTER_TICKS       (20 * TICK_HZ)
#define UNANNOUNCED_AFTER_TICKS (5 * TICK_HZ)

/* virtio 1.2, section 5.2.6. */
enum { BLK_READ = 0, BLK_WRITE = 1 };
#define BLK_OK       0
#define BLK_NOT_DONE 0xff /* ours: the device has not written the status */

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

typedef uint64_t block_words[BLOCK_BYTES / 8];

/* What happens to a block, in this order. */
enum step { STEP_READ_OLD, STEP_WRITE, STEP_READ_BACK, N_STEPS };

/* One block on its way through the steps; it has descriptors 3 * index to 3 * index + 2. */
struct slot {
	struct blk_header header;
	volatile uint8_t status;
	enum step step;
	uint64_t block;
	uint64_t lap;
	uint64_t started_at; /* tick */
};

static struct virtio device;
static volatile uint64_t n_interrupts;
static struct slot slots[N_SLOTS_MAX];
static block_words *const buffers = (block_words *)PAYLOAD_SCRATCH_GPA;

static uint64_t n_blocks; /* of the range */
static unsigned int n_slots;
static uint64_t n_pages; /* that go with each */
static uint64_t next_block, next_lap = 1;

static void on_interrupt(unsigned int vcpu)
{
	(void)vcpu;
	if (!virtio_ack(&device))
		return;
	n_interrupts++;
	result->detail[2] = n_interrupts;
}

static uint64_t sector_word(const struct slot *s, uint64_t lap, unsigned int sector)
{
	return lap << 40 | s->block << 8 | sector;
}

static void fill_buffer(struct slot *s, uint64_t *words)
{
	for (unsigned int i = 0; i < BLOCK_SECTORS; i++) {
		words[i * SECTOR_WORDS] = sector_word(s, s->lap, i);
		words[i * SECTOR_WORDS + SECTOR_WORDS - 1] = ~sector_word(s, s->lap, i);
	}
}

/* So that a read that did nothing is not mistaken for one that found the right thing. */
static void spoil_buffer(uint64_t *words)
{
	for (unsigned int i = 0; i < BLOCK_SECTORS; i++) {
		words[i * SECTOR_WORDS] = UINT64_MAX;
		words[i * SECTOR_WORDS + SECTOR_WORDS - 1] = 0;
	}
}

static void check_buffer(const struct slot *s, const uint64_t *words, uint64_t lap)
{
	for (unsigned int i = 0; i < BLOCK_SECTORS; i++) {
		uint64_t expected = sector_word(s, lap, i);
		uint64_t first = words[i * SECTOR_WORDS];
		uint64_t last = ~words[i * SECTOR_WORDS + SECTOR_WORDS - 1];

		if (first != expected)
			payload_fail("first word of sector", s->block * BLOCK_SECTORS + i, expected,
				     first);
		else if (last != expected)
			payload_fail("last word of sector", s->block * BLOCK_SECTORS + i, expected,
				     last);
	}
	result->detail[3]++;
	payload_checked(1);
}

/* The N-th page of memory that goes with a block. Its first and its last word say which lap left it. */
static uint64_t *page_of(const struct slot *s, uint64_t n)
{
	return (uint64_t *)PAYLOAD_WORK_GPA + (s->block * n_pages + n) * PAGE_WORDS;
}

static void write_pages(const struct slot *s)
{
	for (uint64_t n = 0; n < n_pages; n++) {
		page_of(s, n)[0] = sector_word(s, s->lap, 0) + n;
		page_of(s, n)[PAGE_WORDS - 1] = ~(sector_word(s, s->lap, 0) + n);
	}
}

static void check_pages(const struct slot *s, uint64_t lap)
{
	for (uint64_t n = 0; n < n_pages; n++) {
		uint64_t expected = sector_word(s, lap, 0) + n;
		const uint64_t *page = page_of(s, n);

		if (page[0] != expected)
			payload_fail("first word of a page, block", s->block, expected, page[0]);
		else if (~page[PAGE_WORDS - 1] != expected)
			payload_fail("last word of a page, block", s->block, expected, ~page[PAGE_WORDS - 1]);
	}
	result->detail[6] += n_pages;
	payload_checked(n_pages);
}

static void start_step(unsigned int index)
{
	struct slot *s = &slots[index];
	bool is_write = s->step == STEP_WRITE;

	if (is_write)
		fill_buffer(s, buffers[index]);
	else
		spoil_buffer(buffers[index]);
	s->header = (struct blk_header){ .type = is_write ? BLK_WRITE : BLK_READ,
					 .sector = s->block * BLOCK_SECTORS };
	s->status = BLK_NOT_DONE;
	s->started_at = ticks_now(0);
	virtio_describe(&device, 3 * index, &s->header, sizeof(s->header), VIRTIO_NEXT);
	virtio_describe(&device, 3 * index + 1, buffers[index], BLOCK_BYTES,
			is_write ? VIRTIO_NEXT : VIRTIO_NEXT | VIRTIO_DEVICE_WRITES);
	virtio_describe(&device, 3 * index + 2, (void *)&s->status, 1, VIRTIO_DEVICE_WRITES);
	virtio_submit(&device, 3 * index);
}

static void take_block(unsigned int index)
{
	struct slot *s = &slots[index];

	s->step = STEP_READ_OLD;
	s->block = next_block;
	s->lap = next_lap;
	if (++next_block == n_blocks) {
		next_block = 0;
		next_lap++;
	}
	start_step(index);
}

static void finish_step(unsigned int index)
{
	struct slot *s = &slots[index];

	if (s->status != BLK_OK)
		payload_fail("request status, block", s->block, BLK_OK, s->status);
	else if (s->step == STEP_READ_OLD && s->lap > 1)
		check_buffer(s, buffers[index], s->lap - 1);
	else if (s->step == STEP_READ_BACK)
		check_buffer(s, buffers[index], s->lap);
	if (s->step == STEP_READ_OLD && s->lap > 1)
		check_pages(s, s->lap - 1);
	else if (s->step == STEP_READ_BACK)
		write_pages(s);
	result->detail[0]++;
	payload_beat(0);
	if (++s->step < N_STEPS) {
		start_step(index);
		return;
	}
	if (s->block + 1 == n_blocks)
		result->detail[1] = s->lap;
	take_block(index);
}

static void check_stuck(void)
{
	for (unsigned int i = 0; i < n_slots; i++) {
		if (ticks_now(0) - slots[i].started_at < STUCK_AFTER_TICKS)
			continue;
		payload_fail("request not completed, block", slots[i].block, BLK_OK,
			     slots[i].status);
		/* Once more after as long again, not at every tick. */
		slots[i].started_at = ticks_now(0);
	}
}

/* Sleeps until an interrupt says that there is something to do; looks after what gives none. */
static void await_interrupt(uint64_t n_seen)
{
	uint64_t done_at = UINT64_MAX;

	interrupts_off();
	while (n_interrupts == n_seen) {
		interrupt_wait();
		check_stuck();
		if (!virtio_has_used(&device))
			continue;
		if (done_at == UINT64_MAX)
			done_at = ticks_now(0);
		if (ticks_now(0) - done_at > UNANNOUNCED_AFTER_TICKS) {
			payload_fail("completed without an interrupt", n_seen, n_seen + 1, n_seen);
			break;
		}
	}
	interrupts_on();
}

static bool open_disk(void)
{
	unsigned int window = (unsigned int)param->arg[2];

	if (!virtio_open(&device, window, VIRTIO_ID_BLOCK))
		return false;
	result->detail[5] = virtio_config64(&device, 0) / BLOCK_SECTORS;
	n_blocks = payload_arg(0, 64);
	if (n_blocks > result->detail[5])
		n_blocks = result->detail[5];
	n_pages = payload_arg(3, 0);
	n_slots = (unsigned int)payload_arg(1, N_SLOTS_MAX);
	if (n_slots > N_SLOTS_MAX)
		n_slots = N_SLOTS_MAX;
	/* A block is never in two slots at a time. */
	if (n_slots > n_blocks / 2)
		n_slots = (unsigned int)(n_blocks / 2);
	if (!n_slots) {
		payload_fail("blocks of the disk, window", window, 2, result->detail[5]);
		return false;
	}
	irq_handle(VECTOR_IOAPIC + PAYLOAD_VIRTIO_GSI + window, on_interrupt);
	ioapic_unmask_level(PAYLOAD_VIRTIO_GSI + window);
	return true;
}

/* Interrupts come meanwhile; they are on afterwards, as before. */
static void leave_cpu(uint64_t n_ticks)
{
	interrupts_off();
	ticks_sleep(0, n_ticks);
	interrupts_on();
}

static _Noreturn void work(void)
{
	uint64_t n_ticks = payload_arg(4, 0);
	unsigned int head;

	result->detail[4] = n_slots;
	for (unsigned int i = 0; i < n_slots; i++)
		take_block(i);
	interrupts_on();
	for (;;) {
		uint64_t n_seen = n_interrupts;

		if (n_ticks)
			leave_cpu(n_ticks);
		while (virtio_take_used(&device, &head))
			finish_step(head / 3);
		await_interrupt(n_seen);
	}
}

void payload_main(unsigned int vcpu)
{
	ticks_start();
	if (vcpu == 0 && open_disk())
		work();
	ticks_sleep_forever();
}
