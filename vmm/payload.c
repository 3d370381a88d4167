/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the payloads built into migd-vmm, one row for each vmm/payloads/NAME.c. */
#include "vmm/payload.h"

#include <errno.h>
#include <string.h>

struct payload {
	const char *name;
	const uint8_t *start;
	const uint8_t *end;
};

#define PAYLOAD(name) extern const uint8_t payload_##name##_start[], payload_##name##_end[];
#include "vmm/payload-list.h"
#undef PAYLOAD

#define PAYLOAD(name) { #name, payload_##name##_start, payload_##name##_end },
static const struct payload payloads[] = {
#include "vmm/payload-list.h"
};
#undef PAYLOAD

#define PAYLOAD(name) #name,
static const char *const names[] = {
#include "vmm/payload-list.h"
	NULL,
};
#undef PAYLOAD

int payload_find(const char *name, const uint8_t **ret_image, size_t *ret_len_bytes)
{
	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		const struct payload *p = &payloads[i];

		if (strcmp(p->name, name) != 0)
			continue;
		*ret_image = p->start;
		*ret_len_bytes = (size_t)(p->end - p->start);
		return 0;
	}
	return -ENOENT;
}

const char *const *payload_names(void)
{
	return names;
}
