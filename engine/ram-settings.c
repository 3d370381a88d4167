/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's capabilities and parameters say about RAM. */
#include "engine/ram-settings.h"

#include <errno.h>
#include <inttypes.h>

#include "engine/opening.h"

int ram_settings_source(const struct migration *m, struct ram_source *s, uint64_t features,
			struct merr *err)
{
	const struct migration_parameters *p = &m->start.parameters;

	if (features & HELLO_FEATURE_POISON)
		ram_source_tell_poison(s);
	/* "multifd" without multifd is "legacy". */
	ram_source_detect_zeros(s, !p->has_zero_page_detection ||
				   p->zero_page_detection != ZERO_PAGE_DETECTION_NONE);
	if (migration_has_capability(m, MIGRATION_CAPABILITY_XBZRLE) &&
	    ram_source_use_xbzrle(s, &m->xbzrle_cache_bytes) < 0)
		return merr_set(err, -ENOMEM, "no memory for an XBZRLE cache of %" PRIu64
				" bytes: set xbzrle-cache-size to less", atomic_load(&m->xbzrle_cache_bytes));
	return 0;
}
