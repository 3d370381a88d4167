/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that are announced: from a connection to a VMM that waits. */
#include "daemon/expected.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "attach/proto.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/cancel.h"
#include "daemon/capabilities.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/herald.h"
#include "daemon/hook.h"
#include "daemon/incoming.h"
#include "daemon/migration.h"
#include "daemon/registry.h"
#include "daemon/rendezvous.h"
#include "daemon/settings-store.h"
#include "daemon/timer.h"
#include "daemon/tls.h"
#include "transport/sock.h"

#define DISCARD_TIMEOUT_MS 10000U
#define PEER_MAX	   (ADDR_HOST_MAX + ADDR_PORT_MAX + 8)

enum stage { HEARING, STARTING, ARMING, READY, OVERDUE };

struct expectation {
	TAILQ_ENTRY(expectation) entry;
	struct expected *all;
	enum stage stage;
	uint8_t source[EXPECTED_SOURCE_MAX];
	char name[ATTACH_STR_MAX + 1];
	char peer[PEER_MAX];
	struct migration_tls *tls;
	struct herald *herald; /* until the source has its answer */
	struct guest_description description; /* from STARTING on */
	struct hook *hook;
	bool hooked; /* its VMM is there because a hook started it */
	char armed[ID_TEXT_LEN]; /* READY: the migration that was armed for it; "": it waited already */
	struct event *timer;
};

struct expected {
	struct daemon *daemon;
	TAILQ_HEAD(, expectation) list;
	uint8_t recent_source[EXPECTED_SOURCE_MAX]; /* who came last, and how often in this period */
	unsigned int recent;
	uint64_t recent_since_ns;
};

/* ---- the end of one ---- */

static void expectation_free(struct expectation *e)
{
	TAILQ_REMOVE(&e->all->list, e, entry);
	e->herald = herald_cancel(e->herald);
	e->hook = hook_leave(e->hook);
	(void)timer_free(e->timer);
	guest_description_done(&e->description);
	(void)tls_free(e->tls);
	free(e);
}

/* It waits for a guest, and nothing has reached it. */
static bool is_idle(const struct guest *g)
{
	return guest_attached(g) && g->role == 2 && !migration_running(g->migration) &&
	       guest_handover(g, NULL) == HANDOVER_PHASE_EMPTY;
}

static void discard(struct guest *g)
{
	struct merr err = MERR_INIT;

	log_notice("ending a VMM that was started for a guest that does not come guest='%s'", g->name);
	if (guest_request(g, ATTACH_DISCARD, NULL, 0, NULL, 0, DISCARD_TIMEOUT_MS, NULL, NULL, &err) < 0)
		log_debug("%s", merr_msg(&err));
}

static unsigned int timeout_ms(const struct expectation *e)
{
	return e->all->daemon->config.arrivals.start_timeout * 1000;
}

static void on_forget(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	expectation_free(opaque);
}

/* A VMM may still come of what the hook did: that is ended when it attaches, for as long again, and a minute at least. */
static void wait_for_stragglers(struct expectation *e)
{
	e->stage = OVERDUE;
	e->timer = timer_free(e->timer);
	e->timer = timer_start(e->all->daemon->base, (unsigned int)max_u64(timeout_ms(e), EXPECTED_UNUSED_MS), on_forget, e);
	if (!e->timer)
		expectation_free(e);
}

static void fail(struct expectation *e, const struct merr *err)
{
	struct guest *g = registry_find(e->all->daemon->registry, e->name);

	log_notice("a guest that was announced is not received: %s guest='%s' peer='%s'", merr_msg(err), e->name, e->peer);
	if (e->herald)
		e->herald = herald_answer(e->herald, err);
	e->hook = hook_undo(e->hook);
	if (!e->hooked) {
		expectation_free(e);
		return;
	}
	if (g && is_idle(g))
		discard(g);
	wait_for_stragglers(e);
}

/* ---- armed ---- */

static struct migration *find_armed(const struct expectation *e)
{
	struct guest *g = registry_find(e->all->daemon->registry, e->name);

	return g && g->migration && strcmp(g->migration->id, e->armed) == 0 ? g->migration : NULL;
}

