/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The herald process: one announcement, told or heard. One thread, which waits for the daemon's answers where a handshake needs
 * them: there is nothing else to do.
 */
#include "engine/herald-link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/link.h"
#include "engine/sandbox.h"
#include "engine/tls-bundle.h"
#include "engine/wire.h"
#include "transport/chan.h"
#include "transport/greeting.h"

/* The daemon is told at once, and what it answers it has at hand. */
#define START_TIMEOUT_MS 10000U
#define VCPUS_MAX 1024U
#define UUID_LEN  36U
/* For the peer to have read the answer. */
#define CLOSING_MS 2000U

struct herald {
	struct conn *link;
	struct chan *chan;
	struct tls *tls;
	struct herald_start start;
	uint32_t serial;
	uint64_t deadline_ns;
};

static uint64_t in_ms(uint64_t ms)
{
	return clock_now_ns() + ms * NS_PER_MS;
}

/* ---- the daemon ---- */

/* Wait for a message; conn_msg_done() is the caller's. */
static int receive(struct herald *h, uint64_t deadline_ns, struct conn_msg *ret, struct merr *err)
{
	int r;

	while ((r = conn_recv(h->link, ret, err)) == 0) {
		r = fd_wait(conn_fd(h->link), POLLIN, -1, deadline_ns);
		if (r < 0)
			return merr_set_errno(err, r, "waiting for the daemon");
	}
	return r < 0 ? r : 0;
}

/* Wait for a message of TYPE; its JSON, or -errno with ERR. */
static int receive_json(struct herald *h, enum link_type type, uint64_t deadline_ns, json_t **ret, struct merr *err)
{
	struct conn_msg m;
	int r = receive(h, deadline_ns, &m, err);

	if (r < 0)
		return r;
	r = m.type == type ? link_body(&m, ret, err) : merr_set(err, -EBADMSG, "message %u instead of %u", m.type, type);
	conn_msg_done(&m);
	return r;
}

static int ask(struct herald *h, enum link_type question, json_t *body, enum link_type answer, uint64_t deadline_ns,
	       json_t **ret, struct merr *err)
{
	int r = body ? link_send(h->link, question, body, NULL, 0) : -ENOMEM;

	json_decref(body);
	return r < 0 ? merr_set_errno(err, r, "asking the daemon") : receive_json(h, answer, deadline_ns, ret, err);
}

static int ask_signature(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
			 struct merr *err)
{
	struct herald *h = opaque;
	_cleanup_free_ char *tbs = NULL;
	struct worker_signed answer;
	struct worker_sign sign;
	json_t *body = NULL;
	int r = tls_bundle_question(what, &sign, &tbs, err);

	if (r < 0)
		return r;
	sign.serial = ++h->serial;
	r = ask(h, LINK_SIGN, worker_sign_to_json(&sign), LINK_SIGNED, deadline_ns, &body, err);
	if (r == 0)
		r = worker_signed_from_json(body, &answer, err);
	json_decref(body);
	if (r < 0)
		return r;
	if (answer.has_error || !answer.has_signature)
		r = merr_set(err, -EACCES, "TLS: the daemon cannot sign: %s", answer.has_error ? answer.error : "?");
	else if (tls_bundle_signature(answer.signature, sig, ret_len) < 0)
		r = merr_set(err, -EBADMSG, "TLS: the daemon's signature is malformed");
	worker_signed_done(&answer);
	return r;
}

static int ask_authorization(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err)
{
	struct herald *h = opaque;
	struct worker_authorize question = { .serial = ++h->serial, .dn = (char *)(uintptr_t)dn };
	struct worker_authorized answer;
	json_t *body = NULL;
	int r = ask(h, LINK_AUTHORIZE, worker_authorize_to_json(&question), LINK_AUTHORIZED, deadline_ns, &body, err);

	if (r == 0)
		r = worker_authorized_from_json(body, &answer, err);
	json_decref(body);
	if (r < 0)
		return r;
	if (!answer.allowed)
		r = merr_set(err, -EACCES, "TLS: the client '%s' is not allowed to connect (tls-authz)", dn);
	worker_authorized_done(&answer);
	return r;
}

