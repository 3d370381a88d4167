/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking QMP client. */
#include "qmp/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/fd.h"
#include "qmp/limits.h"
#include "qmp/parser.h"
#include "qmp/printer.h"

struct qmp_client {
	int fd;
	uint64_t timeout_ns;	/* 0: none */
	json_t *greeting;
	json_t *events;		/* an array: kept ones, the oldest first */
	uint64_t last_id;
	struct qmp_parser parser;
	uint8_t in[QMP_READ_BYTES];	/* [in_at, in_len) was not looked at yet */
	size_t in_at, in_len;
};

struct qmp_client *qmp_client_free(struct qmp_client *c)
{
	if (!c)
		return NULL;
	(void)close_fd(c->fd);
	json_decref(c->greeting);
	json_decref(c->events);
	qmp_parser_done(&c->parser);
	free(c);
	return NULL;
}

void qmp_client_set_timeout(struct qmp_client *c, uint64_t timeout_ns)
{
	c->timeout_ns = timeout_ns;
}

const json_t *qmp_client_greeting(const struct qmp_client *c)
{
	return c->greeting;
}

int qmp_client_fd(const struct qmp_client *c)
{
	return c->fd;
}

static uint64_t answer_deadline(const struct qmp_client *c)
{
	return c->timeout_ns ? clock_now_ns() + c->timeout_ns : DEADLINE_NONE;
}

/* Sending. */

static int send_some(struct qmp_client *c, const void *data, size_t len, int fd, struct merr *err)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return merr_set_errno(err, -errno, "cannot send to the QMP server");
	return (int)n;
}

int qmp_client_send_raw(struct qmp_client *c, const void *data, size_t len, int fd,
			struct merr *err)
{
	/* So that what was sent fits an int. */
	const size_t max = 1U << 20;
	int n;

	while (len > 0) {
		n = send_some(c, data, len < max ? len : max, fd, err);
		if (n < 0)
			return n;
		data = (const char *)data + n;
		len -= (size_t)n;
		fd = -1;
	}
	return 0;
}

static int send_object(struct qmp_client *c, const json_t *object, int fd, struct merr *err)
{
	struct buf line = { 0 };
	int r;

	qmp_print(&line, object);
	buf_add_str(&line, "\r\n");
	r = line.error ? merr_set(err, line.error, "out of memory")
		       : qmp_client_send_raw(c, line.data, line.len, fd, err);
	buf_done(&line);
	return r;
}

/* Receiving. */

