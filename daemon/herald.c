/* SPDX-License-Identifier: Apache-2.0 */
/* Heralds: started, asked, ended. */
#include "daemon/herald.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/json.h"
#include "daemon/tls.h"
#include "daemon/worker.h"
#include "engine/herald-link.h"
#include "engine/link.h"

struct herald {
	struct daemon *daemon;
	struct worker *process;
	struct migration_tls *tls;
	bool announces;
	bool told;   /* its last word came */
	bool exited; /* so did its end */
	char guest[ATTACH_STR_MAX + 1];
	const struct herald_handler *handler;
	void *opaque;
};

/* Somebody has to reap the process. */
static struct herald *leave(struct herald *h)
{
	(void)(h->exited ? worker_free(h->process) : worker_dismiss(h->process));
	free(h);
	return NULL;
}

struct herald *herald_cancel(struct herald *h)
{
	if (!h)
		return NULL;
	if (!h->exited)
		worker_kill(h->process, NULL);
	return leave(h);
}

/* It ends by itself once the other side has read that. */
struct herald *herald_answer(struct herald *h, const struct merr *err)
{
	struct herald_answer answer = { .has_error = err != NULL, .error = err ? (char *)(uintptr_t)merr_msg(err) : NULL };
	_cleanup_json_ json_t *body = herald_answer_to_json(&answer);
	struct conn *c = worker_conn(h->process);

	if (!body || !c || link_send(c, LINK_HERALD_ANSWER, body, NULL, 0) < 0)
		worker_kill(h->process, NULL);
	return leave(h);
}

/* ---- what it says ---- */

static int on_says(struct herald *h, struct conn_msg *m, struct merr *err)
{
	struct guest_description d;
	_cleanup_json_ json_t *body = NULL;
	int r = h->announces || h->told ? merr_set(err, -EBADMSG, "herald link: SAYS was not asked for") :
					  link_receive_long(m, HERALD_DESCRIPTION_MAX, &body, err);

	if (r == 0)
		r = guest_description_from_json(body, &d, err);
	if (r < 0)
		return r;
	h->told = true;
	h->handler->says(h->opaque, &d);
	guest_description_done(&d);
	return 0;
}

static int on_heard(struct herald *h, json_t *body, struct merr *err)
{
	struct merr why = MERR_INIT;
	struct herald_answer a;
	int r = h->announces && !h->told ? herald_answer_from_json(body, &a, err) :
					   merr_set(err, -EBADMSG, "herald link: HEARD was not asked for");

	if (r < 0)
		return r;
	h->told = true;
	if (a.has_error)
		(void)merr_set(&why, -ECONNREFUSED, "%s", a.error);
	herald_answer_done(&a);
	h->handler->heard(h->opaque, merr_is_set(&why) ? &why : NULL);
	return 0;
}

static int answer(struct herald *h, enum link_type type, const json_t *said, const struct merr *err)
{
	struct conn *c = worker_conn(h->process);

	if (merr_is_set(err))
		return -EBADMSG;
	if (!said || !c || link_send(c, type, said, NULL, 0) < 0)
		worker_kill(h->process, "it did not read what the daemon sent");
	return 0;
}

static int on_question(struct herald *h, uint16_t type, json_t *body, struct merr *err)
{
	_cleanup_json_ json_t *said = NULL;
	char who[ATTACH_STR_MAX + 32];

	(void)snprintf(who, sizeof(who), "announcement guest='%s'", h->guest);
	if (type == LINK_SIGN) {
		said = tls_answer_sign(h->tls, !h->announces, who, body, err);
		return answer(h, LINK_SIGNED, said, err);
	}
	said = tls_answer_authorize(h->tls, h->daemon, who, body, err);
	return answer(h, LINK_AUTHORIZED, said, err);
}

static int on_message(void *opaque, struct conn_msg *m, struct merr *err)
{
	struct herald *h = opaque;
	_cleanup_json_ json_t *body = NULL;
	int r;

	if (m->type == LINK_HERALD_SAYS)
		return on_says(h, m, err);
	r = link_body(m, &body, err);
	if (r < 0)
		return r;
	switch (m->type) {
	case LINK_HERALD_HEARD:
		return on_heard(h, body, err);
	case LINK_SIGN:
	case LINK_AUTHORIZE:
		return on_question(h, m->type, body, err);
	default:
		return merr_set(err, -EBADMSG, "herald link: message %u is not known", m->type);
	}
}

static void on_exit_of_it(void *opaque, const char *how)
{
	struct herald *h = opaque;
	struct merr err = MERR_INIT;

	h->exited = true;
	(void)merr_set(&err, -ECONNRESET, h->announces ? "the process that announces it is gone: %s" :
							 "the source gave up, or said nothing of use (%s)", how);
	if (h->announces)
		h->handler->heard(h->opaque, &err);
	else
		h->handler->gone(h->opaque, &err);
}

static const struct worker_handler process_handler = { on_message, on_exit_of_it };

/* ---- started ---- */

static int send_start(struct herald *h, int fd, const struct herald_task *t, struct merr *err)
{
	struct herald_start s = {
		.guest = (char *)(uintptr_t)t->guest,
		.greeted = t->greeted,
		.tls = t->tls != NULL,
		.peer = (char *)(uintptr_t)t->peer,
		.has_description = t->description != NULL,
	};
	struct conn *c = worker_conn(h->process);
	_cleanup_json_ json_t *body = NULL;
	int r;

	if (t->description)
		s.description = *t->description; /* its strings stay the caller's */
	body = herald_start_to_json(&s);
	r = body ? link_send_long(c, LINK_HERALD_START, body, 2UL * HERALD_DESCRIPTION_MAX) : -ENOMEM;
	if (r == 0)
		r = link_send(c, LINK_CONNECTION, NULL, &fd, 1);
	if (r < 0)
		return merr_set_errno(err, r, "cannot tell a herald what to do");
	return t->tls ? tls_send_to(t->tls, t->server_name, c, err) : 0;
}

int herald_start(struct daemon *d, int fd, const struct herald_task *task, const struct herald_handler *handler, void *opaque,
		 struct herald **ret, struct merr *err)
{
	struct herald *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return merr_set(err, -ENOMEM, "out of memory");
	*h = (struct herald){ .daemon = d, .tls = task->tls, .announces = task->description != NULL, .handler = handler,
			      .opaque = opaque };
	(void)snprintf(h->guest, sizeof(h->guest), "%s", task->guest);
	r = worker_spawn(d->base, d->exe_fd, HERALD_ARGV0, NULL, &process_handler, h, &h->process, err);
	if (r < 0) {
		free(h);
		return r;
	}
	r = send_start(h, fd, task, err);
	if (r < 0)
		(void)herald_cancel(h);
	else
		*ret = h;
	return r;
}
