/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are answered here. */
#include "qmp/builtin.h"

#include <errno.h>

#include "qmp/internal.h"
#include "schema/commands.h"
#include "schema/introspect.h"

void cmd_qmp_capabilities(struct qmp_call *call, const struct qmp_capabilities_args *args)
{
	struct qmp_session *s = call->session;
	struct merr err = MERR_INIT;
	size_t i;

	if (s->negotiated) {
		(void)merr_set_class(&err, MERR_COMMAND_NOT_FOUND, -EALREADY,
				     "Capabilities negotiation is already complete, "
				     "command ignored");
		qmp_fail(call, &err);
		return;
	}
	for (i = 0; i < args->n_enable; i++)
		s->oob |= args->enable[i] == QMP_CAPABILITY_OOB;
	s->negotiated = true;
	qmp_return(call, NULL);
}

void cmd_query_version(struct qmp_call *call, const struct query_version_args *args)
{
	(void)args;
	qmp_return(call, qmp_version(&call->session->server->options));
}

/* Without those that SESSION_GUEST's socket does not have. */
static int add_names(json_t *list, const struct qmp_command *commands, const char *session_guest)
{
	for (; commands && commands->name; commands++) {
		struct command_info info = { .name = (char *)(uintptr_t)commands->name };

		if (session_guest && commands->host_scoped)
			continue;
		if (json_array_append_new(list, command_info_to_json(&info)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Takes over VALUE; NULL means that there was no memory for it. */
static void return_or_fail(struct qmp_call *call, json_t *value)
{
	struct merr err = MERR_INIT;

	if (value) {
		qmp_return(call, value);
		return;
	}
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}

void cmd_query_commands(struct qmp_call *call, const struct query_commands_args *args)
{
	json_t *list = json_array();

	(void)args;
	if (list && (add_names(list, qmp_builtin_commands, call->session->guest) < 0 ||
		     add_names(list, call->session->server->options.commands, call->session->guest) < 0)) {
		json_decref(list);
		list = NULL;
	}
	return_or_fail(call, list);
}

void cmd_query_qmp_schema(struct qmp_call *call, const struct query_qmp_schema_args *args)
{
	(void)args;
	return_or_fail(call, schema_introspect());
}
