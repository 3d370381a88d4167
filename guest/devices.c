/* SPDX-License-Identifier: Apache-2.0 */
/* Registration of devices: migd_guest_add_device(), migd_guest_register_device(). */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/copy-sized.h"
#include "guest/internal.h"
#include "guest/live.h"
#include "guest/vmstate.h"

#define PRIORITY_DEFAULT 2	/* WIRE.md 2.3 */

static void device_done(struct guest_device *d)
{
	if (d->ops)
		free((void *)(uintptr_t)d->desc);
	free(d->ops);
	free(d->unmigratable);
}

static bool same(const char *name, uint32_t instance, const char *other, uint32_t other_instance)
{
	return instance == other_instance && strcmp(name, other) == 0;
}

/* Does D answer to NAME and INSTANCE, by whatever name? */
static bool answers(const struct guest_device *d, const char *name, uint32_t instance)
{
	return same(name, instance, d->name, d->instance) ||
	       (d->alias.is_set && same(name, instance, d->alias.name, d->alias.instance));
}

static int check_taken(const struct guest_tables *t, const struct guest_device *d, struct merr *err)
{
	for (size_t i = 0; i < t->n_devices; i++) {
		if (answers(&t->devices[i], d->name, d->instance))
			return merr_set(err, -EEXIST, "there is a device '%s' instance %" PRIu32 " already",
					d->name, d->instance);
		if (d->alias.is_set && answers(&t->devices[i], d->alias.name, d->alias.instance))
			return merr_set(err, -EEXIST,
					"device '%s': its alias '%s' instance %" PRIu32 " is another device's",
					d->name, d->alias.name, d->alias.instance);
	}
	for (size_t i = 0; i < t->n_live; i++)
		if (same(d->name, d->instance, t->live[i].name, t->live[i].ops.instance) ||
		    (d->alias.is_set &&
		     same(d->alias.name, d->alias.instance, t->live[i].name, t->live[i].ops.instance)))
			return merr_set(err, -EEXIST,
					"there is a live device '%s' instance %" PRIu32 " already",
					t->live[i].name, t->live[i].ops.instance);
	return 0;
}

/* A description that holds what is common to devices of either sort. */
static int take_ops(const struct migd_guest_device *in, struct guest_device *d, struct merr *err)
{
	struct migd_guest_device_ops *ops = d->ops = calloc(1, sizeof(*ops));
	struct migd_vmstate *desc;
	int r;

	d->desc = desc = calloc(1, sizeof(*desc));
	if (!ops || !desc)
		return merr_set(err, -ENOMEM, "device '%s': no memory", d->name);
	r = copy_sized(ops, sizeof(*ops), in->ops, "ops", err);
	if (r == 0 && (!ops->save || !ops->load))
		r = merr_set(err, -EINVAL, "save or load is missing");
	if (r == 0 && ops->minimum_version > ops->version)
		r = merr_set(err, -EINVAL, "minimum_version %" PRIu32 " is over version %" PRIu32,
			     ops->minimum_version, ops->version);
	desc->version = ops->version;
	desc->minimum_version = ops->minimum_version;
	desc->needed = ops->needed;
	return r;
}

static int take_alias(const struct migd_guest_device *in, struct guest_device *d, struct merr *err)
{
	const char *name = in->alias_name ? in->alias_name : in->name;
	int r;

	if (!in->has_alias)
		return 0;
	r = tables_check_name("alias", name, err);
	if (r < 0)
		return r;
	d->alias = (struct guest_alias){ .is_set = true, .instance = in->alias_instance,
					 .version = in->alias_version };
	memcpy(d->alias.name, name, strlen(name) + 1);
	if (same(d->alias.name, d->alias.instance, d->name, d->instance))
		return merr_set(err, -EINVAL, "its alias is its name");
	if (d->alias.version < d->desc->minimum_version)
		return merr_set(err, -EINVAL,
				"its alias is for versions up to %" PRIu32 ", which are not loaded any more",
				d->alias.version);
	return 0;
}

static int take_device(const struct migd_guest_device *in, struct guest_device *d, struct merr *err)
{
	const char *why = in->unmigratable;
	int r;

	if (in->desc && in->ops)
		return merr_set(err, -EINVAL, "it has a description and callbacks: one of them, please");
	if (in->ops) {
		r = take_ops(in, d, err);
	} else {
		d->desc = in->desc;
		r = vmstate_check(d->desc, err);
	}
	if (r < 0)
		return r;
	assert(d->desc);
	r = take_alias(in, d, err);
	if (r < 0)
		return r;
	if (!why)
		why = d->desc->unmigratable;
	d->unmigratable = why ? strdup(why) : NULL;
	return why && !d->unmigratable ? merr_set(err, -ENOMEM, "no memory") : 0;
}

static int append(struct guest_tables *t, const struct guest_device *d, struct merr *err)
{
	struct guest_device *grown = reallocarray(t->devices, t->n_devices + 1, sizeof(*grown));

	if (!grown)
		return merr_set(err, -ENOMEM, "device '%s': no memory", d->name);
	t->devices = grown;
	grown[t->n_devices++] = *d;
	return 0;
}

static int add_device(struct migd_guest *g, const struct migd_guest_device *in, struct merr *err)
{
	struct guest_device d = { .instance = in->instance, .opaque = in->opaque };
	int r = tables_check_open(g, true, err);

	if (r >= 0)
		r = tables_check_name("device", in->name, err);
	if (r < 0)
		return r;
	memcpy(d.name, in->name, strlen(in->name) + 1);
	d.priority = in->priority ? in->priority : PRIORITY_DEFAULT;
	r = take_device(in, &d, err);
	if (r < 0)
		(void)merr_prefix(err, "device '%s'", d.name);
	if (r >= 0)
		r = check_taken(&g->tables, &d, err);
	if (r >= 0)
		r = append(&g->tables, &d, err);
	if (r < 0)
		device_done(&d);
	return r;
}

int migd_guest_register_device(struct migd_guest *guest, const struct migd_guest_device *device)
{
	struct migd_guest_device in = { 0 };
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = copy_sized(&in, sizeof(in), device, "device", &err);
	if (r >= 0)
		r = add_device(guest, &in, &err);
	return r < 0 ? guest_fail(&err) : 0;
}

int migd_guest_add_device(struct migd_guest *guest, const char *name, uint32_t instance,
			  const struct migd_vmstate *desc, void *opaque, int priority)
{
	struct migd_guest_device in = { .size = sizeof(in), .name = name, .instance = instance, .desc = desc,
					.opaque = opaque, .priority = priority };

	return migd_guest_register_device(guest, &in);
}

/* Falling priority; insertion sort keeps the order of registration within one. */
void devices_sort(struct guest_tables *t)
{
	for (size_t i = 1; i < t->n_devices; i++) {
		struct guest_device d = t->devices[i];
		size_t k = i;

		for (; k > 0 && t->devices[k - 1].priority < d.priority; k--)
			t->devices[k] = t->devices[k - 1];
		t->devices[k] = d;
	}
}

void devices_done(struct guest_tables *t)
{
	for (size_t i = 0; i < t->n_devices; i++)
		device_done(&t->devices[i]);
	free(t->devices);
}
