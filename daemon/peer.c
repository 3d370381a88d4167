/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the peer of an outgoing migration. */
#include "daemon/peer.h"

#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/migration.h"

static int host_source(const struct host_parameters *p, struct source *ret, struct merr *err)
{
	int r = source_set_address(ret, p->source_address, err);

	if (r < 0) {
		(void)merr_prefix(err, "Parameter 'source-address'");
		return r;
	}
	r = source_set_interface(ret, p->source_interface, err);
	if (r < 0)
		(void)merr_prefix(err, "Parameter 'source-interface'");
	return r;
}

int peer_check_source(const struct daemon *d, const struct host_parameters *p, struct merr *err)
{
	struct source ignored;

	(void)d;
	return host_source(p, &ignored, err);
}

struct dial *peer_dial(struct migration *m, unsigned int delay_ms, dial_fn fn)
{
	const struct daemon *d = m->guest->daemon;
	struct addr a = m->addr;

	/* Checked when it was set. */
	if (a.type == ADDR_TCP && !source_is_set(&a.source))
		(void)host_source(&d->host, &a.source, NULL);
	return dial_connect(d->base, &a, delay_ms, fn, m);
}