static int take_start(struct herald *h, struct merr *err)
{
	struct conn_msg m;
	json_t *body = NULL;
	int r = receive(h, in_ms(START_TIMEOUT_MS), &m, err);

	if (r < 0)
		return r;
	r = m.type == LINK_HERALD_START ? link_receive_long(&m, 2 * HERALD_DESCRIPTION_MAX, &body, err) :
					  merr_set(err, -EBADMSG, "message %u instead of HERALD_START", m.type);
	conn_msg_done(&m);
	if (r == 0)
		r = herald_start_from_json(body, &h->start, err);
	json_decref(body);
	return r;
}

static int take_connection(struct herald *h, struct merr *err)
{
	struct conn_msg m;
	int fd, r = receive(h, in_ms(START_TIMEOUT_MS), &m, err);

	if (r < 0)
		return r;
	fd = m.type == LINK_CONNECTION ? conn_msg_take_fd(&m, 0) : -1;
	conn_msg_done(&m);
	if (fd < 0)
		return merr_set(err, -EBADMSG, "message %u instead of CONNECTION", m.type);
	h->chan = chan_new(fd, -1);
	return h->chan ? 0 : merr_set_errno(err, -ENOMEM, "a channel");
}

static int take_tls(struct herald *h, struct merr *err)
{
	bool server = !h->start.has_description;
	struct worker_tls bundle;
	struct conn_msg m;
	int r = receive(h, in_ms(START_TIMEOUT_MS), &m, err);

	if (r < 0)
		return r;
	r = m.type == LINK_TLS ? link_receive_tls(&m, &bundle, err) :
				 merr_set(err, -EBADMSG, "message %u instead of TLS", m.type);
	conn_msg_done(&m);
	if (r < 0)
		return r;
	r = tls_bundle_open(&bundle, server, ask_signature, server && bundle.authorize ? ask_authorization : NULL, h,
			    &h->tls, err);
	worker_tls_done(&bundle);
	return r;
}

/* ---- the connection ---- */

static int shake_hands(struct herald *h, struct merr *err)
{
	short events = 0;
	int r = h->tls ? chan_start_tls(h->chan, h->tls, h->deadline_ns, err) : 0;

	if (r < 0 || !h->tls)
		return r;
	while ((r = chan_handshake(h->chan, &events, err)) == -EAGAIN) {
		r = fd_wait(chan_fd(h->chan), events, -1, h->deadline_ns);
		if (r < 0)
			return merr_set_errno(err, r, "TLS: waiting for the peer's part of the handshake");
	}
	return r;
}

static int read_full(struct herald *h, void *buf, size_t len, uint64_t deadline_ns, struct merr *err)
{
	uint8_t *to = buf;
	ssize_t n;

	for (size_t done = 0; done < len; done += (size_t)n) {
		n = chan_read(h->chan, to + done, len - done, deadline_ns);
		if (n == 0)
			return merr_set(err, -ENODATA, "the connection ended");
		if (n < 0)
			return chan_fail(h->chan, (int)n, "reading", err);
	}
	return 0;
}

static int write_full(struct herald *h, const void *buf, size_t len, struct merr *err)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	int r = chan_write(h->chan, &iov, 1, false, in_ms(HERALD_TIMEOUT_MS));

	return r < 0 ? chan_fail(h->chan, r, "writing", err) : 0;
}

