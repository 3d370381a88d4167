/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of vsock addresses (QMP.md 6.2; vsock(7)). */
#include "transport/addr-text.h"

#define VSOCK_FORM "expected vsock:CID:PORT, e.g. vsock:2:4444"

static int parse_part(struct span s, const char *what, uint32_t *ret, struct merr *err)
{
	uint64_t v;

	if (s.len == 0)
		return merr_set(err, -EINVAL, "the %s is missing; " VSOCK_FORM, what);
	if (span_number(s, UINT32_MAX, &v) < 0)
		return merr_set(err, -EINVAL, "the %s is a number from 0 to %u, not '%.*s'; " VSOCK_FORM,
				what, UINT32_MAX, (int)s.len, s.p);
	*ret = (uint32_t)v;
	return 0;
}

int addr_parse_vsock(struct span rest, struct addr *a, struct merr *err)
{
	struct span cid = span_cut(&rest, ':');
	int r = parse_part(cid, "CID", &a->cid, err);

	return r < 0 ? r : parse_part(rest, "port", &a->vsock_port, err);
}
