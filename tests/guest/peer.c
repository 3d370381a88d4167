/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of the library in tests: a daemon on a control connection, a worker on a migration
 * channel.
 */
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* What a failed test left, removed when the program ends. */
static char tmp_dirs[256][64];
static unsigned int n_tmp_dirs;

void tmp_dir_remove(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

static void remove_tmp_dirs(void)
{
	for (unsigned int i = 0; i < n_tmp_dirs; i++)
		tmp_dir_remove(tmp_dirs[i]);
}

void tmp_dir_make(char path[64])
{
	if (!n_tmp_dirs)
		(void)atexit(remove_tmp_dirs);
	(void)snprintf(path, 64, "/tmp/migd-test-XXXXXX");
	assert_non_null(mkdtemp(path));
	if (n_tmp_dirs < ARRAY_SIZE(tmp_dirs))
		memcpy(tmp_dirs[n_tmp_dirs++], path, 64);
}

static void address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
}

void peer_init(struct peer *p, const char *dir)
{
	struct sockaddr_un addr;
	char path[100];

	memset(p, 0, sizeof(*p));
	p->decision_fd = p->listen_fd = -1;
	if (!dir)
		return;
	(void)snprintf(path, sizeof(path), "%s/attach", dir);
	address(path, &addr);
	p->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	(void)unlink(path);
	assert_int_equal(bind(p->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(p->listen_fd, 8), 0);
}

void peer_drop_control(struct peer *p)
{
	p->control = conn_free(p->control);
	decision_unmap(p->decision);
	p->decision = NULL;
	p->decision_fd = close_fd(p->decision_fd);
}

static void drop_maps(struct peer *p)
{
	for (size_t i = 0; i < p->n_maps; i++)
		dirty_map_done(&p->maps[i]);
	p->n_maps = 0;
}

void peer_hang_up(struct peer *p)
{
	p->channel = conn_free(p->channel);
	drop_maps(p);
}

void peer_done(struct peer *p)
{
	peer_hang_up(p);
	peer_drop_control(p);
	p->listen_fd = close_fd(p->listen_fd);
}

static void on_event(void *opaque, struct conn_msg *m)
{
	struct attach_event_body e;
	struct peer *p = opaque;

	if (m->type != ATTACH_EVENT || attach_event_body_decode(&m->body, &e, NULL) < 0)
		return;
	assert_true(e.kind < 32);
	p->events[e.kind]++;
	p->last_value = e.value;
	(void)snprintf(p->last_text, sizeof(p->last_text), "%s", e.text);
}

static void greet(struct peer *p, int fd, uint32_t epoch)
{
	struct attach_hello_reply rep = { .version = 1, .epoch = epoch };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;
	struct conn_msg m;

	p->control = conn_new(fd);
	assert_non_null(p->control);
	conn_on_event(p->control, on_event, p);
	assert_true(fd_wait(fd, POLLIN, -1, PEER_DEADLINE) > 0);
	assert_int_equal(conn_recv(p->control, &m, &err), 1);
	assert_int_equal(m.type, ATTACH_HELLO);
	if (attach_hello_decode(&m.body, &p->hello, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	p->decision_fd = conn_msg_take_fd(&m, 0);
	assert_int_equal(decision_map(p->decision_fd, &p->decision), 0);
	assert_int_equal(attach_hello_reply_encode(&w, &rep), 0);
	conn_set_epoch(p->control, epoch);
	assert_int_equal(conn_reply(p->control, &m, bytes, w.len, NULL, 0), 0);
	conn_msg_done(&m);
}

void peer_accept(struct peer *p, uint32_t epoch)
{
	int fd;

	assert_true(fd_wait(p->listen_fd, POLLIN, -1, PEER_DEADLINE) > 0);
	fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	greet(p, fd, epoch);
}

void peer_connect(struct peer *p, const char *path, uint32_t epoch)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;

	address(path, &addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	greet(p, fd, epoch);
}

/* ---- calls ---- */

/* Note the text of an error reply where tests look for it. */
static int result(struct peer *p, int r, const struct merr *err)
{
	if (r < 0)
		(void)snprintf(p->last_text, sizeof(p->last_text), "%.127s", merr_msg(err));
	return r;
}

int peer_open(struct peer *p, uint8_t role)
{
	struct attach_mig_open req = { .migration_id = { 1 }, .role = role };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int sv[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(attach_mig_open_encode(&w, &req), 0);
	r = conn_call(p->control, ATTACH_MIG_OPEN, bytes, w.len, &sv[1], 1, PEER_DEADLINE, -1, &m,
		      &err);
	(void)close(sv[1]);
	if (r < 0) {
		(void)close(sv[0]);
		return result(p, r, &err);
	}
	conn_msg_done(&m);
	p->channel = conn_new(sv[0]);
	conn_on_event(p->channel, on_event, p);
	return 0;
}

void peer_must_open(struct peer *p, uint8_t role)
{
	int r;

	for (int ms = 0; (r = peer_open(p, role)) == -EBUSY && ms < 20000; ms++)
		(void)usleep(1000);
	if (r < 0)
		fail_msg("MIG_OPEN: %s", p->last_text);
}

int peer_handover(struct peer *p, uint16_t type, const uint8_t *id,
		  struct attach_handover_reply *ret)
{
	struct attach_handover req;
	struct attach_handover_reply rep;
	struct merr err = MERR_INIT;
	int r;

	memcpy(req.handover_id, id, ATTACH_ID_LEN);
	r = conn_request_raw(p->channel, type, (conn_encode_fn)(void *)attach_handover_encode, &req,
			     (conn_decode_fn)(void *)attach_handover_reply_decode, &rep,
			     PEER_DEADLINE, -1, &err);
	if (r >= 0 && ret)
		*ret = rep;
	return result(p, r, &err);
}

int peer_loaded(struct peer *p, const uint8_t *id, uint8_t paused)
{
	struct attach_handover_loaded req = { .paused = paused };
	struct attach_handover_reply rep;
	struct merr err = MERR_INIT;

	memcpy(req.handover_id, id, ATTACH_ID_LEN);
	return result(p,
		      conn_request(p->channel, HANDOVER_LOADED, handover_loaded, &req,
				   handover_reply, &rep, PEER_DEADLINE, -1, &err),
		      &err);
}

int peer_mig_pause(struct peer *p, const uint8_t *id, uint32_t deadline_ms,
		   struct attach_mig_pause_reply *ret)
{
	struct attach_mig_pause req = { .deadline_ms = deadline_ms };
	struct attach_mig_pause_reply rep;
	struct merr err = MERR_INIT;
	int r;

	memcpy(req.handover_id, id, ATTACH_ID_LEN);
	r = conn_request(p->channel, MIG_PAUSE, mig_pause, &req, mig_pause_reply, &rep,
			 PEER_DEADLINE, -1, &err);
	if (r >= 0 && ret)
		*ret = rep;
	return result(p, r, &err);
}

int peer_plain(struct peer *p, struct conn *c, uint16_t type)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_call(c, type, NULL, 0, NULL, 0, PEER_DEADLINE, -1, &m, &err);

	if (r >= 0)
		conn_msg_done(&m);
	return result(p, r, &err);
}

int peer_pause(struct peer *p, uint32_t deadline_ms)
{
	struct attach_pause req = { .deadline_ms = deadline_ms };
	struct attach_empty rep;
	struct merr err = MERR_INIT;

	return result(
		p,
		conn_request(p->control, PAUSE, pause, &req, empty, &rep, PEER_DEADLINE, -1, &err),
		&err);
}

int peer_resume(struct peer *p)
{
	return peer_plain(p, p->control, ATTACH_RESUME);
}

int peer_resolve(struct peer *p, const uint8_t *id, bool run)
{
	struct attach_resolve req = { .run = run };
	struct attach_handover_reply rep;
	struct merr err = MERR_INIT;

	memcpy(req.handover_id, id, ATTACH_ID_LEN);
	return result(p,
		      conn_request(p->control, RESOLVE, resolve, &req, handover_reply, &rep,
				   PEER_DEADLINE, -1, &err),
		      &err);
}

void peer_query(struct peer *p, struct attach_query_reply *ret)
{
	struct attach_empty req;
	struct merr err = MERR_INIT;

	if (conn_request(p->control, QUERY, empty, &req, query_reply, ret, PEER_DEADLINE, -1,
			 &err) < 0)
		fail_msg("QUERY: %s", merr_msg(&err));
}

enum handover_state peer_state(struct peer *p)
{
	struct attach_query_reply rep;

	/* The page says the same, unless it moved between the two. */
	for (int i = 0; i < 10; i++) {
		peer_query(p, &rep);
		if (rep.handover_state == decision_state(p->decision))
			return rep.handover_state;
	}
	fail_msg("QUERY says '%s', the decision page '%s'", handover_state_name(rep.handover_state),
		 handover_state_name(decision_state(p->decision)));
	return HANDOVER_INVALID;
}

/* A request that is answered by one map for each block. */
static int open_maps(struct peer *p, uint16_t type, const void *body, size_t len, const uint64_t *n_pages, size_t n)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_call(p->channel, type, body, len, NULL, 0, PEER_DEADLINE, -1, &m, &err);

	if (r < 0)
		return result(p, r, &err);
	assert_int_equal(m.n_fds, n);
	drop_maps(p);
	for (size_t i = 0; i < n; i++)
		if (dirty_map_open(m.fds[i], n_pages[i], &p->maps[i], &err) < 0)
			fail_msg("%s", merr_msg(&err));
	p->n_maps = n;
	conn_msg_done(&m);
	return 0;
}

int peer_dirty_start(struct peer *p, const uint64_t *n_pages, size_t n)
{
	uint8_t engine = 0;

	return open_maps(p, ATTACH_DIRTY_START, &engine, 1, n_pages, n);
}

int peer_received_maps(struct peer *p, const uint64_t *n_pages, size_t n)
{
	return open_maps(p, ATTACH_RECEIVED_MAPS, NULL, 0, n_pages, n);
}

int peer_uffd_open(struct peer *p, uint8_t mode, int device, struct peer_uffd *ret)
{
	struct attach_uffd_open_reply rep;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_call(p->channel, ATTACH_UFFD_OPEN, &mode, 1, &device, device >= 0, PEER_DEADLINE, -1, &m, &err);

	if (r < 0)
		return result(p, r, &err);
	assert_int_equal(m.n_fds, 1);
	if (attach_uffd_open_reply_decode(&m.body, &rep, &err) < 0)
		fail_msg("%s", merr_msg(&err));
	assert_int_equal(rep.vcpus.len, rep.n_vcpus * 4);
	*ret = (struct peer_uffd){
		.fd = conn_msg_take_fd(&m, 0),
		.existing = rep.existing,
		.n_vcpus = rep.n_vcpus,
		.vcpu0_thread = rep.n_vcpus ? load_le32(rep.vcpus.data) : 0,
	};
	conn_msg_done(&m);
	return 0;
}

int peer_memo_set(struct peer *p, const void *bytes, size_t len)
{
	struct attach_memo req = { .memo = { .data = bytes, .len = (uint32_t)len } };
	static uint8_t body[ATTACH_BODY_MAX];
	struct wcur w = wcur_of(body, sizeof(body));
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	assert_int_equal(attach_memo_encode(&w, &req), 0);
	r = conn_call(p->channel, ATTACH_MEMO_SET, body, w.len, NULL, 0, PEER_DEADLINE, -1, &m, &err);
	if (r >= 0)
		conn_msg_done(&m);
	return result(p, r, &err);
}

int peer_memo_get(struct peer *p, uint8_t *bytes, size_t *ret_len)
{
	struct merr err = MERR_INIT;
	struct attach_memo memo;
	struct conn_msg m;
	int r = conn_call(p->channel, ATTACH_MEMO_GET, NULL, 0, NULL, 0, PEER_DEADLINE, -1, &m, &err);

	if (r < 0)
		return result(p, r, &err);
	assert_int_equal(attach_memo_decode(&m.body, &memo, &err), 0);
	assert_true(memo.memo.len <= ATTACH_MEMO_MAX);
	memcpy(bytes, memo.memo.data, memo.memo.len);
	*ret_len = memo.memo.len;
	conn_msg_done(&m);
	return 0;
}

int peer_dirty_sync(struct peer *p)
{
	struct attach_empty req;
	struct attach_dirty_sync_reply rep;
	struct merr err = MERR_INIT;

	return result(p,
		      conn_request(p->channel, DIRTY_SYNC, empty, &req, dirty_sync_reply, &rep,
				   PEER_DEADLINE, -1, &err),
		      &err);
}

int peer_dirty_clear(struct peer *p, uint32_t block, uint64_t first_page, const uint64_t *words,
		     size_t n_words)
{
	struct attach_dirty_clear req = {
		.block = block,
		.first_page = first_page,
		.bits = { .data = (const uint8_t *)words, .len = (uint32_t)(n_words * 8) },
	};
	static uint8_t bytes[ATTACH_BODY_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	assert_int_equal(attach_dirty_clear_encode(&w, &req), 0);
	r = conn_call(p->channel, ATTACH_DIRTY_CLEAR, bytes, w.len, NULL, 0, PEER_DEADLINE, -1, &m,
		      &err);
	if (r >= 0)
		conn_msg_done(&m);
	return result(p, r, &err);
}

int peer_save(struct peer *p, int *ret_fd, struct attach_state_save_reply *ret)
{
	struct merr err = MERR_INIT;
	uint8_t first[4] = { 10 };
	struct conn_msg m;
	int r = conn_call(p->channel, ATTACH_STATE_SAVE, first, 4, NULL, 0, PEER_DEADLINE, -1, &m,
			  &err);

	if (r < 0)
		return result(p, r, &err);
	assert_int_equal(m.n_fds, 1);
	assert_int_equal(attach_state_save_reply_decode(&m.body, ret, &err), 0);
	*ret_fd = conn_msg_take_fd(&m, 0);
	conn_msg_done(&m);
	return 0;
}

int peer_load(struct peer *p, int fd, uint64_t len)
{
	struct merr err = MERR_INIT;
	uint8_t bytes[8];
	struct conn_msg m;
	int r;

	store_le64(bytes, len);
	r = conn_call(p->channel, ATTACH_STATE_LOAD, bytes, 8, &fd, fd >= 0, PEER_DEADLINE, -1, &m,
		      &err);
	if (r >= 0)
		conn_msg_done(&m);
	return result(p, r, &err);
}

/* ---- waiting ---- */

static void drain(struct peer *p, struct conn *c)
{
	struct conn_msg m;

	while (c && conn_recv(c, &m, NULL) == 1) {
		on_event(p, &m);
		conn_msg_done(&m);
	}
}

void peer_wait_event(struct peer *p, enum attach_event kind)
{
	for (int ms = 0; !p->events[kind]; ms++) {
		if (ms == 20000)
			fail_msg("no event of kind %d", (int)kind);
		drain(p, p->control);
		drain(p, p->channel);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

void peer_wait_state(struct peer *p, enum handover_state state)
{
	for (int ms = 0; peer_state(p) != state; ms++) {
		if (ms == 20000)
			fail_msg("state is '%s', expected '%s'", handover_state_name(peer_state(p)),
				 handover_state_name(state));
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}
