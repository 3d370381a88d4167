/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about descriptors that clients pass (QMP.md 2.6). */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "daemon/daemon.h"
#include "daemon/fdset.h"
#include "daemon/json.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* The descriptor that came with the command, or -1 after the error was answered. */
static int claim_fd(struct qmp_call *call)
{
	struct merr err = MERR_INIT;
	int fd = qmp_call_take_fd(call);

	if (fd < 0) {
		(void)merr_set(&err, -EINVAL, "No file descriptor supplied via SCM_RIGHTS");
		qmp_fail(call, &err);
	}
	return fd;
}

void cmd_getfd(struct qmp_call *call, const struct getfd_args *args)
{
	_cleanup_close_ int fd = claim_fd(call);
	struct merr err = MERR_INIT;
	int r;

	if (fd < 0)
		return;
	if (args->fdname[0] >= '0' && args->fdname[0] <= '9')
		r = merr_set(&err, -EINVAL,
			     "Parameter 'fdname' expects a name not starting with a digit");
	else
		r = qmp_call_name_fd(call, args->fdname, TAKE_FD(fd), &err);
	qmp_answer(call, r, &err);
}

void cmd_closefd(struct qmp_call *call, const struct closefd_args *args)
{
	_cleanup_close_ int fd = qmp_call_take_named_fd(call, args->fdname);
	struct merr err = MERR_INIT;
	int r = 0;

	if (fd < 0)
		r = merr_set(&err, -ENOENT, "File descriptor named '%s' not found", args->fdname);
	qmp_answer(call, r, &err);
}

void cmd_add_fd(struct qmp_call *call, const struct add_fd_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct addfd_info info = { .fdset_id = -1 };
	_cleanup_close_ int fd = claim_fd(call);
	struct merr err = MERR_INIT;
	int r = 0;

	if (fd < 0)
		return;
	if (args->has_fdset_id && args->fdset_id < 0)
		r = merr_set(&err, -EINVAL, "Parameter 'fdset-id' expects a non-negative value");
	else if (args->has_fdset_id)
		info.fdset_id = args->fdset_id;
	info.fd = fd;
	if (r == 0)
		r = fdsets_add(d->fdsets, &info.fdset_id, TAKE_FD(fd),
			       args->has_opaque ? args->opaque : NULL, &err);
	if (r < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, addfd_info_to_json(&info));
}

void cmd_remove_fd(struct qmp_call *call, const struct remove_fd_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;
	int r;

	if (args->has_fd && args->fd < 0)
		r = merr_set(&err, -EINVAL, "Parameter 'fd' expects a non-negative value");
	else
		r = fdsets_remove(d->fdsets, args->fdset_id, args->has_fd ? args->fd : -1, &err);
	qmp_answer(call, r, &err);
}

void cmd_query_fdsets(struct qmp_call *call, const struct query_fdsets_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	_cleanup_json_ json_t *list = json_array();
	struct merr err = MERR_INIT;
	struct fdset_info *sets = NULL;
	size_t n = 0;
	int r = fdsets_describe(d->fdsets, &sets, &n);

	(void)args;
	for (size_t i = 0; i < n; i++) {
		if (json_array_append_new(list, fdset_info_to_json(&sets[i])) < 0)
			r = -ENOMEM;
		fdset_info_done(&sets[i]);
	}
	free(sets);
	if (r == 0 && list) {
		qmp_return(call, TAKE_PTR(list));
		return;
	}
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}
