/* SPDX-License-Identifier: Apache-2.0 */
/* query-qmp-schema: every entry is a SchemaInfo, every reference resolves, no internal type shows. QMP.md 2.8. */
/* LIBS: migd_schema migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "schema/introspect.h"
#include "schema/types.h"

static json_t *by_name;	/* name -> entry; types, commands and events share names */

static const char *str(const json_t *entry, const char *member)
{
	return json_string_value(json_object_get(entry, member));
}

static int set_up(void **state)
{
	json_t *list = schema_introspect(), *entry;
	size_t i;

	by_name = json_object();
	json_array_foreach(list, i, entry) {
		/* No name appears twice. */
		if (json_object_get(by_name, str(entry, "name")))
			return -1;
		json_object_set(by_name, str(entry, "name"), entry);
	}
	*state = list;
	return json_array_size(list) > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	json_decref(*state);
	json_decref(by_name);
	return 0;
}

static void every_entry_is_a_schema_info(void **state)
{
	struct merr err = MERR_INIT;
	struct schema_info info;
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)*state, i, entry) {
		if (schema_info_from_json(entry, &info, &err) < 0)
			fail_msg("%s: %s", str(entry, "name"), merr_msg(&err));
		schema_info_done(&info);
	}
}

static void resolves(const json_t *from, const char *type, const char *meta_type)
{
	const json_t *target = json_object_get(by_name, type);

	if (!target)
		fail_msg("%s refers to '%s', which is not there", str(from, "name"), type);
	if (meta_type)
		assert_string_equal(str(target, "meta-type"), meta_type);
	else
		assert_true(strcmp(str(target, "meta-type"), "command") != 0 && strcmp(str(target, "meta-type"), "event") != 0);
}

static void all_resolve(const json_t *entry, const char *list, const char *member)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(entry, list), i, item)
		if (str(item, member))
			resolves(entry, str(item, member), strcmp(list, "variants") == 0 ? "object" : NULL);
}

static void every_reference_resolves(void **state)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)*state, i, entry) {
		if (str(entry, "element-type"))
			resolves(entry, str(entry, "element-type"), NULL);
		if (str(entry, "arg-type"))
			resolves(entry, str(entry, "arg-type"), "object");
		if (str(entry, "ret-type"))
			resolves(entry, str(entry, "ret-type"), NULL);
		all_resolve(entry, "variants", "type");
		if (strcmp(str(entry, "meta-type"), "enum") != 0)
			all_resolve(entry, "members", "type");
	}
}

static const json_t *member(const json_t *object, const char *name)
{
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(object, "members"), i, m)
		if (strcmp(str(m, "name"), name) == 0)
			return m;
	fail_msg("no member '%s' in type %s", name, str(object, "name"));
	return NULL;
}

static const json_t *entry_of(const char *name)
{
	const json_t *entry = json_object_get(by_name, name);

	if (!entry)
		fail_msg("'%s' is not in the schema", name);
	return entry;
}

/* The ways in which libvirt and others look for features. */
static void clients_find_what_they_look_for(void **state)
{
	const json_t *args = entry_of(str(entry_of("migrate-set-parameters"), "arg-type")), *m, *word;
	bool deprecated = false;
	json_t *caps;
	size_t i;

	(void)state;
	m = member(args, "zero-page-detection");
	assert_true(json_is_null(json_object_get(m, "default")));
	assert_string_equal(str(entry_of(str(m, "type")), "meta-type"), "enum");
	assert_string_equal(str(member(args, "max-bandwidth"), "type"), "int");
	assert_string_equal(str(member(args, "guest"), "type"), "str");
	assert_string_equal(json_string_value(json_array_get(json_object_get(member(args, "x-checkpoint-delay"), "features"), 0)),
			    "unstable");
	assert_string_equal(str(entry_of(str(member(args, "tls-creds"), "type")), "meta-type"), "alternate");
	/* A mandatory member has no default. */
	args = entry_of(str(entry_of("migrate-set-capabilities"), "arg-type"));
	assert_null(json_object_get(member(args, "capabilities"), "default"));
	args = entry_of(str(entry_of(str(member(args, "capabilities"), "type")), "element-type"));
	caps = json_object_get(entry_of(str(member(args, "capability"), "type")), "members");
	json_array_foreach(caps, i, word)
		deprecated |= strcmp(str(word, "name"), "zero-blocks") == 0 && json_object_get(word, "features");
	assert_true(deprecated);
	assert_int_equal(json_array_size(caps), 22);
	assert_string_equal(str(entry_of("STOP"), "meta-type"), "event");
	assert_string_equal(str(entry_of("set-parameters"), "arg-type"), str(entry_of("migrate-set-parameters"), "arg-type"));
	/* What returns nothing returns the empty object, which is called "0". */
	assert_int_equal(json_array_size(json_object_get(entry_of(str(entry_of("stop"), "ret-type")), "members")), 0);
}

static void internal_types_are_left_out(void **state)
{
	json_t *entry, *m;
	size_t i, j;

	json_array_foreach((json_t *)*state, i, entry)
		json_array_foreach(json_object_get(entry, "members"), j, m)
			if (str(m, "name"))
				assert_string_not_equal(str(m, "name"), "guest-runs-here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_entry_is_a_schema_info),
		cmocka_unit_test(every_reference_resolves),
		cmocka_unit_test(clients_find_what_they_look_for),
		cmocka_unit_test(internal_types_are_left_out),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