static int say(struct herald *h, uint16_t word, const char *text, struct merr *err)
{
	uint8_t bytes[4 + WIRE_RP_LEN_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	size_t len = strnlen(text, WIRE_RP_LEN_MAX);

	wcur_be16(&w, word);
	wcur_be16(&w, (uint16_t)len);
	wcur_bytes(&w, text, len);
	return write_full(h, bytes, w.len, err);
}

/* ---- hearing ---- */

/* The greeter looked at it, and left it where it is. */
static int read_preamble(struct herald *h, struct merr *err)
{
	uint8_t bytes[GREETING_LEN];
	struct greeting g;
	int r = h->start.greeted ? read_full(h, bytes, sizeof(bytes), h->deadline_ns, err) : 0;

	if (r == 0 && h->start.greeted &&
	    (greeting_read(bytes, sizeof(bytes), &g) != GREETING_NAMED || !g.announces ||
	     strcmp(g.guest, h->start.guest) != 0))
		r = merr_set(err, -EBADMSG, "it does not begin as it did");
	return r;
}

/* A newer migd may say more than is known here. */
static void drop_unknown(json_t *o)
{
	static const char *const known[] = { "version", "name", "uuid", "vcpus", "memory", "tls", "capabilities",
					     "multifd-channels", "multifd-compression" };
	const char *name;
	json_t *value;
	void *next;
	size_t i;

	json_object_foreach_safe(o, next, name, value) {
		for (i = 0; i < ARRAY_SIZE(known) && strcmp(known[i], name) != 0; i++)
			;
		if (i == ARRAY_SIZE(known))
			(void)json_object_del(o, name);
	}
}

static int check_description(const struct herald *h, json_t *o, struct merr *err)
{
	struct guest_description d;
	int r = guest_description_from_json(o, &d, err);

	if (r < 0)
		return r;
	if (strcmp(d.name, h->start.guest) != 0)
		r = merr_set(err, -EBADMSG, "the description is of another guest than the connection");
	else if (d.version < 1 || d.memory > INT64_MAX || d.vcpus > VCPUS_MAX || strlen(d.uuid) != UUID_LEN)
		r = merr_set(err, -EBADMSG, "the description's version, memory, vcpus or uuid cannot be");
	guest_description_done(&d);
	return r;
}

static int read_description(struct herald *h, json_t **ret, struct merr *err)
{
	_cleanup_free_ char *text = NULL;
	uint8_t head[4];
	json_error_t why;
	uint32_t len;
	int r = read_full(h, head, sizeof(head), h->deadline_ns, err);

	if (r < 0)
		return r;
	len = load_be32(head);
	if (len == 0 || len > HERALD_DESCRIPTION_MAX)
		return merr_set(err, -EBADMSG, "a description of %u bytes; expected are 1 to %u", len, HERALD_DESCRIPTION_MAX);
	text = malloc(len);
	if (!text)
		return merr_set_errno(err, -ENOMEM, "a description");
	r = read_full(h, text, len, h->deadline_ns, err);
	if (r < 0)
		return r;
	*ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(*ret))
		return merr_set(err, -EBADMSG, "the description is no JSON object");
	drop_unknown(*ret);
	return check_description(h, *ret, err);
}

/* The daemon's answer. Meanwhile the peer is told that it is still to come, and may give up. */
static int await_answer(struct herald *h, struct herald_answer *ret, struct merr *err)
{
	struct pollfd fds[] = { { .fd = conn_fd(h->link), .events = POLLIN }, { .fd = chan_fd(h->chan), .events = POLLIN } };
	json_t *body = NULL;
	char byte;
	int n, r = 0;

	while (r == 0) {
		n = poll(fds, ARRAY_SIZE(fds), (int)HERALD_WAIT_MS);
		if (n > 0 && fds[0].revents)
			break;
		if (n > 0)
			/* TLS may have words of its own: only the end is of interest. */
			r = chan_read(h->chan, &byte, 1, clock_now_ns()) == -ETIMEDOUT ? 0 :
				    merr_set(err, -ECONNRESET, "the source gave up");
		else
			r = say(h, HERALD_WAIT, "", err);
	}
	if (r == 0)
		r = receive_json(h, LINK_HERALD_ANSWER, in_ms(START_TIMEOUT_MS), &body, err);
	if (r == 0)
		r = herald_answer_from_json(body, ret, err);
	json_decref(body);
	return r;
}

static int hear(struct herald *h, struct merr *err)
{
	struct herald_answer answer = { 0 };
	json_t *description = NULL;
	struct merr why = MERR_INIT;
	char byte;
	int r = read_description(h, &description, &why);

	if (r < 0) {
		json_decref(description);
		(void)say(h, WIRE_RP_ERROR, merr_msg(&why), err);
		return merr_copy(err, &why);
	}
	r = link_send_long(h->link, LINK_HERALD_SAYS, description, HERALD_DESCRIPTION_MAX);
	json_decref(description);
	if (r == 0)
		r = await_answer(h, &answer, err);
	if (r == 0)
		r = say(h, answer.has_error ? WIRE_RP_ERROR : HERALD_READY, answer.has_error ? answer.error : "", err);
	herald_answer_done(&answer);
	if (r < 0)
		return merr_is_set(err) ? r : merr_set_errno(err, r, "telling the daemon");
	/* A connection that is closed with bytes unread is reset, and the answer with it. */
	chan_shutdown_write(h->chan);
	(void)chan_read(h->chan, &byte, 1, in_ms(CLOSING_MS));
	return 0;
}

/* ---- announcing ---- */

