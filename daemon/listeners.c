/* SPDX-License-Identifier: Apache-2.0 */
/* The host's shared ports: opened, kept, described. */
#include "daemon/listeners.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/address.h"
#include "daemon/arrivals.h"
#include "daemon/daemon.h"
#include "daemon/dial.h"
#include "daemon/fdstore.h"
#include "daemon/json.h"
#include "daemon/state-dir.h"
#include "daemon/timer.h"
#include "qmp/server.h"
#include "schema/commands.h"
#include "transport/sock.h"

/* In the state directory; no guest's: those are hex digits. */
#define STORE_NAME    "listeners"
#define STORE_VERSION 1

#define TRY_AGAIN_MS 5000U
/* Then others have their turn in the loop. */
#define ACCEPT_MAX 64
/* A port of many guests, and of whoever else finds it: room for those that wait while the loop is elsewhere. */
#define BACKLOG 1024
/* Out of descriptors: until some are closed. */
#define ACCEPT_PAUSE_MS 200U

struct listener {
	TAILQ_ENTRY(listener) entry;
	struct listeners *all;
	char *uri; /* as given */
	struct addr addr; /* where to listen: as given, or, after a restart, where the former daemon did */
	bool by_option;
	struct addr real; /* with fd */
	int fd; /* -1: it does not listen */
	struct event *acceptable;
	struct event *timer; /* opens it again, or ends a pause */
	struct dial *dial;
	struct qmp_call *call; /* host-listen: to be answered */
	struct merr error;
	struct arrival_counts counts;
};

struct listeners {
	struct daemon *daemon;
	struct arrivals *arrivals;
	TAILQ_HEAD(listener_list, listener) list;
	unsigned int n;
};

/* ---- accepting ---- */

static void pause_accepting(struct listener *l);

static void on_acceptable(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *l = opaque;
	struct arrivals *as = l->all->arrivals;
	int conn = 0;

	(void)what;
	for (int i = 0; i < ACCEPT_MAX && arrivals_ready(as); i++) {
		conn = fd_accept(fd);
		if (conn < 0)
			break;
		arrivals_add(as, conn, &l->counts);
	}
	if (conn < 0 && conn != -EAGAIN) {
		log_warning("a shared port waits: %s uri='%s'", strerror(-conn), l->uri);
		pause_accepting(l);
	} else if (!arrivals_ready(as)) {
		(void)event_del(l->acceptable);
	}
}

static void on_pause_end(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *l = opaque;

	(void)fd;
	(void)what;
	l->timer = timer_free(l->timer);
	(void)event_add(l->acceptable, NULL);
}

static void pause_accepting(struct listener *l)
{
	(void)event_del(l->acceptable);
	l->timer = timer_free(l->timer);
	l->timer = timer_start(l->all->daemon->base, ACCEPT_PAUSE_MS, on_pause_end, l);
}

static void resume(struct daemon *d)
{
	struct listener *l;

	TAILQ_FOREACH(l, &d->listeners->list, entry)
		if (l->acceptable && !l->timer)
			(void)event_add(l->acceptable, NULL);
}

/* ---- kept ---- */

static json_t *entry_to_json(const struct listener *l)
{
	char real[ADDR_FORMATTED_MAX];

	return json_pack("{s:s, s:s, s:b}", "uri", l->uri, "address",
			 addr_format(l->fd >= 0 ? &l->real : &l->addr, real, sizeof(real)), "option", l->by_option);
}

static void save(const struct listeners *ls)
{
	_cleanup_json_ json_t *o = NULL;
	json_t *list = json_array();
	struct merr err = MERR_INIT;
	const struct listener *l;

	TAILQ_FOREACH(l, &ls->list, entry)
		if (!l->call)
			(void)json_array_append_new(list, entry_to_json(l));
	o = json_pack("{s:i, s:o}", "version", STORE_VERSION, "listeners", list);
	if (!o)
		(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!o || state_dir_save(ls->daemon->state, STORE_NAME, o, true, &err) < 0)
		log_warning("the shared ports are closed if this daemon ends: %s", merr_msg(&err));
}

/* ---- one of them ---- */

static struct listener *listener_free(struct listener *l)
{
	struct listeners *ls = l->all;
	struct merr err = MERR_INIT;

	TAILQ_REMOVE(&ls->list, l, entry);
	ls->n--;
	arrivals_forget(ls->arrivals, &l->counts);
	(void)timer_free(l->acceptable);
	(void)timer_free(l->timer);
	l->dial = dial_cancel(l->dial);
	close_fd(l->fd);
	if (l->call) {
		(void)merr_set(&err, -ECANCELED, "The shared port '%s' was closed", l->uri);
		qmp_fail(l->call, &err);
	}
	free(l->uri);
	free(l);
	return NULL;
}

