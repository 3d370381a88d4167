/* SPDX-License-Identifier: Apache-2.0 */
/* Migration parameters: their defaults and ranges (QMP.md 4), and setting some of them. */
/* LIBS: migd_schema migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "schema/types.h"

static void a_new_guest_has_the_defaults(void **state)
{
	struct migration_parameters p;
	json_t *j;

	(void)state;
	assert_int_equal(migration_parameters_defaults(&p), 0);
	assert_int_equal(p.announce_initial, 50);
	assert_int_equal(p.announce_max, 550);
	assert_int_equal(p.announce_rounds, 5);
	assert_int_equal(p.announce_step, 100);
	assert_int_equal(p.throttle_trigger_threshold, 50);
	assert_int_equal(p.cpu_throttle_initial, 20);
	assert_int_equal(p.cpu_throttle_increment, 10);
	assert_false(p.cpu_throttle_tailslow);
	assert_int_equal(p.max_cpu_throttle, 99);
	assert_int_equal(p.tls_creds.kind, STR_OR_NULL_KIND_S);
	assert_string_equal(p.tls_creds.u.s, "");
	assert_string_equal(p.tls_hostname.u.s, "");
	assert_string_equal(p.tls_authz.u.s, "");
	assert_int_equal(p.max_bandwidth, 134217728);
	assert_int_equal(p.avail_switchover_bandwidth, 0);
	assert_int_equal(p.downtime_limit, 300);
	assert_int_equal(p.x_checkpoint_delay, 20000);
	assert_int_equal(p.multifd_channels, 2);
	assert_int_equal(p.multifd_compression, MULTI_FD_COMPRESSION_NONE);
	assert_int_equal(p.multifd_zlib_level, 1);
	assert_int_equal(p.multifd_zstd_level, 1);
	assert_int_equal(p.multifd_qatzip_level, 1);
	assert_int_equal(p.xbzrle_cache_size, 67108864);
	assert_int_equal(p.max_postcopy_bandwidth, 0);
	assert_int_equal(p.x_vcpu_dirty_limit_period, 1000);
	assert_int_equal(p.vcpu_dirty_limit, 1);
	assert_int_equal(p.mode, MIG_MODE_NORMAL);
	assert_int_equal(p.zero_page_detection, ZERO_PAGE_DETECTION_MULTIFD);
	assert_false(p.direct_io);
	assert_true(p.has_cpr_exec_command);
	assert_int_equal(p.n_cpr_exec_command, 0);
	assert_false(p.has_block_bitmap_mapping);
	assert_int_equal(migration_parameters_check(&p, NULL), 0);
	/* All of them but the mapping are shown. */
	j = migration_parameters_to_json(&p);
	assert_int_equal(json_object_size(j), migration_parameters_type.n_members - 1);
	json_decref(j);
	migration_parameters_done(&p);
}

