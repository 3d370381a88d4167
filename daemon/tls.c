/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations and their TLS credentials. */
#include "daemon/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/greet.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/object.h"
#include "daemon/registry.h"
#include "daemon/tls-creds.h"
#include "daemon/worker.h"
#include "engine/link.h"

/* ---- which ---- */

static bool is_outgoing(const struct migration *m)
{
	return m->direction == WORKER_DIRECTION_OUTGOING;
}

/* A Unix socket that a client passed leads to a program of this host. */
static bool is_network_socket(const struct migration *m)
{
	int domain = AF_UNIX, fd = m->listen_fd >= 0 ? m->listen_fd : m->stream_fd;
	socklen_t len = sizeof(domain);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX;
}

/* It leaves this host, as far as can be told: what a command does with a stream cannot. */
static bool is_remote(const struct migration *m)
{
	if (m->addr.type == ADDR_FD)
		return is_network_socket(m);
	return (addr_is_network(&m->addr) && m->addr.type != ADDR_UNIX) || m->addr.type == ADDR_SHARED;
}

static const char *text_of(const struct str_or_null *s)
{
	return s->kind == STR_OR_NULL_KIND_S ? s->u.s : "";
}

/* "": it is not to be under TLS. *RET_OWN: its guest's parameter says so. */
static const char *chosen(const struct migration *m, const struct migration_parameters *p, bool *ret_own)
{
	const struct host_parameters *h = &m->guest->daemon->host;
	const char *own = text_of(&p->tls_creds);

	*ret_own = own[0] != '\0';
	if (*ret_own || !is_remote(m))
		return own;
	return is_outgoing(m) ? h->tls_creds : h->tls_creds_incoming;
}

static int check_not_required(const struct migration *m, struct merr *err)
{
	if (!m->guest->daemon->host.tls_required || !is_remote(m))
		return 0;
	return merr_set(err, -EPERM,
			"This host's parameter 'tls-required' is on, and this migration over a network has no TLS: name credentials "
			"in the guest's parameter 'tls-creds', or in the host's '%s' (host-set-parameters)",
			is_outgoing(m) ? "tls-creds" : "tls-creds-incoming");
}

/* ---- whether they fit ---- */

static int check_endpoint(bool outgoing, const char *id, const struct tls_creds *c, struct merr *err)
{
	enum tls_creds_endpoint wanted = outgoing ? TLS_CREDS_ENDPOINT_CLIENT : TLS_CREDS_ENDPOINT_SERVER;

	if (c->endpoint == wanted)
		return 0;
	return merr_set(err, -EINVAL,
			"TLS credentials '%s' are for endpoint '%s', and a migration's %s needs some for endpoint '%s'", id,
			tls_creds_endpoint_str(c->endpoint), outgoing ? "source" : "destination",
			tls_creds_endpoint_str(wanted));
}

/* What would be ignored must not be believed to be on. */
static int check_authz(const struct tls_creds *c, const char *authz, struct merr *err)
{
	if (!authz || (c->type == OBJECT_TYPE_TLS_CREDS_X509 && c->verify_peer))
		return 0;
	return merr_set(err, -EINVAL,
			"Parameter 'tls_authz' ('%s') needs credentials by which clients have to show a certificate: "
			"tls-creds-x509 with verify-peer",
			authz);
}

static int check_stream(const struct migration *m, const char *id, struct merr *err)
{
	if (!m->return_path)
		return merr_set(err, -EINVAL,
				"TLS credentials '%s' need a socket, and '%s' is none: set parameter 'tls-creds' to '' for a stream "
				"that is not encrypted",
				id, m->uri);
	if (m->guest->capabilities[MIGRATION_CAPABILITY_ZERO_COPY_SEND])
		return merr_set(err, -EINVAL,
				"Capability 'zero-copy-send' is not compatible with TLS (credentials '%s'): turn it off", id);
	return 0;
}

static const char *hostname_of(const struct migration *m, const struct migration_parameters *p)
{
	const char *own = text_of(&p->tls_hostname);

	if (own[0])
		return own;
	return m->addr.type == ADDR_TCP && m->addr.host[0] ? m->addr.host : NULL;
}

