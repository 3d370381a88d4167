/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics over HTTP. Of HTTP there is what a scraper needs: a GET, its answer, the end of the connection. libevent's own
 * server does not say when a connection ends, so that nobody could count how many there are.
 */
#include "daemon/metrics-http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/listen.h"
#include "daemon/metrics.h"
#include "daemon/openmetrics.h"
#include "daemon/timer.h"
#include "transport/addr.h"
#include "transport/sock.h"

#define CONNECTIONS_MAX	  8
#define REQUEST_MAX_BYTES 8192
#define LIFETIME_MS	  10000U
#define REST_MS		  1000U
#define BACKLOG		  16

struct metrics_http {
	struct daemon *daemon;
	struct evconnlistener *listener;
	struct event *rest; /* until it listens again */
	char *path; /* of a Unix socket; or NULL */
	char address[ADDR_FORMATTED_MAX];
	size_t n_connections;
	TAILQ_HEAD(, connection) connections;
};

struct connection {
	TAILQ_ENTRY(connection) entry;
	struct metrics_http *http;
	struct bufferevent *bev;
	struct event *deadline;
	bool answered; /* it ends when all is sent */
};

/* ---- requests ---- */

struct request {
	bool is_get;
	bool accepts_openmetrics, accepts_text;
	char path[64]; /* without a query; longer ones are cut, and nobody's */
};

static const char *header_value(const char *line, const char *name)
{
	size_t len = strlen(name);

	return strncasecmp(line, name, len) == 0 && line[len] == ':' ? line + len + 1 : NULL;
}

/* "GET /metrics HTTP/1.1" */
static void parse_request_line(const char *line, struct request *ret)
{
	size_t len;

	ret->is_get = strncmp(line, "GET ", 4) == 0;
	if (!ret->is_get)
		return;
	len = strcspn(line + 4, " ?");
	(void)snprintf(ret->path, sizeof(ret->path), "%.*s", (int)len, line + 4);
}

static void parse_header(const char *line, struct request *ret)
{
	const char *accept = header_value(line, "Accept");

	if (!accept)
		return;
	ret->accepts_openmetrics |= strstr(accept, "application/openmetrics-text") != NULL;
	ret->accepts_text |= strstr(accept, "text/plain") != NULL;
}

/* False: its end has not come yet. */
static bool read_request(struct evbuffer *in, struct request *ret)
{
	bool first = true;
	char *line;

	*ret = (struct request){ 0 };
	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0 && evbuffer_search(in, "\n\n", 2, NULL).pos < 0)
		return false;
	while ((line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF)) && *line) {
		if (first)
			parse_request_line(line, ret);
		else
			parse_header(line, ret);
		first = false;
		free(line);
	}
	free(line);
	return true;
}

/* ---- answers ---- */

static void reply(struct connection *c, const char *status, const char *type, const void *text, size_t len)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	c->answered = true;
	(void)bufferevent_disable(c->bev, EV_READ);
	(void)evbuffer_add_printf(out,
				  "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
				  "Cache-Control: no-store\r\n\r\n",
				  status, type, len);
	(void)evbuffer_add(out, text, len);
}

