/* SPDX-License-Identifier: Apache-2.0 */
/* From a line to its command and what its words mean. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/hmp.h"
#include "daemon/json.h"

static const char *word_at(const json_t *list, size_t i)
{
	return json_string_value(json_array_get(list, i));
}

/* NAME, which has at most one space, is the first word, or the first two; returns how many, or 0. */
static size_t match(const char *name, const json_t *list)
{
	const char *space = name ? strchr(name, ' ') : NULL;
	const char *first = word_at(list, 0), *second = word_at(list, 1);

	if (!name)
		return 0;
	if (!space)
		return strcmp(name, first) == 0 ? 1 : 0;
	if (!second || strlen(first) != (size_t)(space - name) || strncmp(name, first, strlen(first)) != 0)
		return 0;
	return strcmp(space + 1, second) == 0 ? 2 : 0;
}

static const struct hmp_command *find(const json_t *list, size_t *ret_used)
{
	for (const struct hmp_command *c = hmp_commands; c->name; c++) {
		*ret_used = match(c->name, list);
		if (*ret_used == 0)
			*ret_used = match(c->alias, list);
		if (*ret_used > 0)
			return c;
	}
	return NULL;
}

static int set(json_t *words, const char *name, json_t *value, struct merr *err)
{
	if (json_object_set_new(words, name, value) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* "-d", "-dr". */
static int take_flags(const struct hmp_command *c, const char *letters, json_t *words, struct merr *err)
{
	size_t i, n = sizeof(c->flags) / sizeof(c->flags[0]);
	int r = 0;

	for (; r == 0 && *letters; letters++) {
		for (i = 0; i < n && c->flags[i].letter != *letters; i++)
			;
		if (i == n)
			return merr_set(err, -EINVAL, "%s has no option -%c; see 'help %s'", c->name, *letters, c->name);
		r = set(words, c->flags[i].name, json_true(), err);
	}
	return r;
}

static int take_int(const struct hmp_arg *arg, const char *text, json_t *words, struct merr *err)
{
	long long value;
	char *end;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return merr_set(err, -EINVAL, "%s expects a whole number, and '%s' is none", arg->name, text);
	return set(words, arg->name, json_integer(value), err);
}

static int take_bool(const struct hmp_arg *arg, const char *text, json_t *words, struct merr *err)
{
	bool on = strcmp(text, "on") == 0;

	if (!on && strcmp(text, "off") != 0)
		return merr_set(err, -EINVAL, "%s expects on or off, and '%s' is neither", arg->name, text);
	return set(words, arg->name, json_boolean(on), err);
}

static int take_arg(const struct hmp_arg *arg, json_t *word, json_t *words, struct merr *err)
{
	switch (arg->kind) {
	case HMP_INT:
		return take_int(arg, json_string_value(word), words, err);
	case HMP_BOOL:
		return take_bool(arg, json_string_value(word), words, err);
	default:
		return set(words, arg->name, json_incref(word), err);
	}
}

static bool is_flags(const struct hmp_command *c, const char *text)
{
	return c->flags[0].letter && text[0] == '-' && text[1];
}

/* Options first, wherever QEMU takes them; then each argument its word. */
static int take_words(const struct hmp_command *c, const json_t *list, size_t i, json_t *words, struct merr *err)
{
	size_t n_args = sizeof(c->args) / sizeof(c->args[0]), n = 0;
	int r = 0;

	for (; r == 0 && i < json_array_size(list) && is_flags(c, word_at(list, i)); i++)
		r = take_flags(c, word_at(list, i) + 1, words, err);
	for (; r == 0 && i < json_array_size(list); i++, n++) {
		if (n == n_args || !c->args[n].name)
			return merr_set(err, -EINVAL, "'%s' is too much; see 'help %s'", word_at(list, i), c->name);
		r = take_arg(&c->args[n], json_array_get(list, i), words, err);
	}
	if (r == 0 && n < n_args && c->args[n].name && !c->args[n].optional)
		return merr_set(err, -EINVAL, "%s is missing; see 'help %s'", c->args[n].name, c->name);
	return r;
}

int hmp_parse(const char *line, const struct hmp_command **ret, json_t **ret_words, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL, *words = json_object();
	const struct hmp_command *c;
	size_t used;
	int r = hmp_split(line, &list, err);

	if (r < 0)
		return r;
	if (json_array_size(list) == 0) {
		*ret = NULL;
		*ret_words = NULL;
		return 0;
	}
	c = find(list, &used);
	if (!c)
		return merr_set(err, -ENOENT, "there is no command '%s' here; see 'help'", word_at(list, 0));
	r = c->absent ? 0 : take_words(c, list, used, words, err);
	if (r < 0)
		return r;
	*ret = c;
	*ret_words = TAKE_PTR(words);
	return 0;
}
