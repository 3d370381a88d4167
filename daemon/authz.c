/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect. */
#include "daemon/authz.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/json.h"

struct authz {
	struct authz_list_properties list;
};

/* ---- deciding ---- */

/* `*`: any text, `?`: any one byte. Going back to the last star is enough, so this takes no more than len * len steps. */
static bool glob_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++from;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

static bool matches(const struct authz_rule *r, const char *dn)
{
	if (r->has_format && r->format == AUTHZ_FORMAT_GLOB)
		return glob_matches(r->match, dn);
	return strcmp(r->match, dn) == 0;
}

bool authz_allows(const struct authz *a, const char *dn)
{
	for (size_t i = 0; i < a->list.n_rules; i++)
		if (matches(&a->list.rules[i], dn))
			return a->list.rules[i].policy == AUTHZ_POLICY_ALLOW;
	return a->list.has_policy && a->list.policy == AUTHZ_POLICY_ALLOW;
}

/* ---- loading ---- */

static int take_list(const struct authz_list_properties *p, struct authz *a, struct merr *err)
{
	if (p->n_rules > AUTHZ_RULES_MAX)
		return merr_set(err, -E2BIG, "there are %zu rules, at most %u are possible", p->n_rules, AUTHZ_RULES_MAX);
	return authz_list_properties_copy(&a->list, p) < 0 ? merr_set(err, -ENOMEM, "out of memory") : 0;
}

static int take_identity(const char *identity, struct authz *a, struct merr *err)
{
	struct authz_rule rule = { .match = (char *)(uintptr_t)identity, .policy = AUTHZ_POLICY_ALLOW };
	struct authz_list_properties p = { .has_rules = true, .n_rules = 1, .rules = &rule };

	return take_list(&p, a, err);
}

static int parse_file(const char *text, size_t len, struct authz *a, struct merr *err)
{
	json_error_t why;
	_cleanup_json_ json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

	if (!j)
		return merr_set(err, -EINVAL, "line %d: %s", why.line, why.text);
	return authz_list_properties_from_json(j, &a->list, err);
}

static int take_file(const char *path, struct cred_files *files, struct authz *a, struct merr *err)
{
	size_t len = 0;
	char *text = NULL;
	int r;

	if (path[0] != '/')
		return merr_set(err, -EINVAL, "Parameter 'filename' expects an absolute path, not '%s'", path);
	r = cred_file_read(files, NULL, path, CRED_FILE_PUBLIC, &text, &len, err);
	if (r < 0)
		return r;
	r = parse_file(text, len, a, err);
	cred_file_free(text, len);
	return r < 0 ? merr_prefix(err, "'%s'", path) : 0;
}

int authz_load(const struct object_options *o, struct cred_files *files, struct authz **ret, struct merr *err)
{
	struct authz *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return merr_set(err, -ENOMEM, "out of memory");
	switch (o->qom_type) {
	case OBJECT_TYPE_AUTHZ_SIMPLE:
		r = take_identity(o->u.authz_simple.identity, a, err);
		break;
	case OBJECT_TYPE_AUTHZ_LIST:
		r = take_list(&o->u.authz_list, a, err);
		break;
	default:
		r = take_file(o->u.authz_listfile.filename, files, a, err);
		break;
	}
	if (r < 0) {
		(void)authz_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

struct authz *authz_free(struct authz *a)
{
	if (a)
		authz_list_properties_done(&a->list);
	free(a);
	return NULL;
}
