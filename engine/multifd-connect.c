/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections become channels of multifd: the source's part. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "engine/multifd-gather.h"

bool multifd_is_on(const struct migration *m)
{
	return migration_has_capability(m, MIGRATION_CAPABILITY_MULTIFD) &&
	       !migration_has_capability(m, MIGRATION_CAPABILITY_MAPPED_RAM);
}

/* How the channels introduce themselves. */
static struct multifd_hello introduction(const struct migration *m)
{
	struct multifd_hello h = { 0 };

	if (m->start.has_uuid)
		(void)handover_id_parse(m->start.uuid, h.uuid);
	memcpy(h.handover_id, m->handover_id, sizeof(h.handover_id));
	return h;
}

struct multifd_source *multifd_connect(struct migration *m, struct merr *err)
{
	const struct migration_parameters *p = &m->start.parameters;
	const struct multifd_options o = {
		.n = p->multifd_channels,
		.codec = p->multifd_compression,
		.level = multifd_codec_level(p->multifd_compression, p),
		.zero_copy = migration_has_capability(m, MIGRATION_CAPABILITY_ZERO_COPY_SEND),
		.rate = &m->rate,
		.stats = m->stats,
		.cancel_fd = m->cancel_fd,
	};
	const struct multifd_hello hello = introduction(m);
	struct chan *chans[MULTIFD_CHANNELS_MAX] = { NULL };
	unsigned int i;

	if (multifd_codec_check(o.codec, err) < 0)
		return NULL;
	for (i = 0; i < o.n; i++) {
		if (migration_open_channel(m, &chans[i], err) < 0) {
			(void)merr_prefix(err, "multifd channel %u of %u", i, o.n);
			while (i > 0)
				(void)chan_free(chans[--i]);
			return NULL;
		}
		FAULT_POINT("multifd.channel-connected");
	}
	return multifd_source_new(&o, chans, &hello, err);
}
