/* SPDX-License-Identifier: Apache-2.0 */
/* TLS, as a worker has it. */
#include "engine/credentials.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/migration.h"
#include "engine/report.h"
#include "engine/tls-bundle.h"

struct credentials {
	struct migration *m;
	int answer_fd;			/* wake: there is an answer */
	pthread_mutex_t turn;		/* whose question it is; taken before `lock` */
	pthread_mutex_t lock;		/* what follows */
	struct tls *tls;		/* for handshakes that begin now; NULL: */
	struct merr unusable;		/* why the first bundle was none */
	enum link_type asking;		/* LINK_SIGN, LINK_AUTHORIZE; 0: nothing is asked */
	uint32_t serial;
	struct worker_sign sign;	/* strings borrowed from the asker */
	struct worker_authorize authorize;
	bool answered;
	struct merr error;		/* of the answer */
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t signature_len;
};

struct credentials *credentials_new(struct migration *m)
{
	struct credentials *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->m = m;
	c->answer_fd = wake_new();
	if (c->answer_fd < 0 || pthread_mutex_init(&c->turn, NULL) != 0 || pthread_mutex_init(&c->lock, NULL) != 0) {
		(void)close_fd(c->answer_fd);
		free(c);
		return NULL;
	}
	return c;
}

struct credentials *credentials_free(struct credentials *c)
{
	if (!c)
		return NULL;
	(void)tls_unref(c->tls);
	(void)close_fd(c->answer_fd);
	(void)pthread_mutex_destroy(&c->turn);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

/* ---- questions: the thread that shakes hands ---- */

/* Wait for the answer to what `asking` says now; `turn` is held. 0, or why there is none. */
static int await_answer(struct credentials *c, uint64_t deadline_ns, const char *what, struct merr *err)
{
	int r = 0;

	report_question(c->m);
	for (;;) {
		{
			LOCK_SCOPE(&c->lock);
			if (c->answered || r < 0) {
				c->asking = 0;
				return c->answered ? merr_copy(err, &c->error) :
						     merr_set(err, r, "TLS: the daemon did not %s in time", what);
			}
		}
		/* Not cancelled: a daemon that could say so would also answer. */
		r = fd_wait(c->answer_fd, POLLIN, -1, deadline_ns);
		wake_drain(c->answer_fd);
		r = r < 0 ? r : 0;
	}
}

/* A question of TYPE begins: its serial number. `lock` is held. */
static uint32_t begin(struct credentials *c, enum link_type type)
{
	c->asking = type;
	c->answered = false;
	merr_clear(&c->error);
	return ++c->serial;
}

static int ask_signature(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
			 struct merr *err)
{
	struct credentials *c = opaque;
	_cleanup_free_ char *tbs = NULL;
	struct worker_sign sign;
	int r = tls_bundle_question(what, &sign, &tbs, err);

	if (r < 0)
		return r;
	LOCK_SCOPE(&c->turn);
	{
		LOCK_SCOPE(&c->lock);
		c->sign = sign;
		c->sign.serial = begin(c, LINK_SIGN);
	}
	r = await_answer(c, deadline_ns, "sign", err);
	if (r < 0)
		return r;
	memcpy(sig, c->signature, c->signature_len);
	*ret_len = c->signature_len;
	return 0;
}

static int ask_authorization(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err)
{
	struct credentials *c = opaque;

	LOCK_SCOPE(&c->turn);
	{
		LOCK_SCOPE(&c->lock);
		c->authorize = (struct worker_authorize){ .dn = (char *)(uintptr_t)dn };
		c->authorize.serial = begin(c, LINK_AUTHORIZE);
	}
	return await_answer(c, deadline_ns, "say who may connect", err);
}

/* ---- questions: the control thread ---- */

json_t *credentials_question(struct credentials *c, enum link_type *ret_type)
{
	LOCK_SCOPE(&c->lock);

	if (!c->asking || c->answered)
		return NULL;
	*ret_type = c->asking;
	return c->asking == LINK_SIGN ? worker_sign_to_json(&c->sign) : worker_authorize_to_json(&c->authorize);
}

/* Whether an answer of TYPE and SERIAL is awaited. `lock` is held. */
static bool awaited(const struct credentials *c, enum link_type type, uint32_t serial)
{
	return c->asking == type && c->serial == serial && !c->answered;
}

static void answered(struct credentials *c)
{
	c->answered = true;
	wake_raise(c->answer_fd);
}

void credentials_signed(struct credentials *c, const struct worker_signed *answer)
{
	LOCK_SCOPE(&c->lock);

	if (!awaited(c, LINK_SIGN, answer->serial))
		return;
	if (answer->has_error || !answer->has_signature)
		(void)merr_set(&c->error, -EACCES, "TLS: the daemon cannot sign: %s",
			       answer->has_error ? answer->error : "no reason is given");
	else if (tls_bundle_signature(answer->signature, c->signature, &c->signature_len) < 0)
		(void)merr_set(&c->error, -EBADMSG, "TLS: the daemon's signature is malformed");
	answered(c);
}

void credentials_authorized(struct credentials *c, const struct worker_authorized *answer)
{
	LOCK_SCOPE(&c->lock);

	if (!awaited(c, LINK_AUTHORIZE, answer->serial))
		return;
	if (answer->has_error)
		(void)merr_set(&c->error, -EACCES, "TLS: whether the client '%s' may connect cannot be told: %s",
			       c->authorize.dn, answer->error);
	else if (!answer->allowed)
		(void)merr_set(&c->error, -EACCES, "TLS: the client '%s' is not allowed to connect (tls-authz)",
			       c->authorize.dn);
	answered(c);
}

/* ---- the bundle ---- */

static int replace(struct credentials *c, const struct worker_tls *b, struct merr *err)
{
	bool server = c->m->start.direction == WORKER_DIRECTION_INCOMING;
	struct tls *tls = NULL;
	int r = tls_bundle_open(b, server, ask_signature, server && b->authorize ? ask_authorization : NULL, c, &tls, err);

	LOCK_SCOPE(&c->lock);
	if (r < 0)
		return c->tls ? r : merr_copy(&c->unusable, err);
	(void)tls_unref(c->tls);
	c->tls = tls;
	return 0;
}

int credentials_receive(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	struct merr why = MERR_INIT;
	struct worker_tls bundle;
	int r;

	r = link_receive_tls(msg, &bundle, err);
	if (r < 0)
		return r;
	if (replace(m->credentials, &bundle, &why) < 0)
		log_warning("TLS credentials that cannot be used: %s mig=%s", merr_msg(&why), m->start.id);
	worker_tls_done(&bundle);
	return 0;
}

int credentials_start(struct migration *m, struct chan *chan, struct merr *err)
{
	struct credentials *c = m->credentials;
	struct tls *tls;
	int r;

	if (!m->start.has_tls || !m->start.tls)
		return 0;
	{
		LOCK_SCOPE(&c->lock);
		if (!c->tls)
			return merr_copy(err, &c->unusable);
		tls = tls_ref(c->tls);
	}
	r = chan_start_tls(chan, tls, clock_now_ns() + HANDSHAKE_TIMEOUT_MS * NS_PER_MS, err);
	(void)tls_unref(tls);
	return r;
}
