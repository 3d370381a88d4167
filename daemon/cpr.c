/* SPDX-License-Identifier: Apache-2.0 */
/* Modes cpr-*: their checks, and cpr-transfer's first step. */
#include "daemon/cpr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/timer.h"

/* The library's service thread only has to pass descriptors on. */
#define OFFER_TIMEOUT_MS 10000U

struct cpr {
	struct migration *m;
	cpr_fn fn;
	char path[sizeof(((struct addr *)0)->path)];
	struct event *wait;	/* for the loop, then for the new VMM's answer */
	struct conn *conn;	/* to the new VMM; the old one has its own descriptor of it */
};

/* ---- checks ---- */

static bool is_cpr(const struct guest *g)
{
	return g->parameters.mode != MIG_MODE_NORMAL;
}

int cpr_check_channels(const struct guest *g, const struct addr *main_addr, const char *cpr_path,
		       struct merr *err)
{
	if (g->parameters.mode == MIG_MODE_CPR_EXEC && main_addr->type != ADDR_FILE)
		return merr_set(err, -EINVAL,
				"mode cpr-exec needs a main channel that outlives the VMM's program: file:PATH");
	if (g->parameters.mode != MIG_MODE_CPR_TRANSFER)
		return cpr_path[0] ? merr_set(err, -EINVAL,
					      "a 'cpr' channel is for mode cpr-transfer, and the mode of guest "
					      "'%s' is %s: set parameter mode first",
					      g->name, mig_mode_str(g->parameters.mode))
				   : 0;
	if (main_addr->type == ADDR_EXEC || main_addr->type == ADDR_FILE)
		return merr_set(err, -EINVAL,
				"Migration requires a streamable transport: mode cpr-transfer goes over tcp:, unix: "
				"or fd:");
	if (main_addr->type == ADDR_TCP && !strcmp(main_addr->port, "0"))
		return merr_set(err, -EINVAL,
				"mode cpr-transfer needs a main channel whose port is known: port 0 is not");
	if (!cpr_path[0])
		return merr_set(err, -EINVAL,
				"missing 'cpr' migration channel: mode cpr-transfer needs the Unix socket at "
				"which the new VMM waits for the memory");
	return 0;
}

static int check_command(const struct guest *g, struct merr *err)
{
	if (g->parameters.mode != MIG_MODE_CPR_EXEC)
		return 0;
	if (!g->parameters.n_cpr_exec_command || !g->parameters.cpr_exec_command[0][0])
		return merr_set(err, -EINVAL,
				"mode cpr-exec needs parameter cpr-exec-command: the program that the VMM of guest "
				"'%s' is to become, and its arguments",
				g->name);
	if (!g->daemon->config.daemon.allow_exec)
		return merr_set(err, -EPERM,
				"mode cpr-exec runs a command as the VMM's user, which this migd was not told to "
				"allow; start it with --allow-exec");
	return 0;
}

int cpr_check_guest(const struct guest *g, struct merr *err)
{
	static const enum migration_capability excluded[] = {
		MIGRATION_CAPABILITY_POSTCOPY_RAM,
		MIGRATION_CAPABILITY_DIRTY_BITMAPS,
		MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT,
		MIGRATION_CAPABILITY_X_COLO,
	};

	for (size_t i = 0; is_cpr(g) && i < ARRAY_SIZE(excluded); i++)
		if (g->capabilities[excluded[i]])
			return merr_set(err, -EINVAL, "mode %s is not compatible with capability '%s'",
					mig_mode_str(g->parameters.mode),
					migration_capability_str(excluded[i]));
	return check_command(g, err);
}

/* ---- handing the memory over ---- */

struct cpr *cpr_cancel(struct cpr *c)
{
	if (!c)
		return NULL;
	guest_forget_requests(c->m->guest, c);
	(void)timer_free(c->wait);
	(void)conn_free(c->conn);
	free(c);
	return NULL;
}

