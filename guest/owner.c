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
				       sections[i].opaque, NULL };
	d = &t->devices[i - n];
	return (struct owner){ d->name, d->instance, d->desc, d->opaque, d };
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

int owner_check_migratable(const struct guest_tables *t, struct merr *err)
{
	for (size_t i = 0; i < t->n_devices; i++)
		if (t->devices[i].unmigratable)
			return merr_set(err, -EPERM, "device '%s' instance %" PRIu32 " cannot be migrated: %s",
					t->devices[i].name, t->devices[i].instance,
					t->devices[i].unmigratable);
	return 0;
}

bool guest_device_answers(const struct guest_device *d, const char *name, uint32_t instance, uint32_t version)
{
	if (d->instance == instance && strcmp(d->name, name) == 0)
		return true;
	return d->alias.is_set && version <= d->alias.version && d->alias.instance == instance &&
	       strcmp(d->alias.name, name) == 0;
}

static bool answers(const struct owner *o, const char *name, uint32_t instance, uint32_t version)
{
	if (o->device)
		return guest_device_answers(o->device, name, instance, version);
	return o->instance == instance && strcmp(o->name, name) == 0;
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

int arrivals_take(struct arrivals *v, const char *name, uint32_t instance, uint32_t version, uint64_t offset,
		  struct owner *ret, struct merr *err)
{
	for (size_t i = 0; i < v->n; i++) {
		struct owner o = owner_at(v->arch, v->tables, i);

		if (!answers(&o, name, instance, version))
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