/* Nobody came. */
static void on_unused(evutil_socket_t fd, short what, void *opaque)
{
	struct expectation *e = opaque;
	struct migration *m = find_armed(e);
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	if (m && rendezvous_is_fresh(m) && !m->ticket) {
		log_notice("a guest that was announced did not come guest='%s' peer='%s'", e->name, e->peer);
		if (cancel_migration(m, &err) == 0 && e->hooked)
			discard(m->guest);
	}
	expectation_free(e);
}

/* The source connects as soon as it knows. */
static void ready(struct expectation *e)
{
	const struct guest *g = registry_find(e->all->daemon->registry, e->name);

	e->stage = READY;
	e->timer = timer_free(e->timer);
	if (e->herald)
		e->herald = herald_answer(e->herald, NULL);
	e->hook = hook_leave(e->hook);
	log_info("a guest that was announced can come guest='%s' peer='%s'", e->name, e->peer);
	if (e->armed[0] && g && g->migration)
		e->timer = timer_start(e->all->daemon->base, EXPECTED_UNUSED_MS, on_unused, e);
	if (!e->timer)
		expectation_free(e);
}

static struct expectation *find(const struct expected *x, const char *name, enum stage stage)
{
	struct expectation *e;

	TAILQ_FOREACH(e, &x->list, entry)
		if (e->stage == stage && strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

struct arming {
	struct expected *all;
	char name[ATTACH_STR_MAX + 1];
};

/* The expectation may be gone: its source gave up, and a VMM that waits is of use to the next one. */
static void on_armed(void *opaque, const struct merr *err)
{
	struct arming *a = opaque;
	struct expectation *e = find(a->all, a->name, ARMING);
	const struct guest *g = registry_find(a->all->daemon->registry, a->name);

	free(a);
	if (!e)
		return;
	if (err) {
		fail(e, err);
		return;
	}
	if (g && g->migration)
		memcpy(e->armed, g->migration->id, sizeof(e->armed));
	ready(e);
}

/* What the two sides of a migration have to agree upon; anything else is the destination's own business. */
static const enum migration_capability shared_capabilities[] = {
	MIGRATION_CAPABILITY_POSTCOPY_RAM,  MIGRATION_CAPABILITY_POSTCOPY_PREEMPT, MIGRATION_CAPABILITY_MULTIFD,
	MIGRATION_CAPABILITY_SWITCHOVER_ACK, MIGRATION_CAPABILITY_XBZRLE,	  MIGRATION_CAPABILITY_RETURN_PATH,
};

static bool says(const struct guest_description *d, enum migration_capability c)
{
	for (size_t i = 0; i < d->n_capabilities; i++)
		if (strcmp(d->capabilities[i], migration_capability_str(c)) == 0)
			return true;
	return false;
}

static int take_settings(struct guest *g, const struct guest_description *d, struct merr *err)
{
	bool on[MIGRATION_CAPABILITY__MAX];
	struct settings s = { .on = on, .was_on = g->capabilities, .parameters = &g->parameters, .has_dirty_ring = g->has_dirty_ring };
	enum multi_fd_compression compression;
	int r;

	memcpy(on, g->capabilities, sizeof(on));
	for (size_t i = 0; i < ARRAY_SIZE(shared_capabilities); i++)
		on[shared_capabilities[i]] = says(d, shared_capabilities[i]);
	r = capabilities_check(&s, err);
	if (r < 0)
		return r;
	memcpy(g->capabilities, on, sizeof(on));
	if (d->has_multifd_channels && d->multifd_channels >= 1 && d->multifd_channels <= 255)
		g->parameters.multifd_channels = (uint8_t)d->multifd_channels;
	if (d->has_multifd_compression && multi_fd_compression_parse(d->multifd_compression, &compression) == 0)
		g->parameters.multifd_compression = compression;
	settings_save(g);
	return 0;
}

static int check_shape(const struct guest *g, const struct guest_description *d, struct merr *err)
{
	if (g->n_vcpus != d->vcpus)
		return merr_set(err, -EINVAL, "the VMM that waits for guest '%s' has %u vCPUs, and the guest has %u", g->name,
				g->n_vcpus, d->vcpus);
	if (g->ram_bytes != d->memory)
		return merr_set(err, -EINVAL, "the VMM that waits for guest '%s' has %llu bytes of memory, and the guest has %llu",
				g->name, (unsigned long long)g->ram_bytes, (unsigned long long)d->memory);
	return 0;
}

static void arm(struct expectation *e, struct guest *g)
{
	struct addr addr = { .type = ADDR_SHARED };
	struct arming *a = calloc(1, sizeof(*a));
	struct merr err = MERR_INIT;
	int r = a ? incoming_check(g, &err) : merr_set(&err, -ENOMEM, "out of memory");

	if (r == 0)
		r = check_shape(g, &e->description, &err);
	if (r == 0)
		r = take_settings(g, &e->description, &err);
	if (r < 0) {
		free(a);
		fail(e, &err);
		return;
	}
	e->stage = ARMING;
	a->all = e->all;
	memcpy(a->name, e->name, sizeof(a->name));
	incoming_start(g, "shared:", &addr, e->hooked, false, NULL, on_armed, a);
}

/* ---- started ---- */

static void on_overdue(evutil_socket_t fd, short what, void *opaque)
{
	struct expectation *e = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	e->timer = timer_free(e->timer);
	(void)merr_set(&err, -ETIMEDOUT, "no VMM of guest '%s' attached within %u s (start-timeout in section [arrivals])", e->name,
		       timeout_ms(e) / 1000);
	fail(e, &err);
}

/* If it ended well, a VMM is on its way. */
static void on_hook_ended(void *opaque, const struct merr *err)
{
	struct expectation *e = opaque;

	if (err && e->stage == STARTING)
		fail(e, err);
}

static void start(struct expectation *e)
{
	struct merr err = MERR_INIT;
	int r = hook_start(e->all->daemon, &e->description, on_hook_ended, e, &e->hook, &err);

	if (r < 0) {
		fail(e, &err);
		return;
	}
	log_info("a VMM is started for a guest that was announced guest='%s' peer='%s'", e->name, e->peer);
	e->hooked = true;
	e->stage = STARTING;
	e->timer = timer_start(e->all->daemon->base, timeout_ms(e), on_overdue, e);
}

void expected_attached(struct daemon *d, struct guest *g)
{
	struct expectation *e = find(d->expected, g->name, STARTING), *late = find(d->expected, g->name, OVERDUE);
	struct merr err = MERR_INIT;

	if (e && g->role == 2) {
		arm(e, g);
	} else if (e) {
		/* Whoever it is, it runs: it is left alone. */
		(void)merr_set(&err, -EINVAL, "the VMM that attached as guest '%s' does not wait for a migration; is --incoming "
			       "missing in what the hook starts?", g->name);
		fail(e, &err);
	} else if (late && is_idle(g)) {
		discard(g);
	}
}

/* ---- announced ---- */

static int check_pending(const struct expectation *e, struct merr *err)
{
	const struct expectation *other;

	TAILQ_FOREACH(other, &e->all->list, entry)
		if (other != e && (other->stage == STARTING || other->stage == ARMING) && strcmp(other->name, e->name) == 0)
			return merr_set(err, -EBUSY, "guest '%s' is announced already, by %s", e->name, other->peer);
	return 0;
}

static int check_free(const struct guest *g, struct merr *err)
{
	if (guest_attached(g) && !is_idle(g))
		return merr_set(err, -EEXIST, "a guest '%s' is on that host already, and does not wait to be received", g->name);
	if (!guest_attached(g) && g->migration && !migration_settled(g->migration))
		return merr_set(err, -EBUSY, "a migration of a former guest '%s' is not settled on that host", g->name);
	return 0;
}

/* Whether somebody waits already; else a VMM has to be started. */
static void decide(struct expectation *e)
{
	const struct daemon *d = e->all->daemon;
	struct guest *g = registry_find(d->registry, e->name);
	bool waits = rendezvous_waits(d, e->name);
	struct merr err = MERR_INIT;
	int r = check_pending(e, &err);

	if (r == 0 && g && !waits)
		r = check_free(g, &err);
	if (r < 0)
		fail(e, &err);
	else if (waits)
		ready(e);
	else if (g && guest_attached(g))
		arm(e, g);
	else
		start(e);
}

static void on_says(void *opaque, const struct guest_description *d)
{
	struct expectation *e = opaque, *late = find(e->all, e->name, OVERDUE);
	struct merr err = MERR_INIT;

	/* A new attempt: what the last one started is welcome now. */
	if (late)
		expectation_free(late);
	if (guest_description_copy(&e->description, d) < 0) {
		(void)merr_set(&err, -ENOMEM, "out of memory");
		fail(e, &err);
		return;
	}
	decide(e);
}

static void on_gone(void *opaque, const struct merr *err)
{
	struct expectation *e = opaque;

	e->herald = herald_cancel(e->herald);
	if (e->stage != HEARING) {
		fail(e, err);
		return;
	}
	log_debug("an announcement came to nothing: %s peer='%s'", merr_msg(err), e->peer);
	expectation_free(e);
}

static const struct herald_handler handler = { .says = on_says, .gone = on_gone };

/* ---- heard ---- */

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* One source at a time is counted: a flood is one. */
static bool comes_too_often(struct expected *x, const uint8_t *source)
{
	uint64_t now = clock_now_ns();

	if (memcmp(x->recent_source, source, EXPECTED_SOURCE_MAX) != 0 ||
	    now - x->recent_since_ns > EXPECTED_PERIOD_MS * NS_PER_MS) {
		memcpy(x->recent_source, source, EXPECTED_SOURCE_MAX);
		x->recent_since_ns = now;
		x->recent = 0;
	}
	return ++x->recent > EXPECTED_RATE_MAX;
}

static bool are_too_many(const struct expected *x, const uint8_t *source)
{
	unsigned int all = 0, hearing = 0, of_source = 0;
	const struct expectation *e;

	TAILQ_FOREACH(e, &x->list, entry) {
		if (e->stage > ARMING)
			continue;
		all++;
		hearing += e->stage == HEARING;
		of_source += memcmp(e->source, source, EXPECTED_SOURCE_MAX) == 0;
	}
	return all >= EXPECTED_MAX || hearing >= EXPECTED_HEARING_MAX ||
	       (!is_zero(source, EXPECTED_SOURCE_MAX) && of_source >= EXPECTED_BY_SOURCE_MAX);
}

static enum host_refusal refusal(struct expected *x, const struct greeting *g, const uint8_t *source)
{
	const struct host_parameters *p = &x->daemon->host;

	if (!g->tls && (p->tls_required || p->tls_creds_incoming[0]))
		return HOST_REFUSAL_NOT_ENCRYPTED;
	if (g->tls && !p->tls_creds_incoming[0])
		return HOST_REFUSAL_NO_CREDENTIALS;
	return comes_too_often(x, source) || are_too_many(x, source) ? HOST_REFUSAL_TOO_MANY : HOST_REFUSAL__INVALID;
}

static int hear(struct expectation *e, int fd, bool tls, struct merr *err)
{
	struct daemon *d = e->all->daemon;
	int r = tls ? tls_prepare_hearing(d, &e->tls, err) : 0;

	return r < 0 ? r : herald_start(d, fd,
					&(struct herald_task){ .guest = e->name, .peer = e->peer, .greeted = !tls, .tls = e->tls },
					&handler, e, &e->herald, err);
}

enum host_refusal expected_hear(struct expected *x, int fd, const struct greeting *g, const uint8_t *source, size_t len)
{
	uint8_t from[EXPECTED_SOURCE_MAX] = { 0 };
	struct merr err = MERR_INIT;
	enum host_refusal why;
	struct expectation *e;

	memcpy(from, source, len < sizeof(from) ? len : sizeof(from));
	why = refusal(x, g, from);
	e = why == HOST_REFUSAL__INVALID ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return why == HOST_REFUSAL__INVALID ? HOST_REFUSAL_TOO_MANY : why;
	e->all = x;
	memcpy(e->source, from, sizeof(from));
	(void)snprintf(e->name, sizeof(e->name), "%s", g->guest);
	(void)sock_peer_name(fd, e->peer, sizeof(e->peer));
	TAILQ_INSERT_TAIL(&x->list, e, entry);
	if (hear(e, fd, g->tls, &err) < 0) {
		log_err("an announcement cannot be heard: %s guest='%s' peer='%s'", merr_msg(&err), e->name, e->peer);
		expectation_free(e);
		return g->tls ? HOST_REFUSAL_NO_CREDENTIALS : HOST_REFUSAL_TOO_MANY;
	}
	close_fd(fd);
	return HOST_REFUSAL__INVALID;
}

struct expected *expected_new(struct daemon *d)
{
	struct expected *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->daemon = d;
	TAILQ_INIT(&x->list);
	return x;
}

struct expected *expected_free(struct expected *x)
{
	if (!x)
		return NULL;
	while (!TAILQ_EMPTY(&x->list))
		expectation_free(TAILQ_FIRST(&x->list));
	free(x);
	return NULL;
}
