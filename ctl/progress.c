/* SPDX-License-Identifier: Apache-2.0 */
/* Following a migration until it ends. */
#include "ctl/progress.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"

#define POLL_NS (200 * NS_PER_MS)
/* Plain lines: at least so long between two in the same phase. */
#define LINE_EVERY_NS (5 * NS_PER_SEC)
#define JSON_EVERY_NS NS_PER_SEC
#define BAR_MIN 10
#define BAR_MAX 40
#define LINE_MAX_LEN 512

/* What was shown last. */
struct shown {
	bool terminal;
	int width;
	uint64_t at_ns;
	char status[32];
	int64_t pass;
	int64_t place; /* in the queue */
	bool in_doubt;
};

static bool has_ended(const char *status)
{
	return strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 ||
	       strcmp(status, "cancelled") == 0;
}

/* "12s", "3m20s"; "?" when what is dirtied outruns what is sent. */
static const char *format_eta(const json_t *info, char *buf, size_t len)
{
	double rate = ctl_number(info, "ram.mbps", 0) * 1e6 / 8 -
		      ctl_number(info, "ram.dirty-pages-rate", 0) * ctl_number(info, "ram.page-size", 4096);
	double left = ctl_number(info, "ram.remaining", 0);
	double seconds = rate > 0 ? left / rate : -1;

	if (left <= 0)
		(void)snprintf(buf, len, "now");
	else if (seconds < 0 || seconds > 359999)
		(void)snprintf(buf, len, "?");
	else if (seconds < 60)
		(void)snprintf(buf, len, "%.0fs", ceil(seconds));
	else
		(void)snprintf(buf, len, "%.0fm%02.0fs", floor(seconds / 60), fmod(seconds, 60));
	return buf;
}

static void add_bar(struct buf *b, double done, int width)
{
	int full = (int)(done * width + 0.5);

	buf_add_str(b, "[");
	for (int i = 0; i < width; i++)
		buf_add_str(b, i < full ? "#" : "-");
	buf_add_str(b, "] ");
}

static void add_numbers(struct buf *b, const json_t *info)
{
	double total = ctl_number(info, "ram.total", 0);
	double left = ctl_number(info, "ram.remaining", 0);
	double dirty = ctl_number(info, "ram.dirty-pages-rate", 0) * ctl_number(info, "ram.page-size", 4096);
	char one[32], two[32], three[32], four[32], eta[32];

	buf_printf(b, "pass %lld, %s done, %s left, dirty %s/s, %s/s, ",
		   (long long)ctl_int(info, "ram.dirty-sync-count", 0),
		   ctl_size(total - left, one, sizeof(one)), ctl_size(left, two, sizeof(two)),
		   ctl_size(dirty, three, sizeof(three)),
		   ctl_size(ctl_number(info, "ram.mbps", 0) * 1e6 / 8, four, sizeof(four)));
	buf_printf(b, "downtime ~%lld ms, ETA %s", (long long)ctl_int(info, "expected-downtime", 0),
		   format_eta(info, eta, sizeof(eta)));
}

/* What slows the guest down, or makes its pages smaller. */
static void add_measures(struct buf *b, const json_t *info)
{
	int64_t throttle = ctl_int(info, "cpu-throttle-percentage", 0);
	int64_t sleep_us = ctl_int(info, "dirty-limit-throttle-time-per-round", 0);
	double rate = ctl_number(info, "xbzrle-cache.encoding-rate", 0);

	if (throttle > 0)
		buf_printf(b, ", vCPUs throttled by %lld%%", (long long)throttle);
	if (sleep_us > 0)
		buf_printf(b, ", vCPUs limited in what they dirty: %lld us a round", (long long)sleep_us);
	if (rate > 0)
		buf_printf(b, ", xbzrle %.1f to 1", rate);
}

/* It runs; what it did is shown at the end otherwise. */
static bool is_postcopy(const json_t *info)
{
	return json_object_get(info, "postcopy") && !has_ended(ctl_str(info, "status", "none"));
}

