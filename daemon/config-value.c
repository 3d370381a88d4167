/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the configuration as people write them. */
#include "daemon/config-value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define QUOTED_MAX 100

static const char *const yes_words[] = { "true", "yes", "on", "1" };
static const char *const no_words[] = { "false", "no", "off", "0" };

static const struct {
	const char *suffix;
	unsigned int shift;
} units[] = { { "", 0 },    { "B", 0 },	 { "K", 10 },  { "KiB", 10 }, { "M", 20 },
	      { "MiB", 20 }, { "G", 30 }, { "GiB", 30 }, { "T", 40 },	{ "TiB", 40 } };

static int parse_bool(const char *text, json_t **ret, struct merr *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(yes_words); i++) {
		if (strcasecmp(text, yes_words[i]) == 0)
			*ret = json_true();
		else if (strcasecmp(text, no_words[i]) == 0)
			*ret = json_false();
	}
	return *ret ? 0 : merr_set(err, -EINVAL, "'%.*s' is neither yes nor no; also right are true, false, on and off",
				   QUOTED_MAX, text);
}

/* The digits of TEXT. False: there are none, or too many. REST: what comes after them. */
static bool parse_digits(const char *text, uint64_t *ret, const char **rest)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	*rest = end;
	return errno == 0;
}

/* As a size is at most INT64_MAX, which JSON can hold. */
static bool scale(uint64_t *v, const char *suffix)
{
	while (*suffix == ' ')
		suffix++;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcasecmp(suffix, units[i].suffix) == 0 && *v <= (uint64_t)INT64_MAX >> units[i].shift) {
			*v <<= units[i].shift;
			return true;
		}
	return false;
}

static const struct schema_rule *rule_of(const struct schema_type *type, const struct schema_member *key)
{
	for (uint32_t i = 0; i < type->n_rules; i++)
		if (type->rules[i].member == key)
			return &type->rules[i];
	return NULL;
}

static int check_range(const struct schema_type *type, const struct schema_member *key, const char *text, uint64_t v,
		       struct merr *err)
{
	const struct schema_rule *rule = rule_of(type, key);
	uint64_t most = UINT64_MAX >> (64 - 8 * key->type->size);

	if (rule && (v < rule->min || v > rule->max || (rule->power_of_two && (v == 0 || (v & (v - 1))))))
		return merr_set(err, -ERANGE, "'%.*s' is out of its range: it takes %s", QUOTED_MAX, text, rule->expects);
	if (v > most || v > INT64_MAX)
		return merr_set(err, -ERANGE, "'%.*s' is too large: it takes at most %llu", QUOTED_MAX, text,
				(unsigned long long)(most < INT64_MAX ? most : INT64_MAX));
	return 0;
}

static int parse_uint(const struct schema_type *type, const struct schema_member *key, const char *text, json_t **ret,
		      struct merr *err)
{
	bool is_size = key->type == &schema_type_size;
	const char *rest;
	uint64_t v;

	if (!parse_digits(text, &v, &rest) || (is_size ? !scale(&v, rest) : *rest))
		return merr_set(err, -EINVAL,
				is_size ? "'%.*s' is no size; right ones look like 65536, 512M or 2G (of powers of 1024)"
					: "'%.*s' is no number; a right one has digits only and is not too large",
				QUOTED_MAX, text);
	if (check_range(type, key, text, v, err) < 0)
		return -EINVAL;
	*ret = json_integer((json_int_t)v);
	return 0;
}

static int parse_str(const char *text, json_t **ret, struct merr *err)
{
	if (strchr(text, '\n') || (strchr(text, '"') && strchr(text, '\'')))
		return merr_set(err, -EINVAL, "a value has one line, and not both kinds of quotes in it");
	*ret = json_string(text);
	return *ret ? 0 : merr_set(err, -EINVAL, "it is not UTF-8");
}

int config_value_parse(const struct schema_type *type, const struct schema_member *key, const char *text, json_t **ret,
		       struct merr *err)
{
	int r;

	*ret = NULL;
	if (strlen(text) > CONFIG_VALUE_MAX)
		return merr_set(err, -EINVAL, "it has %zu bytes, at most %d are possible", strlen(text), CONFIG_VALUE_MAX);
	switch (key->type->kind) {
	case SCHEMA_BOOL:
		r = parse_bool(text, ret, err);
		break;
	case SCHEMA_UINT:
		r = parse_uint(type, key, text, ret, err);
		break;
	case SCHEMA_STR:
		r = parse_str(text, ret, err);
		break;
	default:
		r = merr_set(err, -ENOTSUP, "a %s cannot be written in a file", key->type->name);
	}
	if (r < 0)
		return r;
	return *ret ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

const char *config_value_print(const json_t *value, char buf[CONFIG_VALUE_TEXT_MAX])
{
	const char *s, *quote;

	switch (json_typeof(value)) {
	case JSON_STRING:
		s = json_string_value(value);
		quote = strchr(s, '"') ? "'" : strpbrk(s, " \t#;'") ? "\"" : "";
		(void)snprintf(buf, CONFIG_VALUE_TEXT_MAX, "%s%s%s", quote, s, quote);
		return buf;
	case JSON_INTEGER:
		(void)snprintf(buf, CONFIG_VALUE_TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return buf;
	default:
		(void)snprintf(buf, CONFIG_VALUE_TEXT_MAX, "%s", json_is_true(value) ? "yes" : "no");
		return buf;
	}
}
