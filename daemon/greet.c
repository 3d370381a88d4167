/* SPDX-License-Identifier: Apache-2.0 */
/* Preambles, and server names for the worker's ClientHello. */
#include "daemon/greet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "attach/handover.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "transport/greeting.h"

_Static_assert(GREETING_NAME_MAX == ATTACH_STR_MAX && GREETING_ID_LEN == ATTACH_ID_LEN,
	       "every guest and handover can be named");

const char *greet_name(const struct migration *m)
{
	return m->addr.guest[0] ? m->addr.guest : m->guest->name;
}

static void describe(const struct migration *m, bool announces, struct greeting *ret)
{
	const char *name = greet_name(m);

	*ret = (struct greeting){ .announces = announces };
	memcpy(ret->guest, name, strnlen(name, GREETING_NAME_MAX));
	(void)handover_id_parse(m->handover_id, ret->handover_id);
}

bool greet_server_name(const struct migration *m, bool announces, char ret[GREETING_SERVER_NAME_MAX + 1])
{
	struct greeting g;

	if (!m->addr.to_guest || !m->tls)
		return false;
	describe(m, announces, &g);
	greeting_server_name(&g, ret);
	return true;
}

int greet(const struct migration *m, bool announces, int fd, struct merr *err)
{
	uint8_t bytes[GREETING_LEN];
	struct greeting g;
	ssize_t n;

	if (!m->addr.to_guest || m->tls)
		return 0;
	describe(m, announces, &g);
	greeting_write(&g, bytes);
	/* The first bytes on a new connection: there is room for them. */
	n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)sizeof(bytes))
		return 0;
	return merr_set_errno(err, n < 0 ? -errno : -EIO, "cannot tell '%s' which guest it is for", m->uri);
}
