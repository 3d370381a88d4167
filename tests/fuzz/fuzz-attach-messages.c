/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any datagrams on an attach connection, whoever is there: received, or as what a call gets. A body
 * that is taken gives, encoded again, the same bytes; no descriptor stays open.
 */
/* LIBS: migd_attach migd_schema migd_base */
#include <assert.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "attach/mismatch.h"
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_message_type types[] = { FUZZ_ATTACH_TYPES };

static uint8_t encoded[ATTACH_BODY_MAX];

#define BODY_CHECK(upper, lower)                                                                   \
	static void check_##lower(const struct rcur *body)                                         \
	{                                                                                          \
		struct wcur w = wcur_of(encoded, sizeof(encoded));                                 \
		struct attach_##lower v;                                                           \
		struct merr err = MERR_INIT;                                                       \
		struct rcur c = *body;                                                             \
                                                                                                   \
		if (attach_##lower##_decode(&c, &v, &err) < 0) {                                   \
			assert(merr_is_set(&err));                                                 \
			return;                                                                    \
		}                                                                                  \
		assert(attach_##lower##_encode(&w, &v) == 0 && w.len == body->left - c.left);      \
		assert(w.len == 0 || memcmp(encoded, body->p, w.len) == 0);                        \
		(void)attach_decode_end(&c, NULL);                                                 \
	}
ATTACH_BODIES(BODY_CHECK)

static void (*const checks[])(const struct rcur *body) = {
#define BODY_ROW(upper, lower) check_##lower,
	ATTACH_BODIES(BODY_ROW)
};

static void check_mismatches_list(struct rcur body)
{
	static struct mismatches list;
	struct wcur w = wcur_of(encoded, sizeof(encoded));
	struct merr err = MERR_INIT;

	if (mismatches_decode(&body, &list, &err) < 0) {
		assert(merr_is_set(&err));
		return;
	}
	for (uint32_t i = 0; i < list.n; i++)
		assert(mismatch_is_sound(&list.list[i]));
	assert(mismatches_encode(&w, &list) == 0);
	assert((mismatches_fail(&list, "here", &err) < 0) == (list.found > 0));
}

static void take(struct conn_msg *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&m->body);
	check_mismatches_list(m->body);
	(void)attach_type_name(m->type);
	assert(attach_error_to_errno(m->error) <= 0);
	(void)close_fd(conn_msg_take_fd(m, 0));
}

static void on_event(void *opaque, struct conn_msg *m)
{
	(void)opaque;
	take(m);
}

/* The sort of message in the middle: everything before it is sent ahead, and what it is is called
 * for. */
static void converse(struct conn *c, int fd, struct rcur in)
{
	static const struct attach_empty none;
	struct attach_empty reply;
	struct merr err = MERR_INIT;
	struct fuzz_message m = { 0 };
	struct conn_msg got;
	uint32_t seq = 0;

	while (fuzz_message_next(&in, &m)) {
		seq++;
		fuzz_message_send(fd, &m, seq, seq, 0);
		if (m.how & FUZZ_SECOND) {
			/* Nobody answers any more by then. */
			if (conn_request(c, HEARTBEAT, empty, &none, empty, &reply, 0, -1, &err) <
			    0)
				assert(merr_is_set(&err));
		} else {
			int r = conn_recv(c, &got, &err);

			assert(r >= 0 || merr_is_set(&err));
			if (r > 0) {
				take(&got);
				(void)(m.how & FUZZ_ERROR ? conn_reply_error(c, &got, &err)
							  : conn_reply(c, &got, NULL, 0, NULL, 0));
				conn_msg_done(&got);
			}
		}
		merr_clear(&err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2], pid, next = fcntl(0, F_DUPFD_CLOEXEC, 0);
	unsigned int uid, gid;
	struct conn *c;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	c = conn_new(fds[0]);
	assert(c && conn_peer(c, &pid, &uid, &gid) == 0 && pid == getpid());
	conn_on_event(c, on_event, NULL);
	converse(c, fds[1], rcur_of(data, size));
	(void)close(fds[1]);
	(void)conn_free(c);
	(void)close(next);
	assert(fcntl(0, F_DUPFD_CLOEXEC, 0) == next);
	(void)close(next);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 0, data, size, max_size, seed);
}
