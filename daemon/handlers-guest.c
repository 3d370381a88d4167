/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the guests of this daemon, and the daemon itself. */
#include <errno.h>
#include <migd/guest.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/hello.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/registry.h"
#include "daemon/scope.h"
#include "daemon/settings-store.h"
#include "qmp/server.h"
#include "schema/commands.h"
#include "schema/events.h"

#define SHUTDOWN_TIMEOUT_MS 10000U

struct guest *scope_guest(struct qmp_call *call, bool has_guest, const char *guest)
{
	const struct daemon *d = qmp_call_opaque(call);
	const char *session_guest = qmp_call_session_guest(call);
	struct merr err = MERR_INIT;
	struct guest *g;

	if (has_guest && session_guest && strcmp(guest, session_guest) != 0)
		(void)merr_set(&err, -EINVAL, "This socket is for guest '%s' only, not for '%s'",
			       session_guest, guest);
	g = merr_is_set(&err)
		    ? NULL
		    : registry_resolve(d->registry, has_guest ? guest : session_guest, &err);
	if (!g)
		qmp_fail(call, &err);
	return g;
}

void scope_answer(void *opaque, struct rcur *body, const struct merr *err)
{
	struct qmp_call *call = opaque;

	(void)body;
	if (err)
		qmp_fail(call, err);
	else
		qmp_return(call, NULL);
}

static void out_of_memory(struct qmp_call *call)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}

static int append_guest(json_t *list, const struct guest *g)
{
	struct guest_info info;
	int r = guest_describe(g, &info);

	if (r < 0)
		return r;
	r = json_array_append_new(list, guest_info_to_json(&info));
	guest_info_done(&info);
	return r;
}

void cmd_query_guests(struct qmp_call *call, const struct query_guests_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	const char *only = qmp_call_session_guest(call);
	_cleanup_json_ json_t *list = json_array();
	const struct guest *g;

	(void)args;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
	{
		if (only && strcmp(g->name, only) != 0)
			continue;
		if (!list || append_guest(list, g) < 0) {
			out_of_memory(call);
			return;
		}
	}
	qmp_return(call, TAKE_PTR(list));
}

void cmd_guest_attach(struct qmp_call *call, const struct guest_attach_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);

	door_reach_out(d->door, args->id, args->path, call);
}

/* -EBUSY while a migration, or a worker that has yet to tell the peer how one ended, needs G. */
static int check_detach(const struct guest *g, struct merr *err)
{
	const struct migration *m = g->migration;

	if (m && (migration_running(m) || m->status == MIGRATION_STATUS_NONE))
		return merr_set(err, -EBUSY,
				"Guest '%s' is being migrated (status %s); wait for it or use "
				"migrate_cancel",
				g->name, migration_status_str(m->status));
	if ((m && m->worker) || !TAILQ_EMPTY(&g->lingering))
		return merr_set(err, -EBUSY,
				"The last migration of guest '%s' is over, but its peer has not "
				"heard so yet; wait for it",
				g->name);
	return 0;
}

void cmd_guest_detach(struct qmp_call *call, const struct guest_detach_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct guest *g = scope_guest(call, true, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (check_detach(g, &err) < 0) {
		qmp_fail(call, &err);
		return;
	}
	if (guest_attached(g)) {
		door_lock_out(d->door, g->name, g->pid);
		guest_disconnect(g, "guest-detach");
	}
	/* No record is kept of what an operator sent away. */
	settings_forget(g);
	registry_remove(d->registry, g);
	qmp_return(call, NULL);
}

void cmd_query_name(struct qmp_call *call, const struct query_name_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct name_info info;

	if (!g)
		return;
	info = (struct name_info){ .has_name = true, .name = g->name };
	qmp_return(call, name_info_to_json(&info));
}

void cmd_query_uuid(struct qmp_call *call, const struct query_uuid_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct uuid_info info;
	char text[UUID_TEXT_LEN];

	if (!g)
		return;
	uuid_format(g->uuid, text);
	info = (struct uuid_info){ .uuid = text };
	qmp_return(call, uuid_info_to_json(&info));
}

/* ---- quit ---- */

static void quit_guest(struct qmp_call *call, struct guest *g)
{
	struct merr err = MERR_INIT;

	if (guest_request(g, ATTACH_REQUEST_SHUTDOWN, NULL, 0, NULL, 0, SHUTDOWN_TIMEOUT_MS,
			  scope_answer, call, &err) < 0)
		qmp_fail(call, &err);
}

void cmd_quit(struct qmp_call *call, const struct quit_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	const char *session_guest = qmp_call_session_guest(call);
	size_t n = registry_n_attached(d->registry);
	struct merr err = MERR_INIT;
	struct guest *g;

	if (session_guest || args->has_guest) {
		g = scope_guest(call, args->has_guest, args->guest);
		if (g)
			quit_guest(call, g);
		return;
	}
	if (n > 0) {
		(void)merr_set(&err, -EBUSY,
			       "%zu guest%s attached: use guest-detach first, or end migd by "
			       "SIGTERM, which leaves "
			       "guests and migrations alone",
			       n, n == 1 ? " is" : "s are");
		qmp_fail(call, &err);
		return;
	}
	log_notice("ending: a client asked for it by quit");
	event_shutdown(d->qmp, NULL, false, SHUTDOWN_CAUSE_HOST_QMP_QUIT);
	qmp_return(call, NULL);
	daemon_stop(d);
}
