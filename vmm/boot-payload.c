/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a built-in payload: image, parameters and entry state as payload-abi.h promises them. */
#include <errno.h>

#include "vmm/boot.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/payload.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

static int store_param(struct machine *m)
{
	struct payload_param param = {
		.magic = PAYLOAD_MAGIC,
		.n_vcpus = m->opt->n_cpus,
		.memory_bytes = m->opt->memory_bytes,
		.working_set_bytes = m->opt->working_set_bytes,
		.pages_per_second = m->opt->pages_per_second,
		.tsc_khz = vcpus_tsc_khz(m->vcpus),
	};
	for (size_t i = 0; i < ARRAY_SIZE(param.arg); i++)
		param.arg[i] = m->opt->payload_arg[i];
	return machine_store(m, PAYLOAD_PARAM_GPA, &param, sizeof(param), "payload's parameters");
}

int boot_payload_load(struct machine *m, struct boot_entry *ret)
{
	const uint8_t *image;
	size_t len;
	int r = payload_find(m->opt->payload, &image, &len);
	if (r < 0)
		return fail(r, "no payload '%s'", m->opt->payload);
	if (len > PAYLOAD_IMAGE_MAX)
		return fail(-EFBIG, "payload '%s' has %zu bytes, at most %d fit", m->opt->payload,
			    len, PAYLOAD_IMAGE_MAX);
	r = machine_store(m, PAYLOAD_LOAD_GPA, image, len, "payload");
	if (r == 0)
		r = store_param(m);
	if (r == 0)
		r = long_mode_store_tables(m);
	if (r == 0)
		*ret = (struct boot_entry){ .long_mode = true,
					    .all_vcpus = true,
					    .rip = PAYLOAD_LOAD_GPA,
					    .rsi = PAYLOAD_PARAM_GPA };
	return r;
}
