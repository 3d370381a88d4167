/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernels there are, and the choice among them. */
#include "engine/kernels/kernels.h"

#include <stdatomic.h>

static const struct kernels *const all[] = {
#ifdef __x86_64__
	&kernels_avx512bw,
	&kernels_avx2,
	&kernels_sse2,
#endif
	&kernels_scalar,
	NULL,
};

const struct kernels *const *kernels_all(void)
{
	return all;
}

const struct kernels *kernels_best(void)
{
	static _Atomic(const struct kernels *) chosen;
	const struct kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);

	if (k)
		return k;
	/* Two threads may both come here: they choose the same. */
	for (size_t i = 0; !k; i++)
		if (all[i]->is_supported())
			k = all[i];
	atomic_store_explicit(&chosen, k, memory_order_relaxed);
	return k;
}
