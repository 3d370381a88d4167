/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving guest memory from another VMM, and keeping account of it. */
#include "guest/cpr.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "guest/internal.h"
#include "guest/ram-check.h"
#include "guest/unix-socket.h"

/* Who connects has the offer ready. */
#define OFFER_TIMEOUT_NS (10 * NS_PER_SEC)

/* ---- making and ending ---- */

struct migd_guest_cpr *cpr_new(void)
{
	struct migd_guest_cpr *cpr = calloc(1, sizeof(*cpr));

	if (cpr)
		cpr->listen_fd = -1;
	return cpr;
}

static void close_listener(struct migd_guest_cpr *cpr)
{
	if (cpr->listen_fd >= 0)
		(void)unlink(cpr->path);
	cpr->listen_fd = close_fd(cpr->listen_fd);
}

void migd_guest_cpr_free(struct migd_guest_cpr *cpr)
{
	struct merr why = MERR_INIT;

	if (!cpr)
		return;
	(void)merr_set(&why, -ECANCELED, "the new VMM gave up before the guest could come");
	cpr_answer(cpr, &why);
	close_listener(cpr);
	for (size_t i = 0; i < cpr->n_blocks; i++)
		close_fd(cpr->blocks[i].fd);
	free(cpr->path);
	free(cpr);
}

static int cpr_listen(struct migd_guest_cpr *cpr, const char *path, struct merr *err)
{
	cpr->path = strdup(path);
	if (!cpr->path)
		return merr_set(err, -ENOMEM, "no memory");
	return unix_listen(path, &cpr->listen_fd, err);
}

int migd_guest_cpr_listen(const char *path, struct migd_guest_cpr **ret_cpr)
{
	struct migd_guest_cpr *cpr = cpr_new();
	struct merr err = MERR_INIT;

	if (!cpr)
		return guest_failf(-ENOMEM, "no memory");
	if (cpr_listen(cpr, path, &err) < 0) {
		migd_guest_cpr_free(cpr);
		return guest_fail(&err);
	}
	*ret_cpr = cpr;
	return 0;
}

void cpr_answer(struct migd_guest_cpr *cpr, const struct merr *why)
{
	if (!cpr->conn)
		return;
	/* Whoever is not there any more needs no answer. */
	if (why)
		(void)conn_reply_error_to(cpr->conn, ATTACH_RAM_OFFER, cpr->seq, why);
	else
		(void)conn_reply_to(cpr->conn, ATTACH_RAM_OFFER, cpr->seq, NULL, 0);
	cpr->conn = conn_free(cpr->conn);
}

/* ---- the offer ---- */

static struct cpr_block *find(struct migd_guest_cpr *cpr, const char *name)
{
	for (size_t i = 0; i < cpr->n_blocks; i++)
		if (!strcmp(cpr->blocks[i].row.name, name))
			return &cpr->blocks[i];
	return NULL;
}

static int check_block(struct migd_guest_cpr *cpr, const struct attach_ram_block *row, int fd,
		       struct merr *err)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (!row->name[0] || find(cpr, row->name))
		return merr_set(err, -EBADMSG, "RAM_OFFER: field 'name': '%s' is empty or there twice",
				row->name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return merr_set(err, -EBADMSG,
				"RAM_OFFER: block '%s': its descriptor is no file open for reading and "
				"writing",
				row->name);
	if (!row->len || !range_ok(row->fd_offset, row->len, (uint64_t)st.st_size))
		return merr_set(err, -EBADMSG,
				"RAM_OFFER: block '%s': %llu bytes at %llu of a file of %lld bytes",
				row->name, (unsigned long long)row->len,
				(unsigned long long)row->fd_offset, (long long)st.st_size);
	return 0;
}

/* Takes over the FDS that it sets to -1. */
int cpr_take_blocks(struct migd_guest_cpr *cpr, const struct attach_ram_offer *offer, int *fds,
		    size_t n_fds, struct merr *err)
{
	struct rcur c = rcur_of(offer->blocks.data, offer->blocks.len);
	int r = 0;

	if (!offer->n || offer->n > ATTACH_RAM_BLOCKS_MAX || offer->n != n_fds)
		return merr_set(err, -EBADMSG, "RAM_OFFER: field 'n': %u blocks with %zu descriptors",
				offer->n, n_fds);
	for (size_t i = 0; i < offer->n && r >= 0; i++) {
		struct cpr_block *b = &cpr->blocks[cpr->n_blocks];

		r = attach_ram_block_decode(&c, &b->row, err);
		if (r >= 0)
			r = check_block(cpr, &b->row, fds[i], err);
		if (r < 0)
			break;
		b->fd = TAKE_FD(fds[i]);
		cpr->n_blocks++;
	}
	return r < 0 ? r : attach_decode_end(&c, err);
}

static int take_offer(struct migd_guest_cpr *cpr, struct conn_msg *m, struct merr *err)
{
	struct attach_ram_offer offer;
	int r;

	cpr->seq = m->seq;
	if (m->type != ATTACH_RAM_OFFER || m->reply_to)
		return merr_set(err, -EBADMSG, "%s came instead of RAM_OFFER: is this a cpr channel?",
				attach_type_name(m->type));
	r = attach_ram_offer_decode(&m->body, &offer, err);
	if (r >= 0)
		r = cpr_take_blocks(cpr, &offer, m->fds, m->n_fds, err);
	if (r < 0)
		return r;
	memcpy(cpr->handover_id, offer.handover_id, sizeof(cpr->handover_id));
	return 0;
}

