/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration moves: the RAM table, the description, dirty maps, the state outside RAM.
 * Handlers, service thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "guest/dispatch.h"
#include "guest/vm-check.h"

/* Far more than any machine's devices hold; bounds what a STATE_LOAD can make us allocate. */
#define STATE_MAX (256 * MIB)
/*
 * vCPU threads of an incoming VMM may still be on their way to the gate; a running one needs
 * microseconds.
 */
#define ARRIVE_DEADLINE_NS (5 * NS_PER_SEC)

void transfer_log_notes(struct migd_guest *g)
{
	const char *notes = guest_state_notes(g->arch);

	if (notes && *notes)
		guest_log(g, 5, "%s", notes);
}

/* ---- RAM table ---- */

static uint64_t first_gpa(const struct guest_tables *t, size_t block)
{
	uint64_t gpa = UINT64_MAX;

	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].block == block)
			gpa = min_u64(gpa, t->slots[i].gpa);
	return gpa;
}

_Static_assert(MIGD_GUEST_RAM_READONLY == (int)ATTACH_RAM_READONLY &&
		       MIGD_GUEST_RAM_SHARED == (int)ATTACH_RAM_SHARED,
	       "flags of RAM blocks are the same on both sides of the attach protocol");

int transfer_encode_block(struct wcur *w, const struct guest_tables *t, size_t i)
{
	const struct ram_block *b = &t->blocks[i];
	struct attach_ram_block row = {
		.len = b->len,
		.fd_offset = b->fd_offset,
		.host_base = (uint64_t)(uintptr_t)b->host,
		.gpa = first_gpa(t, i),
		.page_size = b->page_size,
		.flags = b->flags | (b->handed ? ATTACH_RAM_HANDED : 0),
	};

	memcpy(row.name, b->name, sizeof(row.name));
	return attach_ram_block_encode(w, &row);
}

int handle_ram_table(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	struct attach_ram_table_reply rep = { .total = (uint32_t)t->n_blocks };
	_cleanup_free_ uint8_t *bytes = malloc(ATTACH_BODY_MAX);
	struct attach_ram_table req;
	struct wcur w;

	if (CALL_DECODE(c, ram_table, &req, err) < 0)
		return -EBADMSG;
	if (!bytes)
		return merr_set(err, -ENOMEM, "RAM_TABLE: no memory");
	w = wcur_of(bytes, ATTACH_BODY_MAX);
	for (size_t i = req.first; i < t->n_blocks; i++) {
		if (transfer_encode_block(&w, t, i) < 0)
			return merr_set(err, -EMSGSIZE, "RAM_TABLE: the reply is too long");
		c->fds[c->n_fds++] = t->blocks[i].fd;
		rep.n++;
	}
	rep.blocks = (struct attach_blob){ .data = bytes, .len = (uint32_t)w.len };
	FAULT_POINT("library.memory-handed");
	return attach_ram_table_reply_encode(&c->reply, &rep);
}

/*
 * Hold the vCPUs for a moment, so that their descriptors can be asked (an ioctl on a vCPU that runs
 * blocks until it stops). The caller lets them go in any case.
 */
int transfer_hold_vcpus(struct migd_guest *g, struct merr *err)
{
	int r;

	gate_close(&g->gate, GATE_PROBE);
	r = gate_wait_parked(&g->gate, clock_now_ns() + ARRIVE_DEADLINE_NS);
	if (r < 0)
		return merr_set_errno(err, r, "vCPU %d does not come to migd_guest_vcpu_run()",
				      gate_straggler(&g->gate));
	return 0;
}

void transfer_let_vcpus_go(struct migd_guest *g)
{
	gate_open(&g->gate, GATE_PROBE);
}

/* ---- the description ---- */

