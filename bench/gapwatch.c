/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a guest's counter from outside, in the source's and the target's memory file, and reports
 *when it stood still.
 *
 *	gapwatch SOURCE TARGET OFFSET	until SIGTERM; then one JSON object
 *
 * The counter's value is the larger of the two files' 32-bit words: while pre-copy runs the
 *target's is an older copy, and is read first; so once it is ahead, the guest runs there. "switch" is the gap
 *in which that happened, however short. It is read with pread(), which allocates nothing in the target's file
 *(a mapped read would), every 100 us at real-time priority where that is allowed. A gap is counted
 *from the poll that last saw the counter move to the next one that does: at most one poll too long.
 *"absent_ms" is how long the watcher itself did not run during the gap (polls more than 1 ms
 *apart): the counter may have moved in that time, so the true gap lies between length - absent and
 *length.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS   100000
#define ABSENT_S  0.001  /* ten polls missed */
#define GAP_S     0.0005 /* shorter ones are not kept */
#define MOST_GAPS 100000 /* kept; 50 s of nothing but gaps */
#define PRIORITY  20     /* any: nothing else here is real-time */

struct gap {
	double at_s; /* CLOCK_MONOTONIC */
	double length_s;
	double absent_s;
};

struct watch {
	int source, target;
	off_t offset;
	uint32_t value; /* last seen */
	double moved_at, polled_at;
	double absent_s;      /* since moved_at */
	double most_absent_s; /* of all polls */
	bool has_switched;    /* the target's counter was ahead */
	struct gap at_switch; /* until it was seen to be */
	size_t n_gaps, n_dropped;
	struct gap gaps[MOST_GAPS];
};

static volatile sig_atomic_t is_stopped;

static void on_stop(int sig)
{
	(void)sig;
	is_stopped = 1;
}

static double clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t counter_read(int fd, off_t offset)
{
	uint32_t value = 0;

	return pread(fd, &value, sizeof(value), offset) == (ssize_t)sizeof(value) ? value : 0;
}

static struct gap watch_gap(const struct watch *w, double now)
{
	return (struct gap){ w->moved_at, now - w->moved_at, w->absent_s };
}

static void watch_keep_gap(struct watch *w, double now)
{
	struct gap gap = watch_gap(w, now);

	if (gap.length_s < GAP_S)
		return;
	if (w->n_gaps == MOST_GAPS) {
		w->n_dropped++;
		return;
	}
	w->gaps[w->n_gaps++] = gap;
}

static void watch_poll(struct watch *w)
{
	uint32_t target = counter_read(w->target, w->offset),
		 source = counter_read(w->source, w->offset);
	uint32_t value = source > target ? source : target;
	double now = clock_now(), since = now - w->polled_at;

	w->polled_at = now;
	if (since > w->most_absent_s)
		w->most_absent_s = since;
	if (since > ABSENT_S)
		w->absent_s += since;
	if (target > source && !w->has_switched) {
		w->has_switched = true;
		w->at_switch = watch_gap(w, now);
	}
	if (value == w->value)
		return;
	watch_keep_gap(w, now);
	w->value = value;
	w->moved_at = now;
	w->absent_s = 0;
}

static void gap_print(const struct gap *g)
{
	printf("{\"at_s\": %.6f, \"length_ms\": %.3f, \"absent_ms\": %.3f}", g->at_s,
	       g->length_s * 1e3, g->absent_s * 1e3);
}

/* The gap that has not ended counts as well. */
static void watch_report(struct watch *w)
{
	watch_keep_gap(w, clock_now());
	printf("{\"switched\": %s, \"switch\": ", w->has_switched ? "true" : "false");
	gap_print(&w->at_switch);
	printf(", \"most_absent_ms\": %.3f, \"dropped\": %zu, \"gaps\": [", w->most_absent_s * 1e3,
	       w->n_dropped);
	for (size_t i = 0; i < w->n_gaps; i++) {
		printf("%s", i > 0 ? ", " : "");
		gap_print(&w->gaps[i]);
	}
	printf("]}\n");
}

static void be_punctual(void)
{
	struct sched_param param = { .sched_priority = PRIORITY };

	(void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
		fprintf(stderr, "gapwatch: goes on without real-time priority: %s\n",
			strerror(errno));
}

static int watch_open(struct watch *w, char **argv)
{
	char *end;

	for (int i = 0; i < 2; i++) {
		int fd = open(argv[1 + i], O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			fprintf(stderr, "gapwatch: memory file '%s': %s\n", argv[1 + i],
				strerror(errno));
			return -1;
		}
		*(i == 0 ? &w->source : &w->target) = fd;
	}
	errno = 0;
	w->offset = (off_t)strtoull(argv[3], &end, 0);
	if (errno != 0 || *end != '\0' || w->offset < 0) {
		fprintf(stderr, "gapwatch: offset '%s' is no number\n", argv[3]);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct watch w;
	struct sigaction stop = { .sa_handler = on_stop };
	struct timespec poll = { .tv_nsec = POLL_NS };

	if (argc != 4) {
		fprintf(stderr, "usage: gapwatch SOURCE TARGET OFFSET\n");
		return 2;
	}
	if (watch_open(&w, argv) < 0)
		return 1;
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	be_punctual();
	w.moved_at = w.polled_at = clock_now();
	while (!is_stopped) {
		watch_poll(&w);
		nanosleep(&poll, NULL);
	}
	watch_report(&w);
	return 0;
}