/* One connection. 1: the memory is here; 0: it went without a word; negative: what it said was wrong. */
static int converse(struct migd_guest_cpr *cpr, int fd, struct merr *err)
{
	struct conn_msg m;
	int r;

	cpr->conn = conn_new(fd);
	if (!cpr->conn)
		return merr_set(err, -ENOMEM, "no memory for a connection");
	r = fd_wait(conn_fd(cpr->conn), POLLIN, -1, clock_now_ns() + OFFER_TIMEOUT_NS);
	if (r > 0)
		r = conn_recv(cpr->conn, &m, err);
	if (r == -ENOTCONN || (r <= 0 && !merr_is_set(err))) {
		merr_clear(err);
		cpr->conn = conn_free(cpr->conn);
		return 0;
	}
	if (r <= 0)
		return r;
	r = take_offer(cpr, &m, err);
	conn_msg_done(&m);
	if (r < 0)
		cpr_answer(cpr, err);
	return r < 0 ? r : 1;
}

static int receive(struct migd_guest_cpr *cpr, int timeout_ms, struct merr *err)
{
	uint64_t deadline_ns =
		timeout_ms < 0 ? DEADLINE_NONE : clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	int r, fd;

	if (cpr->listen_fd < 0)
		return merr_set(err, -EINVAL, "the memory was received already");
	do {
		r = fd_wait(cpr->listen_fd, POLLIN, -1, deadline_ns);
		if (r < 0)
			return merr_set_errno(err, r, "waiting for guest memory at '%s'", cpr->path);
		fd = fd_accept(cpr->listen_fd);
		if (fd < 0 && fd != -EAGAIN)
			return merr_set_errno(err, fd, "waiting for guest memory at '%s'", cpr->path);
		r = fd < 0 ? 0 : converse(cpr, fd, err);
	} while (r == 0);
	close_listener(cpr);
	return r < 0 ? merr_prefix(err, "guest memory handed over at '%s'", cpr->path) : 0;
}

int migd_guest_cpr_receive(struct migd_guest_cpr *cpr, int timeout_ms)
{
	struct merr err = MERR_INIT;
	int r = receive(cpr, timeout_ms, &err);

	return r < 0 ? guest_fail(&err) : 0;
}

int migd_guest_cpr_ram(struct migd_guest_cpr *cpr, const char *name, struct migd_guest_ram *ret_ram)
{
	const struct cpr_block *b = find(cpr, name);

	if (!b)
		return guest_failf(-ENOENT, "no RAM block '%s' was handed over", name);
	*ret_ram = (struct migd_guest_ram){
		.size = sizeof(*ret_ram),
		.name = b->row.name,
		.len = b->row.len,
		.fd = b->fd,
		.fd_offset = b->row.fd_offset,
		.flags = b->row.flags & ~ATTACH_RAM_HANDED,
	};
	return 0;
}

/* ---- what the VMM makes of it ---- */

int cpr_claim(struct migd_guest_cpr *cpr, const struct ram_block *b, struct merr *err)
{
	struct cpr_block *offered = find(cpr, b->name);
	struct ram_block same;

	if (!offered)
		return merr_set(err, -EINVAL,
				"RAM block '%s' was not handed over: the old VMM has no such block",
				b->name);
	same = (struct ram_block){ .fd = offered->fd,
				   .fd_offset = offered->row.fd_offset,
				   .len = offered->row.len };
	if (b->len != same.len || b->fd_offset != same.fd_offset || !ram_same_file(b, &same))
		return merr_set(err, -EINVAL,
				"RAM block '%s' is not the memory that was handed over: map %llu bytes "
				"of what migd_guest_cpr_ram() gives",
				b->name, (unsigned long long)same.len);
	offered->claimed = true;
	return 0;
}

int cpr_finish_claims(struct migd_guest_cpr *cpr, struct merr *err)
{
	for (size_t i = 0; i < cpr->n_blocks; i++)
		if (!cpr->blocks[i].claimed)
			return merr_set(err, -EINVAL,
					"RAM block '%s' was handed over and not registered",
					cpr->blocks[i].row.name);
	for (size_t i = 0; i < cpr->n_blocks; i++)
		cpr->blocks[i].fd = close_fd(cpr->blocks[i].fd);
	return 0;
}

bool cpr_admits(const struct migd_guest_cpr *cpr, const uint8_t id[ATTACH_ID_LEN])
{
	return cpr->inherited || memcmp(cpr->handover_id, id, ATTACH_ID_LEN) == 0;
}

/* ---- the old side's end ---- */

int cpr_poll_fd(const struct migd_guest_cpr *cpr)
{
	return cpr && cpr->conn ? conn_fd(cpr->conn) : -1;
}

void cpr_readable(struct migd_guest *g)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_recv(g->cpr->conn, &m, &err);

	if (r == 0)
		return;
	if (r > 0)
		conn_msg_done(&m);
	g->cpr->conn = conn_free(g->cpr->conn);
	handover_never_comes(g, "whoever handed the memory over gave up");
}
