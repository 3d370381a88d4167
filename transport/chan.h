/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel: one byte stream of a migration, plain or TLS behind the same calls. A socket is bidirectional; a pipe or a
 * file is read or written.
 *
 * A regular file is written so that a torn one is not taken for a whole one: its first CHAN_HEAD_LEN bytes, without
 * which no reader takes it for a stream, are zeros until chan_commit() writes them.
 *
 * One thread reads. Several may write, each call's bytes in one piece, while it does; all else is one thread's. Calls wait by poll, never in the system call itself; every wait ends when the
 * cancel descriptor becomes readable (-ECANCELED) or the deadline given passes (-ETIMEDOUT). While a write
 * waits for room, bytes that arrive are noticed: chan_write() then returns -EAGAIN *before* it
 * has written anything of the rest, if the caller asked for that by `mind_input` (a peer that failed says
 * why and stops reading; waiting for room would wait for ever).
 */
#ifndef MIGD_TRANSPORT_CHAN_H
#define MIGD_TRANSPORT_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct chan;
struct tls;

#define CHAN_HEAD_LEN 8	/* a stream's magic and version */

/*
 * Take over FD (made non-blocking): a connected stream socket, one end of a pipe, or a file, from where it stands. CANCEL_FD is borrowed; -1: none. NULL: no
 * memory; FD is closed.
 */
struct chan *chan_new(int fd, int cancel_fd);
/* A TLS client says goodbye, if there is room (WIRE.md 10.3). */
struct chan *chan_free(struct chan *c);
int chan_fd(const struct chan *c);
/*
 * The peer may vanish without a word: calls fail within about MS (at least 3000) once nothing is heard from its host any more,
 * whether there is something to send or not (-ETIMEDOUT). TCP only: others end with their peer.
 */
void chan_watch_peer(struct chan *c, unsigned int ms);
/* From here on this descriptor ends calls, of all threads; borrowed; -1: none does. */
void chan_set_cancel(struct chan *c, int cancel_fd);

/*
 * Encrypt: nothing was sent or read yet, chan_handshake() follows. TLS is kept as long as the channel lives. Its callbacks
 * wait no longer than DEADLINE_NS. -ENOTSOCK: only sockets can; -ENOMEM.
 *
 * Afterwards chan_fd() tells no more whether there is something to read: bytes may be here already, or what came may be
 * TLS's own. Ask chan_readable() before waiting for it.
 */
int chan_start_tls(struct chan *c, struct tls *tls, uint64_t deadline_ns, struct merr *err);

/*
 * Go on with what comes before the first byte of the stream, as far as it goes without waiting. 0: done (a plain channel
 * has nothing to do); -EAGAIN: wait for *ret_events (poll's) on chan_fd() and call again; else -errno with ERR, and the
 * channel is of no use any more.
 */
int chan_handshake(struct chan *c, short *ret_events, struct merr *err);

/*
 * Look at the next bytes of a socket's stream, at most LEN, without consuming them and without waiting. How many there
 * are; 0 at the end of the stream; -EAGAIN: none yet; -errno. After the handshake; TLS: at most 64 bytes.
 */
ssize_t chan_peek(struct chan *c, void *buf, size_t len);

/*
 * Write all of IOV (which is consumed: its entries are advanced). 0; -EAGAIN: there is input to read first, call
 * again with what is left in IOV (only if MIND_INPUT); -EPIPE, -ECONNRESET, -ECANCELED, -ETIMEDOUT, ...
 */
int chan_write(struct chan *c, struct iovec *iov, size_t n, bool mind_input, uint64_t deadline_ns);

/*
 * Let chan_write_by_reference() do without a copy, on this socket as on N_SOCKETS - 1 others of this process: see
 * transport/zero-copy.h, also for errors. -EOPNOTSUPP: TLS, too, since encrypting is copying.
 */
int chan_use_zero_copy(struct chan *c, unsigned int n_sockets, struct merr *err);

/*
 * chan_write() without MIND_INPUT, of memory that may be sent as it is some time later: it may be unmapped and written to at
 * once, but not used for something else. Without chan_use_zero_copy() this copies.
 */
int chan_write_by_reference(struct chan *c, struct iovec *iov, size_t n, uint64_t deadline_ns);

/* A round of writing by reference ends: true if all of it was copied after all. */
bool chan_end_zero_copy_round(struct chan *c);

/*
 * At least one byte: their count; 0 at the end of the stream; -errno. -ENODATA: TLS, and the connection ended without the
 * announcement that an end has (close_notify): somebody in between may have cut it off (WIRE.md 10.3).
 */
ssize_t chan_read(struct chan *c, void *buf, size_t len, uint64_t deadline_ns);

/* True if a read would not wait. */
bool chan_readable(struct chan *c);

/* Why the last call failed, where its errno does not tell, as with TLS; else NULL. Owned by C. */
const char *chan_why(const struct chan *c);
/*
 * Whether the failure R of a call, or of connecting, is the way's: the connection broke or was cut, or nothing comes over it any
 * more. The peer may be well, and another connection to it may work.
 */
bool chan_is_lost(int r);
/* Record the failure R of a call in ERR: "WHAT: ..." */
int chan_fail(const struct chan *c, int r, const char *what, struct merr *err);

/* TLS, after the handshake: the peer has proved to have a shared key, or a certificate that holds. */
bool chan_peer_is_known(const struct chan *c);

/* TLS, after the handshake: what was agreed upon, for people; "" otherwise. Returns BUF. */
const char *chan_describe(const struct chan *c, char *buf, size_t len);

/*
 * Move exactly LEN bytes from the channel to FD at OFFSET, by splice through a pipe of the channel's own: no
 * user-space copy, and no page of FD is cleared before it is written. FD must have `write` (not
 * hugetlbfs). 0; -ENODATA: the stream ended in between; -ENOTSUP: not possible on this channel, as with TLS,
 * whose bytes are in this process anyhow (nothing was consumed). *ret_done: how many were moved, also when it fails.
 */
int chan_read_to_file(struct chan *c, int fd, uint64_t offset, uint64_t len, uint64_t deadline_ns, uint64_t *ret_done);

/*
 * A regular file only: where the next byte is read or written, counted from the file's beginning; go elsewhere, which leaves
 * a hole if nothing is written there. -ESPIPE: it is none (or one that is only appended to).
 */
int64_t chan_tell(const struct chan *c);
int chan_seek(struct chan *c, uint64_t offset);

/*
 * Everything is written. A file: make that durable, its head last. A pipe: close it, so that its reader sees the end. A
 * socket: nothing. Blocks as long as the disk takes. 0 or -errno: what was written cannot be relied on.
 */
int chan_commit(struct chan *c);

/* No more writes will follow: a socket's peer sees the end of the stream. Does not wait: TLS says goodbye if there is room. */
void chan_shutdown_write(struct chan *c);

#endif
