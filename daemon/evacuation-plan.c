/* SPDX-License-Identifier: Apache-2.0 */
/* Where each guest of an evacuation goes. */
#include "daemon/evacuation-plan.h"

#include <errno.h>
#include <string.h>

#include "transport/addr.h"

#define WEIGHT_MAX 1000U

int evacuation_plan_find(const struct evacuation_plan *p, const char *uri)
{
	for (size_t i = 0; i < p->n_destinations; i++)
		if (strcmp(p->destinations[i].uri, uri) == 0)
			return (int)i;
	return -1;
}

int evacuation_plan_assigned(const struct evacuation_plan *p, const char *guest)
{
	for (size_t i = 0; i < p->n_assignments; i++)
		if (strcmp(p->assignments[i].guest, guest) == 0)
			return evacuation_plan_find(p, p->assignments[i].uri);
	return -1;
}

static int check_destination(const struct evacuation_plan *p, size_t i, struct merr *err)
{
	const struct evacuation_destination *d = &p->destinations[i];
	struct addr a;
	int r = addr_parse_uri(d->uri, &a, err);

	if (r < 0)
		return merr_prefix(err, "destination '%s'", d->uri);
	if (!addr_is_network(&a) || a.guest[0])
		return merr_set(err, -EINVAL, "destination '%s': expected is the shared port of another host's migd, e.g. "
				"tcp:HOST:PORT", d->uri);
	if (d->has_weight && (d->weight < 1 || d->weight > WEIGHT_MAX))
		return merr_set(err, -EINVAL, "destination '%s': 'weight' expects 1 to %u", d->uri, WEIGHT_MAX);
	if (evacuation_plan_find(p, d->uri) != (int)i)
		return merr_set(err, -EINVAL, "destination '%s' is named twice", d->uri);
	return 0;
}

int evacuation_plan_verify(const struct evacuation_plan *p, struct merr *err)
{
	int r = 0;

	if (p->n_destinations < 1 || p->n_destinations > EVACUATION_DESTINATIONS_MAX)
		return merr_set(err, -EINVAL, "Parameter 'destinations' expects 1 to %u of them", EVACUATION_DESTINATIONS_MAX);
	for (size_t i = 0; r == 0 && i < p->n_destinations; i++)
		r = check_destination(p, i, err);
	for (size_t i = 0; r == 0 && i < p->n_assignments; i++)
		if (evacuation_plan_find(p, p->assignments[i].uri) < 0)
			r = merr_set(err, -EINVAL, "guest '%s' is assigned to '%s', which is none of the destinations",
				     p->assignments[i].guest, p->assignments[i].uri);
	return r;
}

static bool has_room(const struct evacuation_destination *d, uint32_t guests, uint64_t memory)
{
	return (!d->has_max_guests || guests < d->max_guests) && (!d->has_max_memory || memory <= d->max_memory);
}

int evacuation_plan_place(const struct evacuation_plan *p, const struct evacuation_load *load, const char *guest,
			  uint64_t memory, uint64_t tried)
{
	int assigned = evacuation_plan_assigned(p, guest), best = -ENOSPC;
	double least = 0, part;

	for (int i = 0; i < (int)p->n_destinations; i++) {
		const struct evacuation_destination *d = &p->destinations[i];

		if ((tried >> i & 1) || (assigned >= 0 && i != assigned) ||
		    !has_room(d, load->guests[i], load->memory[i] + memory))
			continue;
		part = (double)(load->memory[i] + memory) / (d->has_weight ? d->weight : 1);
		if (best < 0 || part < least) {
			best = i;
			least = part;
		}
	}
	return best;
}
