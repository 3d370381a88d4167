/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on one connected socket.
 *
 * The handshake runs on the socket itself. After it, if the kernel does not encrypt, each record goes to the socket from
 * OpenSSL's own buffer; once that has no more room, what follows waits in `sealed`, a buffer that stays in a core's cache,
 * and goes by one send. Full records: small pieces are gathered first, large ones are encrypted from where they are.
 */
#include "transport/tls-session.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "transport/tls-internal.h"

#define RECORD_BYTES 16384	/* the most a record holds */
#define RECORD_OVERHEAD 512	/* more than any cipher adds, and an alert behind it */

/* Sent at once when so much has collected. */
#define SEALED_BYTES (128 * 1024)

#define HANDSHAKE_RECORD 0x16	/* the first byte of TLS */

struct tls_session {
	struct tls *tls;
	SSL *ssl;
	int fd;
	bool looked, established;
	bool kernel_sends;
	struct tls_handshake handshake;

	/*
	 * OpenSSL's object is nobody's while another uses it, whichever way. Held for a record at a time, so that a writer does not wait
	 * until all that came is decrypted. All below is under it, `ssl` as well; what is named _locked has it.
	 */
	pthread_mutex_t lock;
	bool closing;
	int read_error;		/* sticky; 1: the end that was announced */
	int write_error;
	struct merr why;
	size_t peeked_pos, peeked_len;
	uint8_t peeked[TLS_PEEK_MAX];
	size_t sent, sealed_len;
	uint8_t *sealed;	/* SEALED_BYTES + RECORD_BYTES + RECORD_OVERHEAD */
	uint8_t *gather;	/* RECORD_BYTES */
};

#define SEALED_CAPACITY (SEALED_BYTES + RECORD_BYTES + RECORD_OVERHEAD)

static _Thread_local struct tls_handshake *current;

struct tls_handshake *tls_current(void)
{
	return current;
}

/* ---- a BIO that sends records, and collects what has to wait ---- */

