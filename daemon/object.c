/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's objects. */
#include "daemon/object.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/authz.h"
#include "daemon/object-store.h"
#include "daemon/psk.h"
#include "daemon/secret.h"
#include "daemon/tls-creds.h"
#include "daemon/x509.h"

/* ---- kinds ---- */

/* Where a kind's function finds other objects, and notes which files it read. */
struct making {
	const struct objects *all;
	struct cred_files *files;
};

static int find_password(const struct objects *os, const char *id, const struct secret **ret, struct merr *err)
{
	const struct object *o = objects_find(os, id);

	if (!o || o->options.qom_type != OBJECT_TYPE_SECRET)
		return merr_set(err, -ENOENT, "Parameter 'passwordid': there is no secret '%s'; object-add it first", id);
	if (!o->made)
		return merr_set(err, -ENOKEY, "secret '%s': %s", id, merr_msg(&o->error));
	*ret = o->made;
	return 0;
}

static int make_x509(const struct making *m, const struct object_options *o, void **ret, struct merr *err)
{
	const struct tls_creds_x509_properties *p = &o->u.tls_creds_x509;
	const struct secret *password = NULL;
	struct tls_creds *c = NULL;
	int r = p->has_passwordid ? find_password(m->all, p->passwordid, &password, err) : 0;

	if (r == 0)
		r = x509_load(p, password, m->files, &c, err);
	if (r == 0)
		*ret = c;
	return r;
}

static int make_psk(const struct making *m, const struct object_options *o, void **ret, struct merr *err)
{
	struct tls_creds *c = NULL;
	int r = psk_load(&o->u.tls_creds_psk, m->files, &c, err);

	if (r == 0)
		*ret = c;
	return r;
}

static int make_authz(const struct making *m, const struct object_options *o, void **ret, struct merr *err)
{
	struct authz *a = NULL;
	int r = authz_load(o, m->files, &a, err);

	if (r == 0)
		*ret = a;
	return r;
}

static int make_secret(const struct making *m, const struct object_options *o, void **ret, struct merr *err)
{
	struct secret *s = NULL;
	int r = secret_load(&o->u.secret, m->files, &s, err);

	if (r == 0)
		*ret = s;
	return r;
}

static void drop_tls_creds(void *made)
{
	(void)tls_creds_unref(made);
}

static void drop_authz(void *made)
{
	(void)authz_free(made);
}

static void drop_secret(void *made)
{
	(void)secret_free(made);
}

static const struct kind {
	int (*make)(const struct making *m, const struct object_options *o, void **ret, struct merr *err);
	void (*drop)(void *made);
	const char *refused; /* why there are none */
} kinds[OBJECT_TYPE__MAX] = {
	[OBJECT_TYPE_TLS_CREDS_X509] = { make_x509, drop_tls_creds, NULL },
	[OBJECT_TYPE_TLS_CREDS_PSK] = { make_psk, drop_tls_creds, NULL },
	[OBJECT_TYPE_TLS_CREDS_ANON] = { NULL, NULL,
					 "without authentication whoever is in between can read and change everything: use "
					 "tls-creds-psk or tls-creds-x509" },
	[OBJECT_TYPE_AUTHZ_SIMPLE] = { make_authz, drop_authz, NULL },
	[OBJECT_TYPE_AUTHZ_LIST] = { make_authz, drop_authz, NULL },
	[OBJECT_TYPE_AUTHZ_LISTFILE] = { make_authz, drop_authz, NULL },
	[OBJECT_TYPE_AUTHZ_PAM] = { NULL, NULL, "migd does not use PAM: list the clients with authz-list or authz-listfile" },
	[OBJECT_TYPE_SECRET] = { make_secret, drop_secret, NULL },
};

bool object_is_tls_creds(const struct object *o)
{
	return kinds[o->options.qom_type].make == make_x509 || kinds[o->options.qom_type].make == make_psk;
}

/* Changes of its file do not matter. */
static bool is_fixed(const struct object_options *o)
{
	return o->qom_type == OBJECT_TYPE_AUTHZ_LISTFILE && o->u.authz_listfile.has_refresh && !o->u.authz_listfile.refresh;
}

