/* SPDX-License-Identifier: Apache-2.0 */
/* Guests announced before they go. */
#include "daemon/foretell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/greet.h"
#include "daemon/guest.h"
#include "daemon/herald.h"
#include "daemon/migration.h"
#include "daemon/peer.h"
#include "daemon/tls.h"

struct foretelling {
	TAILQ_ENTRY(foretelling) entry;
	struct migration *m;
	struct dial *dial;
	struct herald *herald;
	foretell_fn fn;
	bool begun;
};

static TAILQ_HEAD(, foretelling) all = TAILQ_HEAD_INITIALIZER(all);

static void begin_next(void);

static void leave(struct foretelling *f)
{
	TAILQ_REMOVE(&all, f, entry);
	f->dial = dial_cancel(f->dial);
	f->herald = herald_cancel(f->herald);
	free(f);
	begin_next();
}

struct foretelling *foretell_cancel(struct foretelling *f)
{
	if (f)
		leave(f);
	return NULL;
}

static void conclude(struct foretelling *f, const struct merr *err)
{
	struct migration *m = f->m;
	foretell_fn fn = f->fn;
	struct merr why = MERR_INIT;

	if (err) {
		(void)merr_copy(&why, err);
		(void)merr_prefix(&why, "announcing guest '%s' to '%s'", m->guest->name, m->uri);
	}
	m->foretelling = NULL;
	leave(f);
	fn(m, err ? &why : NULL);
}

/* ---- the description ---- */

static int describe_capabilities(const struct guest *g, struct guest_description *d)
{
	d->capabilities = calloc(MIGRATION_CAPABILITY__MAX, sizeof(*d->capabilities));
	if (!d->capabilities)
		return -ENOMEM;
	d->has_capabilities = true;
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++) {
		if (!g->capabilities[i])
			continue;
		d->capabilities[d->n_capabilities] = strdup(migration_capability_str((enum migration_capability)i));
		if (!d->capabilities[d->n_capabilities++])
			return -ENOMEM;
	}
	return 0;
}

static int describe(const struct migration *m, struct guest_description *ret)
{
	const struct guest *g = m->guest;
	struct guest_description d = {
		.version = 1,
		.name = strdup(greet_name(m)),
		.uuid = malloc(UUID_TEXT_LEN),
		.vcpus = g->n_vcpus,
		.memory = g->ram_bytes,
		.tls = m->tls != NULL,
		.has_multifd_channels = g->capabilities[MIGRATION_CAPABILITY_MULTIFD],
		.multifd_channels = g->parameters.multifd_channels,
		.has_multifd_compression = g->capabilities[MIGRATION_CAPABILITY_MULTIFD],
		.multifd_compression = strdup(multi_fd_compression_str(g->parameters.multifd_compression)),
	};
	int r = d.name && d.uuid && d.multifd_compression ? describe_capabilities(g, &d) : -ENOMEM;

	if (r < 0) {
		guest_description_done(&d);
		return r;
	}
	uuid_format(g->uuid, d.uuid);
	*ret = d;
	return 0;
}

/* ---- the herald ---- */

static void on_heard(void *opaque, const struct merr *err)
{
	conclude(opaque, err);
}

static const struct herald_handler handler = { .heard = on_heard };

static int send_herald(struct foretelling *f, int fd, struct merr *err)
{
	struct migration *m = f->m;
	char server_name[GREETING_SERVER_NAME_MAX + 1];
	struct guest_description d;
	int r = greet(m, true, fd, err);

	if (r < 0)
		return r;
	if (describe(m, &d) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	r = herald_start(m->guest->daemon, fd,
			 &(struct herald_task){
				 .guest = d.name,
				 .peer = m->uri,
				 .description = &d,
				 .tls = m->tls,
				 .server_name = greet_server_name(m, true, server_name) ? server_name : NULL,
			 },
			 &handler, f, &f->herald, err);
	guest_description_done(&d);
	return r;
}

static void on_connected(void *opaque, int fd, const struct merr *err)
{
	struct foretelling *f = ((struct migration *)opaque)->foretelling;
	struct merr own = MERR_INIT;

	f->dial = NULL;
	if (fd >= 0 && send_herald(f, fd, &own) < 0)
		err = &own;
	close_fd(fd);
	if (err)
		conclude(f, err);
}

/* ---- one after the other ---- */

/* Without memory for a dial it is tried again when the next one is done. */
static void begin_next(void)
{
	struct foretelling *f;
	unsigned int n = 0;

	TAILQ_FOREACH(f, &all, entry) {
		if (n++ >= FORETELL_MAX)
			return;
		if (f->begun)
			continue;
		f->dial = peer_dial(f->m, 0, on_connected);
		f->begun = f->dial != NULL;
	}
}

struct foretelling *foretell(struct migration *m, foretell_fn fn)
{
	struct foretelling *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct foretelling){ .m = m, .fn = fn };
	TAILQ_INSERT_TAIL(&all, f, entry);
	begin_next();
	return f;
}
