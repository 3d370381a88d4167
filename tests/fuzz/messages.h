/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of attach/conn.h as a fuzz target's input, and a mutator that keeps them whole: type and
 * body by table. In the input each is
 *
 *   u8 how, be16 type, u8 descriptors, be16 length, body
 *
 * HOW: enum fuzz_how, and the error's number in the upper half. DESCRIPTORS: how many (lower half),
 * of which sort (upper half; enum fuzz_fd).
 */
#ifndef MIGD_TESTS_FUZZ_MESSAGES_H
#define MIGD_TESTS_FUZZ_MESSAGES_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach/dirty-map.h"
#include "attach/handover.h"
#include "attach/proto.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "grammar.h"
#include "schema-json.h"

enum fuzz_how {
	FUZZ_REPLY = 1 << 0,
	FUZZ_ERROR = 1 << 1,
	FUZZ_BAD = 1 << 2,    /* the body's first two bytes spoil the header: where, and by what */
	FUZZ_SECOND = 1 << 3, /* on the other one of two connections */
};

enum fuzz_fd {
	FUZZ_FD_NULL,
	FUZZ_FD_MEMFD, /* of 1 MiB */
	FUZZ_FD_SHORT, /* a memfd of 100 bytes */
	FUZZ_FD_MAP,   /* a dirty map of 1 MiB */
	FUZZ_FD_DECISION,
	FUZZ_FD_SOCKET, /* SOCK_SEQPACKET */
	FUZZ_FD_STREAM, /* SOCK_STREAM */
	FUZZ_FD_BODY,   /* a memfd of what the last FUZZ_KEEP said, or the body says */
	FUZZ_N_FDS,
};

/* Is not sent: its body is what memfds hold from then on. */
#define FUZZ_KEEP UINT16_MAX

struct fuzz_message {
	uint8_t how, fds;
	uint16_t type;
	struct rcur body, kept;
};

/* What there is to be said: a request's and a reply's body by the kinds of their fields ("u16 str
 * "), or JSON of a type. */
struct fuzz_message_type {
	uint16_t type;
	const char *request, *reply;
	const struct schema_type *json;
};

#define FUZZ_FIELD(kind, member) #kind " "
#define FUZZ_ATTACH_TYPE(number, name, req, rep)                                                   \
	{ number, ATTACH_##req##_FIELDS(FUZZ_FIELD) "", ATTACH_##rep##_FIELDS(FUZZ_FIELD) "",      \
	  NULL },
#define FUZZ_ATTACH_TYPES ATTACH_MESSAGES(FUZZ_ATTACH_TYPE)

#define FUZZ_MESSAGES_MAX 64

/* The message after *RET, which is all zero at first, be it one that is not sent; false: there is
 * none. */
static inline bool fuzz_message_read(struct rcur *c, struct fuzz_message *ret)
{
	uint16_t len;

	ret->how = rcur_u8(c);
	ret->type = rcur_be16(c);
	ret->fds = rcur_u8(c);
	len = rcur_be16(c);
	if (c->bad)
		return false;
	ret->body = rcur_of(c->p, min_u64(len, c->left));
	(void)rcur_bytes(c, ret->body.left);
	return true;
}

static inline bool fuzz_message_next(struct rcur *c, struct fuzz_message *ret)
{
	while (fuzz_message_read(c, ret)) {
		if (ret->type != FUZZ_KEEP)
			return true;
		ret->kept = ret->body;
	}
	return false;
}

static inline int fuzz_fd_socket(int type)
{
	int fds[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	(void)close(fds[1]);
	return fds[0];
}

static inline int fuzz_fd_map(void)
{
	struct dirty_map map;
	int fd;

	if (dirty_map_create(MIB / DIRTY_PAGE_SIZE, &map, &fd) < 0)
		abort();
	dirty_map_done(&map);
	return fd;
}

static inline int fuzz_fd_decision(void)
{
	struct decision_page page = { .magic = DECISION_MAGIC,
				      .version = DECISION_VERSION,
				      .state = HANDOVER_RUNNING };
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, 4096) < 0 || fd_pwrite_full(fd, &page, sizeof(page), 0) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		abort();
	return fd;
}

static inline int fuzz_fd_body(const struct rcur *body)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fd_pwrite_full(fd, body->p, body->left, 0) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		abort();
	return fd;
}

