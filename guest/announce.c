/* SPDX-License-Identifier: Apache-2.0 */
/* ANNOUNCE: one round of self-announcements, by the VMM's hook. Service thread. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

struct names {
	struct attach_interface rows[ATTACH_INTERFACES_MAX];
	const char *p[ATTACH_INTERFACES_MAX];
};

static int read_names(const struct attach_announce *req, struct names *ret, struct merr *err)
{
	struct rcur c = rcur_of(req->interfaces.data, req->interfaces.len);
	int r;

	if (req->n > ATTACH_INTERFACES_MAX)
		return merr_set(err, -EPROTO, "ANNOUNCE: field 'n': %u interfaces, at most %u",
				req->n, ATTACH_INTERFACES_MAX);
	for (uint32_t i = 0; i < req->n; i++) {
		r = attach_interface_decode(&c, &ret->rows[i], err);
		if (r < 0)
			return r;
		ret->p[i] = ret->rows[i].name;
	}
	return attach_decode_end(&c, err);
}

int handle_announce(struct migd_guest *g, struct call *c, struct merr *err)
{
	_cleanup_free_ struct names *names = malloc(sizeof(*names));
	struct attach_announce req;
	int r;

	if (CALL_DECODE(c, announce, &req, err) < 0)
		return -EBADMSG;
	if (!names)
		return merr_set(err, -ENOMEM, "ANNOUNCE: no memory");
	r = read_names(&req, names, err);
	if (r < 0) {
		c->malformed = true;
		return -EBADMSG;
	}
	if (!g->hooks.announce)
		return merr_set(err, -EOPNOTSUPP, "this VMM does not announce its guest");
	g->hooks.announce(g->opaque, names->p, req.n);
	return 0;
}
