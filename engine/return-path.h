/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the return path, destination to source (WIRE.md 6.2): be16 type, be16 length, payload. */
#ifndef MIGD_ENGINE_RETURN_PATH_H
#define MIGD_ENGINE_RETURN_PATH_H

#include "attach/proto.h"
#include "engine/in.h"
#include "engine/wire.h"

struct rp_msg {
	uint16_t type;
	uint16_t len;
	uint8_t body[WIRE_RP_LEN_MAX];
};

/* Source: the next message. Errors are IN's. */
int rp_read(struct in *in, struct rp_msg *ret);
/* The handover id that M begins with must be ID; -EBADMSG by IN. */
int rp_check_id(struct in *in, const struct rp_msg *m, const uint8_t id[ATTACH_ID_LEN]);

/* Destination. 0 or -errno; waits at most 10 s for a source that does not read. */
int rp_send(struct chan *chan, uint16_t type, const void *body, size_t len);
int rp_send_be32(struct chan *chan, uint16_t type, uint32_t v);
int rp_send_id(struct chan *chan, uint16_t type, const uint8_t id[ATTACH_ID_LEN]);
int rp_send_id_be64(struct chan *chan, uint16_t type, const uint8_t id[ATTACH_ID_LEN], uint64_t v);
/* Tell the source why this side gave up. */
void rp_send_error(struct chan *chan, const struct merr *err);

#endif