static const struct {
	const char *json;
	const char *message;	/* NULL: good */
} ranges[] = {
	{ "{\"announce-initial\": 100000}", NULL },
	{ "{\"announce-initial\": 100001}", "Parameter 'announce_initial' expects a value between 0 and 100000 milliseconds" },
	{ "{\"announce-max\": 100001}", "Parameter 'announce_max' expects a value between 0 and 100000 milliseconds" },
	{ "{\"announce-rounds\": 1001}", "Parameter 'announce_rounds' expects a value between 0 and 1000" },
	{ "{\"announce-step\": 0}", "Parameter 'announce_step' expects a value between 1 and 10000 milliseconds" },
	{ "{\"throttle-trigger-threshold\": 0}",
	  "Parameter 'throttle_trigger_threshold' expects a value between 1 and 100 percent" },
	{ "{\"cpu-throttle-initial\": 100}", "Parameter 'cpu_throttle_initial' expects a value between 1 and 99 percent" },
	{ "{\"cpu-throttle-increment\": 0}", "Parameter 'cpu_throttle_increment' expects a value between 1 and 99 percent" },
	{ "{\"max-cpu-throttle\": 19, \"cpu-throttle-initial\": 20}",
	  "Parameter 'max_cpu_throttle' expects a value between the value of 'cpu_throttle_initial' and 99 percent" },
	{ "{\"max-cpu-throttle\": 20, \"cpu-throttle-initial\": 20}", NULL },
	{ "{\"downtime-limit\": 2000000}", NULL },
	{ "{\"downtime-limit\": 2000001}", "Parameter 'downtime_limit' expects a value between 0 and 2000000 milliseconds" },
	{ "{\"downtime-limit\": -1}", "Parameter 'downtime_limit' expects a value between 0 and 2000000 milliseconds" },
	{ "{\"multifd-channels\": 0}", "Parameter 'multifd_channels' expects a value between 1 and 255" },
	{ "{\"multifd-zlib-level\": 10}", "Parameter 'multifd_zlib_level' expects a value between 0 and 9" },
	{ "{\"multifd-zstd-level\": 21}", "Parameter 'multifd_zstd_level' expects a value between 0 and 20" },
	{ "{\"multifd-qatzip-level\": 0}", "Parameter 'multifd_qatzip_level' expects a value between 1 and 9" },
	{ "{\"xbzrle-cache-size\": 4095}", "Parameter 'xbzrle_cache_size' expects a power of two of at least 4096 bytes" },
	{ "{\"xbzrle-cache-size\": 12288}", "Parameter 'xbzrle_cache_size' expects a power of two of at least 4096 bytes" },
	{ "{\"xbzrle-cache-size\": 8192}", NULL },
	{ "{\"x-vcpu-dirty-limit-period\": 1001}",
	  "Parameter 'x_vcpu_dirty_limit_period' expects a value between 1 and 1000 milliseconds" },
	{ "{\"vcpu-dirty-limit\": 0}", "Parameter 'vcpu_dirty_limit' expects a value of at least 1 MB/s" },
	{ "{\"max-bandwidth\": -1}", NULL },
};

static void values_outside_their_range_are_refused(void **state)
{
	struct migration_parameters p;
	struct merr err;
	json_t *j;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		err = (struct merr)MERR_INIT;
		j = json_loads(ranges[i].json, 0, NULL);
		assert_int_equal(migration_parameters_from_json(j, &p, &err), 0);
		json_decref(j);
		if (migration_parameters_check(&p, &err) == 0)
			assert_null(ranges[i].message);
		else if (!ranges[i].message || strcmp(merr_msg(&err), ranges[i].message) != 0)
			fail_msg("%s: %s", ranges[i].json, merr_msg(&err));
		migration_parameters_done(&p);
	}
}

static void only_what_is_set_changes(void **state)
{
	char creds[] = "tls0", program[] = "/bin/x";
	char *argv[] = { program, program };
	struct migration_parameters p, change = {
		.has_downtime_limit = true, .downtime_limit = 50,
		.has_tls_creds = true, .tls_creds = { .kind = STR_OR_NULL_KIND_S, .u.s = creds },
		.has_cpr_exec_command = true, .n_cpr_exec_command = 2, .cpr_exec_command = argv,
		.has_tls_authz = true, .tls_authz = { .kind = STR_OR_NULL_KIND_N },
	};

	(void)state;
	assert_int_equal(migration_parameters_defaults(&p), 0);
	assert_int_equal(migration_parameters_merge(&p, &change), 0);
	/* Twice: what was there is freed. */
	assert_int_equal(migration_parameters_merge(&p, &change), 0);
	assert_int_equal(p.downtime_limit, 50);
	assert_string_equal(p.tls_creds.u.s, "tls0");
	assert_ptr_not_equal(p.tls_creds.u.s, creds);
	assert_int_equal(p.tls_authz.kind, STR_OR_NULL_KIND_N);
	assert_int_equal(p.n_cpr_exec_command, 2);
	assert_string_equal(p.cpr_exec_command[1], "/bin/x");
	assert_int_equal(p.max_bandwidth, 134217728);
	migration_parameters_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_guest_has_the_defaults),
		cmocka_unit_test(values_outside_their_range_are_refused),
		cmocka_unit_test(only_what_is_set_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