static int copy(const char *s, char **ret)
{
	*ret = s && s[0] ? strdup(s) : NULL;
	return s && s[0] && !*ret ? -ENOMEM : 0;
}

/* Who may connect, unless the guest's own parameter says so: with the host's credentials only. */
static const char *authz_of(const struct migration *m, const struct migration_parameters *p)
{
	bool own;

	(void)chosen(m, p, &own);
	return own || text_of(&p->tls_authz)[0] ? text_of(&p->tls_authz) : m->guest->daemon->host.tls_authz_incoming;
}

static int tls_new(const struct migration *m, const char *id, const struct migration_parameters *p,
		   struct migration_tls **ret, struct merr *err)
{
	struct migration_tls *t = calloc(1, sizeof(*t));
	int r = t ? 0 : -ENOMEM;

	if (r == 0 && !(t->creds_id = strdup(id)))
		r = -ENOMEM;
	if (r == 0)
		r = copy(is_outgoing(m) ? hostname_of(m, p) : NULL, &t->hostname);
	if (r == 0)
		r = copy(is_outgoing(m) ? NULL : authz_of(m, p), &t->authz_id);
	if (r < 0) {
		(void)tls_free(t);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	*ret = t;
	return 0;
}

struct migration_tls *tls_free(struct migration_tls *t)
{
	if (!t)
		return NULL;
	(void)tls_creds_unref(t->creds);
	(void)tls_creds_unref(t->creds_before);
	free(t->creds_id);
	free(t->authz_id);
	free(t->hostname);
	free(t);
	return NULL;
}

static int resolve(const struct daemon *d, bool outgoing, struct migration_tls *t, struct merr *err)
{
	struct tls_creds *c = NULL;
	int r = objects_tls_creds(d->objects, t->creds_id, &c, err);

	if (r == 0)
		r = check_endpoint(outgoing, t->creds_id, c, err);
	if (r == 0)
		r = check_authz(c, t->authz_id, err);
	if (r == 0)
		t->creds = tls_creds_ref(c);
	return r;
}

int tls_prepare(struct migration *m, struct merr *err)
{
	const struct migration_parameters *p = &m->guest->parameters;
	struct migration_tls *t = NULL;
	const char *id;
	bool own;
	int r;

	if (m->tls_decided)
		return 0;
	id = chosen(m, p, &own);
	r = id[0] ? check_stream(m, id, err) : check_not_required(m, err);
	if (r == 0 && id[0])
		r = tls_new(m, id, p, &t, err);
	if (r == 0 && t)
		r = resolve(m->guest->daemon, is_outgoing(m), t, err);
	if (r < 0) {
		(void)tls_free(t);
		return own || !id[0] ? r : merr_prefix(err, "the host's TLS credentials");
	}
	m->tls = t;
	m->tls_decided = true;
	return 0;
}

int tls_prepare_hearing(const struct daemon *d, struct migration_tls **ret, struct merr *err)
{
	struct migration_tls *t;
	int r;

	*ret = NULL;
	if (!d->host.tls_creds_incoming[0])
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t || copy(d->host.tls_creds_incoming, &t->creds_id) < 0 || copy(d->host.tls_authz_incoming, &t->authz_id) < 0) {
		(void)tls_free(t);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	r = resolve(d, false, t, err);
	if (r < 0)
		(void)tls_free(t);
	else
		*ret = t;
	return r < 0 ? merr_prefix(err, "the host's TLS credentials") : 0;
}

void tls_adopt(struct migration *m, const struct worker_start *start)
{
	struct merr err = MERR_INIT;
	bool own;
	int r;

	m->tls = tls_free(m->tls);
	m->tls_decided = true;
	if (!start->has_tls || !start->tls)
		return;
	r = tls_new(m, chosen(m, &start->parameters, &own), &start->parameters, &m->tls, &err);
	if (r == 0)
		r = m->tls->creds_id[0] ? resolve(m->guest->daemon, is_outgoing(m), m->tls, &err) : merr_set(&err, -ENOENT, "the host's were taken away");
	/* They may have been replaced since the worker was told. */
	if (r == 0)
		r = tls_send(m, &err);
	if (r < 0)
		log_warning("a migration that was taken over has lost its TLS credentials, and cannot connect again guest='%s' "
			    "mig=%s: %s",
			    m->guest->name, m->id, merr_msg(&err));
}

/* ---- telling workers ---- */

static int describe_x509(const struct tls_creds *c, struct worker_tls *w)
{
	w->kind = WORKER_TLS_KIND_X509;
	w->has_ca = true;
	w->ca = strdup(c->authorities);
	w->has_crl = c->revoked != NULL;
	w->crl = c->revoked ? strdup(c->revoked) : NULL;
	w->has_certificates = c->n_identities > 0;
	w->certificates = calloc(TLS_IDENTITIES_MAX, sizeof(*w->certificates));
	if (!w->ca || !w->certificates || (c->revoked && !w->crl))
		return -ENOMEM;
	for (size_t i = 0; i < c->n_identities; i++) {
		w->certificates[i] = strdup(c->identities[i].chain);
		if (!w->certificates[i])
			return -ENOMEM;
		w->n_certificates++;
	}
	return 0;
}

static int describe_psk(const struct tls_creds *c, struct worker_tls *w)
{
	w->kind = WORKER_TLS_KIND_PSK;
	w->has_psks = true;
	w->psks = calloc(c->n_psks, sizeof(*w->psks));
	if (!w->psks)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_psks; i++) {
		w->n_psks++;
		w->psks[i].identity = strdup(c->psks[i].user);
		w->psks[i].key = strdup(c->psks[i].key);
		if (!w->psks[i].identity || !w->psks[i].key)
			return -ENOMEM;
	}
	return 0;
}

