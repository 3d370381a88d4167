/* SPDX-License-Identifier: Apache-2.0 */
/* Whose section is it: the architecture's and the devices' sections as one list, in the order of saving. */
#ifndef MIGD_GUEST_OWNER_H
#define MIGD_GUEST_OWNER_H

#include "guest/state.h"

/* A section's owner, architecture or device. */
struct owner {
	const char *name;
	uint32_t instance;
	const struct migd_vmstate *desc;
	void *opaque;
	const struct guest_device *device;	/* NULL: the architecture's */
};

size_t owner_count(struct arch_state *a, const struct guest_tables *t);
struct owner owner_at(struct arch_state *a, const struct guest_tables *t, size_t i);

/* Does D answer to NAME and INSTANCE in a stream of its VERSION: by its name, or in an old one by its alias? */
bool guest_device_answers(const struct guest_device *d, const char *name, uint32_t instance, uint32_t version);

/* -EPERM, with ERR naming it and why: a device that cannot be migrated. */
int owner_check_migratable(const struct guest_tables *t, struct merr *err);

/* Does it save and load itself, without a description? */
static inline bool owner_has_ops(const struct owner *o)
{
	return o->device && o->device->ops;
}

/* Would this side save it? */
bool owner_needed(const struct owner *o);

/* Which sections came, while a guest is being loaded. */
struct arrivals {
	struct arch_state *arch;
	const struct guest_tables *tables;
	bool *seen;	/* by owner */
	size_t n;
};

/* -ENOMEM. */
int arrivals_init(struct arrivals *v, struct arch_state *a, const struct guest_tables *t);
void arrivals_done(struct arrivals *v);

/*
 * The owner of a section of VERSION that begins at OFFSET of the stream, from now on seen. -EINVAL: there is none; -EPROTO: it came
 * already.
 */
int arrivals_take(struct arrivals *v, const char *name, uint32_t instance, uint32_t version, uint64_t offset,
		  struct owner *ret, struct merr *err);

/* What this side would save come what may must have come. */
int arrivals_check_complete(const struct arrivals *v, struct merr *err);

#endif
