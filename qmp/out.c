/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session sends: collected, and handed to the kernel when its turn ends, so that many answers in a row are one
 * message.
 */
#include <errno.h>
#include <sys/socket.h>

#include "qmp/internal.h"
#include "qmp/printer.h"

/* As much as the socket takes. 0, or -errno; what is left stays. */
static int send_out(struct qmp_session *s)
{
	ssize_t n = 0;

	while (s->out_at < s->out.len) {
		n = send(s->fd, s->out.data + s->out_at, s->out.len - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			break;
		s->out_at += (size_t)n;
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	buf_done(&s->out);
	s->out_at = 0;
	return 0;
}

void qmp_session_send_last(struct qmp_session *s)
{
	if (!s->out.error)
		(void)send_out(s);
}

void qmp_session_flush(struct qmp_session *s)
{
	if (send_out(s) < 0) {
		qmp_session_close(s);
		return;
	}
	if (qmp_session_unsent(s) > 0) {
		buf_consume(&s->out, s->out_at);
		s->out_at = 0;
		(void)event_add(s->writable, NULL);
		s->blocked = true;
	} else {
		s->blocked = false;
		if (s->closing)
			qmp_session_close(s);
	}
}

void qmp_session_send_line(struct qmp_session *s, const void *line, size_t len)
{
	if (s->fd < 0)
		return;
	if (qmp_session_unsent(s) > QMP_MAX_OUT_BYTES) {
		qmp_session_drop(s, "it does not read what is sent to it");
		return;
	}
	if (qmp_session_holds_too_much(s)) {
		qmp_session_drop(s, "clients hold too much memory, and it more than its share");
		return;
	}
	buf_add(&s->out, line, len);
	if (s->out.error)
		qmp_session_close(s);
	else
		qmp_session_wake(s);
}

void qmp_session_send(struct qmp_session *s, const json_t *object)
{
	if (s->fd < 0)
		return;
	qmp_print(&s->out, object);
	buf_add_str(&s->out, "\r\n");
	if (s->out.error)
		qmp_session_close(s);
	else
		qmp_session_wake(s);
}
