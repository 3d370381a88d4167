/* SPDX-License-Identifier: Apache-2.0 */
/* Registering state that is sent while the guest runs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/copy-sized.h"
#include "guest/internal.h"

static int check_callbacks(const struct migd_live *l, struct merr *err)
{
	bool sent = l->iterate || l->complete || l->load;

	if (sent && !(l->iterate && l->complete && l->load))
		return merr_set(err, -EINVAL,
				"live device '%s': iterate, complete and load belong together",
				l->name);
	if (!sent && !l->unplug_pending)
		return merr_set(err, -EINVAL,
				"live device '%s': neither iterate nor unplug_pending is set",
				l->name);
	if (l->unplug && !l->unplug_pending)
		return merr_set(err, -EINVAL, "live device '%s': unplug without unplug_pending",
				l->name);
	if (l->minimum_version > l->version)
		return merr_set(err, -EINVAL,
				"live device '%s': minimum_version %" PRIu32
				" is above version %" PRIu32,
				l->name, l->minimum_version, l->version);
	return 0;
}

static int check_free(const struct guest_tables *t, const struct migd_live *l, struct merr *err)
{
	bool taken = false;

	for (size_t i = 0; i < t->n_devices; i++)
		taken |= !strcmp(t->devices[i].name, l->name) &&
			 t->devices[i].instance == l->instance;
	for (size_t i = 0; i < t->n_live; i++)
		taken |= !strcmp(t->live[i].name, l->name) &&
			 t->live[i].ops.instance == l->instance;
	return taken ? merr_set(err, -EEXIST,
				"there is a device '%s' instance %" PRIu32 " already", l->name,
				l->instance)
		     : 0;
}

static int add(struct migd_guest *g, const struct migd_live *live, struct merr *err)
{
	struct guest_tables *t = &g->tables;
	struct migd_live l = { 0 };
	struct live_device *d;
	int r = tables_check_open(g, true, err);

	if (r >= 0)
		r = copy_sized(&l, sizeof(l), live, "live device", err);
	if (r >= 0)
		r = tables_check_name("live device", l.name, err);
	if (r >= 0)
		r = check_callbacks(&l, err);
	if (r >= 0)
		r = check_free(t, &l, err);
	if (r < 0)
		return r;
	if (t->n_live == ATTACH_LIVE_DEVICES_MAX)
		return merr_set(err, -E2BIG, "live device '%s': there can be at most %u", l.name,
				ATTACH_LIVE_DEVICES_MAX);
	if (!t->live)
		t->live = calloc(ATTACH_LIVE_DEVICES_MAX, sizeof(*t->live));
	if (!t->live)
		return merr_set(err, -ENOMEM, "live device '%s': no memory", l.name);
	d = &t->live[t->n_live++];
	memcpy(d->name, l.name, strlen(l.name) + 1);
	d->ops = l;
	d->ops.name = d->name;
	return 0;
}

int migd_guest_add_live(struct migd_guest *guest, const struct migd_live *live)
{
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = add(guest, live, &err);
	return r < 0 ? guest_fail(&err) : 0;
}