static int describe_priority(const struct tls_priority *p, struct worker_tls *w)
{
	w->has_min_version = w->has_max_version = true;
	w->min_version = strdup(p->tls12 ? "1.2" : "1.3");
	w->max_version = strdup(p->tls13 ? "1.3" : "1.2");
	w->has_ciphers12 = p->tls12;
	w->ciphers12 = p->tls12 ? strdup(p->ciphers_12) : NULL;
	w->has_ciphersuites13 = p->tls13;
	w->ciphersuites13 = p->tls13 ? strdup(p->suites_13) : NULL;
	w->has_server_precedence = true;
	w->server_precedence = p->server_precedence;
	w->has_groups = true;
	w->groups = strdup(p->groups);
	return w->min_version && w->max_version && w->groups && (!p->tls12 || w->ciphers12) && (!p->tls13 || w->ciphersuites13)
		       ? 0
		       : -ENOMEM;
}

/* SERVER_NAME: what a server of several guests is told; or else it is the host's name. */
static int describe(const struct migration_tls *t, const char *server_name, struct worker_tls *w)
{
	const struct tls_creds *c = t->creds;
	int r = c->type == OBJECT_TYPE_TLS_CREDS_X509 ? describe_x509(c, w) : describe_psk(c, w);

	w->verify_peer = c->verify_peer;
	w->authorize = t->authz_id != NULL;
	w->has_hostname = t->hostname != NULL;
	w->hostname = t->hostname ? strdup(t->hostname) : NULL;
	w->has_server_name = server_name != NULL;
	w->server_name = server_name ? strdup(server_name) : NULL;
	if ((t->hostname && !w->hostname) || (server_name && !w->server_name))
		r = -ENOMEM;
	return r == 0 && c->has_priority ? describe_priority(&c->priority, w) : r;
}

static void wipe(struct worker_tls *w)
{
	for (size_t i = 0; i < w->n_psks; i++)
		if (w->psks[i].key)
			explicit_bzero(w->psks[i].key, strlen(w->psks[i].key));
	worker_tls_done(w);
}

int tls_send_to(const struct migration_tls *t, const char *server_name, struct conn *c, struct merr *err)
{
	struct worker_tls w = { 0 };
	int r = describe(t, server_name, &w);

	if (r == 0)
		r = link_send_tls(c, &w);
	wipe(&w);
	return r < 0 ? merr_set_errno(err, r, "cannot tell a worker its TLS credentials '%s'", t->creds_id) : 0;
}

int tls_send(struct migration *m, struct merr *err)
{
	struct conn *c = m->worker ? worker_conn(m->worker) : NULL;
	char name[GREETING_SERVER_NAME_MAX + 1];

	if (!m->tls || !m->tls->creds || !c)
		return 0;
	return tls_send_to(m->tls, greet_server_name(m, false, name) ? name : NULL, c, err);
}