/* ---- making ---- */

static int make(const struct objects *os, struct object *o, void **ret, struct merr *err)
{
	const struct making m = { .all = os, .files = &o->files };

	cred_files_done(&o->files);
	return kinds[o->options.qom_type].make(&m, &o->options, ret, err);
}

static void drop(struct object *o)
{
	if (o->made)
		kinds[o->options.qom_type].drop(o->made);
	o->made = NULL;
}

static void tell_failure(const struct object *o, const struct merr *now)
{
	if (strcmp(merr_msg(now), merr_msg(&o->error)) != 0)
		log_warning("an object cannot be read again, %s id='%s': %s",
			    o->made ? "what was read before stays in use" : "it is of no use", o->options.id, merr_msg(now));
}

static void refresh(struct objects *os, struct object *o)
{
	struct merr err = MERR_INIT;
	void *made = NULL;

	if (o->made && !merr_is_set(&o->error) && (is_fixed(&o->options) || !cred_files_changed(&o->files)))
		return;
	if (make(os, o, &made, &err) < 0) {
		tell_failure(o, &err);
		o->error = err;
		return;
	}
	log_info("an object was read again id='%s'", o->options.id);
	drop(o);
	o->made = made;
	merr_clear(&o->error);
	os->on_changed(os->opaque, o->options.id);
}

void objects_refresh(struct objects *os)
{
	struct object *o;

	/* Secrets first: what is encrypted needs them. */
	TAILQ_FOREACH(o, &os->list, entry)
	if (o->options.qom_type == OBJECT_TYPE_SECRET)
		refresh(os, o);
	TAILQ_FOREACH(o, &os->list, entry)
	if (o->options.qom_type != OBJECT_TYPE_SECRET)
		refresh(os, o);
}

/* ---- the list ---- */

struct object *objects_find(const struct objects *os, const char *id)
{
	struct object *o;

	TAILQ_FOREACH(o, &os->list, entry)
	if (strcmp(o->options.id, id) == 0)
		return o;
	return NULL;
}

static int check_id(const struct objects *os, const char *id, struct merr *err)
{
	size_t i;

	for (i = 0; isascii(id[i]) && (isalnum((unsigned char)id[i]) || (id[i] && strchr("-._", id[i]))); i++)
		;
	if (!isalpha((unsigned char)id[0]) || !isascii(id[0]) || id[i] || i > OBJECT_ID_MAX_LEN)
		return merr_set(err, -EINVAL,
				"Parameter 'id' expects an identifier: a letter, then letters, digits, '-', '.' and '_', at most %u "
				"in all; not '%s'",
				OBJECT_ID_MAX_LEN, id);
	if (objects_find(os, id))
		return merr_set(err, -EEXIST, "there is an object '%s' already: choose another id, or object-del that first", id);
	if (os->n >= OBJECTS_MAX)
		return merr_set(err, -E2BIG, "there are %u objects already", OBJECTS_MAX);
	return 0;
}

static void free_object(struct object *o)
{
	drop(o);
	cred_files_done(&o->files);
	object_options_done(&o->options);
	free(o);
}

