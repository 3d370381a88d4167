/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for which page since when. */
#include "engine/fault-waits.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* A VMM's threads that wait at once; those beyond are served, and not measured. */
#define WAITS_MAX 1024U

#define NO_VCPU UINT32_MAX

struct wait {
	const struct ram_file *block;
	uint64_t page;
	uint64_t since_ns;
	uint32_t thread_id;
	uint32_t vcpu;	/* index, or NO_VCPU */
};

struct fault_waits {
	struct stats_page *stats;
	uint32_t n_vcpus;
	uint32_t vcpu_threads[STATS_VCPUS_MAX];

	pthread_mutex_t lock;
	/* Under `lock`. */
	uint64_t vcpu_ns[STATS_VCPUS_MAX];	/* waited so far */
	uint64_t all_ns;			/* all at once */
	uint64_t all_since_ns;
	uint32_t n_vcpus_waiting;
	size_t n;
	struct wait list[WAITS_MAX];
};

struct fault_waits *fault_waits_new(const struct guest_uffd *uffd, struct stats_page *stats)
{
	struct fault_waits *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->stats = stats;
	w->n_vcpus = (uint32_t)min_u64(uffd->n_vcpus, STATS_VCPUS_MAX);
	for (uint32_t i = 0; i < w->n_vcpus; i++) {
		w->vcpu_threads[i] = uffd->vcpu_threads[i];
		atomic_store(&stats->vcpus[i].exists, 1);
	}
	(void)pthread_mutex_init(&w->lock, NULL);
	return w;
}

struct fault_waits *fault_waits_free(struct fault_waits *w)
{
	if (w)
		(void)pthread_mutex_destroy(&w->lock);
	free(w);
	return NULL;
}

unsigned int fault_bucket(uint64_t ns)
{
	unsigned int e, part, bucket;

	if (ns == 0)
		return 0;
	e = 63 - (unsigned int)__builtin_clzll(ns);
	part = (unsigned int)(e >= 2 ? ns >> (e - 2) : ns << (2 - e)) & 3;
	bucket = 4 * e + part;
	return bucket < STATS_FAULT_BUCKETS ? bucket : STATS_FAULT_BUCKETS - 1;
}

static uint32_t vcpu_of(const struct fault_waits *w, uint32_t thread_id)
{
	for (uint32_t i = 0; thread_id && i < w->n_vcpus; i++)
		if (w->vcpu_threads[i] == thread_id)
			return i;
	return NO_VCPU;
}

static struct wait *find_thread(struct fault_waits *w, uint32_t thread_id)
{
	for (size_t i = 0; thread_id && i < w->n; i++)
		if (w->list[i].thread_id == thread_id)
			return &w->list[i];
	return NULL;
}

void fault_waits_begin(struct fault_waits *w, const struct ram_file *b, uint64_t page, uint32_t thread_id,
		       uint64_t now_ns)
{
	LOCK_SCOPE(&w->lock);
	struct wait *same = find_thread(w, thread_id);

	if (same) {
		/* It was interrupted, and faults again. A thread waits in one place. */
		same->block = b;
		same->page = page;
		return;
	}
	if (w->n == WAITS_MAX)
		return;
	w->list[w->n] = (struct wait){ b, page, now_ns, thread_id, vcpu_of(w, thread_id) };
	if (w->list[w->n++].vcpu != NO_VCPU && ++w->n_vcpus_waiting == w->n_vcpus)
		w->all_since_ns = now_ns;
}

/* min and max: 0 stands for none yet. */
static void count_latency(struct stats_page *stats, uint64_t ns)
{
	uint64_t min = stats_get(stats, fault_min_ns);

	stats_add(stats, faults, 1);
	stats_add(stats, fault_sum_ns, ns);
	if (!min || ns < min)
		stats_set(stats, fault_min_ns, ns);
	if (ns > stats_get(stats, fault_max_ns))
		stats_set(stats, fault_max_ns, ns);
	atomic_fetch_add(&stats->fault_buckets[fault_bucket(ns)], 1);
}

static void count_vcpu(struct fault_waits *w, uint32_t vcpu, uint64_t ns, uint64_t now_ns)
{
	struct stats_vcpu *v = &w->stats->vcpus[vcpu];

	if (w->n_vcpus_waiting-- == w->n_vcpus) {
		w->all_ns += now_ns - w->all_since_ns;
		stats_set(w->stats, blocktime_ms, w->all_ns / NS_PER_MS);
	}
	w->vcpu_ns[vcpu] += ns;
	atomic_store(&v->blocktime_ms, w->vcpu_ns[vcpu] / NS_PER_MS);
	atomic_fetch_add(&v->faults, 1);
	atomic_fetch_add(&v->fault_sum_ns, ns);
}

static void count(struct fault_waits *w, const struct wait *gone, uint64_t now_ns)
{
	uint64_t ns = now_ns - gone->since_ns;

	count_latency(w->stats, ns);
	if (gone->vcpu != NO_VCPU) {
		count_vcpu(w, gone->vcpu, ns, now_ns);
		return;
	}
	stats_add(w->stats, faults_outside, 1);
	stats_add(w->stats, fault_outside_sum_ns, ns);
}

void fault_waits_end(struct fault_waits *w, const struct ram_file *b, uint64_t page, uint64_t n, uint64_t now_ns)
{
	LOCK_SCOPE(&w->lock);
	struct wait gone;

	for (size_t i = 0; i < w->n;) {
		gone = w->list[i];
		if (gone.block != b || gone.page < page || gone.page - page >= n) {
			i++;
			continue;
		}
		w->list[i] = w->list[--w->n];
		count(w, &gone, now_ns);
	}
}