static void reply_text(struct connection *c, const char *status, const char *text)
{
	reply(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* The older format is for those that ask for it, and not for OpenMetrics as well. */
static void reply_metrics(struct connection *c, const struct request *request)
{
	bool prometheus = request->accepts_text && !request->accepts_openmetrics;
	struct buf text = { 0 };

	metrics_write(c->http->daemon, prometheus, &text);
	if (text.error)
		reply_text(c, "500 Internal Server Error", "out of memory\n");
	else
		reply(c, "200 OK", openmetrics_content_type(prometheus), text.data, text.len);
	buf_done(&text);
}

static void answer(struct connection *c, const struct request *request)
{
	if (!request->is_get)
		reply_text(c, "405 Method Not Allowed", "only GET\n");
	else if (strcmp(request->path, "/metrics") == 0)
		reply_metrics(c, request);
	else if (strcmp(request->path, "/healthz") == 0)
		reply_text(c, "200 OK", "ok\n");
	else
		reply_text(c, "404 Not Found", "there are /metrics and /healthz\n");
}

/* ---- connections ---- */

static void connection_free(struct metrics_http *h, struct connection *c)
{
	if (c->bev)
		bufferevent_free(c->bev);
	(void)timer_free(c->deadline);
	TAILQ_REMOVE(&h->connections, c, entry);
	if (h->n_connections-- == CONNECTIONS_MAX && h->listener)
		(void)evconnlistener_enable(h->listener);
	free(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *opaque)
{
	struct connection *c = opaque;

	(void)fd;
	(void)what;
	connection_free(c->http, c);
}

static void on_readable(struct bufferevent *bev, void *opaque)
{
	struct connection *c = opaque;
	struct request request;

	if (read_request(bufferevent_get_input(bev), &request))
		answer(c, &request);
	else if (evbuffer_get_length(bufferevent_get_input(bev)) >= REQUEST_MAX_BYTES)
		reply_text(c, "431 Request Header Fields Too Large", "too long\n");
}

static void on_written(struct bufferevent *bev, void *opaque)
{
	struct connection *c = opaque;

	(void)bev;
	if (c->answered)
		connection_free(c->http, c);
}

static void on_end(struct bufferevent *bev, short what, void *opaque)
{
	struct connection *c = opaque;

	(void)bev;
	(void)what;
	connection_free(c->http, c);
}

static void on_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *opaque)
{
	struct metrics_http *h = opaque;
	struct connection *c = calloc(1, sizeof(*c));

	(void)from;
	(void)len;
	if (!c) {
		close_fd(fd);
		return;
	}
	c->http = h;
	TAILQ_INSERT_TAIL(&h->connections, c, entry);
	/* Further ones wait in the kernel. */
	if (++h->n_connections == CONNECTIONS_MAX)
		(void)evconnlistener_disable(listener);
	c->deadline = timer_start(h->daemon->base, LIFETIME_MS, on_deadline, c);
	c->bev = bufferevent_socket_new(h->daemon->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev)
		close_fd(fd);
	if (!c->bev || !c->deadline) {
		connection_free(h, c);
		return;
	}
	bufferevent_setcb(c->bev, on_readable, on_written, on_end, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, REQUEST_MAX_BYTES);
	(void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- where it listens ---- */

/* A is of the loopback: it was checked with the configuration. */
static socklen_t to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	in_port_t port = htons((uint16_t)strtoul(a->port, NULL, 10));

	*ret = (struct sockaddr_storage){ 0 };
	if (strchr(a->host, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port;
		return inet_pton(AF_INET6, a->host, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = port;
	return inet_pton(AF_INET, strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host, &v4->sin_addr) == 1 ? sizeof(*v4)
														   : 0;
}

static int listen_tcp(const struct addr *a, int *ret_fd)
{
	struct sockaddr_storage ss;
	socklen_t len = to_sockaddr(a, &ss);
	_cleanup_close_ int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (len == 0)
		return -EINVAL;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_listener(struct metrics_http *h, const char *uri, int *ret_fd, struct merr *err)
{
	struct addr a;
	int r = addr_parse_uri(uri, &a, err);

	if (r < 0)
		return r;
	if (a.type == ADDR_TCP) {
		r = listen_tcp(&a, ret_fd);
		if (r < 0)
			return merr_set_errno(err, r, "cannot listen on '%s'", uri);
		/* The port that it got. */
		(void)sock_local_addr(*ret_fd, &a);
	} else {
		r = listen_unix(a.path, SOCK_STREAM, h->daemon->config.qmp.socket_mode, h->daemon->config.qmp.socket_group,
				ret_fd, err);
		h->path = r == 0 ? strdup(a.path) : NULL;
	}
	(void)addr_format(&a, h->address, sizeof(h->address));
	return r;
}

static void on_rested(evutil_socket_t fd, short what, void *opaque)
{
	struct metrics_http *h = opaque;

	(void)fd;
	(void)what;
	if (h->n_connections < CONNECTIONS_MAX)
		(void)evconnlistener_enable(h->listener);
}

/* There are no descriptors: what cannot be accepted is not looked at all the time. */
static void on_accept_error(struct evconnlistener *listener, void *opaque)
{
	struct metrics_http *h = opaque;

	log_warning("[metrics] listen: a client cannot be accepted: %s", strerror(errno));
	h->rest = timer_free(h->rest);
	h->rest = timer_start(h->daemon->base, REST_MS, on_rested, h);
	if (h->rest)
		(void)evconnlistener_disable(listener);
}

static int start(struct metrics_http *h, struct merr *err)
{
	int fd = -1, r = open_listener(h, h->daemon->config.metrics.listen, &fd, err);

	if (r < 0)
		return merr_prefix(err, "[metrics] listen");
	h->listener = evconnlistener_new(h->daemon->base, on_accepted, h, LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, 0, fd);
	if (!h->listener) {
		close_fd(fd);
		return merr_set(err, -ENOMEM, "[metrics] listen: out of memory");
	}
	evconnlistener_set_error_cb(h->listener, on_accept_error);
	return 0;
}

int metrics_http_open(struct daemon *d, struct metrics_http **ret, struct merr *err)
{
	struct metrics_http *h;
	int r;

	*ret = NULL;
	if (!d->config.metrics.listen[0])
		return 0;
	h = calloc(1, sizeof(*h));
	if (!h)
		return merr_set(err, -ENOMEM, "out of memory");
	h->daemon = d;
	TAILQ_INIT(&h->connections);
	r = start(h, err);
	if (r < 0) {
		(void)metrics_http_free(h);
		return r;
	}
	metrics_watch_loop(d, true);
	log_info("metrics are served address='%s'", h->address);
	*ret = h;
	return 0;
}

struct metrics_http *metrics_http_free(struct metrics_http *h)
{
	if (!h)
		return NULL;
	metrics_watch_loop(h->daemon, false);
	if (h->listener)
		evconnlistener_free(h->listener);
	h->listener = NULL;
	(void)timer_free(h->rest);
	while (!TAILQ_EMPTY(&h->connections))
		connection_free(h, TAILQ_FIRST(&h->connections));
	if (h->path)
		(void)unlink(h->path);
	free(h->path);
	free(h);
	return NULL;
}

const char *metrics_http_address(const struct metrics_http *h)
{
	return h ? h->address : "";
}
