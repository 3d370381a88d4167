/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's side of the migration channel: the VMM's userfaultfd, and what is left for a successor. */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "attach/codec.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/guest-link.h"

static int take_uffd(struct conn_msg *m, struct guest_uffd *ret, struct merr *err)
{
	struct attach_uffd_open_reply rep;
	uint32_t thread;
	int r = attach_uffd_open_reply_decode(&m->body, &rep, err);

	if (r < 0)
		return r;
	if (m->n_fds != 1 || rep.vcpus.len / sizeof(thread) != rep.n_vcpus || rep.vcpus.len % sizeof(thread))
		return merr_set(err, -EBADMSG, "%zu descriptors, and %u bytes of thread ids of %u vCPUs", m->n_fds,
				rep.vcpus.len, rep.n_vcpus);
	*ret = (struct guest_uffd){
		.fd = conn_msg_take_fd(m, 0),
		.existing = rep.existing,
		.features = rep.features,
		.n_vcpus = (uint32_t)min_u64(rep.n_vcpus, STATS_VCPUS_MAX),
	};
	for (uint32_t i = 0; i < ret->n_vcpus; i++) {
		memcpy(&thread, rep.vcpus.data + i * sizeof(thread), sizeof(thread));
		ret->vcpu_threads[i] = le32toh(thread);
	}
	return 0;
}

int guest_uffd_open(struct guest_link *g, unsigned int mode, int userfaultfd, struct guest_uffd *ret, struct merr *err)
{
	struct attach_uffd_open req = { .mode = (uint8_t)mode };
	uint8_t body[8];
	struct wcur w = wcur_of(body, sizeof(body));
	struct conn_msg m;
	int r;

	(void)attach_uffd_open_encode(&w, &req);
	r = guest_call(g, ATTACH_UFFD_OPEN, &w, &userfaultfd, userfaultfd >= 0, &m, err);
	if (r == 0) {
		r = take_uffd(&m, ret, err);
		conn_msg_done(&m);
	}
	return guest_link_explain(g, r, "UFFD_OPEN", err);
}

int guest_received_maps(struct guest_link *g, struct ram *ram, struct merr *err)
{
	struct wcur none = { 0 };

	return guest_maps(g, ATTACH_RECEIVED_MAPS, &none, ram, offsetof(struct ram_file, received), guest_check_empty, err);
}

int guest_uffd_end(struct guest_link *g, struct merr *err)
{
	struct attach_empty none = {}, reply;

	return guest_link_explain(g,
				  conn_request(g->conn, UFFD_END, empty, &none, empty, &reply,
					       guest_call_deadline(GUEST_CALL_MS), g->cancel_fd, err),
				  "UFFD_END", err);
}

int guest_memo_set(struct guest_link *g, const void *memo, size_t len, struct merr *err)
{
	struct attach_memo req = { .memo = { .data = memo, .len = (uint32_t)len } };
	uint8_t body[ATTACH_MEMO_MAX + 8];
	struct wcur w = wcur_of(body, sizeof(body));
	struct conn_msg m;
	int r;

	(void)attach_memo_encode(&w, &req);
	r = guest_call(g, ATTACH_MEMO_SET, &w, NULL, 0, &m, err);
	if (r == 0)
		conn_msg_done(&m);
	return guest_link_explain(g, r, "MEMO_SET", err);
}

int guest_memo_get(struct guest_link *g, uint8_t *buf, size_t *ret_len, struct merr *err)
{
	struct wcur none = { 0 };
	struct attach_memo memo;
	struct conn_msg m;
	int r;

	r = guest_call(g, ATTACH_MEMO_GET, &none, NULL, 0, &m, err);
	if (r < 0)
		return guest_link_explain(g, r, "MEMO_GET", err);
	r = attach_memo_decode(&m.body, &memo, err);
	if (r == 0 && memo.memo.len > ATTACH_MEMO_MAX)
		r = merr_set(err, -EBADMSG, "a memo of %u bytes", memo.memo.len);
	if (r == 0) {
		memcpy(buf, memo.memo.data, memo.memo.len);
		*ret_len = memo.memo.len;
	}
	conn_msg_done(&m);
	return guest_link_explain(g, r, "MEMO_GET", err);
}
