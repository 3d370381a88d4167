/* SPDX-License-Identifier: Apache-2.0 */
/* Which capabilities exclude and need each other (QMP.md 3): every pair, in both directions, and in which order. */
/* LIBS: migd_daemon */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/capabilities.h"

#define N MIGRATION_CAPABILITY__MAX

/* The column "not with" of QMP.md 3, each pair once; background-snapshot's are in another line below. */
static const char *const excluded[][2] = {
	{ "postcopy-ram", "x-ignore-shared" }, { "zero-copy-send", "xbzrle" },
	{ "dirty-limit", "auto-converge" },    { "multifd", "xbzrle" },
	{ "mapped-ram", "xbzrle" },            { "mapped-ram", "postcopy-ram" },
};

static const char *const not_with_snapshot[] = {
	"postcopy-ram", "dirty-bitmaps", "postcopy-blocktime", "late-block-activate", "return-path",
	"multifd", "pause-before-switchover", "auto-converge", "release-ram", "rdma-pin-all",
	"xbzrle", "x-colo", "validate-uuid", "zero-copy-send",
};

static const char *const required[][2] = {
	{ "zero-copy-send", "multifd" },
	{ "postcopy-preempt", "postcopy-ram" },
	{ "switchover-ack", "return-path" },
};

static enum migration_capability cap(const char *name)
{
	enum migration_capability c;

	assert_int_equal(migration_capability_parse(name, &c), 0);
	return c;
}

static bool is_pair(const char *const pair[2], int a, int b)
{
	return (cap(pair[0]) == (unsigned int)a && cap(pair[1]) == (unsigned int)b) ||
	       (cap(pair[0]) == (unsigned int)b && cap(pair[1]) == (unsigned int)a);
}

static bool is_excluded(int a, int b)
{
	for (size_t i = 0; i < ARRAY_SIZE(excluded); i++)
		if (is_pair(excluded[i], a, b))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(not_with_snapshot); i++) {
		const char *const pair[2] = { "background-snapshot", not_with_snapshot[i] };

		if (is_pair(pair, a, b))
			return true;
	}
	return false;
}

static bool any_excluded(const bool *on)
{
	for (int a = 1; a < N; a++)
		for (int b = a + 1; b < N; b++)
			if (on[a] && on[b] && is_excluded(a, b))
				return true;
	return false;
}

struct fixture {
	bool on[N], was_on[N];
	struct migration_parameters parameters;
	struct settings settings;
	struct merr err;
};

static struct fixture fixture(void)
{
	struct fixture f = { .settings = { .has_dirty_ring = true }, .err = MERR_INIT };

	assert_int_equal(migration_parameters_defaults(&f.parameters), 0);
	return f;
}

static int judge(struct fixture *f)
{
	f->settings.on = f->on;
	f->settings.was_on = f->was_on;
	f->settings.parameters = &f->parameters;
	merr_clear(&f->err);
	return capabilities_check_rules(&f->settings, &f->err);
}

/* Turn it on, with what it needs. */
static void turn_on(struct fixture *f, int c)
{
	f->on[c] = true;
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (cap(required[i][0]) == (unsigned int)c)
			f->on[cap(required[i][1])] = true;
}

static void assert_says(struct fixture *f, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strstr(merr_msg(&f->err), words[i]))
			fail_msg("'%s' does not say '%s'", merr_msg(&f->err), words[i]);
}

#define ASSERT_SAYS(f, ...)                                                 \
	assert_says(f, (const char *const[]){ __VA_ARGS__ },                \
		    ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })))

static void every_pair_is_judged_as_written(void **state)
{
	(void)state;
	for (int a = 1; a < N; a++)
		for (int b = a + 1; b < N; b++) {
			struct fixture f = fixture();
			int r;

			turn_on(&f, a);
			turn_on(&f, b);
			r = judge(&f);
			if ((r < 0) != any_excluded(f.on))
				fail_msg("%s with %s: %d %s", migration_capability_str((unsigned int)a),
					 migration_capability_str((unsigned int)b), r, merr_msg(&f.err));
			if (r < 0)
				ASSERT_SAYS(&f, "is not compatible with");
			migration_parameters_done(&f.parameters);
		}
}

