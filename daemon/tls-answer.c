/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of workers about TLS: a signature of a key that never leaves the daemon, and whether a client may connect.
 *
 * A worker may have been taken over by a hostile stream. It gets signatures with its migration's own credentials only, of
 * nothing but what a TLS handshake of its side signs, and no more of them than a host's connections take; and it is told
 * yes or no about a name that it says, which is as good as the worker is: the rules protect the guest that it receives.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/authz.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/object.h"
#include "daemon/tls-creds.h"
#include "daemon/tls-sign.h"
#include "daemon/tls.h"
#include "daemon/worker.h"
#include "engine/link.h"

/* ---- SIGN ---- */

static const struct tls_identity *find_identity(const struct migration_tls *t, const char *fingerprint)
{
	const struct tls_identity *id = t->creds ? tls_creds_find_identity(t->creds, fingerprint) : NULL;

	if (!id && t->creds_before)
		id = tls_creds_find_identity(t->creds_before, fingerprint);
	return id;
}

static int sign(struct migration_tls *t, bool server, const struct worker_sign *s, char **ret, struct merr *err)
{
	const struct tls_identity *id = t ? find_identity(t, s->certificate) : NULL;

	if (!t)
		return merr_set(err, -EPERM, "this migration is not under TLS");
	if (!id)
		return merr_set(err, -ENOKEY, "the daemon has no key of that certificate in the TLS credentials '%s'",
				t->creds_id);
	if (!budget_take(&t->budget, TLS_SIGN_BURST, TLS_SIGN_PER_SECOND, clock_now_ns()))
		return merr_set(err, -EAGAIN, "there are too many TLS handshakes: more than %u, and %u a second", TLS_SIGN_BURST,
				TLS_SIGN_PER_SECOND);
	return tls_sign(id->key, server, s, ret, err);
}

json_t *tls_answer_sign(struct migration_tls *t, bool server, const char *who, json_t *body, struct merr *err)
{
	struct worker_signed w = { 0 };
	struct merr why = MERR_INIT;
	struct worker_sign s;
	json_t *said;

	if (worker_sign_from_json(body, &s, err) < 0) {
		(void)merr_prefix(err, "worker link: SIGN");
		return NULL;
	}
	w.serial = s.serial;
	w.has_signature = sign(t, server, &s, &w.signature, &why) == 0;
	w.has_error = !w.has_signature;
	w.error = w.has_error ? strdup(merr_msg(&why)) : NULL;
	if (w.has_error)
		log_warning("a worker's TLS handshake gets no signature: %s %s", merr_msg(&why), who);
	said = worker_signed_to_json(&w);
	worker_signed_done(&w);
	worker_sign_done(&s);
	return said;
}

/* ---- AUTHORIZE ---- */

static bool is_allowed(const struct migration_tls *t, const struct daemon *d, const char *dn, struct merr *why)
{
	const struct authz *a = NULL;

	if (!t || !t->authz_id) {
		(void)merr_set(why, -EPERM, "this migration asks nobody about its clients");
		return false;
	}
	if (objects_authz(d->objects, t->authz_id, &a, why) < 0) {
		(void)merr_prefix(why, "parameter 'tls-authz'");
		return false;
	}
	return authz_allows(a, dn);
}

json_t *tls_answer_authorize(struct migration_tls *t, const struct daemon *d, const char *who, json_t *body, struct merr *err)
{
	struct worker_authorized w = { 0 };
	struct merr why = MERR_INIT;
	struct worker_authorize a;
	json_t *said;

	if (worker_authorize_from_json(body, &a, err) < 0) {
		(void)merr_prefix(err, "worker link: AUTHORIZE");
		return NULL;
	}
	w.serial = a.serial;
	w.allowed = is_allowed(t, d, a.dn, &why);
	w.has_error = merr_is_set(&why);
	w.error = w.has_error ? strdup(merr_msg(&why)) : NULL;
	if (w.allowed)
		log_info("a client may connect dn='%s' %s", a.dn, who);
	else
		log_warning("a client may not connect dn='%s' %s: %s", a.dn, who,
			    w.has_error ? merr_msg(&why) : "no rule of the object in parameter 'tls-authz' allows it");
	said = worker_authorized_to_json(&w);
	worker_authorized_done(&w);
	worker_authorize_done(&a);
	return said;
}

/* ---- a migration's worker ---- */

#define WHO_MAX (ATTACH_STR_MAX + ID_TEXT_LEN + 32)

static const char *who_is(const struct migration *m, char ret[WHO_MAX])
{
	(void)snprintf(ret, WHO_MAX, "guest='%s' mig=%s", m->guest->name, m->id);
	return ret;
}

static void answer(struct migration *m, enum link_type type, json_t *body)
{
	struct conn *c = m->worker ? worker_conn(m->worker) : NULL;
	int r = body && c ? link_send(c, type, body, NULL, 0) : -ENOMEM;

	if (r == -EAGAIN)
		worker_kill(m->worker, "it did not read what the daemon sent");
	else if (r < 0 && c && r != -EPIPE)
		log_err("cannot answer a worker mig=%s message=%d: %s", m->id, type, strerror(-r));
	json_decref(body);
}

int tls_on_sign(struct migration *m, json_t *body, struct merr *err)
{
	char who[WHO_MAX];
	json_t *said = tls_answer_sign(m->tls, m->direction == WORKER_DIRECTION_INCOMING, who_is(m, who), body, err);

	if (merr_is_set(err))
		return -EBADMSG;
	answer(m, LINK_SIGNED, said);
	return 0;
}

int tls_on_authorize(struct migration *m, json_t *body, struct merr *err)
{
	char who[WHO_MAX];
	json_t *said = tls_answer_authorize(m->tls, m->guest->daemon, who_is(m, who), body, err);

	if (merr_is_set(err))
		return -EBADMSG;
	answer(m, LINK_AUTHORIZED, said);
	return 0;
}