static struct listener *find(const struct listeners *ls, const char *uri)
{
	struct listener *l;

	TAILQ_FOREACH(l, &ls->list, entry)
		if (strcmp(l->uri, uri) == 0)
			return l;
	return NULL;
}

static int check_address(const struct addr *a, const char *uri, struct merr *err)
{
	if (addr_is_network(a) && !a->to_guest)
		return 0;
	return merr_set(err, -EINVAL, "A shared port expects an address to listen on, tcp:HOST:PORT, unix:PATH or vsock:CID:PORT, not '%s'",
			uri);
}

static int listener_new(struct listeners *ls, const char *uri, const struct addr *addr, struct listener **ret,
			struct merr *err)
{
	struct listener *l;
	int r = check_address(addr, uri, err);

	if (r < 0)
		return r;
	if (find(ls, uri))
		return merr_set(err, -EEXIST, "The shared port '%s' is open already", uri);
	if (ls->n >= LISTENERS_MAX)
		return merr_set(err, -EBUSY, "There are %u shared ports already; close one with host-listen-stop",
				ls->n);
	l = calloc(1, sizeof(*l));
	if (!l || !(l->uri = strdup(uri))) {
		free(l);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	l->all = ls;
	l->addr = *addr;
	l->fd = -1;
	TAILQ_INSERT_TAIL(&ls->list, l, entry);
	ls->n++;
	*ret = l;
	return 0;
}

/* It listens, on FD (taken over). */
static int begin(struct listener *l, int fd, struct merr *err)
{
	char text[ADDR_FORMATTED_MAX];
	int r = sock_local_addr(fd, &l->real);

	l->fd = fd;
	(void)listen(fd, BACKLOG); /* it listens already, with a backlog for one migration */
	if (r == 0)
		l->acceptable = event_new(l->all->daemon->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	if (r < 0 || !l->acceptable || event_add(l->acceptable, NULL) < 0)
		return merr_set_errno(err, r < 0 ? r : -ENOMEM, "cannot watch the shared port '%s'", l->uri);
	merr_clear(&l->error);
	fdstore_put("port", l->uri, fd);
	log_info("shared port open address='%s'", addr_format(&l->real, text, sizeof(text)));
	return 0;
}

static int describe(const struct listener *l, struct host_listener *ret);

/* host-listen's answer. ERR: it failed, and L goes. */
static void conclude(struct listener *l, const struct merr *err)
{
	struct qmp_call *call = TAKE_PTR(l->call);
	struct host_listener info;
	struct merr own = MERR_INIT;

	if (!err && describe(l, &info) < 0) {
		(void)merr_set(&own, -ENOMEM, "out of memory");
		err = &own;
	}
	if (err) {
		(void)listener_free(l);
		qmp_fail(call, err);
		return;
	}
	save(l->all);
	qmp_return(call, host_listener_to_json(&info));
	host_listener_done(&info);
}

static void open_later(evutil_socket_t fd, short what, void *opaque);

static void on_listening(void *opaque, int fd, const struct merr *err)
{
	struct listener *l = opaque;
	struct merr own = MERR_INIT;

	l->dial = NULL;
	if (fd >= 0 && begin(l, fd, &own) < 0)
		err = &own;
	if (l->call) {
		conclude(l, err);
		return;
	}
	if (!err) {
		save(l->all);
		return;
	}
	if (!merr_is_set(&l->error))
		log_err("a shared port of a former daemon does not open, trying again: %s uri='%s'", merr_msg(err), l->uri);
	merr_clear(&l->error);
	(void)merr_copy(&l->error, err);
	l->fd = close_fd(l->fd);
	l->timer = timer_free(l->timer);
	l->timer = timer_start(l->all->daemon->base, TRY_AGAIN_MS, open_later, l);
}

static void open_later(evutil_socket_t fd, short what, void *opaque)
{
	struct listener *l = opaque;

	(void)fd;
	(void)what;
	l->timer = timer_free(l->timer);
	l->dial = dial_listen(l->all->daemon->base, &l->addr, on_listening, l);
	if (!l->dial)
		l->timer = timer_start(l->all->daemon->base, TRY_AGAIN_MS, open_later, l);
}

/* ---- at the start ---- */

/* Names may be looked up now: nothing else happens yet. */
static int open_now(struct listener *l, struct merr *err)
{
	struct sock_target targets[SOCK_TARGETS_MAX];
	int fd = -1, n = sock_resolve(&l->addr, true, targets, err);
	int r = n < 0 ? n : sock_listen(&l->addr, targets, (size_t)n, &fd, err);

	return r < 0 ? r : begin(l, fd, err);
}

/* What a former daemon kept about URI; NULL: nothing. Borrowed from LIST. */
static json_t *find_kept(json_t *list, const char *uri)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "uri"));

		if (text && strcmp(text, uri) == 0)
			return entry;
	}
	return NULL;
}

