/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a guest in an address: of a port that several share (transport/greeting.h). */
#include "transport/addr-text.h"
#include "transport/greeting.h"

int addr_set_guest(struct addr *a, const char *name, struct merr *err)
{
	_Static_assert(ADDR_GUEST_MAX == GREETING_NAME_MAX, "an address can name every guest");

	if (name[0] && !greeting_is_name(name))
		return merr_set(err, -EINVAL,
				"the name of a guest has 1 to %d bytes and no control characters; "
				"it comes last: everything behind 'guest=' is the name",
				ADDR_GUEST_MAX);
	(void)span_copy(span_of(name), a->guest, sizeof(a->guest));
	return 0;
}

const char *addr_cut_guest(struct span *rest)
{
	static const char option[] = ",guest";
	const char *at = strstr(rest->p, option);

	while (at && at[sizeof(option) - 1] && at[sizeof(option) - 1] != '=')
		at = strstr(at + 1, option);
	if (!at)
		return NULL;
	rest->len = (size_t)(at - rest->p);
	at += sizeof(option) - 1;
	return *at ? at + 1 : at;
}

int addr_parse_shared(struct span rest, struct addr *a, struct merr *err)
{
	return addr_set_guest(a, rest.p, err);
}
