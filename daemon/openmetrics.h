/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics as text: OpenMetrics 1.0, or Prometheus' own older format. Knows no metric: whoever has some describes them as
 * families, and adds their samples.
 */
#ifndef MIGD_DAEMON_OPENMETRICS_H
#define MIGD_DAEMON_OPENMETRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_type {
	METRIC_GAUGE,
	METRIC_COUNTER,
	METRIC_HISTOGRAM,
	METRIC_INFO,	/* its labels are what it says */
};

struct metric_text;

struct metric_family {
	const char *name;	/* without the _total, _info, _bucket of its samples; ends with `unit` */
	enum metric_type type;
	const char *unit;	/* or NULL: it has none */
	const char *help;
	/* Add the samples; OPAQUE as given to openmetrics_write(). */
	void (*collect)(void *opaque, struct metric_text *out);
};

/* What is being written: all zero but for these. */
struct metric_text {
	struct buf *buf;
	bool prometheus;	/* text format 0.0.4 instead of OpenMetrics */
	const struct metric_family *family;	/* now */
};

/* A label of a sample: borrowed, any bytes. */
struct metric_label {
	const char *name, *value;
};
/* At most so many for one sample. NULL in place of labels: none. */
#define METRIC_LABELS_MAX 4
#define METRIC_LABELS(...) ((const struct metric_label[METRIC_LABELS_MAX + 1]){ __VA_ARGS__ })

/* One sample of the family. An info's V does not count. */
void metric_sample(struct metric_text *out, double v, const struct metric_label *labels);

/* The samples of a histogram: N counts, of values up to BOUNDS[i], and one more of those beyond; their SUM. */
void metric_histogram(struct metric_text *out, const double *bounds, const uint64_t *counts, size_t n, double sum,
		      const struct metric_label *labels);

/* Write N families, to the end of the text. */
void openmetrics_write(struct metric_text *out, const struct metric_family *families, size_t n, void *opaque);

/* Its content type. */
const char *openmetrics_content_type(bool prometheus);

#endif
