/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to handlers, by table. */
#include "guest/dispatch.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const struct call_row *find_row(const struct call_row *table, size_t n_rows, uint16_t type)
{
	for (size_t i = 0; i < n_rows; i++)
		if (table[i].type == type)
			return &table[i];
	return NULL;
}

static int handle(struct migd_guest *g, struct call *c, const struct call_row *row,
		  struct merr *err)
{
	enum handover_state state = decision_get(&g->decision);
	const char *name = attach_type_name(c->msg->type);

	if (!row)
		return merr_set(err, -EOPNOTSUPP, "%s is not known here", name);
	if (!(row->states & 1U << state))
		return merr_set(err, -EBADFD, "%s is not possible in handover state '%s'", name,
				handover_state_name(state));
	return row->handle(g, c, err);
}

static void close_call_fds(struct call *c)
{
	for (size_t i = 0; c->owns_fds && i < c->n_fds; i++)
		close_fd(c->fds[i]);
}

static int send_reply(struct call *c, int r, const struct merr *err)
{
	if (r < 0)
		return conn_reply_error(c->conn, c->msg, err);
	return conn_reply(c->conn, c->msg, c->reply.p, c->reply.len, c->fds, c->n_fds);
}

int dispatch(struct migd_guest *g, struct conn *conn, struct conn_msg *m,
	     const struct call_row *table, size_t n_rows, struct merr *err)
{
	struct call c = {
		.guest = g,
		.conn = conn,
		.msg = m,
		.reply = wcur_of(g->body, ATTACH_BODY_MAX),
	};
	struct merr why = MERR_INIT;
	int r, sent = 0;

	r = handle(g, &c, find_row(table, n_rows, m->type), &why);
	if (r < 0 && !merr_is_set(&why))
		(void)merr_set_errno(&why, r, "%s", attach_type_name(m->type));
	if (r >= 0 && c.reply.bad)
		r = merr_set(&why, -EMSGSIZE, "%s: the reply is too long",
			     attach_type_name(m->type));
	if (!c.later)
		sent = send_reply(&c, r, &why);
	close_call_fds(&c);
	if (c.after)
		c.after(g);
	if (c.malformed) {
		(void)merr_copy(err, &why);
		return -EBADMSG;
	}
	return sent < 0 ? merr_set_errno(err, sent, "%s: cannot reply", attach_type_name(m->type))
			: 0;
}

int handle_query(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;
	struct attach_query_reply rep = {
		.role = (uint8_t)g->role,
		.run_state = (uint8_t)run_state_of(g),
		.handover_state = (uint8_t)decision_get(&g->decision),
	};

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	memcpy(rep.handover_id, g->decision.page->handover_id, ATTACH_ID_LEN);
	return attach_query_reply_encode(&c->reply, &rep);
}

int handle_heartbeat(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	(void)g;
	return CALL_DECODE(c, empty, &req, err);
}
