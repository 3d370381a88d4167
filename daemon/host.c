/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for a whole host. */
#include "daemon/host.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/json.h"
#include "daemon/peer.h"
#include "daemon/queue.h"
#include "daemon/shares.h"
#include "daemon/state-dir.h"
#include "daemon/tls.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* In the state directory; no guest's: those are hex digits. */
#define STORE_NAME    "host"
#define STORE_VERSION 1

/* What the schema does not know about a value: one function a member. -EINVAL with ERR: a value that cannot be. */
static int (*const checks[])(const struct daemon *d, const struct host_parameters *p, struct merr *err) = {
	peer_check_source,
	tls_check_host,
};

/* Whom it concerns that D->host has changed. */
static void (*const listeners[])(struct daemon *d) = {
	shares_review,
	queue_review,
};

/* ---- kept ---- */

static void save(const struct daemon *d)
{
	struct merr err = MERR_INIT;
	_cleanup_json_ json_t *o = json_pack("{s:i, s:o}", "version", STORE_VERSION, "parameters",
					     host_parameters_to_json(&d->host));

	if (!o)
		(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!o || state_dir_save(d->state, STORE_NAME, o, true, &err) < 0)
		log_warning("the host's parameters are lost if this daemon ends: %s", merr_msg(&err));
}

static int parse(json_t *o, struct host_parameters *ret, struct merr *err)
{
	json_t *parameters;
	json_error_t why;
	int version, r;

	if (json_unpack_ex(o, &why, 0, "{s:i, s:o}", "version", &version, "parameters", &parameters) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (version != STORE_VERSION)
		return merr_set(err, -ENOTSUP, "version %d is not known to this migd, which writes %d", version,
				STORE_VERSION);
	r = host_parameters_from_json(parameters, ret, err);
	return r < 0 ? r : host_parameters_check(ret, err);
}

/* `checks` are not asked: what they look at (objects, interfaces) may come later than this daemon. */
/*
 * What was kept cannot be read: the defaults hold, but nothing goes in the clear, for that may be what was forbidden.
 */
static void fall_back(struct daemon *d, const struct merr *err)
{
	log_err("ignoring the host's parameters that a former daemon kept (settings/" STORE_NAME "): %s; "
		"tls-required is on until host-set-parameters sets them anew",
		merr_is_set(err) ? merr_msg(err) : "out of memory");
	d->host.tls_required = true;
}

static void load(struct daemon *d)
{
	struct host_parameters kept = { 0 };
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	int r = state_dir_load(d->state, STORE_NAME, &o, &err);

	if (r == -ENOENT)
		return;
	if (r == 0)
		r = parse(o, &kept, &err);
	if (r == 0)
		r = host_parameters_merge(&d->host, &kept);
	if (r < 0)
		fall_back(d, &err);
	host_parameters_done(&kept);
}

int host_init(struct daemon *d, struct merr *err)
{
	if (host_parameters_defaults(&d->host) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	load(d);
	return 0;
}

void host_done(struct daemon *d)
{
	host_parameters_done(&d->host);
}

/* ---- changed ---- */

static int check(const struct daemon *d, const struct host_parameters *p, struct merr *err)
{
	int r = host_parameters_check(p, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i] ? checks[i](d, p, err) : 0;
	return r;
}

int host_set_parameters(struct daemon *d, const struct host_parameters *changes, struct merr *err)
{
	struct host_parameters merged = { 0 };
	int r = host_parameters_copy(&merged, &d->host);

	if (r == 0)
		r = host_parameters_merge(&merged, changes);
	if (r < 0)
		(void)merr_set(err, r, "out of memory");
	else
		r = check(d, &merged, err);
	if (r < 0) {
		host_parameters_done(&merged);
		return r;
	}
	host_parameters_done(&d->host);
	d->host = merged;
	save(d);
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++)
		listeners[i](d);
	return 0;
}

void cmd_host_set_parameters(struct qmp_call *call, const struct host_set_parameters_args *args)
{
	struct merr err = MERR_INIT;

	if (host_set_parameters(qmp_call_opaque(call), &args->data, &err) < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, NULL);
}

void cmd_query_host_parameters(struct qmp_call *call, const struct query_host_parameters_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);

	(void)args;
	qmp_return(call, host_parameters_to_json(&d->host));
}
