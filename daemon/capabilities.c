/* SPDX-License-Identifier: Apache-2.0 */
/* Which migration capabilities there are, and what excludes or needs what, in the order of checks. */
#include "daemon/capabilities.h"

#include <errno.h>

#include "base/cleanup.h"

#define CAP(name) MIGRATION_CAPABILITY_##name

/*
 * What this version carries out. One that is missing is refused by name, so that nobody believes it
 * to be on.
 */
static const bool supported[MIGRATION_CAPABILITY__MAX] = {
	/* always open, whatever this says */
	[CAP(RETURN_PATH)] = true,
	/* daemon/migration.c */
	[CAP(EVENTS)] = true,
	/* engine/switchover.c */
	[CAP(PAUSE_BEFORE_SWITCHOVER)] = true,
	/* always so */
	[CAP(LATE_BLOCK_ACTIVATE)] = true,
	/* no effect, in QEMU neither */
	[CAP(ZERO_BLOCKS)] = true,
	/* engine/postcopy-target.h: the guest runs on the target before all of its memory is there */
	[CAP(POSTCOPY_RAM)] = true,
	/* engine/fault-waits.h: always measured */
	[CAP(POSTCOPY_BLOCKTIME)] = true,
	/* engine/urgent-channel.h: a connection for pages that the guest waits for */
	[CAP(POSTCOPY_PREEMPT)] = true,
	/* engine/ram-delta.c: deltas of pages sent before */
	[CAP(XBZRLE)] = true,
	/* engine/source-throttle.c: vCPUs run less while the migration does not converge */
	[CAP(AUTO_CONVERGE)] = true,
	/* engine/source-throttle.c: vCPUs wait when they dirty too much */
	[CAP(DIRTY_LIMIT)] = true,
	/* engine/switchover.c: the target says when the guest may be stopped */
	[CAP(SWITCHOVER_ACK)] = true,
	/* engine/ram.c: memory that both sides share stays where it is */
	[CAP(X_IGNORE_SHARED)] = true,
	/* engine/configuration.c: the target compares, if both have one */
	[CAP(VALIDATE_UUID)] = true,
	/* engine/mapped-layout.h: each page has its place in a file */
	[CAP(MAPPED_RAM)] = true,
	/* engine/multifd-source.h, engine/multifd-target.h: pages over channels of their own */
	[CAP(MULTIFD)] = true,
	/* transport/zero-copy.c: multifd's channels send memory without copying it */
	[CAP(ZERO_COPY_SEND)] = true,
	/* engine/snapshot.h: the guest as it is at one instant, while it runs on */
	[CAP(BACKGROUND_SNAPSHOT)] = true,
	/* engine/page-server.h: frees what post-copy has sent: nothing in pre-copy, in QEMU neither */
	[CAP(RELEASE_RAM)] = true,
};

/* ---- what goes together ---- */

enum relation {
	EXCLUDES,   /* another capability */
	REQUIRES,   /* another capability */
	NEEDS_PLAIN, /* neither compression nor TLS */
	NEEDS_RING,  /* KVM's dirty ring */
	NEEDS_TIME,  /* set before a listener is open, which was made for fewer connections */
};

struct rule {
	enum migration_capability subject;
	enum relation relation;
	enum migration_capability other;
};

#define PAIR(subject, relation, other) { CAP(subject), relation, CAP(other) }
#define ALONE(subject, relation)       { CAP(subject), relation, CAP(_INVALID) }