static void finish(struct cpr *c, const struct merr *err)
{
	struct migration *m = c->m;
	cpr_fn fn = c->fn;

	(void)cpr_cancel(c);
	fn(m, err);
}

/* The new VMM's reply to RAM_OFFER; an error's text is its own: keep it printable. */
static void take_answer(struct cpr *c, struct conn_msg *msg, struct merr *err)
{
	char text[MERR_MSG_MAX / 2] = "no reason given";
	size_t len = msg->body.left < sizeof(text) - 1 ? msg->body.left : sizeof(text) - 1;

	if (msg->type != ATTACH_RAM_OFFER || !msg->reply_to) {
		(void)merr_set(err, -EBADMSG, "the new VMM at '%s' sent %s instead of an answer to RAM_OFFER",
			       c->path, attach_type_name(msg->type));
		return;
	}
	if (!msg->error)
		return;
	if (len) {
		memcpy(text, msg->body.p, len);
		text[len] = '\0';
	}
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	(void)merr_set(err, attach_error_to_errno(msg->error),
		       "the new VMM at '%s' does not take the guest: %s", c->path, text);
}

static void on_answer(evutil_socket_t fd, short what, void *opaque)
{
	struct cpr *c = opaque;
	struct merr err = MERR_INIT;
	struct conn_msg msg;
	int r = conn_recv(c->conn, &msg, &err);

	(void)fd;
	(void)what;
	if (r == 0)
		return;
	if (r > 0) {
		take_answer(c, &msg, &err);
		conn_msg_done(&msg);
	} else {
		merr_clear(&err);
		(void)merr_set(&err, r, "the new VMM at '%s' ended before it could take the guest",
			       c->path);
	}
	finish(c, merr_is_set(&err) ? &err : NULL);
}

/* The old VMM has sent the offer, or says why not. */
static void on_offered(void *opaque, struct rcur *body, const struct merr *err)
{
	struct cpr *c = opaque;
	struct migration *m = c->m;

	(void)body;
	if (err)
		finish(c, err);
	else
		log_info("memory handed over, waiting for the new VMM guest='%s' mig=%s cpr='%s'",
			 m->guest->name, m->id, c->path);
}

static int connect_to(struct cpr *c, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a socket");
	memcpy(sun.sun_path, c->path, strlen(c->path));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return merr_set_errno(err, -errno, "Failed to connect to '%s' (cpr channel)", c->path);
	c->conn = conn_new(TAKE_FD(fd));
	return c->conn ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

static int offer(struct cpr *c, struct merr *err)
{
	struct guest *g = c->m->guest;
	struct attach_handover body;
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	int fd, r;

	r = connect_to(c, err);
	if (r < 0)
		return r;
	c->wait = event_new(g->daemon->base, conn_fd(c->conn), EV_READ | EV_PERSIST, on_answer, c);
	if (!c->wait || event_add(c->wait, NULL) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	r = handover_id_parse(c->m->handover_id, body.handover_id);
	if (r == 0)
		r = attach_handover_encode(&w, &body);
	if (r < 0)
		return merr_set_errno(err, r, "CPR_OFFER");
	fd = conn_fd(c->conn);
	return guest_request(g, ATTACH_CPR_OFFER, bytes, w.len, &fd, 1, OFFER_TIMEOUT_MS, on_offered, c,
			     err);
}

static void begin(evutil_socket_t fd, short what, void *opaque)
{
	struct cpr *c = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	c->wait = timer_free(c->wait);
	if (offer(c, &err) < 0)
		finish(c, &err);
}

struct cpr *cpr_start(struct migration *m, const char *path, cpr_fn fn)
{
	struct cpr *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->m = m;
	c->fn = fn;
	(void)snprintf(c->path, sizeof(c->path), "%s", path);
	c->wait = timer_start(m->guest->daemon->base, 0, begin, c);
	return c->wait ? c : cpr_cancel(c);
}
