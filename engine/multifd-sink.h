/* SPDX-License-Identifier: Apache-2.0 */
/* Multifd's channels as where a source's pages go (engine/ram-sink.h), and what the stream is told of it. */
#ifndef MIGD_ENGINE_MULTIFD_SINK_H
#define MIGD_ENGINE_MULTIFD_SINK_H

#include "engine/multifd-source.h"
#include "engine/ram-source.h"

/* How the peer wants it. */
struct multifd_dialect {
	bool find_zeros;	/* zero-page-detection is not none */
	bool list_zeros;	/* in packets; else as records in the stream */
	bool sync_by_section;	/* the end of each section is a sync point, and there is no record for one: WIRE.md 3.4 */
};

/* For SENDER, which is to use it. CHANNELS are borrowed, and may be gone when the sink is freed. NULL: no memory. */
struct ram_sink *multifd_sink_new(struct multifd_source *channels, struct ram_source *sender,
				  const struct multifd_dialect *d);

#endif