/* Of post-copy, on either side. */
static void add_postcopy(struct buf *b, const json_t *info)
{
	double page = ctl_number(info, "ram.page-size", 4096);
	int64_t faults = ctl_int(info, "postcopy.faults", 0), recoveries = ctl_int(info, "postcopy.recoveries", 0);
	char one[32], two[32];

	if (ctl_int(info, "postcopy.requested", -1) >= 0)
		buf_printf(b, "post-copy: %s asked for, %s left",
			   ctl_size(ctl_number(info, "postcopy.requested", 0) * page, one, sizeof(one)),
			   ctl_size(ctl_number(info, "ram.remaining", 0), two, sizeof(two)));
	else
		buf_printf(b, "post-copy: %s missing, waited for pages %lld times",
			   ctl_size(ctl_number(info, "postcopy.missing", 0) * page, one, sizeof(one)), (long long)faults);
	if (faults > 0)
		buf_printf(b, ", half of them up to %.2f ms, 99 of 100 up to %.2f ms",
			   ctl_number(info, "postcopy.fault-latency.p50", 0) / 1e6,
			   ctl_number(info, "postcopy.fault-latency.p99", 0) / 1e6);
	if (recoveries > 0)
		buf_printf(b, ", %lld recoveries", (long long)recoveries);
}

/* What an operator needs to know about a guest in doubt. */
static void add_doubt(struct buf *b, const json_t *info)
{
	char peer[128];

	buf_printf(b, ": IN DOUBT: the guest is stopped here until %s says whether it runs there (see resolve)",
		   ctl_clean(ctl_str(info, "handover.peer", "the peer"), peer, sizeof(peer)));
}

const char *progress_line(const json_t *info, int width, char *buf, size_t len)
{
	struct buf line = { 0 };
	double total = ctl_number(info, "ram.total", 0);
	int room;

	buf_add_str(&line, ctl_str(info, "status", "none"));
	if (ctl_bool(info, "handover.in-doubt")) {
		add_doubt(&line, info);
	} else if (ctl_int(info, "queue.position", 0)) {
		buf_printf(&line, ": it waits for its turn, number %lld of %lld",
			   (long long)ctl_int(info, "queue.position", 0), (long long)ctl_int(info, "queue.length", 0));
	} else if (total > 0) {
		struct buf numbers = { 0 };

		if (is_postcopy(info)) {
			add_postcopy(&numbers, info);
		} else {
			add_numbers(&numbers, info);
			add_measures(&numbers, info);
		}
		buf_add_str(&line, " ");
		room = width - (int)line.len - (int)numbers.len - 4;
		if (room >= BAR_MIN)
			add_bar(&line, 1 - ctl_number(info, "ram.remaining", 0) / total,
				room < BAR_MAX ? room : BAR_MAX);
		buf_add(&line, numbers.data, numbers.len);
		buf_done(&numbers);
	} else if (is_postcopy(info)) {
		buf_add_str(&line, " ");
		add_postcopy(&line, info);
	}
	(void)snprintf(buf, len, "%.*s", (int)line.len, line.data ? (const char *)line.data : "");
	buf_done(&line);
	return buf;
}

/* Redraw; a line longer than the terminal is cut, or it could not be redrawn. */
static void show_on_terminal(struct shown *s, const json_t *info)
{
	char line[LINE_MAX_LEN];
	struct winsize size = { 0 };

	if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		s->width = size.ws_col;
	progress_line(info, s->width, line, sizeof(line));
	printf("\r%.*s\033[K", s->width - 1, line);
	fflush(stdout);
}

/* Whether something changed, or nothing was shown for so long; then it will have been. */
static bool is_news(struct shown *s, const json_t *info, uint64_t every_ns)
{
	const char *status = ctl_str(info, "status", "none");
	int64_t pass = ctl_int(info, "ram.dirty-sync-count", 0);
	int64_t place = ctl_int(info, "queue.position", 0);
	bool in_doubt = ctl_bool(info, "handover.in-doubt");
	uint64_t now = clock_now_ns();

	if (strcmp(status, s->status) == 0 && pass == s->pass && place == s->place && in_doubt == s->in_doubt &&
	    now - s->at_ns < every_ns)
		return false;
	(void)snprintf(s->status, sizeof(s->status), "%s", status);
	s->pass = pass;
	s->place = place;
	s->in_doubt = in_doubt;
	s->at_ns = now;
	return true;
}

