/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on one connected socket, without waiting: what transport/chan.c does with a socket itself otherwise. Once the handshake is
 * over, one thread may write while another reads.
 *
 * Outgoing records collect in a buffer that goes to the kernel in few calls; if the kernel encrypts (TLS_TX), bytes go to
 * it as they are. Errors stick, and have a text.
 */
#ifndef MIGD_TRANSPORT_TLS_SESSION_H
#define MIGD_TRANSPORT_TLS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "transport/tls.h"

struct tls_session;

/* Of T, which it keeps, on FD (borrowed). Callbacks of the handshake are told DEADLINE_NS. */
struct tls_session *tls_session_new(struct tls *t, int fd, uint64_t deadline_ns, struct merr *err);
struct tls_session *tls_session_free(struct tls_session *s);

/* As chan_handshake(). */
int tls_session_handshake(struct tls_session *s, short *ret_events, struct merr *err);
bool tls_session_established(const struct tls_session *s);
/* Whoever is at the other end has proved to have a key, or a certificate that holds. */
bool tls_session_peer_is_known(const struct tls_session *s);

/* As recv(): a count, 0 at the end that the peer announced, -EAGAIN, -errno; -ENODATA: it ended unannounced. */
ssize_t tls_session_read(struct tls_session *s, void *buf, size_t len);
/* At most TLS_PEEK_MAX. */
#define TLS_PEEK_MAX 64
ssize_t tls_session_peek(struct tls_session *s, void *buf, size_t len);

/* How many bytes of IOV were taken; what was taken may be still to be sent: tls_session_pending(). -EAGAIN: neither can go on. */
ssize_t tls_session_write(struct tls_session *s, struct iovec *iov, size_t n);
bool tls_session_pending(struct tls_session *s);

/* Say that nothing will follow. What of it the socket does not take at once stays to be sent by tls_session_write(). */
void tls_session_close(struct tls_session *s);

/* What reads and writes failed with, or NULL. */
const char *tls_session_why(struct tls_session *s);

/* "TLSv1.3, TLS_AES_128_GCM_SHA256, encrypted by the kernel" */
const char *tls_session_describe(const struct tls_session *s, char *buf, size_t len);

#endif
