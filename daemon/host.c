/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for a whole host. */
#include "daemon/host.h"

#include <errno.h>
#include <string.h>

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

/*
 * Only what was set by QMP is kept, which "only-given" says: former daemons kept all, of which what is a default was not set, as
 * far as anybody can tell.
 */
static void save(const struct daemon *d)
{
	struct merr err = MERR_INIT;
	_cleanup_json_ json_t *o = json_pack("{s:i, s:b, s:o}", "version", STORE_VERSION, "only-given", true, "parameters",
					     host_parameters_to_json(&d->host_given));

	if (!o)
		(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!o || state_dir_save(d->state, STORE_NAME, o, true, &err) < 0)
		log_warning("the host's parameters are lost if this daemon ends: %s", merr_msg(&err));
}

/* -ENOMEM. */
static int drop_defaults(json_t *parameters)
{
	struct host_parameters p = { 0 };
	_cleanup_json_ json_t *defaults = host_parameters_defaults(&p) == 0 ? host_parameters_to_json(&p) : NULL;
	json_t *value;
	const char *name;

	host_parameters_done(&p);
	json_object_foreach(defaults, name, value)
		if (json_equal(json_object_get(parameters, name), value))
			(void)json_object_del(parameters, name);
	return defaults ? 0 : -ENOMEM;
}

static int parse(json_t *o, struct host_parameters *ret, struct merr *err)
{
	json_t *parameters;
	json_error_t why;
	int version, only_given = 0, r = 0;

	if (json_unpack_ex(o, &why, 0, "{s:i, s?b, s:o}", "version", &version, "only-given", &only_given, "parameters",
			   &parameters) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (version != STORE_VERSION)
		return merr_set(err, -ENOTSUP, "version %d is not known to this migd, which writes %d", version,
				STORE_VERSION);
	if (!only_given)
		r = drop_defaults(parameters);
	if (r == 0)
		r = host_parameters_from_json(parameters, ret, err);
	return r < 0 ? r : host_parameters_check(ret, err);
}

/*
 * What was kept cannot be read: the configuration holds, but nothing goes in the clear, for that may be what was forbidden.
 */
static void fall_back(struct daemon *d, const struct merr *err)
{
	log_err("ignoring the host's parameters that a former daemon kept (settings/" STORE_NAME "): %s; "
		"tls-required is on until host-set-parameters sets them anew",
		merr_is_set(err) ? merr_msg(err) : "out of memory");
	d->host_given.has_tls_required = true;
	d->host_given.tls_required = true;
}

static void load(struct daemon *d)
{
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	int r = state_dir_load(d->state, STORE_NAME, &o, &err);

	if (r == -ENOENT)
		return;
	if (r == 0)
		r = parse(o, &d->host_given, &err);
	if (r < 0) {
		host_parameters_done(&d->host_given);
		fall_back(d, &err);
	}
}

/* ---- put together ---- */

/* CONFIGURED, and over it GIVEN. -ENOMEM: RET is all zero. */
static int put_together(const struct host_parameters *configured, const struct host_parameters *given,
			struct host_parameters *ret)
{
	int r;

	*ret = (struct host_parameters){ 0 };
	r = host_parameters_copy(ret, configured);
	if (r == 0)
		r = host_parameters_merge(ret, given);
	if (r < 0)
		host_parameters_done(ret);
	return r;
}

static void tell(struct daemon *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++)
		listeners[i](d);
}

/* `checks` are not asked: what they look at (objects, interfaces) may come later than this daemon. */
int host_init(struct daemon *d, struct merr *err)
{
	load(d);
	return put_together(&d->config.host, &d->host_given, &d->host) < 0 ? merr_set(err, -ENOMEM, "out of memory") : 0;
}

void host_done(struct daemon *d)
{
	host_parameters_done(&d->host);
	host_parameters_done(&d->host_given);
}

void host_reconfigured(struct daemon *d)
{
	struct host_parameters p;

	if (put_together(&d->config.host, &d->host_given, &p) < 0) {
		log_err("section [host] of the configuration is not taken: out of memory");
		return;
	}
	host_parameters_done(&d->host);
	d->host = p;
	tell(d);
}

/* ---- changed ---- */

static int check(const struct daemon *d, const struct host_parameters *p, struct merr *err)
{
	int r = host_parameters_check(p, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i] ? checks[i](d, p, err) : 0;
	return r;
}

/* GIVEN, which is taken over if it is right, takes the place of what was set by QMP. */
static int replace(struct daemon *d, struct host_parameters *given, struct merr *err)
{
	struct host_parameters p;
	int r = put_together(&d->config.host, given, &p);

	if (r < 0)
		return merr_set(err, r, "out of memory");
	r = check(d, &p, err);
	if (r < 0) {
		host_parameters_done(&p);
		return r;
	}
	host_parameters_done(&d->host);
	host_parameters_done(&d->host_given);
	d->host = p;
	d->host_given = *given;
	save(d);
	tell(d);
	return 0;
}

int host_set_parameters(struct daemon *d, const struct host_parameters *changes, struct merr *err)
{
	struct host_parameters given = { 0 };
	int r = put_together(&d->host_given, changes, &given);

	if (r < 0)
		return merr_set(err, r, "out of memory");
	r = replace(d, &given, err);
	if (r < 0)
		host_parameters_done(&given);
	return r;
}

/* All NAMES are known, or ERR says which is not. */
static int forget(json_t *given, char *const *names, size_t n, struct merr *err)
{
	const struct schema_type *t = &host_parameters_type;
	uint32_t m;

	for (size_t i = 0; i < n; i++) {
		for (m = 0; m < t->n_members && strcmp(t->members[m].name, names[i]) != 0;)
			m++;
		if (m == t->n_members)
			return merr_set(err, -EINVAL, "the host has no parameter '%.100s'", names[i]);
		(void)json_object_del(given, names[i]);
	}
	return 0;
}

int host_reset_parameters(struct daemon *d, char *const *names, size_t n, struct merr *err)
{
	_cleanup_json_ json_t *o = names ? host_parameters_to_json(&d->host_given) : json_object();
	struct host_parameters given = { 0 };
	int r = o ? 0 : merr_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = forget(o, names, n, err);
	if (r == 0)
		r = host_parameters_from_json(o, &given, err);
	if (r == 0)
		r = replace(d, &given, err);
	if (r < 0)
		host_parameters_done(&given);
	return r;
}

void cmd_host_set_parameters(struct qmp_call *call, const struct host_set_parameters_args *args)
{
	struct merr err = MERR_INIT;

	qmp_answer(call, host_set_parameters(qmp_call_opaque(call), &args->data, &err), &err);
}

void cmd_host_reset_parameters(struct qmp_call *call, const struct host_reset_parameters_args *args)
{
	struct merr err = MERR_INIT;

	qmp_answer(call, host_reset_parameters(qmp_call_opaque(call), args->has_parameters ? args->parameters : NULL,
				  args->has_parameters ? args->n_parameters : 0, &err), &err);
}

void cmd_query_host_parameters(struct qmp_call *call, const struct query_host_parameters_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);

	(void)args;
	qmp_return(call, host_parameters_to_json(&d->host));
}