static void show_plain(struct shown *s, const json_t *info)
{
	char line[LINE_MAX_LEN];

	if (!is_news(s, info, LINE_EVERY_NS))
		return;
	printf("%s\n", progress_line(info, 0, line, sizeof(line)));
	fflush(stdout);
}

static void print_summary(const json_t *info)
{
	double seconds = ctl_number(info, "total-time", 0) / 1000;
	double sent = ctl_number(info, "ram.transferred", 0);
	char one[32], two[32];

	if (!json_object_get(info, "ram")) {
		printf("completed\n");
		return;
	}
	printf("completed in %.2f s: %s sent in %lld passes, %s/s, blackout %lld ms\n", seconds,
	       ctl_size(sent, one, sizeof(one)), (long long)ctl_int(info, "ram.dirty-sync-count", 0),
	       ctl_size(seconds > 0 ? sent / seconds : 0, two, sizeof(two)),
	       (long long)ctl_int(info, "downtime", 0));
	if (json_object_get(info, "postcopy"))
		printf("%s by post-copy, of which %s were asked for\n",
		       ctl_size(ctl_number(info, "ram.postcopy-bytes", 0), one, sizeof(one)),
		       ctl_size(ctl_number(info, "postcopy.requested", 0) * ctl_number(info, "ram.page-size", 4096), two,
				sizeof(two)));
}

static int judge(struct ctl *ctl, const json_t *info, struct merr *err)
{
	const char *status = ctl_str(info, "status", "none");
	char text[MERR_MSG_MAX];
	bool failed;

	if (ctl->json)
		ctl_print_json(info);
	if (strcmp(status, "completed") == 0) {
		if (!ctl->json)
			print_summary(info);
		return CTL_OK;
	}
	failed = strcmp(status, "failed") == 0;
	merr_set(err, -ECANCELED, "the migration %s%s%s", failed ? "failed" : "was cancelled",
		 ctl_str(info, "error-desc", NULL) ? ": " : "",
		 ctl_clean(ctl_str(info, "error-desc", ""), text, sizeof(text)));
	return failed ? CTL_MIGRATION_FAILED : CTL_CANCELLED;
}

/* --timeout is over. */
static int give_up(const struct ctl *ctl, const json_t *info, struct merr *err)
{
	int r = ctl_check_time(ctl, err);

	if (r == CTL_OK || !ctl_bool(info, "handover.in-doubt"))
		return r;
	merr_prefix(err, "the guest is in doubt: it is stopped here until %s says whether it runs there (migctl help resolve)",
		    ctl_str(info, "handover.peer", "the peer"));
	return CTL_IN_DOUBT;
}

static void show(struct ctl *ctl, struct shown *shown, const json_t *info, bool json_lines)
{
	if (ctl->json && json_lines && is_news(shown, info, JSON_EVERY_NS)) {
		ctl_print_json(info);
		fflush(stdout);
	} else if (!ctl->json && shown->terminal) {
		show_on_terminal(shown, info);
	} else if (!ctl->json) {
		show_plain(shown, info);
	}
}

int progress_follow(struct ctl *ctl, bool json_lines, struct merr *err)
{
	struct shown shown = { .terminal = isatty(1), .width = 80, .pass = -1 };
	const struct timespec wait = { 0, POLL_NS };
	const char *status;
	int r;

	for (;;) {
		_cleanup_json_ json_t *info = NULL;

		r = ctl_query(ctl, "query-migrate", &info, err);
		if (r != CTL_OK)
			return r;
		status = ctl_str(info, "status", "none");
		if (strcmp(status, "none") == 0) {
			merr_set(err, -ENOENT, "there is no migration of this guest");
			return CTL_FAILED;
		}
		if (has_ended(status)) {
			if (shown.terminal && !ctl->json)
				printf("\r\033[K");
			return judge(ctl, info, err);
		}
		show(ctl, &shown, info, json_lines);
		r = give_up(ctl, info, err);
		if (r != CTL_OK) {
			if (shown.terminal && !ctl->json)
				printf("\n");
			return r;
		}
		(void)nanosleep(&wait, NULL);
	}
}
