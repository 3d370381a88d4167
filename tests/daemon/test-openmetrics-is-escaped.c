/* SPDX-License-Identifier: Apache-2.0 */
/* Text of metrics: names of guests can be anything, numbers are exact, both formats are what they are called. */
/* LIBS: migd_daemon */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/openmetrics.h"

static void collect_text(void *opaque, struct metric_text *out)
{
	metric_sample(out, 1, METRIC_LABELS({ "guest", opaque }));
}

/* What a label with the value TEXT looks like. */
static void expect_label(const char *text, const char *expected)
{
	const struct metric_family f = { "x", METRIC_GAUGE, NULL, "A \\ and\na line.", collect_text };
	struct buf b = { 0 };
	struct metric_text out = { .buf = &b };
	char all[512];

	openmetrics_write(&out, &f, 1, (void *)(uintptr_t)text);
	buf_add(&b, "", 1);
	assert_int_equal(b.error, 0);
	(void)snprintf(all, sizeof(all), "# TYPE x gauge\n# HELP x A \\\\ and\\na line.\nx{guest=\"%s\"} 1\n# EOF\n", expected);
	assert_string_equal((const char *)b.data, all);
	buf_done(&b);
}

static void test_labels(void **state)
{
	(void)state;
	expect_label("plain", "plain");
	expect_label("", "");
	expect_label("a\"b\\c\nd", "a\\\"b\\\\c\\nd");
	expect_label("\"} 1\n# EOF\n", "\\\"} 1\\n# EOF\\n");
	expect_label("gr\xc3\xb6\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x90\xa7", "gr\xc3\xb6\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x90\xa7");
	/* Not UTF-8: cut off, a lone second byte, too long a form, a surrogate, beyond the last character. */
	expect_label("a\xc3", "a?");
	expect_label("a\xe2\x82", "a??");
	expect_label("\x80z", "?z");
	expect_label("\xc0\xaf", "??");
	expect_label("\xe0\x80\xaf", "???");
	expect_label("\xed\xa0\x80", "???");
	expect_label("\xf4\x90\x80\x80", "????");
	expect_label("\xff", "?");
}

static void collect_numbers(void *opaque, struct metric_text *out)
{
	static const double numbers[] = { 0, 1, -1, 123456789012345.0, 0.5, 1.0 / 3, 1795367710.25, 1e18, NAN };

	(void)opaque;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		metric_sample(out, numbers[i], NULL);
}

static void collect_histogram(void *opaque, struct metric_text *out)
{
	static const double bounds[] = { 0.25, 1 };
	static const uint64_t counts[] = { 1, 0, 2 };

	(void)opaque;
	metric_histogram(out, bounds, counts, 2, 7.5, METRIC_LABELS({ "d", "in" }));
}

static void collect_one(void *opaque, struct metric_text *out)
{
	(void)opaque;
	metric_sample(out, 2, METRIC_LABELS({ "v", "1.0" }));
}

static void test_formats(void **state)
{
	static const struct metric_family families[] = {
		{ "n", METRIC_GAUGE, NULL, "N.", collect_numbers },
		{ "h_seconds", METRIC_HISTOGRAM, "seconds", "H.", collect_histogram },
		{ "c_bytes", METRIC_COUNTER, "bytes", "C.", collect_one },
		{ "b", METRIC_INFO, NULL, "B.", collect_one },
	};
	struct buf b = { 0 };
	struct metric_text out = { .buf = &b };

	(void)state;
	openmetrics_write(&out, families, ARRAY_SIZE(families), NULL);
	buf_add(&b, "", 1);
	assert_string_equal((const char *)b.data,
			    "# TYPE n gauge\n# HELP n N.\n"
			    "n 0\nn 1\nn -1\nn 123456789012345\nn 0.5\nn 0.333333333333\nn 1795367710.25\nn 1e+18\nn NaN\n"
			    "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# HELP h_seconds H.\n"
			    "h_seconds_bucket{d=\"in\",le=\"0.25\"} 1\nh_seconds_bucket{d=\"in\",le=\"1.0\"} 1\n"
			    "h_seconds_bucket{d=\"in\",le=\"+Inf\"} 3\nh_seconds_sum{d=\"in\"} 7.5\nh_seconds_count{d=\"in\"} 3\n"
			    "# TYPE c_bytes counter\n# UNIT c_bytes bytes\n# HELP c_bytes C.\nc_bytes_total{v=\"1.0\"} 2\n"
			    "# TYPE b info\n# HELP b B.\nb_info{v=\"1.0\"} 1\n# EOF\n");
	buf_done(&b);
	b = (struct buf){ 0 };
	out = (struct metric_text){ .buf = &b, .prometheus = true };
	openmetrics_write(&out, families + 2, 2, NULL);
	buf_add(&b, "", 1);
	assert_string_equal((const char *)b.data,
			    "# TYPE c_bytes_total counter\n# HELP c_bytes_total C.\nc_bytes_total{v=\"1.0\"} 2\n"
			    "# TYPE b_info gauge\n# HELP b_info B.\nb_info{v=\"1.0\"} 1\n");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
