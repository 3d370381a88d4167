/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's record on a terminal. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/report.h"

#define BAR 40		/* columns of a bar's longest */
#define NOT_THERE (-1)

/* "12.3 ms". Returns BUF. */
static const char *took(int64_t us, char *buf, size_t len)
{
	if (us < 1000)
		(void)snprintf(buf, len, "%lld us", (long long)us);
	else if (us < 1000000)
		(void)snprintf(buf, len, "%.2f ms", (double)us / 1e3);
	else
		(void)snprintf(buf, len, "%.2f s", (double)us / 1e6);
	return buf;
}

static const char *began(int64_t us, char *buf, size_t len)
{
	time_t t = (time_t)(us / 1000000);
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(buf, len, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
		(void)snprintf(buf, len, "?");
	return buf;
}

static void line(const char *name, const char *text)
{
	char clean[256];

	printf("%-12s %s\n", name, ctl_clean(text, clean, sizeof(clean)));
}

static void title(const char *text)
{
	printf("\n%s%s%s\n", ctl_colour(CTL_BOLD), text, ctl_colour(CTL_PLAIN));
}

static void print_head(const json_t *r)
{
	int64_t downtime = ctl_int(r, "downtime", NOT_THERE), queued = ctl_int(r, "queued", 0);
	char text[64];

	line("guest", ctl_str(r, "guest", "?"));
	line("id", ctl_str(r, "id", "?"));
	line(strcmp(ctl_str(r, "direction", ""), "outgoing") == 0 ? "to" : "from", ctl_str(r, "uri", "?"));
	line("outcome", ctl_str(r, "status", "?"));
	if (ctl_str(r, "error-desc", NULL))
		line("error", ctl_str(r, "error-desc", ""));
	line("began", began(ctl_int(r, "started", 0), text, sizeof(text)));
	line("took", took(ctl_int(r, "duration", 0), text, sizeof(text)));
	if (queued > 1000)
		line("queued", took(queued, text, sizeof(text)));
	if (downtime != NOT_THERE)
		line("blackout", took(downtime, text, sizeof(text)));
	line("transferred", ctl_size(ctl_number(r, "transferred", 0), text, sizeof(text)));
	line("memory", ctl_size(ctl_number(r, "memory", 0), text, sizeof(text)));
}

static void print_phases(const json_t *phases)
{
	char text[32], word[32];
	json_t *p;
	size_t i;

	title("Phases");
	json_array_foreach(phases, i, p)
		printf("%12s  %s\n", took(ctl_int(p, "at", 0), text, sizeof(text)),
		       ctl_clean(ctl_str(p, "status", "?"), word, sizeof(word)));
}

static void print_passes(const json_t *passes)
{
	char at[32], took_text[32], bytes[32], rate[32];
	json_t *p;
	size_t i;

	if (json_array_size(passes) == 0)
		return;
	title("Passes");
	printf("%5s %12s %12s %12s %12s %12s %10s %12s\n", "pass", "at", "took", "dirty", "in full", "zero", "bytes", "per second");
	json_array_foreach(passes, i, p)
		printf("%5lld %12s %12s %12lld %12lld %12lld %10s %12s\n", (long long)ctl_int(p, "pass", 0),
		       took(ctl_int(p, "at", 0), at, sizeof(at)),
		       took(ctl_int(p, "duration", 0), took_text, sizeof(took_text)), (long long)ctl_int(p, "dirtied-pages", 0),
		       (long long)ctl_int(p, "normal-pages", 0), (long long)ctl_int(p, "zero-pages", 0),
		       ctl_size(ctl_number(p, "bytes", 0), bytes, sizeof(bytes)),
		       ctl_size(ctl_number(p, "bandwidth", 0), rate, sizeof(rate)));
}

static void print_bar(const char *name, int64_t us, int64_t most)
{
	char text[32];
	int n = most > 0 ? (int)(us * BAR / most) : 0;

	printf("%12s %12s  ", name, took(us, text, sizeof(text)));
	for (int i = 0; i < n; i++)
		putchar('#');
	putchar('\n');
}

static void print_blackout(const json_t *b)
{
	static const char *const parts[] = { "pause", "hold", "save", "sync", "ram", "transfer", "load", "commit", "resume" };

	if (!b)
		return;
	title("Blackout");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		print_bar(parts[i], ctl_int(b, parts[i], 0), ctl_int(b, "total", 0));
	print_bar("total", ctl_int(b, "total", 0), ctl_int(b, "total", 0));
}

static void print_events(const json_t *events)
{
	char at[32], text[256];
	json_t *e;
	size_t i;

	if (json_array_size(events) == 0)
		return;
	title("What happened");
	json_array_foreach(events, i, e) {
		printf("%12s  %s: ", took(ctl_int(e, "at", 0), at, sizeof(at)), ctl_str(e, "kind", "?"));
		printf("%s\n", ctl_clean(ctl_str(e, "text", ""), text, sizeof(text)));
	}
}

static void print_stalls(const json_t *stalls)
{
	char at[32], text[32];
	json_t *s;
	size_t i;

	if (json_array_size(stalls) == 0)
		return;
	title("Nothing came through");
	json_array_foreach(stalls, i, s)
		printf("%12s  for %s\n", took(ctl_int(s, "at", 0), at, sizeof(at)), took(ctl_int(s, "duration", 0), text, sizeof(text)));
}

void report_text(const json_t *r)
{
	print_head(r);
	print_phases(json_object_get(r, "phases"));
	print_passes(json_object_get(r, "passes"));
	print_blackout(json_object_get(r, "blackout"));
	print_events(json_object_get(r, "events"));
	print_stalls(json_object_get(r, "stalls"));
}
