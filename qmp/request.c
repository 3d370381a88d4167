/* SPDX-License-Identifier: Apache-2.0 */
/* A request's form. */
#include "qmp/request.h"

#include <errno.h>
#include <string.h>

static int take_verb(const char *name, json_t *value, struct qmp_request *ret, struct merr *err)
{
	if (!json_is_string(value))
		return merr_set(err, -EINVAL, "QMP input member '%s' must be a string", name);
	if (ret->command)
		return merr_set(err, -EINVAL, "QMP input member 'execute' clashes with 'exec-oob'");
	ret->command = json_string_value(value);
	ret->oob = strcmp(name, "exec-oob") == 0;
	return 0;
}

static int take_member(const char *name, json_t *value, bool allow_oob, struct qmp_request *ret,
		       struct merr *err)
{
	if (strcmp(name, "id") == 0)
		return 0;
	if (strcmp(name, "execute") == 0 || (allow_oob && strcmp(name, "exec-oob") == 0))
		return take_verb(name, value, ret, err);
	if (strcmp(name, "arguments") != 0)
		return merr_set(err, -EINVAL, "QMP input member '%s' is unexpected", name);
	if (!json_is_object(value))
		return merr_set(err, -EINVAL, "QMP input member 'arguments' must be an object");
	ret->arguments = value;
	return 0;
}

int qmp_request_check(json_t *object, bool allow_oob, struct qmp_request *ret, struct merr *err)
{
	const char *name;
	json_t *value;
	int r;

	*ret = (struct qmp_request){ 0 };
	if (!json_is_object(object))
		return merr_set(err, -EINVAL, "QMP input must be a JSON object");
	ret->id = json_object_get(object, "id");
	json_object_foreach(object, name, value) {
		r = take_member(name, value, allow_oob, ret, err);
		if (r < 0)
			return r;
	}
	if (!ret->command)
		return merr_set(err, -EINVAL, "QMP input lacks member 'execute'");
	return 0;
}
