/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream's head: magic, version, and the configuration with its subsections (WIRE.md 1.1).
 *
 * What is compared is recorded here and judged by configuration_check(): a stream that does not fit its guest is a
 * migration that fails, one that is no stream at all is a connection that is refused.
 */
#ifndef MIGD_ENGINE_CONFIGURATION_H
#define MIGD_ENGINE_CONFIGURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "engine/in.h"
#include "engine/out.h"

#define CONFIGURATION_UUID_LEN 16U

struct configuration {
	bool ignore_shared;	/* capability x-ignore-shared */
	bool mapped_ram;	/* capability mapped-ram */
	bool has_uuid;		/* a source sends it with capability validate-uuid on */
	uint8_t uuid[CONFIGURATION_UUID_LEN];
};

void configuration_send(struct out *out, const struct configuration *c);
/* The members of the description's "configuration" (WIRE.md 1.4). */
void configuration_describe(struct buf *json, const struct configuration *c);

/* From the magic on. Errors are IN's: they name section and field. */
int configuration_receive(struct in *in, struct configuration *ret);

/* Does what THEIRS says fit OURS (has_uuid: the guest here has one)? Errors are IN's. */
int configuration_check(struct in *in, const struct configuration *theirs, const struct configuration *ours);

#endif
