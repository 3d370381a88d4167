/* SPDX-License-Identifier: Apache-2.0 */
/* LIBS: migd_daemon migd_schema migd_base */
/* The first rule that matches decides, or the policy. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "daemon/authz.h"

static struct authz *load(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);
	struct cred_files files = { 0 };
	struct object_options o;
	struct merr err = MERR_INIT;
	struct authz *a = NULL;

	assert_non_null(j);
	assert_int_equal(object_options_from_json(j, &o, &err), 0);
	assert_int_equal(authz_load(&o, &files, &a, &err), 0);
	object_options_done(&o);
	cred_files_done(&files);
	json_decref(j);
	return a;
}

static void first_match_wins(void **state)
{
	struct authz *a = load("{\"qom-type\": \"authz-list\", \"id\": \"a\", \"policy\": \"allow\", \"rules\": ["
			       "{\"match\": \"CN=a\", \"policy\": \"allow\"},"
			       "{\"match\": \"CN=a*\", \"policy\": \"deny\", \"format\": \"glob\"},"
			       "{\"match\": \"CN=a*\", \"policy\": \"allow\", \"format\": \"exact\"}]}");

	(void)state;
	assert_true(authz_allows(a, "CN=a"));
	assert_false(authz_allows(a, "CN=ab"));
	assert_false(authz_allows(a, "CN=a*"));
	assert_true(authz_allows(a, "CN=b"));
	assert_true(authz_allows(a, ""));
	(void)authz_free(a);
	a = load("{\"qom-type\": \"authz-list\", \"id\": \"a\"}");
	assert_false(authz_allows(a, "CN=a"));
	(void)authz_free(a);
	a = load("{\"qom-type\": \"authz-simple\", \"id\": \"a\", \"identity\": \"CN=a,O=*\"}");
	assert_true(authz_allows(a, "CN=a,O=*"));
	assert_false(authz_allows(a, "CN=a,O=b"));
	assert_false(authz_allows(a, "CN=a,O=*x"));
	(void)authz_free(a);
}

static bool glob(const char *pattern, const char *dn)
{
	json_t *j = json_pack("{s:s, s:s, s:[{s:s, s:s, s:s}]}", "qom-type", "authz-list", "id", "a", "rules", "match", pattern,
			      "policy", "allow", "format", "glob");
	char *text = json_dumps(j, 0);
	struct authz *a = load(text);
	bool allowed = authz_allows(a, dn);

	(void)authz_free(a);
	free(text);
	json_decref(j);
	return allowed;
}

/* The definition, straight away: slow, and right. */
static bool naive(const char *p, const char *s)
{
	if (!*p)
		return !*s;
	if (*p == '*')
		return naive(p + 1, s) || (*s && naive(p, s + 1));
	return *s && (*p == '?' || *p == *s) && naive(p + 1, s + 1);
}

static void all_words(char *word, size_t at, size_t len, const char *letters, void (*fn)(const char *word))
{
	word[at] = '\0';
	fn(word);
	for (const char *l = letters; at < len && *l; l++) {
		word[at] = *l;
		all_words(word, at + 1, len, letters, fn);
		word[at] = '\0';
	}
}

static char current_pattern[8];

static void compare(const char *dn)
{
	if (glob(current_pattern, dn) != naive(current_pattern, dn))
		fail_msg("'%s' and '%s'", current_pattern, dn);
}

static void with_pattern(const char *pattern)
{
	char word[8];

	(void)strcpy(current_pattern, pattern);
	all_words(word, 0, 3, "ab*", compare);
}

static void globs_are_the_definition(void **state)
{
	char word[8];

	(void)state;
	all_words(word, 0, 4, "a*?b", with_pattern);
	assert_true(glob("*,O=Example", "CN=x,O=Example"));
	assert_false(glob("*,O=Example", "CN=x,O=Example,C=X"));
	assert_true(glob("CN=[a]\\", "CN=[a]\\"));
	/* Not exponential. */
	assert_false(glob("*a*a*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_match_wins),
		cmocka_unit_test(globs_are_the_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
