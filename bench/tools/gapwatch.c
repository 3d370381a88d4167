/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gapwatch: how long a guest stood still, seen from outside, while it moves from one memory file to another.
 *
 * A guest that counts in a 64-bit word (the heartbeat of vmm/payload-abi.h, or another at --offset) is watched in the
 * source's memory file and in the target's. Time in which neither count gets further is a gap; the longest is the
 * blackout. The target's word also changes while its memory is only being copied: it runs from the moment its count is
 * ahead of the source's. If the source's count moves after that, the guest ran twice.
 *
 * The files are read, not mapped: reading a hole of a mapped tmpfs file would fill it, under the feet of whoever
 * receives memory there. The target's file may appear at any time.
 *
 * Between two polls the observer sleeps, so as not to take the CPU from what it measures. longest_gap_slack_us says how
 * far the longest gap may be overstated: the time between the poll that saw it end and the one before.
 *
 * Each line "mark [NAME]" on standard input ends an interval; its report is printed at once, as one line of JSON. At end
 * of file, SIGTERM or SIGINT the last interval's follows, and then one named "total".
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "vmm/payload-abi.h"

#define DEFAULT_POLL_US 50
#define N_BUCKETS 24		/* gaps from 2^i to 2^(i+1) us; the last takes all longer ones: over 8 s */
#define COMMAND_CHECK_NS 1000000u	/* how often standard input and the target's file are looked at */
#define READ_TRIES 8

static volatile sig_atomic_t is_ending;

static void on_signal(int number)
{
	(void)number;
	is_ending = 1;
}

struct word {
	const char *path;
	int fd;
	uint64_t value;
	bool has_value;
	bool is_fresh;	/* the last poll read it */
};

struct interval {
	char name[64];
	uint64_t start_ns;
	uint64_t n_advances;
	uint64_t longest_ns;
	uint64_t longest_end_ns;
	uint64_t longest_slack_ns;	/* between the poll that saw it end and the one before */
	uint64_t longest_poll_ns;
	uint64_t buckets[N_BUCKETS];
};

