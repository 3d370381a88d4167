/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that both sides have. OpenSSL's callbacks of TLS 1.2 serve 1.3 too: there such a key goes with SHA-256 and
 * AES-128-GCM or ChaCha20, which is what GnuTLS does with one.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tls-internal.h"

static const struct tls_shared_key *find(const struct tls *t, const char *identity)
{
	for (size_t i = 0; i < t->n_keys; i++)
		if (strcmp(t->keys[i].identity, identity) == 0)
			return &t->keys[i];
	return NULL;
}

static unsigned int give(const struct tls_shared_key *k, unsigned char *to, unsigned int max)
{
	if (k->len > max)
		return 0;
	memcpy(to, k->key, k->len);
	return (unsigned int)k->len;
}

static unsigned int on_server(SSL *ssl, const char *identity, unsigned char *key, unsigned int max)
{
	struct tls_handshake *h = tls_current();
	const struct tls_shared_key *k = find(h->tls, identity);
	char shown[TLS_PSK_IDENTITY_MAX + 1];
	size_t i;

	(void)ssl;
	if (k)
		return give(k, key, max);
	for (i = 0; i < sizeof(shown) - 1 && identity[i]; i++)
		shown[i] = isprint((unsigned char)identity[i]) ? identity[i] : '?';
	shown[i] = '\0';
	(void)merr_set(h->err, -EACCES, "TLS: the client's key is called '%s', and there is none of that name here", shown);
	return 0;
}

static unsigned int on_client(SSL *ssl, const char *hint, char *identity, unsigned int max_identity, unsigned char *key,
			      unsigned int max)
{
	const struct tls *t = tls_current()->tls;
	size_t len = strlen(t->keys[0].identity);

	(void)ssl;
	(void)hint;
	if (len >= max_identity)
		return 0;
	memcpy(identity, t->keys[0].identity, len + 1);
	return give(&t->keys[0], key, max);
}

static int copy(struct tls_shared_key *to, const struct tls_psk *from, struct merr *err)
{
	size_t len = strlen(from->identity);

	if (len == 0 || len > TLS_PSK_IDENTITY_MAX)
		return merr_set(err, -EINVAL, "a shared key's name has %zu bytes; 1 to %d are possible", len,
				TLS_PSK_IDENTITY_MAX);
	if (from->len == 0 || from->len > TLS_PSK_KEY_MAX)
		return merr_set(err, -EINVAL, "the shared key '%s' has %zu bytes; 1 to %d are possible", from->identity,
				from->len, TLS_PSK_KEY_MAX);
	memcpy(to->identity, from->identity, len + 1);
	memcpy(to->key, from->key, from->len);
	to->len = from->len;
	return 0;
}

int tls_psk_setup(struct tls *t, const struct tls_config *c, struct merr *err)
{
	int r;

	if (c->n_psks == 0 || (!c->server && c->n_psks != 1))
		return merr_set(err, -EINVAL, "%zu shared keys: a client needs one, a server at least one", c->n_psks);
	t->keys = calloc(c->n_psks, sizeof(*t->keys));
	if (!t->keys)
		return merr_set_errno(err, -ENOMEM, "shared keys");
	t->n_keys = c->n_psks;
	for (size_t i = 0; i < c->n_psks; i++) {
		r = copy(&t->keys[i], &c->psks[i], err);
		if (r < 0)
			return r;
	}
	if (c->server)
		SSL_CTX_set_psk_server_callback(t->ctx, on_server);
	else
		SSL_CTX_set_psk_client_callback(t->ctx, on_client);
	/* Without a key in common there is nobody to know: no anonymous server. */
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}