static void an_excluded_pair_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(excluded); i++) {
		struct fixture f = fixture();

		turn_on(&f, cap(excluded[i][0]));
		turn_on(&f, cap(excluded[i][1]));
		assert_int_equal(judge(&f), -EINVAL);
		ASSERT_SAYS(&f, excluded[i][0], excluded[i][1]);
		migration_parameters_done(&f.parameters);
	}
}

static void what_is_required_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		struct fixture f = fixture();

		f.on[cap(required[i][0])] = true;
		assert_int_equal(judge(&f), -EINVAL);
		ASSERT_SAYS(&f, required[i][0], "requires", required[i][1]);
		turn_on(&f, cap(required[i][0]));
		assert_int_equal(judge(&f), 0);
		migration_parameters_done(&f.parameters);
	}
}

/* Several at once: what QMP.md 3 checks first is said. */
static void the_first_mismatch_is_said(void **state)
{
	struct fixture f = fixture();

	(void)state;
	f.on[cap("mapped-ram")] = f.on[cap("xbzrle")] = true;
	f.on[cap("dirty-limit")] = f.on[cap("auto-converge")] = true;
	assert_int_equal(judge(&f), -EINVAL);
	ASSERT_SAYS(&f, "'dirty-limit'", "'auto-converge'");
	f.on[cap("switchover-ack")] = true;
	assert_int_equal(judge(&f), -EINVAL);
	ASSERT_SAYS(&f, "'switchover-ack'", "'return-path'");
	f.on[cap("background-snapshot")] = true;
	assert_int_equal(judge(&f), -EINVAL);
	ASSERT_SAYS(&f, "'background-snapshot'", "'auto-converge'");
	f.on[cap("postcopy-ram")] = f.on[cap("x-ignore-shared")] = true;
	assert_int_equal(judge(&f), -EINVAL);
	ASSERT_SAYS(&f, "'postcopy-ram'", "'x-ignore-shared'");
	migration_parameters_done(&f.parameters);
}

static void dirty_limit_needs_a_ring(void **state)
{
	struct fixture f = fixture();

	(void)state;
	f.on[cap("dirty-limit")] = true;
	assert_int_equal(judge(&f), 0);
	f.settings.has_dirty_ring = false;
	assert_int_equal(judge(&f), -EINVAL);
	ASSERT_SAYS(&f, "'dirty-limit'", "dirty ring");
	migration_parameters_done(&f.parameters);
}

static void compression_and_tls_are_excluded(void **state)
{
	static const char *const caps[] = { "zero-copy-send", "mapped-ram" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		struct fixture f = fixture();

		turn_on(&f, cap(caps[i]));
		assert_int_equal(judge(&f), 0);
		f.parameters.multifd_compression = MULTI_FD_COMPRESSION_ZSTD;
		assert_int_equal(judge(&f), -EINVAL);
		ASSERT_SAYS(&f, caps[i], "multifd_compression", "'zstd'");
		f.parameters.multifd_compression = MULTI_FD_COMPRESSION_NONE;
		free(f.parameters.tls_creds.u.s);
		f.parameters.tls_creds.u.s = strdup("tls0");
		assert_int_equal(judge(&f), -EINVAL);
		ASSERT_SAYS(&f, caps[i], "tls_creds", "'tls0'");
		migration_parameters_done(&f.parameters);
	}
}

static void more_channels_come_before_the_listener(void **state)
{
	static const char *const caps[] = { "multifd", "postcopy-preempt" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		struct fixture f = fixture();

		turn_on(&f, cap(caps[i]));
		assert_int_equal(judge(&f), 0);
		f.settings.listening = true;
		assert_int_equal(judge(&f), -EBUSY);
		ASSERT_SAYS(&f, caps[i], "before incoming migration starts");
		memcpy(f.was_on, f.on, sizeof(f.on));
		assert_int_equal(judge(&f), 0);
		migration_parameters_done(&f.parameters);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_is_judged_as_written),
		cmocka_unit_test(an_excluded_pair_is_named),
		cmocka_unit_test(what_is_required_is_named),
		cmocka_unit_test(the_first_mismatch_is_said),
		cmocka_unit_test(dirty_limit_needs_a_ring),
		cmocka_unit_test(compression_and_tls_are_excluded),
		cmocka_unit_test(more_channels_come_before_the_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