static int new_object(const struct object_options *options, struct object **ret, struct merr *err)
{
	struct object *o = calloc(1, sizeof(*o));

	if (!o || object_options_copy(&o->options, options) < 0) {
		free(o);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	*ret = o;
	return 0;
}

static void append(struct objects *os, struct object *o)
{
	TAILQ_INSERT_TAIL(&os->list, o, entry);
	os->n++;
}

int objects_add(struct objects *os, const struct object_options *options, struct merr *err)
{
	const char *kind = object_type_str(options->qom_type), *refused = kinds[options->qom_type].refused;
	struct object *o = NULL;
	int r = check_id(os, options->id, err);

	if (r < 0)
		return r;
	if (refused)
		return merr_set(err, -ENOTSUP, "objects of type '%s' are not supported: %s", kind, refused);
	r = new_object(options, &o, err);
	if (r < 0)
		return r;
	r = make(os, o, &o->made, err);
	if (r < 0) {
		free_object(o);
		return merr_prefix(err, "%s '%s'", kind, options->id);
	}
	append(os, o);
	object_store_save(os);
	return 0;
}

/* One that a former daemon kept. */
static void restore(void *opaque, const struct object_options *options)
{
	struct objects *os = opaque;
	struct merr err = MERR_INIT;
	struct object *o = NULL;

	if (check_id(os, options->id, &err) < 0 || kinds[options->qom_type].refused ||
	    new_object(options, &o, &err) < 0) {
		log_err("ignoring an object of a former daemon: %s", merr_msg(&err));
		return;
	}
	append(os, o);
	if (make(os, o, &o->made, &o->error) < 0)
		log_warning("an object of a former daemon is of no use now id='%s': %s", options->id, merr_msg(&o->error));
}

struct objects *objects_new(struct state_dir *state, object_changed_fn fn, void *opaque)
{
	struct objects *os = calloc(1, sizeof(*os));

	if (!os)
		return NULL;
	os->state = state;
	os->on_changed = fn;
	os->opaque = opaque;
	TAILQ_INIT(&os->list);
	object_store_load(state, restore, os);
	return os;
}

struct objects *objects_free(struct objects *os)
{
	struct object *o;

	while (os && (o = TAILQ_FIRST(&os->list))) {
		TAILQ_REMOVE(&os->list, o, entry);
		free_object(o);
	}
	free(os);
	return NULL;
}

static const struct object *who_needs(const struct objects *os, const char *id)
{
	const struct object *o;

	TAILQ_FOREACH(o, &os->list, entry)
	if (o->options.qom_type == OBJECT_TYPE_TLS_CREDS_X509 && o->options.u.tls_creds_x509.has_passwordid &&
	    strcmp(o->options.u.tls_creds_x509.passwordid, id) == 0)
		return o;
	return NULL;
}

int objects_del(struct objects *os, const char *id, struct merr *err)
{
	struct object *o = objects_find(os, id);
	const struct object *user;

	if (!o)
		return merr_set(err, -ENOENT, "there is no object '%s'; query-objects lists those there are", id);
	user = o->options.qom_type == OBJECT_TYPE_SECRET ? who_needs(os, id) : NULL;
	if (user)
		return merr_set(err, -EBUSY, "object '%s' is in use by object '%s': object-del that first", id, user->options.id);
	TAILQ_REMOVE(&os->list, o, entry);
	os->n--;
	free_object(o);
	object_store_save(os);
	return 0;
}

/* ---- what they stand for ---- */

static int find_made(struct objects *os, const char *id, bool creds, const char *wanted, void **ret, struct merr *err)
{
	struct object *o = objects_find(os, id);
	const struct kind *k = o ? &kinds[o->options.qom_type] : NULL;

	if (!o)
		return merr_set(err, -ENOENT, "there is no object '%s': object-add %s of that id first", id, wanted);
	if (k->drop != (creds ? drop_tls_creds : drop_authz))
		return merr_set(err, -EINVAL, "object '%s' is of type '%s', and %s is needed", id,
				object_type_str(o->options.qom_type), wanted);
	objects_refresh(os);
	if (!o->made)
		return merr_set(err, o->error.code, "object '%s': %s", id, merr_msg(&o->error));
	*ret = o->made;
	return 0;
}

int objects_tls_creds(struct objects *os, const char *id, struct tls_creds **ret, struct merr *err)
{
	void *made = NULL;
	int r = find_made(os, id, true, "TLS credentials (tls-creds-x509, tls-creds-psk)", &made, err);

	if (r == 0)
		*ret = made;
	return r;
}

int objects_authz(struct objects *os, const char *id, const struct authz **ret, struct merr *err)
{
	void *made = NULL;
	int r = find_made(os, id, false, "an authz-simple, authz-list or authz-listfile", &made, err);

	if (r == 0)
		*ret = made;
	return r;
}
