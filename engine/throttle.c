/* SPDX-License-Identifier: Apache-2.0 */
/* When and how much a guest is slowed down. */
#include "engine/throttle.h"

#include "base/bytes.h"
#include "base/clock.h"

/* A shorter time says little about a guest. */
#define PERIOD_NS NS_PER_SEC

/* One high period may be a burst. */
#define HIGH_PERIODS 2

#define PERCENT_MAX 99U

struct throttle_settings throttle_settings(const struct throttle_knobs *k)
{
	return (struct throttle_settings){
		.threshold_percent = atomic_load(&k->threshold_percent),
		.initial_percent = atomic_load(&k->initial_percent),
		.increment_percent = atomic_load(&k->increment_percent),
		.max_percent = atomic_load(&k->max_percent),
		.tailslow = atomic_load(&k->tailslow),
	};
}

/* Rounded down, and without overflow. */
static uint64_t percent_of(uint64_t v, unsigned int percent)
{
	return v / 100 * percent + v % 100 * percent / 100;
}

bool throttle_watch_sync(struct throttle_watch *w, uint64_t now_ns, uint64_t dirtied_bytes, uint64_t sent_bytes,
			 unsigned int threshold_percent, struct throttle_load *ret)
{
	struct throttle_load load;

	if (w->start_ns == 0) {
		w->start_ns = now_ns;
		w->sent_at_start_bytes = sent_bytes;
		return false; /* the first sync marks everything, and says nothing about the guest */
	}
	w->dirtied_bytes += dirtied_bytes;
	if (now_ns < w->start_ns + PERIOD_NS)
		return false;
	load = (struct throttle_load){
		.dirtied_bytes = w->dirtied_bytes,
		.allowed_bytes = percent_of(sent_bytes - w->sent_at_start_bytes, threshold_percent),
	};
	w->start_ns = now_ns;
	w->dirtied_bytes = 0;
	w->sent_at_start_bytes = sent_bytes;
	if (load.dirtied_bytes <= load.allowed_bytes || ++w->n_high < HIGH_PERIODS)
		return false;
	w->n_high = 0;
	*ret = load;
	return true;
}

/* How much less the vCPUs would have to run to dirty what is allowed; rounded up. */
static unsigned int excess_percent(unsigned int running_percent, const struct throttle_load *load)
{
	double share;

	if (load->dirtied_bytes <= load->allowed_bytes)
		return 1;
	share = (double)(load->dirtied_bytes - load->allowed_bytes) / (double)load->dirtied_bytes;
	return 1 + (unsigned int)(running_percent * share);
}

unsigned int throttle_next(const struct throttle_settings *set, unsigned int now_percent,
			   const struct throttle_load *load)
{
	unsigned int most = (unsigned int)min_u64(set->max_percent, PERCENT_MAX);
	unsigned int step = set->increment_percent;

	if (now_percent == 0)
		return (unsigned int)min_u64(set->initial_percent, most);
	if (set->tailslow)
		step = (unsigned int)min_u64(step, excess_percent(100 - now_percent, load));
	return (unsigned int)min_u64((uint64_t)now_percent + step, most);
}