static inline int fuzz_fd_make(unsigned int sort, const struct rcur *body)
{
	switch (sort % FUZZ_N_FDS) {
	case FUZZ_FD_MEMFD:
		return fd_memfd("fuzz", MIB);
	case FUZZ_FD_SHORT:
		return fd_memfd("fuzz", 100);
	case FUZZ_FD_MAP:
		return fuzz_fd_map();
	case FUZZ_FD_DECISION:
		return fuzz_fd_decision();
	case FUZZ_FD_SOCKET:
		return fuzz_fd_socket(SOCK_SEQPACKET);
	case FUZZ_FD_STREAM:
		return fuzz_fd_socket(SOCK_STREAM);
	case FUZZ_FD_BODY:
		return fuzz_fd_body(body);
	default:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

static inline void fuzz_message_header(const struct fuzz_message *m, uint32_t seq,
				       uint32_t reply_to, uint32_t epoch,
				       uint8_t ret[ATTACH_HEADER_LEN])
{
	struct wcur w = wcur_of(ret, ATTACH_HEADER_LEN);

	wcur_le32(&w, ATTACH_MAGIC);
	wcur_le16(&w, ATTACH_VERSION);
	wcur_le16(&w, m->type);
	wcur_le32(&w, seq);
	wcur_le32(&w, m->how & FUZZ_REPLY ? reply_to : 0);
	wcur_le32(&w, (uint32_t)m->body.left);
	wcur_le32(&w, m->how & FUZZ_ERROR ? 1U + (m->how >> 4) : 0);
	wcur_le16(&w, m->fds & 15);
	wcur_le16(&w, 0);
	wcur_le32(&w, epoch);
	if (m->how & FUZZ_BAD && m->body.left >= 2)
		ret[m->body.p[0] % ATTACH_HEADER_LEN] ^= m->body.p[1];
}

/* M on FD; what does not fit into the socket is dropped. */
static inline void fuzz_message_send(int fd, const struct fuzz_message *m, uint32_t seq,
				     uint32_t reply_to, uint32_t epoch)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(15 * sizeof(int))];
	} control = { 0 };
	uint8_t head[ATTACH_HEADER_LEN];
	struct iovec iov[2] = { { head, sizeof(head) },
				{ (void *)(uintptr_t)m->body.p, m->body.left } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t n = m->fds & 15;
	int fds[15];

	fuzz_message_header(m, seq, reply_to, epoch, head);
	for (size_t i = 0; i < n; i++)
		fds[i] = fuzz_fd_make(m->fds >> 4, m->kept.p ? &m->kept : &m->body);
	if (n) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* ---- making them ---- */

/* Few of each, so that two are often the same. */
static inline void fuzz_field(const char *kind, unsigned int *seed, struct wcur *w)
{
	static const char *const names[] = { "", "ram", "dev", "vm", "a\xff" };
	const char *name = names[fuzz_random(seed) % (sizeof(names) / sizeof(names[0]))];
	uint8_t id[ATTACH_ID_LEN] = { (uint8_t)(fuzz_random(seed) % 3) };
	uint32_t n;

	switch (kind[0]) {
	case 'u':
		for (uint64_t v = fuzz_number(seed), bits = (uint64_t)atoi(kind + 1); bits > 0;
		     bits -= 8, v >>= 8)
			wcur_u8(w, (uint8_t)v);
		break;
	case 'i':
		wcur_bytes(w, id, sizeof(id));
		break;
	case 's':
		wcur_le16(w, (uint16_t)strlen(name));
		wcur_bytes(w, name, strlen(name));
		break;
	default:
		n = fuzz_random(seed) % 4 * 8;
		wcur_le32(w, n);
		while (n-- > 0)
			wcur_u8(w, (uint8_t)fuzz_number(seed));
	}
}

static inline void fuzz_message_put(struct wcur *w, const struct fuzz_message *m)
{
	wcur_u8(w, m->how);
	wcur_be16(w, m->type);
	wcur_u8(w, m->fds);
	wcur_be16(w, (uint16_t)m->body.left);
	wcur_bytes(w, m->body.p, m->body.left);
}

/* A message of one of the N types, or of M's own if that is one, appended to W. */
static inline void fuzz_message_make(const struct fuzz_message_type *types, size_t n,
				     const struct fuzz_message *like, unsigned int *seed,
				     struct wcur *w)
{
	const struct fuzz_message_type *t = &types[fuzz_random(seed) % n];
	struct fuzz_message m = { .how = like                    ? like->how
					 : fuzz_random(seed) % 4 ? FUZZ_REPLY
								 : 0 };
	uint8_t bytes[GRAMMAR_PIECE_MAX];
	struct wcur body = wcur_of(bytes, sizeof(bytes));

	for (size_t i = 0; like && i < n; i++)
		if (types[i].type == like->type)
			t = &types[i];
	m.type = t->type;
	m.how ^= fuzz_random(seed) % 4 ? 0 : 1U << fuzz_random(seed) % 4;
	m.fds = like ? like->fds
		: fuzz_random(seed) % 3
			? 0
			: (uint8_t)(fuzz_random(seed) % FUZZ_N_FDS << 4 | fuzz_random(seed) % 3);
	if (t->json)
		fuzz_json_text(t->json, seed, &body);
	else
		for (const char *k = m.how & FUZZ_REPLY ? t->reply : t->request; *k;
		     k = strchr(k, ' ') + 1)
			fuzz_field(k, seed, &body);
	m.body = rcur_of(bytes, body.len);
	fuzz_message_put(w, &m);
}

/* Where in the input each message begins, and where the last one ends. */
static inline size_t fuzz_messages_find(const uint8_t *data, size_t size, size_t kept,
					size_t at[FUZZ_MESSAGES_MAX + 1])
{
	struct rcur c = rcur_of(data + kept, size - kept);
	struct fuzz_message m;
	size_t n = 0;

	at[0] = kept;
	while (n < FUZZ_MESSAGES_MAX && c.left && fuzz_message_read(&c, &m))
		at[++n] = (size_t)(c.p - data);
	return n;
}

/* Libfuzzer's own mutation of a message's body, or of what is before it. */
static inline size_t fuzz_message_blur(uint8_t *data, size_t size, size_t max_size, size_t at,
				       size_t len, unsigned int *seed)
{
	uint8_t bytes[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	size_t body = len - 6;

	if (len < 6 || len > sizeof(bytes) || !LLVMFuzzerMutate)
		return size;
	wcur_bytes(&w, data + at, len);
	if (fuzz_random(seed) % 4 == 0) {
		bytes[fuzz_random(seed) % 4] ^= (uint8_t)(1U << fuzz_random(seed) % 8);
	} else {
		body = LLVMFuzzerMutate(bytes + 6, body, min_u64(sizeof(bytes) - 6, body + 64));
		store_be16(bytes + 4, (uint16_t)body);
		w.len = body + 6;
	}
	return fuzz_splice(data, size, max_size, at, len, &w);
}

/* Add, repeat, remove, replace or change one message; the first KEPT bytes are libFuzzer's. */
static inline size_t fuzz_messages_mutate(const struct fuzz_message_type *types, size_t n_types,
					  size_t kept, uint8_t *data, size_t size, size_t max_size,
					  unsigned int seed)
{
	uint8_t bytes[2 * GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	size_t at[FUZZ_MESSAGES_MAX + 1], n, i, len;
	struct fuzz_message m = { 0 };
	struct rcur c;

	if (size < kept || max_size < kept + 6 || fuzz_random(&seed) % 16 == 0)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	n = fuzz_messages_find(data, size, kept, at);
	i = n ? fuzz_random(&seed) % n : 0;
	len = n ? at[i + 1] - at[i] : 0;
	c = rcur_of(data + at[i], len);
	switch (n ? fuzz_random(&seed) % 8 : 0) {
	case 0:
		fuzz_message_make(types, n_types, NULL, &seed, &w);
		return fuzz_splice(data, size, max_size, at[fuzz_random(&seed) % (n + 1)], 0, &w);
	case 1:
		wcur_bytes(&w, c.p, min_u64(len, sizeof(bytes)));
		return fuzz_splice(data, size, max_size, at[fuzz_random(&seed) % (n + 1)], 0, &w);
	case 2:
		return fuzz_splice(data, size, max_size, at[i], len, &w);
	case 3:
	case 4:
		(void)fuzz_message_read(&c, &m);
		fuzz_message_make(types, n_types, &m, &seed, &w);
		return fuzz_splice(data, size, max_size, at[i], len, &w);
	default:
		return fuzz_message_blur(data, size, max_size, at[i], len, &seed);
	}
}

#endif