static int fill(struct qmp_client *c, uint64_t deadline_ns, struct merr *err)
{
	ssize_t n;
	int r;

	do {
		r = fd_wait(c->fd, POLLIN, -1, deadline_ns);
		if (r < 0)
			return merr_set(err, r, "no message from the QMP server: %s",
					r == -ETIMEDOUT ? "none came in time" : strerror(-r));
		n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return merr_set(err, -ENODATA, "the QMP server closed the connection");
	if (n < 0)
		return merr_set_errno(err, -errno, "cannot receive from the QMP server");
	c->in_at = 0;
	c->in_len = (size_t)n;
	return 0;
}

/* The next object from the socket. */
static int receive(struct qmp_client *c, uint64_t deadline_ns, json_t **ret, struct merr *err)
{
	enum qmp_parser_result result;
	json_t *value = NULL;
	size_t used;
	int r;

	for (;;) {
		while (c->in_at < c->in_len) {
			result = qmp_parser_feed(&c->parser, c->in + c->in_at, c->in_len - c->in_at,
						 &used, &value, err);
			c->in_at += used;
			if (result == QMP_PARSER_ERROR) {
				(void)merr_prefix(err, "the QMP server's answer makes no sense");
				return -EPROTO;
			}
			if (result == QMP_PARSER_VALUE) {
				*ret = value;
				return 0;
			}
		}
		r = fill(c, deadline_ns, err);
		if (r < 0)
			return r;
	}
}

static bool is_event(const json_t *object)
{
	return json_object_get(object, "event") != NULL;
}

/* Takes over EVENT. */
static void keep_event(struct qmp_client *c, json_t *event)
{
	if (json_array_size(c->events) < QMP_CLIENT_MAX_EVENTS)
		(void)json_array_append_new(c->events, event);
	else
		json_decref(event);
}

static bool take_kept_event(struct qmp_client *c, json_t **ret)
{
	if (json_array_size(c->events) == 0)
		return false;
	*ret = json_incref(json_array_get(c->events, 0));
	(void)json_array_remove(c->events, 0);
	return true;
}

int qmp_client_receive(struct qmp_client *c, uint64_t deadline_ns, json_t **ret, struct merr *err)
{
	return take_kept_event(c, ret) ? 0 : receive(c, deadline_ns, ret, err);
}

int qmp_client_next_event(struct qmp_client *c, uint64_t deadline_ns, json_t **ret,
			  struct merr *err)
{
	json_t *object;
	int r;

	if (take_kept_event(c, ret))
		return 0;
	for (;;) {
		r = receive(c, deadline_ns, &object, err);
		if (r < 0)
			return r;
		if (is_event(object)) {
			*ret = object;
			return 0;
		}
		/* An answer that nobody waits for any more. */
		json_decref(object);
	}
}

/* Commands. */

static enum merr_class error_class(const char *name)
{
	static const struct {
		const char *name;
		enum merr_class class;
	} classes[] = {
		{ "CommandNotFound", MERR_COMMAND_NOT_FOUND },
		{ "DeviceNotActive", MERR_DEVICE_NOT_ACTIVE },
		{ "DeviceNotFound", MERR_DEVICE_NOT_FOUND },
		{ "KVMMissingCap", MERR_KVM_MISSING_CAP },
	};
	size_t i;

	for (i = 0; name && i < ARRAY_SIZE(classes); i++) {
		if (strcmp(name, classes[i].name) == 0)
			return classes[i].class;
	}
	return MERR_GENERIC;
}

static int take_answer(json_t *object, json_t **ret, struct merr *err)
{
	json_t *value = json_object_get(object, "return");
	json_t *error = json_object_get(object, "error");
	const char *class, *desc;

	if (value) {
		if (ret)
			*ret = json_incref(value);
		return 0;
	}
	desc = json_string_value(json_object_get(error, "desc"));
	class = json_string_value(json_object_get(error, "class"));
	if (!desc)
		return merr_set(err, -EPROTO,
				"the QMP server's answer makes no sense: it has neither 'return' "
				"nor 'error'");
	return merr_set_class(err, error_class(class), -EREMOTEIO, "%s", desc);
}

/*
 * True for the answer to request ID, and for an error that could not be said to be the answer to
 * any.
 */
static bool is_answer_to(const json_t *object, const json_t *id)
{
	const json_t *answered = json_object_get(object, "id");

	return answered ? json_equal(answered, id) : json_object_get(object, "error") != NULL;
}

static int await_answer(struct qmp_client *c, const json_t *id, json_t **ret, struct merr *err)
{
	uint64_t deadline_ns = answer_deadline(c);
	json_t *object;
	int r;

	for (;;) {
		r = receive(c, deadline_ns, &object, err);
		if (r < 0)
			return r;
		if (is_event(object)) {
			keep_event(c, object);
			continue;
		}
		if (is_answer_to(object, id))
			break;
		json_decref(object);
	}
	r = take_answer(object, ret, err);
	json_decref(object);
	return r;
}

int qmp_client_execute_fd(struct qmp_client *c, const char *name, json_t *args, int fd,
			  json_t **ret, struct merr *err)
{
	json_t *id = json_integer((json_int_t)++c->last_id);
	json_t *request = json_pack("{s:s, s:O*, s:O}", "execute", name, "arguments", args, "id",
				    id);
	int r;

	if (request)
		r = send_object(c, request, fd, err);
	else
		r = merr_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = await_answer(c, id, ret, err);
	json_decref(request);
	json_decref(id);
	return r;
}

int qmp_client_execute(struct qmp_client *c, const char *name, json_t *args, json_t **ret,
		       struct merr *err)
{
	return qmp_client_execute_fd(c, name, args, -1, ret, err);
}

/* Connecting. */

static int negotiate(struct qmp_client *c, struct merr *err)
{
	json_t *first = NULL;
	int r;

	r = receive(c, answer_deadline(c), &first, err);
	if (r < 0)
		return r;
	if (json_is_object(json_object_get(first, "QMP"))) {
		c->greeting = first;
		return qmp_client_execute(c, "qmp_capabilities", NULL, NULL, err);
	}
	/* A server that is full says so instead. */
	r = json_object_get(first, "error")
		? take_answer(first, NULL, err)
		: merr_set(err, -EPROTO,
			   "what listens there is no QMP server: it sent no greeting");
	json_decref(first);
	return r;
}

int qmp_client_new(int fd, struct qmp_client **ret, struct merr *err)
{
	struct qmp_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		(void)close_fd(fd);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	c->fd = fd;
	c->parser.limits = &qmp_parser_default_limits;
	c->events = json_array();
	r = c->events ? negotiate(c, err) : merr_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		(void)qmp_client_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int qmp_client_connect(const char *path, struct qmp_client **ret, struct merr *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return merr_set(err, -ENAMETOOLONG,
				"the QMP socket's path is longer than the %zu bytes that the "
				"system allows: '%s'",
				sizeof(addr.sun_path) - 1, path);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = merr_set_errno(err, -errno, "cannot connect to the QMP socket '%s'", path);
		(void)close_fd(fd);
		return r;
	}
	return qmp_client_new(fd, ret, err);
}
