/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All at once, at leisure: memory, a disk and the clocks, verified by one vCPU, for runs that last.
 *
 * Each tick of the timer one page of the working set is verified and written, as "writer" does it
 * (so that each pass finds a page that is lost, old or another's), one step is taken with the disk,
 * and neither the TSC nor kvmclock may be less than at the tick before.
 *
 * The disk's blocks (4 KiB) of a range from its start are taken in turn, lap after lap: each is
 * read and must be as the last lap left it, in all of its words, and is then written for this lap.
 * The first lap takes what it finds.
 *
 * arg[0]     blocks of the range (64)
 * detail[0]  pass over the working set
 * detail[1]  pages in the working set
 * detail[2]  blocks verified
 * detail[3]  lap over the disk
 * detail[4]  kvmclock now
 * detail[5]  largest step of kvmclock between two ticks
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/kvmclock.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"
#include "vmm/payloads/lib/virtio.h"

const char payload_name[] = "soak";

#define PAGE_WORDS    512
#define DEFAULT_BYTES (1u << 20)
#define BLOCK_BYTES   4096
#define BLOCK_WORDS   (BLOCK_BYTES / 8)
#define BLOCK_SECTORS (BLOCK_BYTES / 512)
#define STUCK_TICKS   (60 * TICK_HZ)

/* virtio 1.2, section 5.2.6. */
enum { BLK_READ = 0, BLK_WRITE = 1 };
#define BLK_OK       0
#define BLK_NOT_DONE 0xff /* ours: the device has not written the status */

/* ---- memory ---- */

static uint64_t n_pages, next_page, pass = 1;

static void check_page(const uint64_t *page, uint64_t index)
{
	uint64_t head = PAYLOAD_WRITER_HEAD(pass - 1, index);
	uint64_t check = page[PAYLOAD_WRITER_SLOT(pass - 1)];

	if (page[0] != head)
		payload_fail("head of page", index, head, page[0]);
	else if (check != PAYLOAD_WRITER_CHECK(head))
		payload_fail("checksum of page", index, PAYLOAD_WRITER_CHECK(head), check);
	payload_checked(1);
}

static void step_memory(void)
{
	uint64_t *page = (uint64_t *)PAYLOAD_WORK_GPA + next_page * PAGE_WORDS;
	uint64_t head = PAYLOAD_WRITER_HEAD(pass, next_page);

	if (pass > 1)
		check_page(page, next_page);
	page[0] = head;
	page[PAYLOAD_WRITER_SLOT(pass)] = PAYLOAD_WRITER_CHECK(head);
	if (++next_page < n_pages)
		return;
	next_page = 0;
	result->detail[0] = ++pass;
}

/* ---- clocks ---- */

static uint64_t last_tsc, last_ns;

static void step_clocks(void)
{
	uint64_t tsc = rdtsc(), ns = kvmclock_now(0);

	if (tsc < last_tsc)
		payload_fail("TSC went back, vCPU", 0, last_tsc, tsc);
	if (ns < last_ns)
		payload_fail("kvmclock went back, vCPU", 0, last_ns, ns);
	else if (last_ns && ns - last_ns > result->detail[5])
		result->detail[5] = ns - last_ns;
	last_tsc = tsc;
	last_ns = result->detail[4] = ns;
}

/* ---- disk: one request at a time ---- */

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

static struct virtio device;
static struct blk_header header;
static volatile uint8_t status;
static uint64_t *const buffer = (uint64_t *)PAYLOAD_SCRATCH_GPA;
static uint64_t n_blocks, block, lap = 1, submitted_at;

static uint64_t block_word(uint64_t of_lap, uint64_t word)
{
	return PAYLOAD_WRITER_CHECK(of_lap << 32 | block << 12 | word);
}

static void on_interrupt(unsigned int vcpu)
{
	(void)vcpu;
	(void)virtio_ack(&device);
}

static void submit(uint32_t type)
{
	header = (struct blk_header){ .type = type, .sector = block * BLOCK_SECTORS };
	status = BLK_NOT_DONE;
	submitted_at = ticks_now(0);
	/* What a read that did nothing leaves is not mistaken for the right thing. */
	for (unsigned int i = 0; i < BLOCK_WORDS; i++)
		buffer[i] = type == BLK_WRITE ? block_word(lap, i) : 0;
	virtio_describe(&device, 0, &header, sizeof(header), VIRTIO_NEXT);
	virtio_describe(&device, 1, buffer, BLOCK_BYTES,
			type == BLK_WRITE ? VIRTIO_NEXT : VIRTIO_NEXT | VIRTIO_DEVICE_WRITES);
	virtio_describe(&device, 2, (void *)&status, 1, VIRTIO_DEVICE_WRITES);
	virtio_submit(&device, 0);
}

static void check_block(void)
{
	unsigned int i = 0;

	while (i < BLOCK_WORDS && buffer[i] == block_word(lap - 1, i))
		i++;
	if (i < BLOCK_WORDS)
		payload_fail("byte of disk", block * BLOCK_BYTES + i * 8, block_word(lap - 1, i),
			     buffer[i]);
	result->detail[2]++;
	payload_checked(1);
}

/* A block was read, or written: the next is due. */
static void finish_request(void)
{
	if (status != BLK_OK)
		payload_fail("request status, block", block, BLK_OK, status);
	if (header.type == BLK_READ) {
		if (lap > 1)
			check_block();
		submit(BLK_WRITE);
		return;
	}
	if (++block == n_blocks) {
		block = 0;
		result->detail[3] = ++lap;
	}
	submit(BLK_READ);
}

static void step_disk(void)
{
	unsigned int head;

	if (virtio_take_used(&device, &head)) {
		finish_request();
	} else if (ticks_now(0) - submitted_at > STUCK_TICKS) {
		payload_fail("request not completed, block", block, BLK_OK, status);
		submitted_at = ticks_now(0);
	}
}

static bool open_disk(void)
{
	if (!virtio_open(&device, 0, VIRTIO_ID_BLOCK))
		return false;
	n_blocks = payload_arg(0, 64);
	irq_handle(VECTOR_IOAPIC + PAYLOAD_VIRTIO_GSI, on_interrupt);
	ioapic_unmask_level(PAYLOAD_VIRTIO_GSI);
	submit(BLK_READ);
	return true;
}

void payload_main(unsigned int vcpu)
{
	bool has_disk;

	ticks_start();
	if (vcpu != 0)
		ticks_sleep_forever();
	n_pages = (param->working_set_bytes ? param->working_set_bytes : DEFAULT_BYTES) / 4096;
	result->detail[0] = pass;
	result->detail[1] = n_pages;
	kvmclock_open(0);
	for (has_disk = open_disk();; ticks_sleep(0, 1)) {
		step_memory();
		step_clocks();
		if (has_disk)
			step_disk();
	}
}
