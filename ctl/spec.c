/* SPDX-License-Identifier: Apache-2.0 */
/* Commands' arguments, by the schema's introspection. */
#include "ctl/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/nearest.h"
#include "schema/introspect.h"

const json_t *spec_all(void)
{
	static json_t *all;

	if (!all)
		all = schema_introspect();
	return all;
}

/* Commands and events have names of their own; all else are types. */
static const json_t *find(const char *name, bool command)
{
	size_t i;
	json_t *e;

	json_array_foreach(spec_all(), i, e)
		if (name && (strcmp(ctl_str(e, "meta-type", ""), "command") == 0) == command &&
		    strcmp(ctl_str(e, "name", ""), name) == 0)
			return e;
	return NULL;
}

static const json_t *type_of(const json_t *member)
{
	return find(ctl_str(member, "type", NULL), false);
}

const json_t *spec_arguments(const char *command)
{
	const json_t *c = find(command, true);

	return c ? json_object_get(find(ctl_str(c, "arg-type", NULL), false), "members") : NULL;
}

const json_t *spec_variant(const char *command, const char *word)
{
	const json_t *c = find(command, true);
	const json_t *type = c ? find(ctl_str(c, "arg-type", NULL), false) : NULL;
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(type, "variants"), i, v)
		if (strcmp(ctl_str(v, "case", ""), word) == 0)
			return json_object_get(find(ctl_str(v, "type", NULL), false), "members");
	return NULL;
}

const json_t *spec_member(const json_t *members, const char *name)
{
	size_t i;
	json_t *m;

	json_array_foreach(members, i, m)
		if (strcmp(ctl_str(m, "name", ""), name) == 0)
			return m;
	return NULL;
}

const json_t *spec_words(const json_t *member)
{
	return json_object_get(type_of(member), "values");
}

static bool has_json_type(const json_t *type, const char *word)
{
	return strcmp(ctl_str(type, "json-type", ""), word) == 0;
}

bool spec_is_switch(const json_t *member)
{
	return has_json_type(type_of(member), "boolean");
}

json_t *spec_parse_switch(const char *text)
{
	if (strcmp(text, "on") == 0 || strcmp(text, "true") == 0)
		return json_true();
	if (strcmp(text, "off") == 0 || strcmp(text, "false") == 0)
		return json_false();
	return NULL;
}

/* "300", "1G": a number with an optional suffix K, M, G, T (powers of 1024). */
json_t *spec_parse_integer(const char *text)
{
	static const char suffixes[] = "KMGT";
	char *end;
	unsigned long long v;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return NULL;
	if (*end && strchr(suffixes, *end) && !end[1]) {
		unsigned int shift = 10 * (unsigned int)(strchr(suffixes, *end) - suffixes + 1);

		if (v > UINT64_MAX >> shift)
			return NULL;
		v <<= shift;
	} else if (*end) {
		return NULL;
	}
	return v > INT64_MAX ? NULL : json_integer((json_int_t)v);
}

/* "a,b": a list of texts. */
static json_t *parse_list(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t len = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return list;
}

static json_t *parse_word(const json_t *words, const char *text, struct merr *err)
{
	struct nearest nearest = { .word = text };
	char hint[96];
	size_t i;
	json_t *w;

	json_array_foreach(words, i, w) {
		if (strcmp(json_string_value(w), text) == 0)
			return json_string(text);
		nearest_try(&nearest, json_string_value(w));
	}
	merr_set(err, -EINVAL, "'%s' is no such word%s", text, nearest_hint(&nearest, "", hint, sizeof(hint)));
	return NULL;
}

/* NULL: it is none, with ERR. */
static json_t *parse_value(const json_t *type, const char *text, struct merr *err)
{
	const char *wants;
	json_t *v;

	if (json_object_get(type, "values"))
		return parse_word(json_object_get(type, "values"), text, err);
	if (has_json_type(type, "string"))
		return json_string(text);
	if (strcmp(ctl_str(type, "element-type", ""), "str") == 0)
		return parse_list(text);
	if (has_json_type(type, "int")) {
		v = spec_parse_integer(text);
		wants = "a number (K, M, G or T may follow)";
	} else if (has_json_type(type, "boolean")) {
		v = spec_parse_switch(text);
		wants = "on or off";
	} else {
		v = json_loads(text, JSON_DECODE_ANY, NULL);
		wants = "JSON";
	}
	if (!v)
		merr_set(err, -EINVAL, "'%s' is not what it wants: %s", text, wants);
	return v;
}

int spec_add(json_t *args, const json_t *members, const char *verb, const char *word, struct merr *err)
{
	const char *equals = strchr(word, '=');
	_cleanup_free_ char *name = equals ? strndup(word, (size_t)(equals - word)) : NULL;
	const json_t *member = name ? spec_member(members, name) : NULL;
	struct nearest nearest = { .word = name ? name : "" };
	char hint[96];
	json_t *value, *m;
	size_t i;

	if (!name) {
		merr_set(err, -EINVAL, "%s: '%s' is not NAME=VALUE", verb, word);
		return CTL_USAGE;
	}
	if (!member) {
		json_array_foreach(members, i, m)
			nearest_try(&nearest, ctl_str(m, "name", ""));
		merr_set(err, -EINVAL, "%s: there is no '%s' here%s", verb, name,
			 nearest_hint(&nearest, "", hint, sizeof(hint)));
		return CTL_USAGE;
	}
	value = parse_value(type_of(member), equals + 1, err);
	if (!value) {
		merr_prefix(err, "%s: %s", verb, name);
		return CTL_USAGE;
	}
	json_object_set_new(args, name, value);
	return CTL_OK;
}

int spec_add_all(json_t *args, const json_t *members, const char *verb, char **words, int n, struct merr *err)
{
	int r = CTL_OK;

	for (int i = 0; i < n && r == CTL_OK; i++)
		r = spec_add(args, members, verb, words[i], err);
	return r;
}