struct watch {
	off_t offset;
	uint64_t poll_ns;
	struct word source, target;
	uint64_t start_ns;
	uint64_t last_poll_ns;
	uint64_t last_advance_ns;	/* 0: none yet */
	uint64_t count;			/* the larger of the two words */
	uint64_t target_first_ns;	/* when the target was first ahead; 0: not yet */
	uint64_t n_ran_twice;		/* advances of the source after that */
	struct interval now, total;
	char line[128];
	size_t line_len;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A copy of eight bytes may be torn, so it counts once it was the same twice. */
static bool read_word(const struct word *w, off_t offset, uint64_t *ret_value)
{
	uint64_t a, b;

	for (int i = 0; i < READ_TRIES; i++) {
		if (pread(w->fd, &a, sizeof(a), offset) != sizeof(a) || pread(w->fd, &b, sizeof(b), offset) != sizeof(b))
			return false;
		if (a == b) {
			*ret_value = a;
			return true;
		}
	}
	return false;
}

static void try_open(struct word *w)
{
	if (w->fd < 0 && w->path)
		w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
}

/* Whether the word got further. */
static bool poll_word(struct word *w, off_t offset)
{
	uint64_t value;
	bool has_advanced;

	w->is_fresh = w->fd >= 0 && read_word(w, offset, &value);
	if (!w->is_fresh)
		return false;
	has_advanced = w->has_value && value > w->value;
	w->value = value;
	w->has_value = true;
	return has_advanced;
}

static void note_gap(struct interval *i, uint64_t gap_ns, uint64_t end_ns, uint64_t slack_ns)
{
	uint64_t us = gap_ns / 1000;
	unsigned int bucket = us ? 63 - (unsigned int)__builtin_clzll(us) : 0;

	i->n_advances++;
	i->buckets[bucket < N_BUCKETS ? bucket : N_BUCKETS - 1]++;
	if (gap_ns > i->longest_ns) {
		i->longest_ns = gap_ns;
		i->longest_end_ns = end_ns;
		i->longest_slack_ns = slack_ns;
	}
}

static void note_poll(struct interval *i, uint64_t between_ns)
{
	if (between_ns > i->longest_poll_ns)
		i->longest_poll_ns = between_ns;
}

static void note_advance(struct watch *w, uint64_t now_ns, uint64_t slack_ns)
{
	if (w->last_advance_ns) {
		note_gap(&w->now, now_ns - w->last_advance_ns, now_ns, slack_ns);
		note_gap(&w->total, now_ns - w->last_advance_ns, now_ns, slack_ns);
	}
	w->last_advance_ns = now_ns;
}

static void poll_once(struct watch *w)
{
	uint64_t before = w->count;
	bool source_advanced;
	uint64_t now_ns, between_ns;

	/* The target first: whatever it was copied from, the source's word, read later, is at least as far. */
	poll_word(&w->target, w->offset);
	source_advanced = poll_word(&w->source, w->offset);
	now_ns = clock_ns();

	between_ns = w->last_poll_ns ? now_ns - w->last_poll_ns : 0;
	w->last_poll_ns = now_ns;
	note_poll(&w->now, between_ns);
	note_poll(&w->total, between_ns);

	if (source_advanced && w->target_first_ns)
		w->n_ran_twice++;
	if (!w->target_first_ns && w->source.is_fresh && w->target.value > w->source.value)
		w->target_first_ns = now_ns;
	if (w->source.value > w->count)
		w->count = w->source.value;
	if (w->target_first_ns && w->target.value > w->count)
		w->count = w->target.value;
	if (w->count > before)
		note_advance(w, now_ns, between_ns);
}

static void interval_start(struct interval *i, const char *name, uint64_t now_ns)
{
	*i = (struct interval){ .start_ns = now_ns };
	snprintf(i->name, sizeof(i->name), "%s", name);
}

static void print_histogram(const struct interval *i)
{
	const char *comma = "";

	printf("\"histogram\": [");
	for (unsigned int b = 0; b < N_BUCKETS; b++) {
		if (!i->buckets[b])
			continue;
		printf("%s{\"from_us\": %u, \"count\": %" PRIu64 "}", comma, b ? 1u << b : 0, i->buckets[b]);
		comma = ", ";
	}
	printf("]");
}

static void print_seconds_or_null(const char *name, uint64_t since_ns, uint64_t at_ns)
{
	if (at_ns)
		printf("\"%s\": %.6f, ", name, (double)(at_ns - since_ns) / 1e9);
	else
		printf("\"%s\": null, ", name);
}

static void report(const struct watch *w, const struct interval *i, uint64_t now_ns)
{
	printf("{\"interval\": \"%s\", \"seconds\": %.6f, \"advances\": %" PRIu64 ", ", i->name,
	       (double)(now_ns - i->start_ns) / 1e9, i->n_advances);
	printf("\"longest_gap_us\": %.1f, ", (double)i->longest_ns / 1e3);
	print_seconds_or_null("longest_gap_ended_s", w->start_ns, i->longest_end_ns);
	printf("\"longest_gap_slack_us\": %.1f, ", (double)i->longest_slack_ns / 1e3);
	printf("\"longest_poll_us\": %.1f, ", (double)i->longest_poll_ns / 1e3);
	printf("\"silent_us\": %.1f, ",
	       (double)(now_ns - (w->last_advance_ns ? w->last_advance_ns : w->start_ns)) / 1e3);
	printf("\"count\": %" PRIu64 ", \"source_count\": %" PRIu64 ", \"target_count\": %" PRIu64 ", ", w->count,
	       w->source.value, w->target.value);
	print_seconds_or_null("target_first_s", w->start_ns, w->target_first_ns);
	printf("\"ran_twice\": %" PRIu64 ", ", w->n_ran_twice);
	print_histogram(i);
	printf("}\n");
	fflush(stdout);
}

/* Only what needs no escaping in JSON. */
static bool is_good_name(const char *name)
{
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/ ") == strlen(name);
}

static void obey(struct watch *w, const char *line)
{
	const char *name = line + strlen("mark");
	uint64_t now_ns = clock_ns();

	if (strncmp(line, "mark", strlen("mark")) != 0 || (*name && *name != ' ') || !is_good_name(name)) {
		fprintf(stderr, "gapwatch: standard input: '%s': expected 'mark [NAME]'\n", line);
		return;
	}
	report(w, &w->now, now_ns);
	interval_start(&w->now, *name ? name + 1 : "", now_ns);
}

static void take_input(struct watch *w, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n') {
			if (w->line_len + 1 < sizeof(w->line))
				w->line[w->line_len++] = data[i];
			continue;
		}
		w->line[w->line_len] = '\0';
		w->line_len = 0;
		obey(w, w->line);
	}
}