/* The former daemon's socket, where nobody was refused since: the service manager kept it. */
static bool take_stored(struct listener *l)
{
	int fd = fdstore_claim(l->all->daemon->passed, "port", l->uri);
	struct merr err = MERR_INIT;

	if (fd < 0)
		return false;
	if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0 && begin(l, fd, &err) == 0)
		return true;
	log_warning("the socket of a shared port that the service manager kept is of no use: %s uri='%s'", merr_msg(&err), l->uri);
	l->acceptable = timer_free(l->acceptable);
	l->fd = -1;
	close_fd(fd);
	fdstore_drop("port", l->uri);
	return false;
}

/* With port 0: the port of before, if it is free, so that those who know it find it again. */
static int open_option(struct listeners *ls, const char *uri, json_t *kept, struct merr *err)
{
	const char *address = json_string_value(json_object_get(find_kept(kept, uri), "address"));
	struct merr ignored = MERR_INIT;
	struct listener *l;
	struct addr given;
	int r = addr_parse_uri(uri, &given, err);

	if (r == 0)
		r = listener_new(ls, uri, &given, &l, err);
	if (r != 0)
		return merr_prefix(err, "[daemon] listen (option '--listen')");
	l->by_option = true;
	if (take_stored(l))
		return 0;
	if (address && addr_parse_uri(address, &l->addr, NULL) == 0 && open_now(l, &ignored) == 0)
		return 0;
	l->addr = given;
	r = open_now(l, err);
	return r < 0 ? merr_prefix(err, "[daemon] listen (option '--listen')") : 0;
}