static void update(struct migration *m, const char *id)
{
	struct merr err = MERR_INIT;
	struct tls_creds *c = NULL;

	if (!m->tls || !m->worker || m->adopting || strcmp(m->tls->creds_id, id) != 0)
		return;
	if (objects_tls_creds(m->guest->daemon->objects, id, &c, &err) == 0 && c != m->tls->creds) {
		(void)tls_creds_unref(m->tls->creds_before);
		m->tls->creds_before = m->tls->creds;
		m->tls->creds = tls_creds_ref(c);
		(void)tls_send(m, &err);
	}
	if (merr_is_set(&err))
		log_warning("%s guest='%s' mig=%s", merr_msg(&err), m->guest->name, m->id);
}

/* ---- who uses what ---- */

/* Call FN for all migrations until it is true; then the migration. */
static struct migration *find_migration(const struct daemon *d, bool (*fn)(struct migration *m, const char *id),
					const char *id)
{
	struct migration *m;
	struct guest *g;

	TAILQ_FOREACH(g, &d->registry->guests, entry) {
		if (g->migration && fn(g->migration, id))
			return g->migration;
		TAILQ_FOREACH(m, &g->lingering, entry)
		if (fn(m, id))
			return m;
	}
	return NULL;
}

static bool update_one(struct migration *m, const char *id)
{
	update(m, id);
	return false;
}

void tls_object_changed(struct daemon *d, const char *id)
{
	(void)find_migration(d, update_one, id);
}

static bool uses(struct migration *m, const char *id)
{
	return m->tls && (migration_running(m) || m->worker) &&
	       (strcmp(m->tls->creds_id, id) == 0 || (m->tls->authz_id && strcmp(m->tls->authz_id, id) == 0));
}

int tls_check_unused(const struct daemon *d, const char *id, struct merr *err)
{
	const struct migration *m = find_migration(d, uses, id);

	if (m)
		return merr_set(err, -EBUSY, "object '%s' is in use by a migration of guest '%s': wait for its end, or cancel it", id,
				m->guest->name);
	if (strcmp(d->host.tls_creds, id) == 0 || strcmp(d->host.tls_creds_incoming, id) == 0 ||
	    strcmp(d->host.tls_authz_incoming, id) == 0)
		return merr_set(err, -EBUSY, "object '%s' is in use by the host's parameters: host-set-parameters first", id);
	return 0;
}

/* ---- the host's ---- */

/* ID is to take the place of WAS: one that stays may be of no use just now, without keeping others from being set. */
static int check_host_creds(const struct daemon *d, const char *was, const char *id, const char *name,
			    enum tls_creds_endpoint endpoint, struct merr *err)
{
	struct tls_creds *c = NULL;
	int r = id[0] && strcmp(id, was) != 0 ? objects_tls_creds(d->objects, id, &c, err) : 0;

	if (r == 0 && c && c->endpoint != endpoint)
		r = merr_set(err, -EINVAL, "TLS credentials '%s' are for endpoint '%s', not '%s'", id,
			     tls_creds_endpoint_str(c->endpoint), tls_creds_endpoint_str(endpoint));
	return r < 0 ? merr_prefix(err, "Parameter '%s'", name) : 0;
}

static int check_host_authz(const struct daemon *d, const char *id, struct merr *err)
{
	const struct authz *a = NULL;

	if (!id[0] || strcmp(id, d->host.tls_authz_incoming) == 0 || objects_authz(d->objects, id, &a, err) == 0)
		return 0;
	return merr_prefix(err, "Parameter 'tls-authz-incoming'");
}

int tls_check_host(const struct daemon *d, const struct host_parameters *p, struct merr *err)
{
	int r = check_host_creds(d, d->host.tls_creds, p->tls_creds, "tls-creds", TLS_CREDS_ENDPOINT_CLIENT, err);

	if (r == 0)
		r = check_host_creds(d, d->host.tls_creds_incoming, p->tls_creds_incoming, "tls-creds-incoming",
				     TLS_CREDS_ENDPOINT_SERVER, err);
	if (r == 0)
		r = check_host_authz(d, p->tls_authz_incoming, err);
	return r;
}
