/* SPDX-License-Identifier: Apache-2.0 */
/* A call: from a request to its one answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "qmp/internal.h"
#include "qmp/request.h"

struct qmp_call *qmp_call_new(struct qmp_session *s, json_t *request, const struct merr *err)
{
	struct qmp_call *call = calloc(1, sizeof(*call));
	struct qmp_request parts;

	if (!call) {
		json_decref(request);
		return NULL;
	}
	call->session = s;
	s->refs++;
	call->request = request;
	if (!request) {
		call->err = *err;
		return call;
	}
	if (qmp_request_check(request, s->oob, &parts, &call->err) == 0) {
		call->verb = parts.command;
		call->arguments = parts.arguments;
		call->oob = parts.oob;
	}
	call->id = parts.id;
	return call;
}

struct qmp_call *qmp_call_free(struct qmp_call *call)
{
	if (!call)
		return NULL;
	fd_batch_done(&call->fds);
	json_decref(call->request);
	qmp_session_unref(call->session);
	free(call);
	return NULL;
}

static int compare(const void *name, const void *command)
{
	return strcmp(name, (*(const struct qmp_command *const *)command)->name);
}

static const struct qmp_command *find(const struct qmp_server *s, const char *name)
{
	const struct qmp_command **found = bsearch(name, s->by_name, s->n_commands, sizeof(s->by_name[0]), compare);

	return found ? *found : NULL;
}

const char *qmp_access_str(enum qmp_access access)
{
	static const char *const names[] = {
		[QMP_ACCESS_READ] = "read",
		[QMP_ACCESS_OPERATE] = "operate",
		[QMP_ACCESS_ADMIN] = "admin",
		[QMP_ACCESS_PRIVILEGED] = "privileged",
	};

	return (size_t)access < ARRAY_SIZE(names) ? names[access] : "unknown";
}

static bool is_negotiation(const char *name)
{
	return strcmp(name, "qmp_capabilities") == 0;
}

/* Whoever can connect may negotiate: refusals have to be readable. */
static int check_access(const struct qmp_session *s, const struct qmp_command *command, struct merr *err)
{
	int r = is_negotiation(command->name) ? 0 : qmp_session_may(s, command->access, err);

	if (r < 0)
		(void)merr_prefix(err, "The command %s is refused", command->name);
	return r;
}

static int check_scope(const struct qmp_session *s, const struct qmp_command *command, struct merr *err)
{
	if (!s->guest || !command->host_scoped)
		return 0;
	return merr_set(err, -EPERM,
			"The command %s is about the whole host, and this socket is for guest '%s' only: use migd's own",
			command->name, s->guest);
}

/* Whose doing it is. */
static void add_log_fields(struct log_scope *scope, const struct qmp_call *call)
{
	char number[16];

	if (!call->verb)
		return;
	log_scope_add(scope, "MIGD_COMMAND", call->verb);
	(void)snprintf(number, sizeof(number), "%u", (unsigned int)call->session->peer.uid);
	log_scope_add(scope, "MIGD_CLIENT_UID", number);
	(void)snprintf(number, sizeof(number), "%d", (int)call->session->peer.pid);
	log_scope_add(scope, "MIGD_CLIENT_PID", number);
}

static int run(struct qmp_call *call, struct merr *err)
{
	const struct qmp_session *s = call->session;
	const struct qmp_command *command;
	_log_scope_ struct log_scope scope;

	log_scope_enter(&scope);
	add_log_fields(&scope, call);
	if (merr_is_set(&call->err))
		return merr_copy(err, &call->err);
	if (!s->negotiated && !is_negotiation(call->verb))
		return merr_set_class(err, MERR_COMMAND_NOT_FOUND, -ENOENT,
				      "Expecting capabilities negotiation with 'qmp_capabilities'");
	command = find(s->server, call->verb);
	if (!command)
		return merr_set_class(err, MERR_COMMAND_NOT_FOUND, -ENOENT,
				      "The command %s has not been found", call->verb);
	if (call->oob && !command->allow_oob)
		return merr_set(err, -EINVAL, "The command %s does not support OOB", call->verb);
	call->command = command;
	if (check_scope(s, command, err) < 0 || check_access(s, command, err) < 0)
		return -EPERM;
	return command->dispatch(call, call->arguments, err);
}