/* One that was opened by host-listen. */
static int reopen(struct listeners *ls, json_t *entry, struct merr *err)
{
	const char *uri, *address;
	struct listener *l;
	struct addr addr;
	json_error_t why;
	int option, r;

	if (json_unpack_ex(entry, &why, 0, "{s:s, s:s, s:b}", "uri", &uri, "address", &address, "option", &option) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (option || find(ls, uri))
		return 0;
	r = addr_parse_uri(address, &addr, err);
	if (r == 0)
		r = listener_new(ls, uri, &addr, &l, err);
	if (r == 0 && !take_stored(l))
		open_later(-1, 0, l);
	return r;
}

static json_t *load(const struct daemon *d)
{
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	json_t *list = NULL;
	json_error_t why;
	int version, r = state_dir_load(d->state, STORE_NAME, &o, &err);

	if (r == -ENOENT)
		return NULL;
	if (r == 0 && (json_unpack_ex(o, &why, 0, "{s:i, s:o}", "version", &version, "listeners", &list) < 0 ||
		       version != STORE_VERSION))
		r = merr_set(&err, -EBADMSG, "it is not of version %d", STORE_VERSION);
	if (r < 0) {
		log_err("ignoring the shared ports that a former daemon kept (settings/" STORE_NAME "): %s", merr_msg(&err));
		return NULL;
	}
	return json_incref(list);
}

/* Each word of the configuration's. */
static int open_configured(struct listeners *ls, json_t *kept, struct merr *err)
{
	_cleanup_free_ char *uris = strdup(ls->daemon->config.daemon.listen);
	char *save = NULL;
	int r = uris ? 0 : merr_set(err, -ENOMEM, "out of memory");

	for (char *uri = uris ? strtok_r(uris, " \t", &save) : NULL; r == 0 && uri; uri = strtok_r(NULL, " \t", &save))
		r = open_option(ls, uri, kept, err);
	return r;
}

static int open_all(struct listeners *ls, struct merr *err)
{
	_cleanup_json_ json_t *kept = load(ls->daemon);
	struct merr why = MERR_INIT;
	json_t *entry;
	int r = open_configured(ls, kept, err);
	size_t i;

	if (r < 0)
		return r;
	json_array_foreach(kept, i, entry)
		if (reopen(ls, entry, &why) < 0)
			log_err("ignoring a shared port that a former daemon kept: %s", merr_msg(&why));
	if (kept || !TAILQ_EMPTY(&ls->list))
		save(ls);
	return 0;
}

int listeners_open(struct daemon *d, struct listeners **ret, struct merr *err)
{
	struct listeners *ls = calloc(1, sizeof(*ls));
	int r;

	if (!ls)
		return merr_set(err, -ENOMEM, "out of memory");
	ls->daemon = d;
	TAILQ_INIT(&ls->list);
	ls->arrivals = arrivals_new(d, resume);
	*ret = ls;
	r = ls->arrivals ? open_all(ls, err) : merr_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		*ret = listeners_free(ls);
	return r;
}

/* Sockets of the file system stay for the next daemon, which removes what nobody answers on. */
struct listeners *listeners_free(struct listeners *ls)
{
	if (!ls)
		return NULL;
	while (!TAILQ_EMPTY(&ls->list))
		(void)listener_free(TAILQ_FIRST(&ls->list));
	ls->arrivals = arrivals_free(ls->arrivals);
	free(ls);
	return NULL;
}

/* ---- described ---- */

bool listeners_any(const struct listeners *ls)
{
	return !TAILQ_EMPTY(&ls->list);
}

int listeners_describe(const struct listeners *ls, struct socket_address **ret, size_t *ret_n)
{
	const struct listener *l;

	*ret = calloc(LISTENERS_MAX, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	TAILQ_FOREACH(l, &ls->list, entry)
		if (l->fd >= 0 && address_describe(&l->real, *ret + *ret_n) == 0)
			(*ret_n)++;
	return 0;
}

static int describe_refusals(const struct listener *l, struct host_listener *ret)
{
	ret->refused = calloc(HOST_REFUSAL__MAX, sizeof(*ret->refused));
	if (!ret->refused)
		return -ENOMEM;
	for (int i = 1; i < HOST_REFUSAL__MAX; i++)
		if (l->counts.refused[i])
			ret->refused[ret->n_refused++] = (struct host_refusal_count){
				.reason = (enum host_refusal)i,
				.count = l->counts.refused[i],
			};
	return 0;
}

static int describe(const struct listener *l, struct host_listener *ret)
{
	struct host_listener info = {
		.uri = strdup(l->uri),
		.connections = l->counts.connections,
		.passed = l->counts.passed,
		.undecided = l->counts.undecided,
	};
	int r = info.uri ? describe_refusals(l, &info) : -ENOMEM;

	if (r == 0 && l->fd >= 0) {
		r = address_describe(&l->real, &info.address);
		info.has_address = r == 0;
	}
	if (r == 0 && merr_is_set(&l->error)) {
		info.error = strdup(merr_msg(&l->error));
		info.has_error = info.error != NULL;
	}
	if (r < 0)
		host_listener_done(&info);
	else
		*ret = info;
	return r;
}

/* ---- commands ---- */

void cmd_host_listen(struct qmp_call *call, const struct host_listen_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	char text[ADDRESS_TEXT_MAX];
	struct merr err = MERR_INIT;
	struct listener *l = NULL;
	struct addr addr;
	int r;

	r = address_parse_listen(args->has_uri ? args->uri : NULL, args->has_addr ? &args->addr : NULL, &addr, text, &err);
	if (r == 0)
		r = listener_new(d->listeners, text, &addr, &l, &err);
	if (r != 0) {
		qmp_fail(call, &err);
		return;
	}
	l->call = call;
	l->dial = dial_listen(d->base, &l->addr, on_listening, l);
	if (l->dial)
		return;
	(void)merr_set(&err, -ENOMEM, "out of memory");
	conclude(l, &err);
}

void cmd_host_listen_stop(struct qmp_call *call, const struct host_listen_stop_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct listener *l = find(d->listeners, args->uri);
	struct merr err = MERR_INIT;

	if (!l) {
		(void)merr_set(&err, -ENOENT, "There is no shared port '%s'; query-host-listeners tells which there are",
			       args->uri);
		qmp_fail(call, &err);
		return;
	}
	if (l->fd >= 0 && l->real.type == ADDR_UNIX)
		(void)unlink(l->real.path);
	fdstore_drop("port", l->uri);
	(void)listener_free(l);
	save(d->listeners);
	qmp_return(call, NULL);
}

void cmd_query_host_listeners(struct qmp_call *call, const struct query_host_listeners_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	json_t *list = json_array();
	struct host_listener info;
	const struct listener *l;

	(void)args;
	TAILQ_FOREACH(l, &d->listeners->list, entry) {
		if (describe(l, &info) < 0)
			continue;
		(void)json_array_append_new(list, host_listener_to_json(&info));
		host_listener_done(&info);
	}
	qmp_return(call, list);
}
