/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The incoming stream: buffered, bounded reads of a peer's bytes, with the offset that error messages name.
 *
 * One thread. Errors stick: after the first one reads give zeros; in_error() tells, and `err` of in_new() has the text.
 */
#ifndef MIGD_ENGINE_IN_H
#define MIGD_ENGINE_IN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/stats-page.h"
#include "transport/chan.h"

struct in;

/* CHAN, STATS (may be NULL) and ERR are borrowed. NULL: no memory. */
struct in *in_new(struct chan *chan, struct stats_page *stats, struct merr *err);
struct in *in_free(struct in *in);

/* Where errors go from here on. */
void in_set_err(struct in *in, struct merr *err);

/* How long a read may wait for the peer's next byte, in ms; 0: for ever. */
void in_timeout(struct in *in, uint64_t ms);

/* Asked each time that passes without a byte: whether to wait once more. */
typedef bool (*in_silence_fn)(void *opaque);
void in_on_silence(struct in *in, in_silence_fn fn, void *opaque);
/* How long nothing came, in ms, as far as a read waited for it. */
uint64_t in_silent_ms(const struct in *in);

/* How many bytes commonly lie between two long payloads: so much is read ahead behind one. At first a run's record. */
void in_header_bytes(struct in *in, size_t n);

uint8_t in_u8(struct in *in);
uint16_t in_be16(struct in *in);
uint32_t in_be32(struct in *in);
uint64_t in_be64(struct in *in);
int in_bytes(struct in *in, void *p, size_t len);
/* A str8 of 1..255 printable bytes into BUF (256 bytes). FIELD is for the message. */
int in_str8(struct in *in, const char *field, char buf[256]);

/*
 * Move LEN bytes to FD at OFFSET; long stretches by chan_read_to_file(), the rest from the buffer. WRITER_NAME (the
 * block) is for the message when the write fails (-ENOSPC, ...).
 */
int in_to_file(struct in *in, int fd, uint64_t offset, uint64_t len, const char *writer_name);

/* The next byte, which is not consumed; 0 after an error. */
uint8_t in_peek(struct in *in);
/*
 * At least MIN bytes (at most IN_VIEW_MAX) that are not consumed; *ret_len: how many there are. NULL after an error.
 * Valid until the next read.
 */
const uint8_t *in_view(struct in *in, size_t min, size_t *ret_len);
#define IN_VIEW_MAX 65536U
/* Consume LEN bytes unseen. */
int in_skip(struct in *in, uint64_t len);

/* The stream is a file: where in it the next byte is (chan_tell); go on elsewhere. 0 or the sticky error. */
int in_tell(struct in *in, uint64_t *ret);
int in_seek(struct in *in, uint64_t offset);
/* Waits for the next byte, which is not consumed, or the end of the stream, which is no error here: true. */
bool in_at_end(struct in *in);

/* True if the next byte is there already. */
bool in_ready(const struct in *in);

int in_error(const struct in *in);
/* The error is the connection's, not one that was found in what came over it: another connection may do. */
bool in_is_lost(const struct in *in);
uint64_t in_offset(const struct in *in);	/* bytes consumed */
/* Record an error found in what was read: "at offset N: ..." */
int in_fail(struct in *in, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Answering the peer failed with R; as if reading had. */
int in_fail_answer(struct in *in, int r);

#ifdef __clang_analyzer__
#define in_fail(in, code, ...) (in_fail(in, code, __VA_ARGS__), merr_negative(code))
#endif

#endif
