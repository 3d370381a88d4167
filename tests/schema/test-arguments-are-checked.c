/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with arguments is said in the words of QMP.md 1.4, and nothing is kept of them. */
/* LIBS: migd_schema migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "schema/types.h"
#include "schema/value.h"

/* A type, arguments, and what is said about them; NULL: they are good. */
static const struct {
	const struct schema_type *type;
	const char *json;
	const char *message;
} cases[] = {
	{ &migration_parameters_type, "{'nope': 1}", "Parameter 'nope' is unexpected" },
	/* What another build of migd says may be more than this one knows. */
	{ &worker_parameters_type, "{'parameters': {'nope': 1}, 'nor': 2}", NULL },
	{ &worker_parameters_type, "{'parameters': {'downtime-limit': 'x'}}",
	  "Parameter 'parameters.downtime-limit' expects uint64" },
	{ &migration_parameters_type, "{'max-bandwidth': 'a'}", "Parameter 'max-bandwidth' expects uint64" },
	{ &migration_parameters_type, "{'max-bandwidth': 1.5}", "Parameter 'max-bandwidth' expects uint64" },
	{ &migration_parameters_type, "{'max-bandwidth': null}", "Parameter 'max-bandwidth' expects uint64" },
	{ &migration_parameters_type, "{'max-bandwidth': -1}", NULL },
	{ &migration_parameters_type, "{'multifd-channels': 256}", "Parameter 'multifd-channels' expects uint8_t" },
	{ &migration_parameters_type, "{'multifd-channels': -1}", "Parameter 'multifd-channels' expects uint8_t" },
	{ &migration_parameters_type, "{'multifd-channels': true}", "Parameter 'multifd-channels' expects uint64" },
	{ &migration_parameters_type, "{'x-checkpoint-delay': 4294967296}",
	  "Parameter 'x-checkpoint-delay' expects uint32_t" },
	{ &migration_parameters_type, "{'cpu-throttle-tailslow': 1}",
	  "Invalid parameter type for 'cpu-throttle-tailslow', expected: boolean" },
	{ &migration_parameters_type, "{'mode': 1}", "Invalid parameter type for 'mode', expected: string" },
	{ &migration_parameters_type, "{'mode': 'fast'}", "Parameter 'mode' does not accept value 'fast'" },
	{ &migration_parameters_type, "{'tls-creds': 1}",
	  "Invalid parameter type for 'tls-creds', expected: StrOrNull" },
	{ &migration_parameters_type, "{'tls-creds': null}", NULL },
	{ &migration_parameters_type, "{'tls-creds': 'x'}", NULL },
	{ &migration_parameters_type, "{'cpr-exec-command': 'x'}",
	  "Invalid parameter type for 'cpr-exec-command', expected: array" },
	{ &migration_parameters_type, "{'cpr-exec-command': ['x', 1]}",
	  "Invalid parameter type for 'cpr-exec-command[1]', expected: string" },
	{ &migration_parameters_type, "{'block-bitmap-mapping': [{'node-name': 'a', 'alias': 'b', 'bitmaps': [{}]}]}",
	  "Parameter 'block-bitmap-mapping[0].bitmaps[0].name' is missing" },
	{ &migration_capability_status_type, "{'capability': 'nope', 'state': true}",
	  "Parameter 'capability' does not accept value 'nope'" },
	{ &migration_capability_status_type, "{'state': true}", "Parameter 'capability' is missing" },
	{ &migration_capability_status_type, "{'capability': 'events'}", "Parameter 'state' is missing" },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': 1}",
	  "Invalid parameter type for 'addr', expected: object" },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': {'transport': 'socket', 'type': 'inet', 'host': 'h'}}",
	  "Parameter 'addr.port' is missing" },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': {'transport': 'socket', 'type': 'inet', 'host': 'h', 'port': 1}}",
	  "Invalid parameter type for 'addr.port', expected: string" },
	{ &migration_channel_type,
	  "{'channel-type': 'main', 'addr': {'transport': 'socket', 'type': 'inet', 'host': 'h', 'port': '1', 'to': 65536}}",
	  "Parameter 'to' expects uint16_t" },
	{ &migration_channel_type,
	  "{'channel-type': 'main', 'addr': {'transport': 'socket', 'type': 'unix', 'path': 'p', 'host': 'h'}}",
	  "Parameter 'addr.host' is unexpected" },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': {'transport': 'socket', 'type': 'unix', 'path': 'p'}}",
	  NULL },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': {'transport': 'carrier-pigeon'}}",
	  "Parameter 'transport' does not accept value 'carrier-pigeon'" },
	{ &migration_channel_type, "{'channel-type': 'main', 'addr': {'transport': 'file', 'filename': 'f', 'offset': '0x10'}}",
	  "Parameter 'addr.offset' expects uint64" },
	{ &worker_start_type, "{'version': 1, 'id': 'x', 'guest': 'g', 'direction': 'outgoing', 'mode': 'fresh',"
	  " 'handover-id': 'h', 'peer': 'p', 'parameters': {}, 'capabilities': ['events', 'nope']}",
	  "Parameter 'null' does not accept value 'nope'" },
	{ &version_triple_type, "{'major': 1.5, 'minor': 1, 'micro': 1}",
	  "Invalid parameter type for 'major', expected: integer" },
	{ &migration_stats_type, "{'transferred': 'x'}",
	  "Invalid parameter type for 'transferred', expected: integer" },
	{ &name_info_type, "{'name': 'a\\u0000b'}", "Parameter 'name' expects a string without NUL" },
	{ &version_triple_type, "[]", "Invalid parameter type for 'null', expected: object" },
	/* The first member in the schema's order is said, missing ones before unexpected ones. */
	{ &version_triple_type, "{'micro': 'x', 'major': 'x', 'minor': 1}",
	  "Invalid parameter type for 'major', expected: integer" },
	{ &version_triple_type, "{'major': 1, 'other': 1}", "Parameter 'minor' is missing" },
};

