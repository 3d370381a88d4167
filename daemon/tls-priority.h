/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GnuTLS priority strings, in which QEMU's credentials say which versions, ciphers and groups of TLS are used, as OpenSSL
 * wants to be told. The words that are understood are in a table, for people in docs/tls.md; any other is refused by
 * name, since what it was to forbid might be used.
 */
#ifndef MIGD_DAEMON_TLS_PRIORITY_H
#define MIGD_DAEMON_TLS_PRIORITY_H

#include <stdbool.h>

#include "base/err.h"

#define TLS_PRIORITY_TEXT_MAX 1024

/* Lists are OpenSSL's names with ":" in between, the preferred first. */
struct tls_priority {
	bool tls12, tls13;			   /* at least one */
	char suites_13[TLS_PRIORITY_TEXT_MAX];	   /* SSL_CTX_set_ciphersuites() */
	char ciphers_12[TLS_PRIORITY_TEXT_MAX];	   /* SSL_CTX_set_cipher_list(); empty without tls12 */
	char groups[TLS_PRIORITY_TEXT_MAX];	   /* SSL_CTX_set1_groups_list() */
	bool server_precedence;			   /* the server's order of ciphers counts */
};

/*
 * TEXT, or "NORMAL" if it is NULL. PSK: for pre-shared keys, whose key exchanges come with them. -EINVAL with ERR: a word
 * that is not understood, or nothing is left that both ends could agree on.
 */
int tls_priority_parse(const char *text, bool psk, struct tls_priority *ret, struct merr *err);

#endif
