/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the daemon's objects (QMP.md 2.7). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/json.h"
#include "daemon/object-watch.h"
#include "daemon/object.h"
#include "daemon/tls-creds.h"
#include "daemon/tls.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* Whether migd has to open files that O names: directories of credentials, lists, secrets. */
static bool names_files(const struct object_options *o)
{
	switch (o->qom_type) {
	case OBJECT_TYPE_TLS_CREDS_X509:
		return TLS_CREDS_COMMON(&o->u.tls_creds_x509)->has_dir;
	case OBJECT_TYPE_TLS_CREDS_PSK:
		return TLS_CREDS_COMMON(&o->u.tls_creds_psk)->has_dir;
	case OBJECT_TYPE_AUTHZ_LISTFILE:
		return true;
	case OBJECT_TYPE_SECRET:
		return o->u.secret.has_file;
	default:
		return false;
	}
}

static int check_access(const struct qmp_call *call, const struct object_options *o, struct merr *err)
{
	int r = names_files(o) ? qmp_call_may(call, QMP_ACCESS_PRIVILEGED, err) : 0;

	if (r < 0)
		(void)merr_prefix(err, "Object '%s' makes migd open files by their names", o->id);
	return r;
}

void cmd_object_add(struct qmp_call *call, const struct object_add_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;

	if (check_access(call, &args->data, &err) < 0 || objects_add(d->objects, &args->data, &err) < 0) {
		qmp_fail(call, &err);
		return;
	}
	object_watch_update(d->object_watch);
	log_info("object added type='%s' id='%s'", object_type_str(args->data.qom_type), args->data.id);
	qmp_return(call, NULL);
}

void cmd_object_del(struct qmp_call *call, const struct object_del_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;
	int r = tls_check_unused(d, args->id, &err);

	if (r == 0)
		r = objects_del(d->objects, args->id, &err);
	if (r < 0) {
		qmp_fail(call, &err);
		return;
	}
	log_info("object deleted id='%s'", args->id);
	qmp_return(call, NULL);
}

/* ---- listing ---- */

/* Members of INFO are borrowed. */
static json_t *describe(const struct object *o)
{
	struct object_info info = {
		.id = o->options.id,
		.qom_type = o->options.qom_type,
		.has_error = merr_is_set(&o->error),
		.error = (char *)(uintptr_t)merr_msg(&o->error),
	};

	return object_info_to_json(&info);
}

static const struct tls_creds_properties *properties_of(const struct object_options *o, struct tls_creds_properties *ret)
{
	*ret = o->qom_type == OBJECT_TYPE_TLS_CREDS_X509 ? *TLS_CREDS_COMMON(&o->u.tls_creds_x509)
							  : *TLS_CREDS_COMMON(&o->u.tls_creds_psk);
	return ret;
}

static json_t *describe_creds(const struct object *o)
{
	struct tls_creds_properties buf;
	const struct tls_creds_properties *p = properties_of(&o->options, &buf);
	const struct tls_creds *c = o->made;
	char *users[TLS_PSKS_MAX];
	struct tls_credential_info info = {
		.id = o->options.id,
		.qom_type = o->options.qom_type,
		.endpoint = p->has_endpoint ? p->endpoint : TLS_CREDS_ENDPOINT_CLIENT,
		.verify_peer = !p->has_verify_peer || p->verify_peer,
		.dir = p->has_dir ? p->dir : (char *)(uintptr_t)"",
		.n_certificates = c ? c->n_certificates : 0,
		.certificates = c ? c->certificates : NULL,
		.n_usernames = c ? c->n_psks : 0,
		.usernames = users,
		.has_error = merr_is_set(&o->error),
		.error = (char *)(uintptr_t)merr_msg(&o->error),
	};

	for (size_t i = 0; i < info.n_usernames; i++)
		users[i] = c->psks[i].user;
	return tls_credential_info_to_json(&info);
}

static void list(struct qmp_call *call, bool creds_only, json_t *(*fn)(const struct object *o))
{
	struct daemon *d = qmp_call_opaque(call);
	_cleanup_json_ json_t *all = json_array();
	struct merr err = MERR_INIT;
	const struct object *o;
	int r = all ? 0 : -ENOMEM;

	objects_refresh(d->objects);
	TAILQ_FOREACH(o, &d->objects->list, entry)
	if (r == 0 && (!creds_only || object_is_tls_creds(o)) && json_array_append_new(all, fn(o)) < 0)
		r = -ENOMEM;
	if (r == 0) {
		qmp_return(call, TAKE_PTR(all));
		return;
	}
	(void)merr_set(&err, r, "out of memory");
	qmp_fail(call, &err);
}

void cmd_query_objects(struct qmp_call *call, const struct query_objects_args *args)
{
	(void)args;
	list(call, false, describe);
}

void cmd_query_tls_credentials(struct qmp_call *call, const struct query_tls_credentials_args *args)
{
	(void)args;
	list(call, true, describe_creds);
}
