/* SPDX-License-Identifier: Apache-2.0 */
/* What of a VMM's has state of its own, however that is sent: described devices and live ones, as one list. */
#ifndef MIGD_GUEST_STATEFUL_H
#define MIGD_GUEST_STATEFUL_H

#include <string.h>

#include "guest/live.h"
#include "guest/owner.h"
#include "guest/tables.h"

struct stateful {
	const char *name;
	uint32_t instance;
	uint32_t version, minimum_version;
	bool may_be_absent;	/* from a source that has it */
	bool is_sent;		/* false: nothing of it is; leave it out */
};

static inline size_t stateful_count(const struct guest_tables *t)
{
	return t->n_devices + t->n_live;
}

/* The described ones first, in the order of saving. */
static inline struct stateful stateful_at(const struct guest_tables *t, size_t i)
{
	const struct live_device *l;
	const struct guest_device *d;

	if (i < t->n_devices) {
		d = &t->devices[i];
		return (struct stateful){ d->name, d->instance, d->desc->version,
					  d->desc->minimum_version, d->desc->needed != NULL, true };
	}
	l = &t->live[i - t->n_devices];
	return (struct stateful){ l->name, l->ops.instance, l->ops.version, l->ops.minimum_version,
				  !live_is_sent(l), live_is_sent(l) };
}

/* Does it answer to NAME and INSTANCE in a stream of its VERSION? */
static inline bool stateful_answers(const struct guest_tables *t, size_t i, const char *name,
				    uint32_t instance, uint32_t version)
{
	struct stateful d = stateful_at(t, i);

	if (i < t->n_devices)
		return guest_device_answers(&t->devices[i], name, instance, version);
	return d.is_sent && d.instance == instance && strcmp(d.name, name) == 0;
}

#endif
