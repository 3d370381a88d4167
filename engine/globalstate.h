/* SPDX-License-Identifier: Apache-2.0 */
/* The `globalstate` section (WIRE.md 2.5): in which run state the guest was before it was stopped. */
#ifndef MIGD_ENGINE_GLOBALSTATE_H
#define MIGD_ENGINE_GLOBALSTATE_H

#include <migd/guest.h>

#include "engine/in.h"
#include "engine/out.h"
#include "engine/wire.h"

/* Bytes of the whole FULL section: type, id, idstr, instance, version, body, footer. */
#define GLOBALSTATE_SECTION_LEN (1U + 4 + 1 + 11 + 4 + 4 + WIRE_GLOBALSTATE_LEN + 1 + 4)

void globalstate_send(struct out *out, uint32_t section_id, enum migd_guest_run_state state);

/* Read the section, type byte included; *ret_live: the guest is to run. */
int globalstate_receive(struct in *in, bool *ret_live);

#endif