static int send_description(struct herald *h, struct merr *err)
{
	json_t *o = guest_description_to_json(&h->start.description);
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	uint8_t head[4];
	int r;

	json_decref(o);
	if (!text)
		return merr_set_errno(err, -ENOMEM, "a description");
	if (strlen(text) > HERALD_DESCRIPTION_MAX)
		return merr_set(err, -E2BIG, "the guest's description is longer than %u bytes", HERALD_DESCRIPTION_MAX);
	store_be32(head, (uint32_t)strlen(text));
	r = write_full(h, head, sizeof(head), err);
	return r < 0 ? r : write_full(h, text, strlen(text), err);
}

/* It ends up in logs and terminals. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* 1: more is to come. */
static int read_word(struct herald *h, struct merr *err)
{
	char text[WIRE_RP_LEN_MAX + 1];
	uint64_t deadline_ns = in_ms(HERALD_SILENCE_MS);
	uint8_t head[4];
	uint16_t word, len;
	int r = read_full(h, head, sizeof(head), deadline_ns, err);

	if (r < 0)
		return r == -ENODATA ? merr_prefix(err, "the migd there says nothing; it may be one that knows no announcements") : r;
	word = load_be16(head);
	len = load_be16(head + 2);
	if (len > WIRE_RP_LEN_MAX)
		return merr_set(err, -EBADMSG, "the answer is none: word 0x%x of %u bytes", word, len);
	r = read_full(h, text, len, deadline_ns, err);
	if (r < 0)
		return r;
	text[len] = '\0';
	make_printable(text);
	switch (word) {
	case HERALD_WAIT:
		return 1;
	case HERALD_READY:
		return 0;
	case WIRE_RP_ERROR:
		return merr_set(err, -ECONNREFUSED, "%s", text);
	default:
		return merr_set(err, -EBADMSG, "the answer is none: word 0x%x of %u bytes", word, len);
	}
}

static int announce(struct herald *h, struct merr *err)
{
	int r;

	/* Whatever comes over the link now is its end: nobody else waits for what is done here. */
	chan_set_cancel(h->chan, conn_fd(h->link));
	r = send_description(h, err);
	if (r == 0)
		do
			r = read_word(h, err);
		while (r > 0);
	return r;
}

/* The last word of one that announces, whatever became of it. */
static int report(struct herald *h, int r, const struct merr *why, struct merr *err)
{
	struct herald_answer heard = { .has_error = r < 0, .error = r < 0 ? (char *)(uintptr_t)merr_msg(why) : NULL };
	json_t *body = herald_answer_to_json(&heard);

	r = body ? link_send(h->link, LINK_HERALD_HEARD, body, NULL, 0) : -ENOMEM;
	json_decref(body);
	return r < 0 ? merr_set_errno(err, r, "telling the daemon") : 0;
}

/* ---- the process ---- */

static int converse(struct herald *h, struct merr *err)
{
	struct merr why = MERR_INIT;
	int r;

	h->deadline_ns = in_ms(HERALD_TIMEOUT_MS);
	if (!h->start.has_description) {
		r = read_preamble(h, err);
		if (r == 0)
			r = shake_hands(h, err);
		return r == 0 ? hear(h, err) : r;
	}
	r = shake_hands(h, &why);
	if (r == 0)
		r = announce(h, &why);
	return report(h, r, &why, err);
}

static int start(struct herald *h, struct merr *err)
{
	int r;

	h->link = conn_new(LINK_FD);
	if (!h->link)
		return merr_set_errno(err, -ENOMEM, "the link");
	r = take_start(h, err);
	if (r == 0)
		r = take_connection(h, err);
	if (r == 0 && h->start.tls)
		r = take_tls(h, err);
	return r == 0 ? sandbox_enter(SANDBOX_HERALD, err) : r;
}

int herald_main(void)
{
	struct merr err = MERR_INIT;
	struct herald h = { 0 };
	int r;

	log_init_child(HERALD_ARGV0);
	(void)signal(SIGPIPE, SIG_IGN);
	r = start(&h, &err);
	if (r == 0)
		r = converse(&h, &err);
	if (r < 0)
		log_notice("an announcement failed: %s guest='%s' peer='%s'", merr_msg(&err), h.start.guest ?: "",
			   h.start.peer ?: "");
	(void)chan_free(h.chan);
	(void)tls_unref(h.tls);
	herald_start_done(&h.start);
	(void)conn_free(h.link);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
