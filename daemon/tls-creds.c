/* SPDX-License-Identifier: Apache-2.0 */
/* What X.509 credentials and pre-shared keys have in common. */
#include "daemon/tls-creds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tls_creds_new(enum object_type type, const struct tls_creds_properties *p, struct tls_creds **ret, struct merr *err)
{
	struct tls_creds *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return merr_set(err, -ENOMEM, "out of memory");
	c->n_refs = 1;
	c->type = type;
	c->endpoint = p->has_endpoint ? p->endpoint : TLS_CREDS_ENDPOINT_CLIENT;
	c->verify_peer = !p->has_verify_peer || p->verify_peer;
	c->has_priority = p->has_priority;
	if (p->has_priority)
		r = tls_priority_parse(p->priority, type == OBJECT_TYPE_TLS_CREDS_PSK, &c->priority, err);
	if (r < 0) {
		(void)tls_creds_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct tls_creds *tls_creds_ref(struct tls_creds *c)
{
	c->n_refs++;
	return c;
}

struct tls_creds *tls_creds_unref(struct tls_creds *c)
{
	if (!c || --c->n_refs > 0)
		return NULL;
	free(c->authorities);
	free(c->revoked);
	for (size_t i = 0; i < c->n_identities; i++) {
		free(c->identities[i].chain);
		X509_free(c->identities[i].certificate);
		EVP_PKEY_free(c->identities[i].key);
	}
	for (size_t i = 0; i < c->n_certificates; i++)
		tls_certificate_info_done(&c->certificates[i]);
	free(c->certificates);
	for (size_t i = 0; i < c->n_psks; i++)
		free(c->psks[i].user);
	if (c->psks)
		explicit_bzero(c->psks, c->n_psks * sizeof(*c->psks));
	free(c->psks);
	free(c);
	return NULL;
}

int tls_creds_dir(const struct tls_creds_properties *p, const char **ret, struct merr *err)
{
	if (!p->has_dir || !p->dir[0])
		return merr_set(err, -EINVAL, "Parameter 'dir' is missing: the directory with the credentials' files");
	if (p->dir[0] != '/')
		return merr_set(err, -EINVAL, "Parameter 'dir' expects an absolute path, not '%s'", p->dir);
	*ret = p->dir;
	return 0;
}

const struct tls_identity *tls_creds_find_identity(const struct tls_creds *c, const char *fingerprint)
{
	for (size_t i = 0; i < c->n_identities; i++)
		if (strcmp(c->identities[i].fingerprint, fingerprint) == 0)
			return &c->identities[i];
	return NULL;
}
