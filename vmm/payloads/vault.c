/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts pages into the vault and gets them back to verify them, lap after lap; lets go of a dongle when it is asked to.
 *
 * Lap s leaves in page i of the vault its number and lap in the first, the middle and the last word. Before a page is put
 * again it must come back as the last lap left it. A page that is lost, old, torn or another's is seen in the next lap.
 *
 * arg[0]     pages to use (all there are)
 * arg[1]     not 0: let go of the dongle only when the word at PAYLOAD_KEEP_GPA is not 0 any more
 * detail[0]  laps completed
 * detail[1]  pages used
 * detail[2]  pages verified
 * detail[3]  the dongle: DONGLE_PLUGGED, DONGLE_ASKED
 * detail[4]  how often the dongle was let go
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"

const char payload_name[] = "vault";

#define WORDS 512

static uint64_t *const out_buffer = (uint64_t *)PAYLOAD_SCRATCH_GPA;
static volatile uint64_t *const in_buffer = (uint64_t *)(PAYLOAD_SCRATCH_GPA + 4096);
static const unsigned int places[] = { 0, WORDS / 2, WORDS - 1 };

static uint32_t read_register(unsigned int reg)
{
	return *(volatile uint32_t *)((uint64_t)PAYLOAD_VAULT_GPA + reg);
}

static void write_register(unsigned int reg, uint32_t value)
{
	*(volatile uint32_t *)((uint64_t)PAYLOAD_VAULT_GPA + reg) = value;
}

static void move(uint32_t command, uint32_t page, volatile void *buffer)
{
	uint32_t status;

	write_register(VAULT_REG_PAGE, page);
	write_register(VAULT_REG_GPA_LOW, (uint32_t)(uint64_t)buffer);
	write_register(VAULT_REG_GPA_HIGH, 0);
	write_register(VAULT_REG_COMMAND, command);
	status = read_register(VAULT_REG_STATUS);
	if (status != VAULT_OK)
		payload_fail("vault status, page", page, VAULT_OK, status);
}

static uint64_t word_of(uint64_t lap, uint32_t page, unsigned int place)
{
	return lap << 40 | (uint64_t)page << 8 | place;
}

static void verify(uint64_t lap, uint32_t page)
{
	for (unsigned int i = 0; i < 3; i++)
		in_buffer[places[i]] = UINT64_MAX;
	move(VAULT_GET, page, in_buffer);
	for (unsigned int i = 0; i < 3; i++)
		if (in_buffer[places[i]] != word_of(lap, page, i))
			payload_fail("vault page", page, word_of(lap, page, i), in_buffer[places[i]]);
	result->detail[2]++;
	payload_checked(1);
}

static void put(uint64_t lap, uint32_t page)
{
	for (unsigned int i = 0; i < 3; i++)
		out_buffer[places[i]] = word_of(lap, page, i);
	move(VAULT_PUT, page, out_buffer);
}

static void look_after_dongle(void)
{
	uint8_t dongle = inb(PAYLOAD_PORT_DONGLE);

	result->detail[3] = dongle == 0xff ? 0 : dongle; /* 0xff: there is none */
	if (dongle == 0xff || !(dongle & DONGLE_ASKED))
		return;
	if (param->arg[1] && !*(volatile uint64_t *)PAYLOAD_KEEP_GPA)
		return;
	outb(PAYLOAD_PORT_DONGLE, DONGLE_LET_GO);
	result->detail[4]++;
}

void payload_main(unsigned int vcpu)
{
	uint32_t n;

	if (vcpu != 0)
		return;
	if (read_register(VAULT_REG_MAGIC) != VAULT_MAGIC) {
		payload_fail("vault magic", PAYLOAD_VAULT_GPA, VAULT_MAGIC,
			     read_register(VAULT_REG_MAGIC));
		return;
	}
	n = read_register(VAULT_REG_PAGES);
	if (param->arg[0] && param->arg[0] < n)
		n = (uint32_t)param->arg[0];
	result->detail[1] = n;
	for (uint64_t lap = 1;; lap++) {
		for (uint32_t page = 0; page < n; page++) {
			if (lap > 1)
				verify(lap - 1, page);
			put(lap, page);
			payload_beat(0);
			look_after_dongle();
		}
		result->detail[0] = lap;
	}
}