int handle_config_get(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct buf out = { .max = ATTACH_CONFIG_MAX };
	struct attach_empty req;
	int r;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	r = vm_check(g->tables.kvm.vm_fd, err);
	if (r < 0)
		return r;
	r = transfer_hold_vcpus(g, err);
	if (r >= 0)
		r = guest_config_get(g->arch, &g->tables, &out, err);
	transfer_let_vcpus_go(g);
	if (r >= 0)
		r = CALL_REPLY(c, config, .config = { .data = out.data, .len = (uint32_t)out.len });
	buf_done(&out);
	return r;
}

int handle_config_check(struct migd_guest *g, struct call *c, struct merr *err)
{
	_cleanup_free_ struct mismatches *found = malloc(sizeof(*found));
	struct attach_config req;
	int r;

	if (!found)
		return merr_set_errno(err, -ENOMEM, "comparing the guests");
	if (CALL_DECODE(c, config, &req, err) < 0)
		return -EBADMSG;
	r = transfer_hold_vcpus(g, err);
	if (r >= 0)
		r = guest_config_check(g->arch, &g->tables, req.config.data, req.config.len, found,
				       err);
	transfer_let_vcpus_go(g);
	if (r == 0)
		r = mismatches_encode(&c->reply, found);
	return r;
}

/* ---- dirty tracking ---- */

static void undo_dirty(struct migd_guest *g)
{
	dirty_stop(&g->dirty, &g->gate);
}

int handle_dirty_start(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_dirty_start req;
	int r;

	if (CALL_DECODE(c, dirty_start, &req, err) < 0)
		return -EBADMSG;
	if (req.engine && req.engine != g->dirty.engine)
		return merr_set(err, -EOPNOTSUPP,
				"DIRTY_START: this VM's dirty pages are logged by %s",
				g->dirty.engine == DIRTY_RING ? "rings" : "bitmaps");
	dirty_rate_yield(g);
	r = dirty_start(&g->dirty, &g->gate, c->fds, err);
	if (r < 0)
		return r;
	c->n_fds = g->tables.n_blocks;
	c->owns_fds = true;
	FAULT_POINT("library.dirty-logging");
	undo_push(&g->mig.undo, undo_dirty);
	return CALL_REPLY(c, dirty_start_reply, .engine = (uint8_t)g->dirty.engine);
}

int handle_dirty_sync(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t began = clock_now_ns();
	struct attach_empty req;
	int r;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	r = dirty_sync(&g->dirty, &g->gate, err);
	if (r < 0)
		return r;
	return CALL_REPLY(c, dirty_sync_reply, .took_us = (clock_now_ns() - began) / NS_PER_US);
}

int handle_dirty_clear(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_dirty_clear req;
	int r;

	if (CALL_DECODE(c, dirty_clear, &req, err) < 0)
		return -EBADMSG;
	r = dirty_clear(&g->dirty, &req, err);
	if (r == -EBADMSG)
		c->malformed = true;
	return r;
}

int handle_dirty_stop(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	undo_drop(&g->mig.undo, undo_dirty);
	undo_dirty(g);
	return 0;
}

static void undo_throttle(struct migd_guest *g)
{
	throttle_off(g);
}

int handle_throttle(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_throttle req;

	if (CALL_DECODE(c, throttle, &req, err) < 0)
		return -EBADMSG;
	if (req.percent > 99)
		return merr_set(err, -EINVAL, "THROTTLE: field 'percent': %u, 0 to 99 expected",
				req.percent);
	undo_push(&g->mig.undo, undo_throttle);
	throttle_set(g, req.percent);
	return 0;
}

/* ---- the state outside RAM ---- */

static int seal_state(const struct buf *sections, const struct buf *vmdesc, int *ret_fd,
		      struct merr *err)
{
	_cleanup_close_ int fd = fd_memfd("migd-state", sections->len + vmdesc->len);
	int r = fd;

	if (r >= 0)
		r = fd_pwrite_full(fd, sections->data, sections->len, 0);
	if (r >= 0)
		r = fd_pwrite_full(fd, vmdesc->data, vmdesc->len, sections->len);
	if (r >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0)
		r = -errno;
	if (r < 0)
		return merr_set_errno(err, r, "STATE_SAVE: cannot make the memfd");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int save(struct migd_guest *g, struct call *c, uint32_t first_id, struct buf *sections,
		struct buf *vmdesc, struct merr *err)
{
	uint64_t began = clock_now_ns();
	uint32_t n = 0;
	int r;