/* Single quotes are easier to read in C. */
static json_t *parse(const char *text)
{
	char copy[512];
	json_t *j;
	char *p;

	assert_true(strlen(text) < sizeof(copy));
	strcpy(copy, text);
	for (p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	j = json_loads(copy, JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	return j;
}

static void wrong_arguments_are_named(void **state)
{
	struct merr err;
	uint8_t value[4096], untouched[4096];
	json_t *j;
	size_t i;
	int r;

	(void)state;
	memset(untouched, 0x5A, sizeof(untouched));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(cases[i].type->size <= sizeof(value));
		memcpy(value, untouched, sizeof(value));
		err = (struct merr)MERR_INIT;
		j = parse(cases[i].json);
		r = schema_from_json(cases[i].type, j, value, &err);
		json_decref(j);
		if (cases[i].message) {
			if (r >= 0 || strcmp(merr_msg(&err), cases[i].message) != 0)
				fail_msg("%s: '%s' instead of '%s'", cases[i].json, merr_msg(&err), cases[i].message);
			assert_memory_equal(value, untouched, sizeof(value));
		} else {
			if (r < 0)
				fail_msg("%s: %s", cases[i].json, merr_msg(&err));
			schema_done(cases[i].type, value);
		}
	}
}

static void negative_sizes_wrap(void **state)
{
	struct migration_parameters p;
	json_t *j = parse("{'max-bandwidth': -1}");

	(void)state;
	assert_int_equal(migration_parameters_from_json(j, &p, NULL), 0);
	assert_true(p.max_bandwidth == UINT64_MAX);
	migration_parameters_done(&p);
	json_decref(j);
}

static void no_arguments_are_an_empty_object(void **state)
{
	struct name_info info = { .has_name = true };
	struct merr err = MERR_INIT;
	struct version_triple triple;

	(void)state;
	assert_int_equal(name_info_from_json(NULL, &info, NULL), 0);
	assert_false(info.has_name);
	assert_true(version_triple_from_json(NULL, &triple, &err) < 0);
	assert_string_equal(merr_msg(&err), "Parameter 'major' is missing");
}

/* Numbers beyond int64 are kept in strings: no string is taken for one, and they are not taken for strings. */
static void big_numbers_are_numbers_only(void **state)
{
	json_t *j = json_pack("{s:o}", "name", json_uint64(UINT64_MAX));
	struct merr err = MERR_INIT;
	struct name_info info;

	(void)state;
	assert_true(name_info_from_json(j, &info, &err) < 0);
	assert_string_equal(merr_msg(&err), "Invalid parameter type for 'name', expected: string");
	json_decref(j);

	merr_clear(&err);
	j = json_pack("{s:o}", "max-bandwidth", json_string("18446744073709551615"));
	assert_true(migration_parameters_from_json(j, &(struct migration_parameters){ 0 }, &err) < 0);
	assert_string_equal(merr_msg(&err), "Parameter 'max-bandwidth' expects uint64");
	json_decref(j);

	merr_clear(&err);
	j = json_pack("{s:o, s:i, s:i}", "major", json_uint64(UINT64_MAX), "minor", 1, "micro", 1);
	assert_true(version_triple_from_json(j, &(struct version_triple){ 0 }, &err) < 0);
	assert_string_equal(merr_msg(&err), "Invalid parameter type for 'major', expected: integer");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_arguments_are_named),
		cmocka_unit_test(negative_sizes_wrap),
		cmocka_unit_test(no_arguments_are_an_empty_object),
		cmocka_unit_test(big_numbers_are_numbers_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
