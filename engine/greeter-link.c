/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the daemon and the greeter. */
#include "engine/greeter-link.h"

#include <errno.h>
#include <string.h>

#include "engine/wire.h"

/* id, verdict, flags, handover id, name */
#define SAYS_MAX (4 + 1 + 1 + GREETING_ID_LEN + 1 + GREETING_NAME_MAX)

#define SAYS_TLS       1U
#define SAYS_ANNOUNCES 2U

/* RFC 8446, 6.2 */
#define ALERT		     21
#define ALERT_FATAL	     2
#define ALERT_UNRECOGNIZED_NAME 112

int greeter_send_look(struct conn *c, uint32_t id, int fd)
{
	uint8_t body[4];

	store_be32(body, id);
	return conn_send(c, GREETER_LOOK, body, sizeof(body), &fd, 1, NULL);
}

int greeter_send_says(struct conn *c, const struct greeter_says *s)
{
	size_t len = strnlen(s->greeting.guest, GREETING_NAME_MAX);
	uint8_t body[SAYS_MAX];
	struct wcur w = wcur_of(body, sizeof(body));

	wcur_be32(&w, s->id);
	wcur_u8(&w, s->verdict);
	wcur_u8(&w, (s->greeting.tls ? SAYS_TLS : 0) | (s->greeting.announces ? SAYS_ANNOUNCES : 0));
	wcur_bytes(&w, s->greeting.handover_id, GREETING_ID_LEN);
	wcur_u8(&w, (uint8_t)len);
	wcur_bytes(&w, s->greeting.guest, len);
	return conn_send(c, GREETER_SAYS, body, w.len, NULL, 0, NULL);
}

int greeter_read_look(struct conn_msg *m, uint32_t *ret_id, int *ret_fd, struct merr *err)
{
	struct rcur c = m->body;

	*ret_id = rcur_be32(&c);
	if (m->type != GREETER_LOOK || c.bad || c.left || m->n_fds != 1)
		return merr_set(err, -EBADMSG, "greeter link: message %u with %zu bytes and %zu descriptors",
				m->type, m->body.left, m->n_fds);
	*ret_fd = conn_msg_take_fd(m, 0);
	return 0;
}

int greeter_read_says(const struct conn_msg *m, struct greeter_says *ret, struct merr *err)
{
	struct greeter_says s = { 0 };
	struct rcur c = m->body;
	const uint8_t *id, *name;
	uint8_t flags, len;

	s.id = rcur_be32(&c);
	s.verdict = rcur_u8(&c);
	flags = rcur_u8(&c);
	id = rcur_bytes(&c, GREETING_ID_LEN);
	len = rcur_u8(&c);
	name = rcur_bytes(&c, len);
	if (m->type != GREETER_SAYS || m->n_fds || c.bad || c.left || len > GREETING_NAME_MAX ||
	    flags > (SAYS_TLS | SAYS_ANNOUNCES) ||
	    s.verdict == GREETING_MORE || s.verdict >= GREETER_N_VERDICTS)
		return merr_set(err, -EBADMSG, "greeter link: message %u with %zu bytes is malformed", m->type,
				m->body.left);
	s.greeting.tls = flags & SAYS_TLS;
	s.greeting.announces = flags & SAYS_ANNOUNCES;
	memcpy(s.greeting.handover_id, id, GREETING_ID_LEN);
	memcpy(s.greeting.guest, name, len);
	if (s.verdict == GREETING_NAMED &&
	    (strlen(s.greeting.guest) != len || !greeting_is_name(s.greeting.guest)))
		return merr_set(err, -EBADMSG, "greeter link: what it says is no guest's name");
	*ret = s;
	return 0;
}

size_t greeter_refusal(bool tls, const char *text, uint8_t ret[GREETER_REFUSAL_MAX])
{
	struct wcur w = wcur_of(ret, GREETER_REFUSAL_MAX);
	size_t len = strnlen(text, WIRE_RP_LEN_MAX);

	if (tls) {
		wcur_u8(&w, ALERT);
		wcur_be16(&w, 0x303);
		wcur_be16(&w, 2);
		wcur_u8(&w, ALERT_FATAL);
		wcur_u8(&w, ALERT_UNRECOGNIZED_NAME);
		return w.len;
	}
	wcur_be16(&w, WIRE_RP_ERROR);
	wcur_be16(&w, (uint16_t)len);
	wcur_bytes(&w, text, len);
	wcur_be16(&w, WIRE_RP_SHUT);
	wcur_be16(&w, 4);
	wcur_be32(&w, 1);
	return w.len;
}
