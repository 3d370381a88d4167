/* SPDX-License-Identifier: Apache-2.0 */
/* Which address fits which capability, parameter and mode (QMP.md 6.4 and 6.5), and which refusal
 * comes first. */
/* LIBS: migd_daemon */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon/address.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"

#define CAP(name) (1U << MIGRATION_CAPABILITY_##name)

static const struct {
	const char *uri;
	unsigned int capabilities;
	bool direct_io;
	enum mig_mode mode;
	const char *refusal; /* part of it; NULL: it fits */
} rows[] = {
	{ "tcp:h:1", 0, true, MIG_MODE_NORMAL, NULL },
	{ "unix:/x", CAP(MULTIFD) | CAP(POSTCOPY_PREEMPT), false, MIG_MODE_CPR_TRANSFER, NULL },
	{ "fd:x", 0, true, MIG_MODE_NORMAL, NULL },
	{ "file:/x", CAP(MAPPED_RAM) | CAP(MULTIFD), true, MIG_MODE_CPR_REBOOT, NULL },
	{ "exec:cat", 0, false, MIG_MODE_NORMAL, NULL },
	{ "tcp:h:1", CAP(MAPPED_RAM), false, MIG_MODE_NORMAL, "seekable" },
	{ "fd:x", CAP(MAPPED_RAM) | CAP(MULTIFD), true, MIG_MODE_NORMAL, "seekable" },
	{ "fd:x", CAP(MULTIFD), true, MIG_MODE_NORMAL, "'multifd' needs a multi-channel" },
	{ "exec:cat", CAP(POSTCOPY_PREEMPT), false, MIG_MODE_NORMAL,
	  "'postcopy-preempt' needs a multi-channel" },
	{ "file:/x", CAP(MULTIFD), true, MIG_MODE_CPR_TRANSFER, "multi-channel" },
	{ "file:/x", CAP(MULTIFD), false, MIG_MODE_NORMAL, "'multifd' needs a multi-channel" },
	{ "exec:cat", CAP(MAPPED_RAM), false, MIG_MODE_NORMAL, "seekable" },
	{ "unix:/x", CAP(MAPPED_RAM) | CAP(MULTIFD), true, MIG_MODE_NORMAL, "seekable" },
	{ "tcp:h:1", CAP(MULTIFD), true, MIG_MODE_NORMAL, "extra descriptors" },
	{ "file:/x", 0, false, MIG_MODE_CPR_TRANSFER, "streamable" },
};

static void judge(size_t i, struct daemon *d, const char *refusal)
{
	struct guest g = { .daemon = d };
	struct merr err = MERR_INIT;
	struct addr a;
	int r;

	g.parameters.direct_io = rows[i].direct_io;
	g.parameters.mode = rows[i].mode;
	for (unsigned int c = 1; c < MIGRATION_CAPABILITY__MAX; c++)
		g.capabilities[c] = rows[i].capabilities >> c & 1;
	assert_int_equal(addr_parse_uri(rows[i].uri, &a, NULL), 0);
	r = address_check(&g, &a, &err);
	if ((r < 0) != (refusal != NULL) || (refusal && !strstr(merr_msg(&err), refusal)))
		fail_msg("row %zu, %s: '%s' instead of '%s'", i, rows[i].uri,
			 r < 0 ? merr_msg(&err) : "", refusal ? refusal : "");
}

static void test_rows(void **state)
{
	struct daemon d = { .config.daemon.allow_exec = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		judge(i, &d, rows[i].refusal);
}

static void test_commands_are_off(void **state)
{
	struct daemon d = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		judge(i, &d,
		      strncmp(rows[i].uri, "exec:", 5) == 0 ? "--allow-exec" : rows[i].refusal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_commands_are_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