void qmp_call_run(struct qmp_call *call)
{
	struct merr err = MERR_INIT;

	call->begun_ns = call->session->server->options.answered ? clock_now_ns() : 0;
	if (call->inner_fn)
		; /* what its session runs is the outer one */
	else if (call->oob)
		call->session->n_oob++;
	else
		call->session->running = call;
	if (run(call, &err) < 0)
		qmp_fail(call, &err);
}

/* What nobody took is there for a later command. */
static void give_back_fds(struct qmp_call *call)
{
	struct qmp_session *s = call->session;

	if (call->fds.n > 0 && s->unclaimed.n == 0) {
		s->unclaimed = call->fds;
		call->fds.n = 0;
	}
}

/* OBJECT is taken over; NULL: no memory for it. */
static void answer(struct qmp_call *call, json_t *object)
{
	struct qmp_session *s = call->session;

	if (call->inner_fn) {
		qmp_inner_answer(call, object);
		return;
	}
	s->queued_bytes -= call->bytes;
	if (call->oob)
		s->n_oob--;
	else
		s->running = NULL;
	if (s->fd >= 0) {
		give_back_fds(call);
		if (object && (!call->id || json_object_set(object, "id", call->id) == 0))
			qmp_session_send(s, object);
		else
			qmp_session_close(s);
		qmp_session_wake(s);
	}
	json_decref(object);
	(void)qmp_call_free(call);
}

/* ERR: NULL after a success. */
static void tell_answered(const struct qmp_call *call, const struct merr *err)
{
	const struct qmp_session *s = call->session;
	const struct qmp_server_options *o = &s->server->options;

	if (!o->answered || !call->verb)
		return;
	o->answered(o->opaque, &(struct qmp_answered){
				       .peer = &s->peer,
				       .session = s->number,
				       .session_guest = s->guest,
				       .name = call->verb,
				       .command = call->command,
				       .arguments = call->arguments,
				       .took_ns = clock_now_ns() - call->begun_ns,
				       .inner = call->inner_fn != NULL,
				       .error_class = err ? qmp_error_class_name(err->class) : NULL,
				       .error = err ? merr_msg(err) : NULL,
				       .refused = err && err->code == -EPERM,
			       });
}

void qmp_return(struct qmp_call *call, json_t *value)
{
	tell_answered(call, NULL);
	answer(call, json_pack("{s:o}", "return", value ? value : json_object()));
}

void qmp_fail(struct qmp_call *call, const struct merr *err)
{
	tell_answered(call, err);
	answer(call, qmp_error_object(err));
}

void qmp_answer(struct qmp_call *call, int r, const struct merr *err)
{
	if (r < 0)
		qmp_fail(call, err);
	else
		qmp_return(call, NULL);
}

void *qmp_call_opaque(const struct qmp_call *call)
{
	return call->session->opaque;
}

const char *qmp_call_session_guest(const struct qmp_call *call)
{
	return call->session->guest;
}

int qmp_call_may(const struct qmp_call *call, enum qmp_access access, struct merr *err)
{
	return qmp_session_may(call->session, access, err);
}

int qmp_call_take_fd(struct qmp_call *call)
{
	return fd_batch_take(&call->fds);
}

int qmp_call_name_fd(struct qmp_call *call, const char *name, int fd, struct merr *err)
{
	return named_fds_add(&call->session->named_fds, name, fd, err);
}

int qmp_call_take_named_fd(struct qmp_call *call, const char *name)
{
	return named_fds_take(&call->session->named_fds, name);
}
