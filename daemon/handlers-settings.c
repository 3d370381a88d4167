/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about a guest's migration parameters and capabilities. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/capabilities.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/record.h"
#include "daemon/scope.h"
#include "daemon/settings-store.h"
#include "daemon/userfaultfd.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* A QEMU built without one of these does not know its name, and says the first half of this. */
static int check_compression(const struct migration_parameters *p, struct merr *err)
{
	switch (p->multifd_compression) {
	case MULTI_FD_COMPRESSION_QATZIP:
	case MULTI_FD_COMPRESSION_QPL:
	case MULTI_FD_COMPRESSION_UADK:
		return merr_set(err, -ENOTSUP,
				"Parameter 'multifd-compression' does not accept value '%s': codecs of special "
				"hardware are not built in; use 'zstd' or 'zlib'",
				multi_fd_compression_str(p->multifd_compression));
	default:
		return 0;
	}
}

/* null means "" (QMP.md 10), and is shown so. */
static int replace_null(struct str_or_null *s)
{
	if (s->kind == STR_OR_NULL_KIND_S)
		return 0;
	s->u.s = strdup("");
	if (!s->u.s)
		return -ENOMEM;
	s->kind = STR_OR_NULL_KIND_S;
	return 0;
}

static int replace_nulls(struct migration_parameters *p)
{
	return replace_null(&p->tls_creds) < 0 || replace_null(&p->tls_hostname) < 0 ||
			       replace_null(&p->tls_authz) < 0
		       ? -ENOMEM
		       : 0;
}

static bool is_listening(const struct guest *g)
{
	return g->migration && g->migration->has_listen_addr;
}

/* All or nothing: the merged set is checked, then it takes the place of the old one. */
static int merge(struct guest *g, const struct migration_parameters *changes, struct merr *err)
{
	struct migration_parameters merged = { 0 };
	int r = migration_parameters_copy(&merged, &g->parameters);

	if (r == 0)
		r = migration_parameters_merge(&merged, changes);
	if (r == 0)
		r = replace_nulls(&merged);
	if (r < 0) {
		migration_parameters_done(&merged);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	r = migration_parameters_check(&merged, err);
	if (r == 0)
		r = check_compression(&merged, err);
	if (r == 0)
		r = capabilities_check(&(struct settings){ .on = g->capabilities,
							   .was_on = g->capabilities,
							   .parameters = &merged,
							   .has_dirty_ring = g->has_dirty_ring,
						   .listening = is_listening(g) },
				       err);
	if (r < 0) {
		migration_parameters_done(&merged);
		return r;
	}
	migration_parameters_done(&g->parameters);
	g->parameters = merged;
	return 0;
}

/* A mode cpr-exec runs it as the VMM's user. */
static int check_access(const struct qmp_call *call, const struct migration_parameters *changes, struct merr *err)
{
	int r = 0;

	if (changes->has_cpr_exec_command && changes->n_cpr_exec_command)
		r = qmp_call_may(call, QMP_ACCESS_PRIVILEGED, err);
	if (r < 0)
		(void)merr_prefix(err, "Parameter 'cpr-exec-command' is a program that is to be run");
	return r;
}

static void record_changes(struct migration *m, const struct migration_parameters *changes)
{
	_cleanup_json_ json_t *o = migration_parameters_to_json(changes);
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (text)
		record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate-set-parameters %s", text);
}

void cmd_migrate_set_parameters(struct qmp_call *call,
				const struct migrate_set_parameters_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (check_access(call, &args->data, &err) < 0 || merge(g, &args->data, &err) < 0) {
		qmp_fail(call, &err);
		return;
	}
	settings_save(g);
	if (migration_running(g->migration)) {
		record_changes(g->migration, &args->data);
		link_parameters(g->migration);
	}
	qmp_return(call, NULL);
}

void cmd_query_migrate_parameters(struct qmp_call *call,
				  const struct query_migrate_parameters_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);

	if (g)
		qmp_return(call, migration_parameters_to_json(&g->parameters));
}

static bool is_new(const struct guest *g, const bool *on, enum migration_capability c)
{
	return on[c] && !g->capabilities[c];
}

/* What is newly set the host has to be able to: post-copy where a guest is to arrive. */
static int check_host(const struct guest *g, const bool *on, struct merr *err)
{
	int r = 0;

	if (is_new(g, on, MIGRATION_CAPABILITY_POSTCOPY_RAM) && guest_run_state(g) == RUN_STATE_INMIGRATE)
		r = userfaultfd_check(USERFAULTFD_POSTCOPY, err);
	if (r == 0 && is_new(g, on, MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT))
		r = userfaultfd_check(USERFAULTFD_SNAPSHOT, err);
	return r;
}

void cmd_migrate_set_capabilities(struct qmp_call *call,
				  const struct migrate_set_capabilities_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	bool on[MIGRATION_CAPABILITY__MAX];
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (migration_running(g->migration)) {
		(void)merr_set(&err, -EBUSY,
			       "There's a migration process in progress of guest '%s': "
			       "capabilities can be set "
			       "before or after it",
			       g->name);
		qmp_fail(call, &err);
		return;
	}
	memcpy(on, g->capabilities, sizeof(on));
	for (size_t i = 0; i < args->n_capabilities; i++)
		on[args->capabilities[i].capability] = args->capabilities[i].state;
	if (capabilities_check(&(struct settings){ .on = on,
						   .was_on = g->capabilities,
						   .parameters = &g->parameters,
						   .has_dirty_ring = g->has_dirty_ring,
						   .listening = is_listening(g) },
			       &err) < 0 ||
	    check_host(g, on, &err) < 0) {
		qmp_fail(call, &err);
		return;
	}
	memcpy(g->capabilities, on, sizeof(on));
	settings_save(g);
	qmp_return(call, NULL);
}

void cmd_query_migrate_capabilities(struct qmp_call *call,
				    const struct query_migrate_capabilities_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct migration_capability_status s;
	json_t *list;

	if (!g)
		return;
	list = json_array();
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++) {
		s.capability = (enum migration_capability)i;
		s.state = g->capabilities[i];
		(void)json_array_append_new(list, migration_capability_status_to_json(&s));
	}
	qmp_return(call, list);
}