/* As much as the socket takes at once: nothing of that needs copying. A failure shows when the rest is sent. */
static size_t send_now(struct tls_session *s, const char *from, size_t len)
{
	ssize_t n = send(s->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

static int collect(BIO *bio, const char *from, size_t len, size_t *ret_len)
{
	struct tls_session *s = BIO_get_data(bio);
	size_t done = s->sealed_len == 0 ? send_now(s, from, len) : 0;

	*ret_len = len;
	from += done;
	len -= done;
	/* Room was made before a record began; a peer that wants answers without end gets none. */
	if (len > SEALED_CAPACITY - s->sealed_len)
		return 0;
	memcpy(s->sealed + s->sealed_len, from, len);
	s->sealed_len += len;
	return 1;
}

static long control(BIO *bio, int cmd, long larg, void *parg)
{
	(void)bio;
	(void)larg;
	(void)parg;
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *collector_method(void)
{
	/* Once a process: made by the first that needs it, and never freed. */
	static _Atomic(BIO_METHOD *) method;
	BIO_METHOD *m = atomic_load(&method), *none = NULL;

	if (m)
		return m;
	m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "migd records");
	if (!m || BIO_meth_set_write_ex(m, collect) != 1 || BIO_meth_set_ctrl(m, control) != 1 ||
	    !atomic_compare_exchange_strong(&method, &none, m)) {
		BIO_meth_free(m);
		return atomic_load(&method);
	}
	return m;
}

static int start_collecting(struct tls_session *s)
{
	BIO_METHOD *method = collector_method();
	BIO *bio = method ? BIO_new(method) : NULL;

	s->sealed = malloc(SEALED_CAPACITY);
	s->gather = malloc(RECORD_BYTES);
	if (!bio || !s->sealed || !s->gather) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set0_wbio(s->ssl, bio);
	return 0;
}

/* ---- beginning and end ---- */

struct tls_session *tls_session_new(struct tls *t, int fd, uint64_t deadline_ns, struct merr *err)
{
	struct tls_session *s = calloc(1, sizeof(*s));
	BIO *bio;

	if (!s) {
		(void)merr_set_errno(err, -ENOMEM, "TLS");
		return NULL;
	}
	s->tls = tls_ref(t);
	s->fd = fd;
	(void)pthread_mutex_init(&s->lock, NULL);
	s->handshake = (struct tls_handshake){ .tls = t, .deadline_ns = deadline_ns };
	s->ssl = SSL_new(t->ctx);
	bio = s->ssl ? BIO_new_socket(fd, BIO_NOCLOSE) : NULL;
	if (!bio) {
		(void)tls_complain(err, "a connection");
		return tls_session_free(s);
	}
	SSL_set_bio(s->ssl, bio, bio);
	if (t->server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	if (t->server_name)
		(void)SSL_set_tlsext_host_name(s->ssl, t->server_name);
	return s;
}

struct tls_session *tls_session_free(struct tls_session *s)
{
	if (!s)
		return NULL;
	SSL_free(s->ssl);
	(void)tls_unref(s->tls);
	free(s->sealed);
	free(s->gather);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static struct tls_situation situation(const struct tls_session *s)
{
	return (struct tls_situation){ .server = s->tls->server, .psk = s->tls->psk, .handshake = !s->established };
}

/*
 * Server: before the client's first byte is given to OpenSSL, which would only say "wrong version number": a plain stream
 * is named. 0: it may be TLS, or is at its end; -EAGAIN: nothing came yet.
 */
static int look(struct tls_session *s, short *ret_events, struct merr *err)
{
	/* RFC 8446, 5.1 and 6: a record that holds a fatal alert, protocol_version. */
	static const uint8_t refusal[] = { 0x15, 3, 3, 0, 2, 2, 70 };
	uint8_t b[4];
	ssize_t n = recv(s->fd, b, sizeof(b), MSG_PEEK | MSG_DONTWAIT);

	*ret_events = POLLIN;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	s->looked = true;
	if (n <= 0 || b[0] == HANDSHAKE_RECORD)
		return 0;
	/* What a TLS client would be told; ours know it in a plain stream, too. */
	(void)send(s->fd, refusal, sizeof(refusal), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == sizeof(b) && memcmp(b, "QEVM", sizeof(b)) == 0)
		return merr_set(err, -EPROTO, "the peer does not speak TLS: a plain migration stream (QEVM) came to a port "
				"with tls-creds; set them on the source too");
	return merr_set(err, -EPROTO, "the peer does not speak TLS: its first byte is 0x%02x; set tls-creds on both sides", b[0]);
}

static int established(struct tls_session *s, struct merr *err)
{
	s->established = true;
	s->kernel_sends = BIO_get_ktls_send(SSL_get_wbio(s->ssl));
	if (!BIO_get_ktls_recv(SSL_get_rbio(s->ssl)))
		SSL_set_read_ahead(s->ssl, 1);
	if (!s->kernel_sends && start_collecting(s) < 0)
		return merr_set_errno(err, -ENOMEM, "TLS");
	return 0;
}

int tls_session_handshake(struct tls_session *s, short *ret_events, struct merr *err)
{
	struct tls_situation at = situation(s);
	struct merr own = MERR_INIT;
	int r, result;

	if (s->established)
		return 0;
	r = s->tls->server && !s->looked ? look(s, ret_events, err) : 0;
	if (r < 0)
		return r;
	ERR_clear_error();
	s->handshake.err = &own;
	current = &s->handshake;
	errno = 0;
	r = SSL_do_handshake(s->ssl);
	current = NULL;
	s->handshake.err = NULL;
	if (r == 1) {
		r = tls_x509_check_host(s->tls, s->ssl, err);
		return r < 0 ? r : established(s, err);
	}
	result = SSL_get_error(s->ssl, r);
	if (result == SSL_ERROR_WANT_READ || result == SSL_ERROR_WANT_WRITE) {
		*ret_events = result == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return -EAGAIN;
	}
	/* What a callback found out comes first. */
	r = tls_explain(&at, result, &own);
	(void)merr_copy(err, &own);
	return r;
}

bool tls_session_established(const struct tls_session *s)
{
	return s->established;
}

bool tls_session_peer_is_known(const struct tls_session *s)
{
	return s->established && (s->tls->psk || s->tls->verify_peer);
}

/* ---- reading ---- */

/* One record's worth at most; the sticky error otherwise. */
static ssize_t read_record_locked(struct tls_session *s, void *buf, size_t len)
{
	struct tls_situation at = situation(s);
	size_t n = 0;
	int r, result;

	if (s->read_error)
		return s->read_error > 0 ? 0 : s->read_error;
	ERR_clear_error();
	errno = 0;
	r = SSL_read_ex(s->ssl, buf, len, &n);
	if (r == 1)
		return (ssize_t)n;
	result = SSL_get_error(s->ssl, r);
	if (result == SSL_ERROR_WANT_READ || result == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (result == SSL_ERROR_ZERO_RETURN) {
		s->read_error = 1;
		return 0;
	}
	s->read_error = tls_explain(&at, result, &s->why);
	return s->read_error;
}

/* What was looked at before, then a record. */
static ssize_t read_next(struct tls_session *s, uint8_t *to, size_t len)
{
	LOCK_SCOPE(&s->lock);
	size_t n = min_u64(len, s->peeked_len - s->peeked_pos);

	if (n == 0)
		return read_record_locked(s, to, len);
	memcpy(to, s->peeked + s->peeked_pos, n);
	s->peeked_pos += n;
	return (ssize_t)n;
}

ssize_t tls_session_read(struct tls_session *s, void *buf, size_t len)
{
	uint8_t *to = buf;
	size_t got = 0;
	ssize_t n;

	/* As many records as are there: the caller's buffer is filled, and written on, by one call. */
	while (got < len) {
		n = read_next(s, to + got, len - got);
		if (n <= 0)
			return got ? (ssize_t)got : n;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static ssize_t peek_locked(struct tls_session *s, void *buf, size_t len)
{
	ssize_t n = 1;
	size_t have;

	len = min_u64(len, sizeof(s->peeked));
	memmove(s->peeked, s->peeked + s->peeked_pos, s->peeked_len - s->peeked_pos);
	s->peeked_len -= s->peeked_pos;
	s->peeked_pos = 0;
	/* A record may hold a single byte. */
	while (s->peeked_len < len && n > 0) {
		n = read_record_locked(s, s->peeked + s->peeked_len, len - s->peeked_len);
		if (n > 0)
			s->peeked_len += (size_t)n;
	}
	have = min_u64(len, s->peeked_len);
	memcpy(buf, s->peeked, have);
	return have ? (ssize_t)have : n;
}

ssize_t tls_session_peek(struct tls_session *s, void *buf, size_t len)
{
	LOCK_SCOPE(&s->lock);

	return peek_locked(s, buf, len);
}

/* ---- writing ---- */

/*
 * The socket is closed to us: a peer that refused may have said why. A client of TLS 1.3 may write before the server has
 * judged its certificate.
 */
static int last_words_locked(struct tls_session *s, int error)
{
	ssize_t n;

	if (error != -EPIPE && error != -ECONNRESET)
		return error;
	n = peek_locked(s, (uint8_t[1]){ 0 }, 1);
	return n < 0 && n != -EAGAIN && merr_is_set(&s->why) ? (int)n : error;
}

/* Send what is sealed. 0, -EAGAIN, or the sticky error. */
static int flush_locked(struct tls_session *s)
{
	ssize_t n;

	if (s->write_error)
		return s->write_error;
	while (s->sent < s->sealed_len) {
		n = send(s->fd, s->sealed + s->sent, s->sealed_len - s->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return -EAGAIN;
		if (n < 0) {
			s->write_error = last_words_locked(s, -errno);
			return s->write_error;
		}
		s->sent += (size_t)n;
	}
	s->sent = s->sealed_len = 0;
	return 0;
}

/* Encrypt one record. */
static int seal_locked(struct tls_session *s, const void *p, size_t len)
{
	struct tls_situation at = situation(s);
	size_t n;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(s->ssl, p, len, &n);
	if (r != 1)
		s->write_error = tls_explain(&at, SSL_get_error(s->ssl, r), &s->why);
	return s->write_error;
}

/* A record's worth from IOV, at offset *AT of its first: by reference if it is in one piece. Advances. */
static size_t next_record(struct tls_session *s, struct iovec **iov, size_t *n, size_t *at, const void **ret)
{
	size_t len = 0, piece;

	if (*n > 0 && (*iov)->iov_len - *at >= RECORD_BYTES) {
		*ret = (uint8_t *)(*iov)->iov_base + *at;
		*at += RECORD_BYTES;
		return RECORD_BYTES;
	}
	while (*n > 0 && len < RECORD_BYTES) {
		piece = min_u64((*iov)->iov_len - *at, RECORD_BYTES - len);
		/* An empty entry may point nowhere. */
		if (piece > 0)
			memcpy(s->gather + len, (uint8_t *)(*iov)->iov_base + *at, piece);
		len += piece;
		*at += piece;
		if (*at < (*iov)->iov_len)
			break;
		(*iov)++;
		(*n)--;
		*at = 0;
	}
	*ret = s->gather;
	return len;
}

static ssize_t write_by_kernel_locked(struct tls_session *s, struct iovec *iov, size_t n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t done;

	if (s->write_error || n == 0)
		return s->write_error;
	done = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (done >= 0)
		return done;
	if (errno == EINTR)
		return 0;
	if (errno == EAGAIN)
		return -EAGAIN;
	s->write_error = last_words_locked(s, -errno);
	return s->write_error;
}

ssize_t tls_session_write(struct tls_session *s, struct iovec *iov, size_t n)
{
	LOCK_SCOPE(&s->lock);
	size_t taken = 0, at = 0, len;
	const void *p;
	int r;

	if (s->kernel_sends)
		return write_by_kernel_locked(s, iov, n);
	r = flush_locked(s);
	if (r < 0)
		return r;
	while (s->sealed_len < SEALED_BYTES && (len = next_record(s, &iov, &n, &at, &p)) > 0) {
		r = seal_locked(s, p, len);
		if (r < 0)
			return r;
		taken += len;
	}
	r = flush_locked(s);
	return r < 0 && r != -EAGAIN ? r : (ssize_t)taken;
}

bool tls_session_pending(struct tls_session *s)
{
	LOCK_SCOPE(&s->lock);

	return s->sent < s->sealed_len && !s->write_error;
}

void tls_session_close(struct tls_session *s)
{
	LOCK_SCOPE(&s->lock);

	if (!s->established || s->closing || s->write_error || s->read_error < 0)
		return;
	s->closing = true;
	ERR_clear_error();
	(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	if (!s->kernel_sends)
		(void)flush_locked(s);
}

/* ---- in words ---- */

const char *tls_session_why(struct tls_session *s)
{
	LOCK_SCOPE(&s->lock);

	return merr_is_set(&s->why) ? s->why.msg : NULL;
}

const char *tls_session_describe(const struct tls_session *s, char *buf, size_t len)
{
	(void)snprintf(buf, len, "%s, %s, encrypted by %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl),
		       s->kernel_sends ? "the kernel" : "OpenSSL");
	return buf;
}