static void check_input(struct watch *w)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char data[256];
	ssize_t n;

	if (poll(&p, 1, 0) <= 0)
		return;
	n = read(STDIN_FILENO, data, sizeof(data));
	if (n > 0)
		take_input(w, data, (size_t)n);
	else if (n == 0 || errno != EINTR)
		is_ending = 1;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };

	if (ns)
		nanosleep(&t, NULL);
}

static void run(struct watch *w)
{
	uint64_t next_check_ns = 0;

	while (!is_ending) {
		poll_once(w);
		if (w->last_poll_ns >= next_check_ns) {
			next_check_ns = w->last_poll_ns + COMMAND_CHECK_NS;
			try_open(&w->target);
			check_input(w);
		}
		sleep_ns(w->poll_ns);
	}
}

static const char usage[] =
	"usage: gapwatch --source FILE [--target FILE] [--offset BYTES] [--poll-us N]\n"
	"  --source FILE   memory file of the VMM that the guest runs in now\n"
	"  --target FILE   of the VMM that it moves to; may appear later\n"
	"  --offset BYTES  where the 64-bit count is (default: a payload's heartbeat)\n"
	"  --poll-us N     time between two polls (default 50; 0 polls without pause and takes a CPU)\n"
	"Reads lines 'mark [NAME]' until end of file or SIGTERM; prints a line of JSON for each interval and the total.\n";

static bool parse_number(const char *s, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(s, &end, 0);
	return errno == 0 && end != s && *end == '\0' && *s != '-';
}

static bool parse_options(int argc, char **argv, struct watch *w)
{
	static const struct option options[] = {
		{ "source", required_argument, NULL, 's' }, { "target", required_argument, NULL, 't' },
		{ "offset", required_argument, NULL, 'o' }, { "poll-us", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },	    { 0 },
	};
	uint64_t number;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's') {
			w->source.path = optarg;
		} else if (c == 't') {
			w->target.path = optarg;
		} else if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		} else if (c == '?' || !parse_number(optarg, &number) || number > INT64_MAX / 1000) {
			return false;
		} else if (c == 'o') {
			w->offset = (off_t)number;
		} else {
			w->poll_ns = number * 1000;
		}
	}
	return optind == argc && w->source.path;
}

int main(int argc, char **argv)
{
	const struct sigaction act = { .sa_handler = on_signal };
	struct watch w = {
		.offset = PAYLOAD_RESULT_GPA + offsetof(struct payload_result, heartbeat),
		.poll_ns = DEFAULT_POLL_US * 1000,
		.source.fd = -1,
		.target.fd = -1,
	};

	if (!parse_options(argc, argv, &w)) {
		fputs(usage, stderr);
		return 2;
	}
	try_open(&w.source);
	if (w.source.fd < 0) {
		fprintf(stderr, "gapwatch: source '%s': %s\n", w.source.path, strerror(errno));
		return 1;
	}
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	prctl(PR_SET_TIMERSLACK, 1);

	w.start_ns = clock_ns();
	interval_start(&w.now, "start", w.start_ns);
	interval_start(&w.total, "total", w.start_ns);
	run(&w);
	report(&w, &w.now, clock_ns());
	report(&w, &w.total, clock_ns());
	return 0;
}
