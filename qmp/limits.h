/* SPDX-License-Identifier: Apache-2.0 */
/* What one client, and all of them, can make the server hold. */
#ifndef MIGD_QMP_LIMITS_H
#define MIGD_QMP_LIMITS_H

/* Of one JSON value: QMP.md 1.1. Clients and test suites know these. */
#define QMP_MAX_TEXT_BYTES (64U << 20)	/* one token, and all tokens of a value together */
#define QMP_MAX_TOKENS (2U << 20)
#define QMP_MAX_NESTING 1024U

/* In-band requests of one session that are read while another runs; QMP.md 1.6. */
#define QMP_MAX_QUEUED 8U

/* Sessions at once, unless the server's options say otherwise. */
#define QMP_MAX_SESSIONS 1100U

/* Reads a second, of all sessions, that may come before the rest of the event loop. */
#define QMP_URGENT_READS 2000U

/* One read from a socket; what was read and cannot be looked at yet is never more than this. */
#define QMP_READ_BYTES 65536U

/* Answers that are followed by others at once are sent together, up to about this much. */
#define QMP_FLUSH_BYTES 4096U
/*
 * With this much unsent, a session's next request waits: a client that sends and does not read
 * stops itself.
 */
#define QMP_PAUSE_OUT_BYTES 65536U
/*
 * With this much unsent, a session that gets one more message (an event) is dropped: it does not
 * read.
 */
#define QMP_MAX_OUT_BYTES (4U << 20)

/*
 * What sessions may hold together, unless the server's options say otherwise; and what each of them may always hold: values
 * being read, requests that wait, output.
 */
#define QMP_MAX_HELD_BYTES (512U << 20)
#define QMP_FAIR_HELD_BYTES (256U << 10)

/* With so much text of requests that wait, a session is not read. */
#define QMP_MAX_QUEUED_BYTES 65536U

/*
 * Descriptors: of one message, and messages with descriptors that wait for their bytes to be looked
 * at.
 */
#define QMP_MAX_FDS 16U
#define QMP_MAX_FD_BATCHES 16U
/* Names of one session for descriptors. */
#define QMP_MAX_NAMED_FDS 64U

#endif
