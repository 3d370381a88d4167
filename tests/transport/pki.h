/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made on the spot, and two channels that shake hands. */
#ifndef TESTS_TRANSPORT_PKI_H
#define TESTS_TRANSPORT_PKI_H

#include <openssl/x509.h>

#include "transport/chan.h"
#include "transport/tls.h"

enum pki_key {
	PKI_RSA,
	PKI_P256,
	PKI_P384,
	PKI_ED25519,
	PKI_ED448,
};

/* A certificate with its key; a CA if CA is NULL. Times are seconds from now. */
struct pki_wants {
	const struct pki *ca;
	const char *cn;		/* NULL: a subject without a name */
	unsigned int n_units;	/* so many OUs of 60 bytes besides */
	const char *san;	/* OpenSSL's syntax, or NULL */
	const char *purpose;	/* extendedKeyUsage, or NULL */
	enum pki_key type;
	long from_s, to_s;
};

struct pki {
	EVP_PKEY *key;
	X509 *cert;
	char *pem;
};

void pki_make(struct pki *p, const struct pki_wants *wants);
void pki_done(struct pki *p);
/* CA's list with the one certificate REVOKED (NULL: none); PEM, the caller frees it. */
char *pki_revoke(const struct pki *ca, const struct pki *revoked);

/* One end of a connection: its config, to be filled in, and what came of it. */
struct side {
	struct tls_config config;
	const char *certificates[2];	/* what config.certificates points to */
	const struct pki *identity;	/* whose key sign() uses */
	const char *dn_wanted;		/* what authorize() accepts; NULL: it is not asked */
	char dn[512];			/* what it was asked */
	struct tls_to_sign signed_with;	/* its digest points to `digest` */
	char digest[32];
	unsigned int n_signed;
	struct tls *tls;
	struct chan *chan;
	int result;			/* of the handshake */
	struct merr err;
};

/* The usual: both show certificates of CA and verify them. */
void side_x509(struct side *s, bool server, const struct pki *ca, const struct pki *identity, const char *hostname);
void side_psk(struct side *s, bool server, const struct tls_psk *psk);

/* Two connected sockets on loopback. */
void pki_sockets(int fds[2]);

/* Make both sides' struct tls and channels, and let them shake hands until both succeeded or one failed and the other knows. */
void sides_meet(struct side *client, struct side *server);
/* As far as they come without the other one. True: there was progress. */
bool side_step(struct side *s);
void side_open(struct side *s, int fd);
void side_done(struct side *s);

/* Read exactly LEN bytes, in pieces of at most PIECE; what chan_read() said last. */
ssize_t read_all(struct chan *c, void *buf, size_t len, size_t piece);
int write_all(struct chan *c, const void *buf, size_t len);

#endif
