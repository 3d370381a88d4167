/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as text. */
#include "daemon/openmetrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {
	[METRIC_GAUGE] = "gauge",
	[METRIC_COUNTER] = "counter",
	[METRIC_HISTOGRAM] = "histogram",
	[METRIC_INFO] = "info",
};

/* What the sample's name has behind the family's. */
static const char *const suffixes[] = {
	[METRIC_GAUGE] = "",
	[METRIC_COUNTER] = "_total",
	[METRIC_HISTOGRAM] = "",
	[METRIC_INFO] = "_info",
};

/* A byte that is no part of UTF-8 becomes '?': one guest's name must not make all metrics unreadable. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than it needs to be, a surrogate, or beyond the last one. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void add_escaped(struct buf *b, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n;

	for (; *s; s += n) {
		n = utf8_len(s);
		if (n == 0) {
			buf_add(b, "?", 1);
			n = 1;
		} else if (*s == '\n') {
			buf_add(b, "\\n", 2);
		} else {
			if (*s == '"' || *s == '\\')
				buf_add(b, "\\", 1);
			buf_add(b, s, n);
		}
	}
}

/* LE: of a histogram's bucket, or NULL. */
static void add_labels(struct buf *b, const struct metric_label *labels, const char *le)
{
	bool first = true;

	for (; labels && labels->name; labels++) {
		buf_printf(b, "%s%s=\"", first ? "{" : ",", labels->name);
		add_escaped(b, labels->value);
		buf_add_str(b, "\"");
		first = false;
	}
	if (le)
		buf_printf(b, "%sle=\"%s\"", first ? "{" : ",", le);
	if (le || !first)
		buf_add_str(b, "}");
}

/* Exact for whole numbers that a double holds. */
static void add_value(struct buf *b, double v)
{
	if (isnan(v))
		buf_add_str(b, " NaN\n");
	else if (v > -1e15 && v < 1e15 && v == (double)(int64_t)v)
		buf_printf(b, " %.0f\n", v);
	else
		buf_printf(b, " %.12g\n", v);
}

void metric_sample(struct metric_text *out, double v, const struct metric_label *labels)
{
	buf_printf(out->buf, "%s%s", out->family->name, suffixes[out->family->type]);
	add_labels(out->buf, labels, NULL);
	add_value(out->buf, out->family->type == METRIC_INFO ? 1 : v);
}

void metric_histogram(struct metric_text *out, const double *bounds, const uint64_t *counts, size_t n, double sum,
		      const struct metric_label *labels)
{
	const char *name = out->family->name;
	uint64_t seen = 0;
	char le[32];
	int len;

	for (size_t i = 0; i <= n; i++) {
		seen += counts[i];
		len = snprintf(le, sizeof(le), "%.9g", i < n ? bounds[i] : INFINITY);
		/* A number is one with a point in it, to OpenMetrics. */
		if (i < n && !strpbrk(le, ".e"))
			(void)snprintf(le + len, sizeof(le) - (size_t)len, ".0");
		buf_printf(out->buf, "%s_bucket", name);
		add_labels(out->buf, labels, i < n ? le : "+Inf");
		add_value(out->buf, (double)seen);
	}
	buf_printf(out->buf, "%s_sum", name);
	add_labels(out->buf, labels, NULL);
	add_value(out->buf, sum);
	buf_printf(out->buf, "%s_count", name);
	add_labels(out->buf, labels, NULL);
	add_value(out->buf, (double)seen);
}

/* The older format knows neither infos nor units, and its counters' families are named as their samples. */
static void add_head(struct metric_text *out)
{
	const struct metric_family *f = out->family;
	const char *suffix = out->prometheus ? suffixes[f->type] : "";
	const char *type = out->prometheus && f->type == METRIC_INFO ? "gauge" : type_names[f->type];

	buf_printf(out->buf, "# TYPE %s%s %s\n", f->name, suffix, type);
	if (f->unit && !out->prometheus)
		buf_printf(out->buf, "# UNIT %s %s\n", f->name, f->unit);
	buf_printf(out->buf, "# HELP %s%s ", f->name, suffix);
	add_escaped(out->buf, f->help);
	buf_add_str(out->buf, "\n");
}

void openmetrics_write(struct metric_text *out, const struct metric_family *families, size_t n, void *opaque)
{
	for (size_t i = 0; i < n; i++) {
		out->family = &families[i];
		add_head(out);
		families[i].collect(opaque, out);
	}
	if (!out->prometheus)
		buf_add_str(out->buf, "# EOF\n");
}

const char *openmetrics_content_type(bool prometheus)
{
	return prometheus ? "text/plain; version=0.0.4; charset=utf-8"
			  : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}
