/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first and only process of the lab's Linux guest. On the console it says "tick N" ten times a second, and "FAULT: ..."
 * should its memory or one of its clocks be wrong.
 *
 * Linked statically. Each tick verifies some pages of a working set and gives them new contents.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define N_PAGES 4096
#define N_WORDS (4096 / sizeof(uint64_t))
#define PAGES_PER_TICK 64
#define TICK_NS 100000000L
/* A move that takes longer than this, or a clock that lost its setting, is a jump. */
#define JUMP_MAX_SECONDS 60.0
/* TSC and kvm-clock are compared once their ratio was measured for so long, and only when read close together. */
#define TSC_MEASURED_TICKS 20
#define TSC_APART_MAX_SECONDS 0.002
#define TSC_READ_MAX_SECONDS 0.0002

static uint64_t pages[N_PAGES][N_WORDS] __attribute__((aligned(4096)));
static uint64_t generation[N_PAGES];

static uint64_t expected(size_t page, size_t word)
{
	uint64_t x = (uint64_t)page << 32 ^ (uint64_t)word << 52 ^ generation[page];

	return (x + 1) * 0x9e3779b97f4a7c15ULL;
}

static void fill(size_t page)
{
	generation[page]++;
	for (size_t i = 0; i < N_WORDS; i++)
		pages[page][i] = expected(page, i);
}

static void verify(size_t page, unsigned int tick)
{
	for (size_t i = 0; i < N_WORDS; i++)
		if (pages[page][i] != expected(page, i)) {
			printf("FAULT: tick %u: page %zu word %zu is %#llx, not %#llx\n", tick, page, i,
			       (unsigned long long)pages[page][i],
			       (unsigned long long)expected(page, i));
			return;
		}
}

struct watched_clock {
	clockid_t id;
	const char *name;
	double last;
};

static void check_clock(struct watched_clock *c, unsigned int tick)
{
	struct timespec t;

	(void)clock_gettime(c->id, &t);
	double now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	if (now < c->last)
		printf("FAULT: tick %u: %s went back by %.9f s\n", tick, c->name, c->last - now);
	if (now > c->last + JUMP_MAX_SECONDS && c->last > 0)
		printf("FAULT: tick %u: %s jumped by %.3f s\n", tick, c->name, now - c->last);
	c->last = now;
}

static double seconds_raw(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What a move may not do: count for one clock and not, or less, for the other. */
static void check_tsc(unsigned int tick)
{
	static double first_seconds, last_seconds, hertz;
	static uint64_t first_tsc, last_tsc;
	double before = seconds_raw();
	uint64_t tsc = __rdtsc();
	double now = seconds_raw();

	if (now - before > TSC_READ_MAX_SECONDS)
		return;
	if (first_tsc == 0) {
		first_tsc = tsc;
		first_seconds = now;
	} else if (tick <= TSC_MEASURED_TICKS) {
		hertz = (double)(tsc - first_tsc) / (now - first_seconds);
	} else if (last_tsc != 0) {
		double apart = (double)(tsc - last_tsc) / hertz - (now - last_seconds);

		if (tsc < last_tsc || apart > TSC_APART_MAX_SECONDS || apart < -TSC_APART_MAX_SECONDS)
			printf("FAULT: tick %u: TSC and CLOCK_MONOTONIC_RAW are %.6f s apart\n", tick, apart);
	}
	last_tsc = tsc;
	last_seconds = now;
}

int main(void)
{
	struct watched_clock clocks[] = {
		{ CLOCK_MONOTONIC, "CLOCK_MONOTONIC", 0 },
		{ CLOCK_BOOTTIME, "CLOCK_BOOTTIME", 0 },
		{ CLOCK_REALTIME, "CLOCK_REALTIME", 0 },
	};
	const struct timespec pause = { .tv_nsec = TICK_NS };

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t page = 0; page < N_PAGES; page++)
		fill(page);
	for (unsigned int tick = 1;; tick++) {
		for (size_t i = 0; i < PAGES_PER_TICK; i++) {
			size_t page = ((size_t)tick * PAGES_PER_TICK + i) % N_PAGES;

			verify(page, tick);
			fill(page);
		}
		for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++)
			check_clock(&clocks[i], tick);
		check_tsc(tick);
		printf("tick %u\n", tick);
		(void)nanosleep(&pause, NULL);
	}
}
