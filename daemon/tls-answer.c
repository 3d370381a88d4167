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

static void answer(struct migration *m, enum link_type type, json_t *body)
{
	struct conn *c = m->worker ? worker_conn(m->worker) : NULL;
	int r = body && c ? link_send(c, type, body, NULL, 0) : -ENOMEM;

	if (r == -EAGAIN)
		worker_kill(m->worker, "it did not read what the daemon sent");
	else if (r < 0 && c && r != -EPIPE)
		log_err("cannot answer a worker mig=%s message=%d: %s", m->id, type, strerror(-r));
}

/* ---- SIGN ---- */

static const struct tls_identity *find_identity(const struct migration_tls *t, const char *fingerprint)
{
	const struct tls_identity *id = t->creds ? tls_creds_find_identity(t->creds, fingerprint) : NULL;

	if (!id && t->creds_before)
		id = tls_creds_find_identity(t->creds_before, fingerprint);
	return id;
}

static int sign(struct migration *m, const struct worker_sign *s, char **ret, struct merr *err)
{
	const struct tls_identity *id = m->tls ? find_identity(m->tls, s->certificate) : NULL;

	if (!m->tls)
		return merr_set(err, -EPERM, "this migration is not under TLS");
	if (!id)
		return merr_set(err, -ENOKEY, "the daemon has no key of that certificate in the TLS credentials '%s'",
				m->tls->creds_id);
	if (!tls_sign_take(&m->tls->budget, clock_now_ns()))
		return merr_set(err, -EAGAIN, "there are too many TLS handshakes: more than %u, and %u a second", TLS_SIGN_BURST,
				TLS_SIGN_PER_SECOND);
	return tls_sign(id->key, m->direction == WORKER_DIRECTION_INCOMING, s, ret, err);
}

int tls_on_sign(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_signed w = { 0 };
	struct merr why = MERR_INIT;
	_cleanup_json_ json_t *said = NULL;
	struct worker_sign s;
	int r = worker_sign_from_json(body, &s, err);

	if (r < 0)
		return merr_prefix(err, "worker link: SIGN");
	w.serial = s.serial;
	w.has_signature = sign(m, &s, &w.signature, &why) == 0;
	w.has_error = !w.has_signature;
	w.error = w.has_error ? strdup(merr_msg(&why)) : NULL;
	if (w.has_error)
		log_warning("a worker's TLS handshake gets no signature: %s guest='%s' mig=%s", merr_msg(&why), m->guest->name,
			    m->id);
	said = worker_signed_to_json(&w);
	answer(m, LINK_SIGNED, said);
	worker_signed_done(&w);
	worker_sign_done(&s);
	return 0;
}

/* ---- AUTHORIZE ---- */

static bool is_allowed(struct migration *m, const char *dn, struct merr *why)
{
	const struct authz *a = NULL;

	if (!m->tls || !m->tls->authz_id) {
		(void)merr_set(why, -EPERM, "this migration asks nobody about its clients");
		return false;
	}
	if (objects_authz(m->guest->daemon->objects, m->tls->authz_id, &a, why) < 0) {
		(void)merr_prefix(why, "parameter 'tls-authz'");
		return false;
	}
	return authz_allows(a, dn);
}

int tls_on_authorize(struct migration *m, json_t *body, struct merr *err)
{
	struct worker_authorized w = { 0 };
	struct merr why = MERR_INIT;
	_cleanup_json_ json_t *said = NULL;
	struct worker_authorize a;
	int r = worker_authorize_from_json(body, &a, err);

	if (r < 0)
		return merr_prefix(err, "worker link: AUTHORIZE");
	w.serial = a.serial;
	w.allowed = is_allowed(m, a.dn, &why);
	w.has_error = merr_is_set(&why);
	w.error = w.has_error ? strdup(merr_msg(&why)) : NULL;
	if (w.allowed)
		log_info("a client may connect dn='%s' guest='%s' mig=%s", a.dn, m->guest->name, m->id);
	else
		log_warning("a client may not connect dn='%s' guest='%s' mig=%s: %s", a.dn, m->guest->name, m->id,
			    w.has_error ? merr_msg(&why) : "no rule of the object in parameter 'tls-authz' allows it");
	said = worker_authorized_to_json(&w);
	answer(m, LINK_AUTHORIZED, said);
	worker_authorized_done(&w);
	worker_authorize_done(&a);
	return 0;
}