/* Checked from the first to the last: QMP.md 3. */
static const struct rule rules[] = {
	PAIR(POSTCOPY_RAM, EXCLUDES, X_IGNORE_SHARED),

	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, POSTCOPY_RAM),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, DIRTY_BITMAPS),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, POSTCOPY_BLOCKTIME),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, LATE_BLOCK_ACTIVATE),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, RETURN_PATH),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, MULTIFD),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, PAUSE_BEFORE_SWITCHOVER),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, AUTO_CONVERGE),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, RELEASE_RAM),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, RDMA_PIN_ALL),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, XBZRLE),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, X_COLO),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, VALIDATE_UUID),
	PAIR(BACKGROUND_SNAPSHOT, EXCLUDES, ZERO_COPY_SEND),

	PAIR(ZERO_COPY_SEND, REQUIRES, MULTIFD),
	PAIR(ZERO_COPY_SEND, EXCLUDES, XBZRLE),
	ALONE(ZERO_COPY_SEND, NEEDS_PLAIN),

	PAIR(POSTCOPY_PREEMPT, REQUIRES, POSTCOPY_RAM),
	ALONE(POSTCOPY_PREEMPT, NEEDS_TIME),
	ALONE(MULTIFD, NEEDS_TIME),

	PAIR(SWITCHOVER_ACK, REQUIRES, RETURN_PATH),
	PAIR(DIRTY_LIMIT, EXCLUDES, AUTO_CONVERGE),
	ALONE(DIRTY_LIMIT, NEEDS_RING),
	PAIR(MULTIFD, EXCLUDES, XBZRLE),

	PAIR(MAPPED_RAM, EXCLUDES, XBZRLE),
	PAIR(MAPPED_RAM, EXCLUDES, POSTCOPY_RAM),
	ALONE(MAPPED_RAM, NEEDS_PLAIN),
};

static const char *name_of(enum migration_capability c)
{
	return migration_capability_str(c);
}

static int check_excluded(const struct settings *s, const struct rule *r, struct merr *err)
{
	if (!s->on[r->other])
		return 0;
	return merr_set(err, -EINVAL,
			"Capability '%s' is not compatible with capability '%s': turn one of them "
			"off",
			name_of(r->subject), name_of(r->other));
}

static int check_required(const struct settings *s, const struct rule *r, struct merr *err)
{
	if (s->on[r->other])
		return 0;
	return merr_set(err, -EINVAL,
			"Capability '%s' requires capability '%s': turn that on, too",
			name_of(r->subject), name_of(r->other));
}

/* What goes to its place as it is in memory can be neither compressed nor encrypted. */
static int check_plain(const struct settings *s, const struct rule *r, struct merr *err)
{
	const struct migration_parameters *p = s->parameters;

	if (p->multifd_compression != MULTI_FD_COMPRESSION_NONE)
		return merr_set(err, -EINVAL,
				"Capability '%s' is not compatible with parameter "
				"'multifd_compression' ('%s'): that must be 'none'",
				name_of(r->subject),
				multi_fd_compression_str(p->multifd_compression));
	if (p->tls_creds.kind == STR_OR_NULL_KIND_S && p->tls_creds.u.s[0])
		return merr_set(err, -EINVAL,
				"Capability '%s' is not compatible with TLS: parameter 'tls_creds' "
				"('%s') must be empty",
				name_of(r->subject), p->tls_creds.u.s);
	return 0;
}

static int check_ring(const struct settings *s, const struct rule *r, struct merr *err)
{
	if (s->has_dirty_ring)
		return 0;
	return merr_set(err, -EINVAL,
			"Capability '%s' requires KVM's dirty ring, which this guest's VM was made "
			"without (migd-vmm: --dirty-ring)",
			name_of(r->subject));
}

static int check_not_late(const struct settings *s, const struct rule *r, struct merr *err)
{
	if (!s->listening || s->was_on[r->subject])
		return 0;
	return merr_set(err, -EBUSY,
			"Capability '%s' must be set before incoming migration starts: this guest "
			"listens already",
			name_of(r->subject));
}

static int (*const check_relation[])(const struct settings *, const struct rule *,
				     struct merr *) = {
	[EXCLUDES] = check_excluded,
	[REQUIRES] = check_required,
	[NEEDS_PLAIN] = check_plain,
	[NEEDS_RING] = check_ring,
	[NEEDS_TIME] = check_not_late,
};

int capabilities_check_rules(const struct settings *s, struct merr *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rules); i++)
		if (s->on[rules[i].subject])
			r = check_relation[rules[i].relation](s, &rules[i], err);
	return r;
}

int capabilities_check_supported(const struct settings *s, struct merr *err)
{
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (s->on[i] && !supported[i])
			return merr_set(err, -ENOTSUP,
					"Capability '%s' is not supported by this version of migd; "
					"leave it off",
					name_of((enum migration_capability)i));
	return 0;
}

int capabilities_check(const struct settings *s, struct merr *err)
{
	int r = capabilities_check_supported(s, err);

	return r == 0 ? capabilities_check_rules(s, err) : r;
}
