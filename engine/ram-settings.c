/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's capabilities and parameters say about RAM. */
#include "engine/ram-settings.h"

#include <errno.h>
#include <inttypes.h>

#include "engine/mapped-writer.h"
#include "engine/multifd-sink.h"
#include "engine/opening.h"

/* Without multifd: one that goes to the disk while the other copies; and what keeps a disk busy that is read from. */
#define MAPPED_WRITERS 2U
#define MAPPED_READERS 4U

static unsigned int mapped_threads(const struct migration *m, unsigned int alone)
{
	const struct migration_parameters *p = &m->start.parameters;

	return migration_has_capability(m, MIGRATION_CAPABILITY_MULTIFD) && p->has_multifd_channels ?
		p->multifd_channels : alone;
}

static int use_mapped_writer(struct migration *m, struct ram_source *s, struct ram *ram, const struct chan *chan,
			     struct merr *err)
{
	const struct migration_parameters *p = &m->start.parameters;
	const struct mapped_target_file file = {
		.fd = chan_fd(chan),
		.direct_fd = m->direct_fd,
		.n_threads = mapped_threads(m, MAPPED_WRITERS),
		.multifd = migration_has_capability(m, MIGRATION_CAPABILITY_MULTIFD),
		.all_in_full = p->has_zero_page_detection && p->zero_page_detection == ZERO_PAGE_DETECTION_NONE,
		.cancel_fd = m->cancel_fd,
	};
	struct ram_sink *k;
	int r;

	r = mapped_writer_new(ram, &file, &m->rate, m->stats, &k, err);
	if (r == 0)
		ram_source_use_sink(s, k);
	return r;
}

void ram_settings_mapped_file(const struct migration *m, int fd, struct mapped_source_file *ret)
{
	*ret = (struct mapped_source_file){
		.fd = fd,
		.direct_fd = m->direct_fd,
		.n_threads = mapped_threads(m, MAPPED_READERS),
		.cancel_fd = m->cancel_fd,
	};
}

int ram_settings_target(struct target *t)
{
	struct mapped_source_file file;

	if (!migration_has_capability(t->m, MIGRATION_CAPABILITY_MAPPED_RAM))
		return 0;
	ram_settings_mapped_file(t->m, chan_fd(t->chan), &file);
	if (!t->m->start.has_lazy || !t->m->start.lazy)
		return mapped_reader_new(&file, t->m->stats, &t->receiver.mapped, &t->err);
	if (lazy_restore_new(t, &file) < 0)
		return t->err.code;
	t->receiver.lazy = t->lazy;
	return 0;
}

/* Pages go over its channels, in the way the peer takes them. */
static int use_multifd(struct source *s, enum zero_page_detection detection, struct merr *err)
{
	const struct multifd_dialect d = {
		.find_zeros = detection != ZERO_PAGE_DETECTION_NONE,
		.list_zeros = detection == ZERO_PAGE_DETECTION_MULTIFD && source_dialect(s)->zero_lists,
		.sync_by_section = !source_dialect(s)->sync_records,
	};
	struct ram_sink *k = multifd_sink_new(s->multifd, s->sender, &d);

	if (!k)
		return merr_set(err, -ENOMEM, "multifd: no memory");
	ram_source_use_sink(s->sender, k);
	return 0;
}

int ram_settings_source(struct source *s, struct merr *err)
{
	const struct migration_parameters *p = &s->m->start.parameters;
	enum zero_page_detection detection =
		p->has_zero_page_detection ? p->zero_page_detection : ZERO_PAGE_DETECTION_MULTIFD;

	if (s->peer == PEER_QEMU && s->ram.postcopy)
		ram_source_ignore_hints(s->sender);
	if (s->features & HELLO_FEATURE_POISON)
		ram_source_tell_poison(s->sender);
	/* "multifd" without multifd is "legacy". */
	ram_source_detect_zeros(s->sender, detection != ZERO_PAGE_DETECTION_NONE);
	if (migration_has_capability(s->m, MIGRATION_CAPABILITY_MAPPED_RAM))
		return use_mapped_writer(s->m, s->sender, &s->ram, s->chan, err);
	if (s->multifd)
		return use_multifd(s, detection, err);
	if (migration_has_capability(s->m, MIGRATION_CAPABILITY_XBZRLE) &&
	    ram_source_use_xbzrle(s->sender, &s->m->xbzrle_cache_bytes) < 0)
		return merr_set(err, -ENOMEM, "no memory for an XBZRLE cache of %" PRIu64
				" bytes: set xbzrle-cache-size to less", atomic_load(&s->m->xbzrle_cache_bytes));
	return 0;
}
