/* SPDX-License-Identifier: Apache-2.0 */
/* A call that another call's handler makes, whose answer goes to a function. */
#include <errno.h>

#include "qmp/internal.h"

/* An answer without a call that could have made it. */
static void answer_error(qmp_inner_fn fn, void *opaque, int r, const char *text)
{
	struct merr err = MERR_INIT;
	json_t *object;

	(void)merr_set(&err, r, "%s", text);
	object = qmp_error_object(&err);
	fn(opaque, object);
	json_decref(object);
}

void qmp_call_inner(struct qmp_call *outer, const char *name, json_t *arguments, qmp_inner_fn fn, void *opaque)
{
	struct qmp_session *s = outer->session;
	struct qmp_call *call = NULL;
	json_t *request;

	/* A session that is closed has no server any more. */
	if (s->fd < 0) {
		json_decref(arguments);
		answer_error(fn, opaque, -EPIPE, "the client has left");
		return;
	}
	request = arguments ? json_pack("{s:s, s:o}", "execute", name, "arguments", arguments)
			    : json_pack("{s:s}", "execute", name);
	if (request)
		call = qmp_call_new(s, request, NULL);
	if (!call) {
		answer_error(fn, opaque, -ENOMEM, "out of memory");
		return;
	}
	call->inner_fn = fn;
	call->inner_opaque = opaque;
	qmp_call_run(call);
}

void qmp_inner_answer(struct qmp_call *call, json_t *answer)
{
	call->inner_fn(call->inner_opaque, answer);
	json_decref(answer);
	(void)qmp_call_free(call);
}
