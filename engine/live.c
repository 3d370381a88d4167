/* SPDX-License-Identifier: Apache-2.0 */
/* Large devices: the table, the shared area, and the requests about one. */
#include "engine/live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define REQUEST(s, TYPE, req_body, req, rep_body, rep, err)                                        \
	guest_link_explain((s)->live->guest,                                                       \
			   conn_request((s)->live->guest->conn, TYPE, req_body, req, rep_body, rep, \
					clock_now_ns() + GUEST_CALL_MS * NS_PER_MS,                \
					(s)->live->guest->cancel_fd, err),                         \
			   #TYPE, err)

/* A VMM could shrink what is no sealed memfd, and end this process by a fault. */
static int map_area(struct live *l, int fd, uint32_t len, struct merr *err)
{
	int want = F_SEAL_SHRINK | F_SEAL_GROW, seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0 || (seals & want) != want || fstat(fd, &st) < 0 ||
	    len != ATTACH_LIVE_CHUNK_MAX || st.st_size != ATTACH_LIVE_CHUNK_MAX)
		return merr_set(err, -EBADMSG, "the area is no sealed memfd of %u bytes",
				ATTACH_LIVE_CHUNK_MAX);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return merr_set_errno(err, -errno, "mapping the area");
	l->area = p;
	return 0;
}

static int add_rows(struct live *l, const struct attach_live_table_reply *rep, struct merr *err)
{
	struct rcur c = rcur_of(rep->devices.data, rep->devices.len);
	int r;

	if (rep->n > ATTACH_LIVE_DEVICES_MAX)
		return merr_set(err, -EBADMSG, "%u live devices, at most %u", rep->n,
				ATTACH_LIVE_DEVICES_MAX);
	for (uint32_t i = 0; i < rep->n; i++) {
		struct live_section *s = &l->sections[i];

		*s = (struct live_section){ .live = l, .index = i };
		r = attach_live_device_decode(&c, &s->device, err);
		if (r < 0)
			return r;
		l->n++;
	}
	return attach_decode_end(&c, err);
}

static int take_table(struct live *l, struct conn_msg *m, struct merr *err)
{
	_cleanup_close_ int fd = conn_msg_take_fd(m, 0);
	struct attach_live_table_reply rep;
	int r;

	r = attach_live_table_reply_decode(&m->body, &rep, err);
	if (r == 0)
		r = add_rows(l, &rep, err);
	return r < 0 || rep.n == 0 ? r : map_area(l, fd, rep.area_len, err);
}

int live_open(struct live *l, struct guest_link *guest, struct merr *err)
{
	struct conn_msg m;
	int r;

	l->guest = guest;
	r = conn_call(guest->conn, ATTACH_LIVE_TABLE, NULL, 0, NULL, 0,
		      clock_now_ns() + GUEST_CALL_MS * NS_PER_MS, guest->cancel_fd, &m, err);
	if (r == -EOPNOTSUPP) {
		merr_clear(err);
		return 0;
	}
	if (r == 0) {
		r = take_table(l, &m, err);
		conn_msg_done(&m);
	}
	return guest_link_explain(guest, r, "LIVE_TABLE", err);
}

void live_close(struct live *l)
{
	if (l->area)
		(void)munmap(l->area, ATTACH_LIVE_CHUNK_MAX);
	*l = (struct live){ 0 };
}

int live_setup(struct live_section *s, struct merr *err)
{
	struct attach_live req = { .index = s->index };
	struct attach_empty rep;

	return REQUEST(s, LIVE_SETUP, live, &req, empty, &rep, err);
}

int live_pending(struct live_section *s, bool exact, uint64_t *ret_bytes, struct merr *err)
{
	struct attach_live_pending req = { .index = s->index, .exact = exact };
	struct attach_live_pending_reply rep = { 0 };
	int r;

	r = REQUEST(s, LIVE_PENDING, live_pending, &req, live_pending_reply, &rep, err);
	if (r == 0)
		*ret_bytes = rep.bytes;
	return r;
}

int live_read(struct live_section *s, bool complete, uint32_t *ret_len, bool *ret_more, struct merr *err)
{
	struct attach_live_read req = { .index = s->index, .complete = complete };
	struct attach_live_read_reply rep = { 0 };
	int r;

	r = REQUEST(s, LIVE_READ, live_read, &req, live_read_reply, &rep, err);
	if (r < 0)
		return r;
	if (rep.len > ATTACH_LIVE_CHUNK_MAX)
		return merr_set(err, -EBADMSG, "guest library: LIVE_READ: field 'len': %u (at most %u)",
				rep.len, ATTACH_LIVE_CHUNK_MAX);
	*ret_len = rep.len;
	*ret_more = rep.more;
	return 0;
}

int live_load(struct live_section *s, uint32_t version, enum attach_live_part part, uint32_t len,
	      struct merr *err)
{
	struct attach_live_load req = { .index = s->index, .version = version, .part = (uint8_t)part,
					.len = len };
	struct attach_empty rep;

	return REQUEST(s, LIVE_LOAD, live_load, &req, empty, &rep, err);
}

int live_state(struct live_section *s, struct attach_live_state_reply *ret, struct merr *err)
{
	struct attach_live req = { .index = s->index };

	return REQUEST(s, LIVE_STATE, live, &req, live_state_reply, ret, err);
}

struct handler live_handler(struct live_section *s, const struct handler_ops *ops)
{
	return (struct handler){
		.idstr = s->device.name,
		.instance = s->device.instance,
		.alias = HANDLER_NO_ALIAS,
		.version = s->device.version,
		.minimum_version = s->device.minimum_version,
		.priority = HANDLER_PRIORITY_DEFAULT,
		.ops = ops,
		.opaque = s,
	};
}