	r = HOOK_INT(g, before_save);
	if (r < 0)
		return merr_set_errno(err, r, "the VMM is not ready to be saved");
	r = guest_state_save(g->arch, &g->tables, first_id, sections, vmdesc, &n, err);
	transfer_log_notes(g);
	if (r < 0)
		return r;
	r = seal_state(sections, vmdesc, &c->fds[0], err);
	if (r < 0)
		return r;
	FAULT_POINT("library.state-saved");
	c->n_fds = 1;
	c->owns_fds = true;
	return CALL_REPLY(c, state_save_reply, .len = sections->len, .n_sections = n,
			  .took_us = (clock_now_ns() - began) / NS_PER_US,
			  .vmdesc_len = vmdesc->len);
}

int handle_state_save(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct buf sections = { .max = STATE_MAX }, vmdesc = { .max = STATE_MAX };
	struct attach_state_save req;
	int r;

	if (CALL_DECODE(c, state_save, &req, err) < 0)
		return -EBADMSG;
	r = save(g, c, req.first_section_id, &sections, &vmdesc, err);
	buf_done(&sections);
	buf_done(&vmdesc);
	return r;
}

/*
 * Copy LEN bytes out of the memfd, once: what is parsed cannot change any more. Nothing but a
 * memfd: reading could block for ever elsewhere.
 */
static int read_state(int fd, uint64_t len, uint8_t **ret, struct merr *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fcntl(fd, F_GET_SEALS) < 0 || fstat(fd, &st) < 0)
		return merr_set(err, -EPROTO, "STATE_LOAD: a memfd must come with it");
	if (!len || len > STATE_MAX || (uint64_t)st.st_size < len)
		return merr_set(err, -EPROTO,
				"STATE_LOAD: field 'len': %llu, of a memfd of %lld bytes",
				(unsigned long long)len, (long long)st.st_size);
	data = malloc(len);
	if (!data)
		return merr_set(err, -ENOMEM, "STATE_LOAD: no memory for %llu bytes",
				(unsigned long long)len);
	r = fd_pread_full(fd, data, len, 0);
	if (r < 0)
		return merr_set_errno(err, r, "STATE_LOAD: cannot read the memfd");
	*ret = TAKE_PTR(data);
	return 0;
}

static int load(struct migd_guest *g, const uint8_t *data, size_t len, struct merr *err)
{
	int r = transfer_hold_vcpus(g, err);

	if (r >= 0) {
		r = guest_state_load(g->arch, &g->tables, data, len, err);
		transfer_log_notes(g);
	}
	transfer_let_vcpus_go(g);
	return r;
}

/* A failed load leaves a guest that nobody may run: the handover ends here. */
int handle_state_load(struct migd_guest *g, struct call *c, struct merr *err)
{
	_cleanup_close_ int fd = conn_msg_take_fd(c->msg, 0);
	_cleanup_free_ uint8_t *data = NULL;
	uint64_t began = clock_now_ns();
	struct attach_state_load req;
	int r;

	if (CALL_DECODE(c, state_load, &req, err) < 0)
		return -EBADMSG;
	if (g->mig.state_loaded || g->mig.feed)
		return merr_set(err, -EBADFD, "STATE_LOAD: the state was loaded already");
	r = read_state(fd, req.len, &data, err);
	if (r < 0)
		return r;
	r = load(g, data, req.len, err);
	if (r < 0) {
		/* The event arrives before the reply, so it has to say why as well. */
		handover_roll_back(g, merr_msg(err));
		return r;
	}
	FAULT_POINT("library.state-loaded");
	g->mig.state_loaded = true;
	return CALL_REPLY(c, state_load_reply, .took_us = (clock_now_ns() - began) / NS_PER_US);
}
