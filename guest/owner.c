/* SPDX-License-Identifier: Apache-2.0 */
/* Sections and their owners. */
#include "guest/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guest/arch.h"

struct owner owner_at(struct arch_state *a, const struct guest_tables *t, size_t i)
{
	const struct arch_section *sections;
	size_t n = arch_sections(a, &sections);
	const struct guest_device *d;

	if (i < n)
		return (struct owner){ sections[i].name, sections[i].instance, sections[i].desc,
				       sections[i].opaque };
	d = &t->devices[i - n];
	return (struct owner){ d->name, d->instance, d->desc, d->opaque };
}

size_t owner_count(struct arch_state *a, const struct guest_tables *t)
{
	const struct arch_section *sections;

	return arch_sections(a, &sections) + t->n_devices;
}

bool owner_needed(const struct owner *o)
{
	return !o->desc->needed || o->desc->needed(o->opaque);
}

int arrivals_init(struct arrivals *v, struct arch_state *a, const struct guest_tables *t)
{
	size_t n = owner_count(a, t);

	*v = (struct arrivals){ .arch = a, .tables = t, .n = n };
	v->seen = calloc(n ? n : 1, sizeof(*v->seen));
	return v->seen ? 0 : -ENOMEM;
}

void arrivals_done(struct arrivals *v)
{
	free(v->seen);
	v->seen = NULL;
}

int arrivals_take(struct arrivals *v, const char *name, uint32_t instance, uint64_t offset, struct owner *ret,
		  struct merr *err)
{
	for (size_t i = 0; i < v->n; i++) {
		struct owner o = owner_at(v->arch, v->tables, i);

		if (o.instance != instance || strcmp(o.name, name) != 0)
			continue;
		if (v->seen[i])
			return merr_set(err, -EPROTO,
					"section '%s' instance %" PRIu32 ": comes a second time at offset %" PRIu64,
					name, instance, offset);
		v->seen[i] = true;
		*ret = o;
		return 0;
	}
	return merr_set(err, -EINVAL,
			"section '%s' instance %" PRIu32 " at offset %" PRIu64 ": there is no such device here: "
			"start the target VMM with the devices of the source",
			name, instance, offset);
}

int arrivals_check_complete(const struct arrivals *v, struct merr *err)
{
	for (size_t i = 0; i < v->n; i++) {
		struct owner o = owner_at(v->arch, v->tables, i);

		if (!v->seen[i] && !o.desc->needed)
			return merr_set(err, -EPROTO,
					"section '%s' instance %" PRIu32 " is missing: the source has no such device",
					o.name, o.instance);
	}
	return 0;
}
