/* SPDX-License-Identifier: Apache-2.0 */
/* Modes cpr-*, both sides. */
#include "engine/cpr.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "engine/wire.h"

/* Of a block in the command: its name, be64 length, offset in the file, device and inode. */
#define BLOCK_LEN(name_len) (1 + (name_len) + 4 * 8)

static enum mig_mode mode(const struct source *s)
{
	return s->m->start.parameters.mode;
}

bool cpr_is_exec(const struct source *s)
{
	return mode(s) == MIG_MODE_CPR_EXEC;
}

bool cpr_keeps_memory(const struct source *s)
{
	return mode(s) == MIG_MODE_CPR_TRANSFER || cpr_is_exec(s);
}

bool cpr_has_no_passes(const struct source *s)
{
	return mode(s) != MIG_MODE_NORMAL;
}

int cpr_check(struct source *s)
{
	if (cpr_is_exec(s))
		return guest_exec(&s->guest, NULL, 0, &s->err);
	if (mode(s) != MIG_MODE_CPR_TRANSFER || s->features & HELLO_FEATURE_CPR)
		return 0;
	return merr_set(&s->err, -EPROTONOSUPPORT,
			"the peer's migd cannot take over memory (mode cpr-transfer); upgrade it first");
}

int cpr_send_ram(struct source *s)
{
	size_t len = 0;
	struct stat st;

	for (size_t i = 0; i < s->ram.n_blocks; i++)
		len += BLOCK_LEN(strlen(s->ram.blocks[i].name));
	command_begin(s->out, WIRE_CMD_CPR_RAM, (uint16_t)len);
	for (size_t i = 0; i < s->ram.n_blocks; i++) {
		const struct ram_file *b = &s->ram.blocks[i];

		if (fstat(b->fd, &st) < 0)
			return merr_set_errno(&s->err, -errno, "RAM block '%s'", b->name);
		out_str8(s->out, b->name);
		out_be64(s->out, b->len);
		out_be64(s->out, b->fd_offset);
		out_be64(s->out, st.st_dev);
		out_be64(s->out, st.st_ino);
	}
	FAULT_POINT("cpr.memory-described");
	/* There is no memory to be sent. */
	stats_set(s->m->stats, total_bytes, 0);
	stats_set(s->m->stats, remaining_bytes, 0);
	return 0;
}

bool cpr_exec(struct source *s)
{
	const struct migration_parameters *p = &s->m->start.parameters;
	int r = guest_exec(&s->guest, p->cpr_exec_command, p->n_cpr_exec_command, &s->err);

	/* The channel does not survive a program that is replaced. */
	if (r == -ENOTCONN) {
		merr_clear(&s->err);
		return true;
	}
	return false;
}

/* Whether the source's block of this name is our file. */
static int check_block(struct ram_target *t, const char *name, const uint64_t v[4])
{
	const struct ram_file *b = ram_find(t->ram, name);
	struct stat st;

	if (!b)
		return in_fail(t->in, -EINVAL, "the source hands over a RAM block '%s' that this guest does not "
			       "have: start the target VMM with the same memory", name);
	if (!b->handed)
		return in_fail(t->in, -EINVAL, "RAM block '%s': the source does not send its memory (mode "
			       "cpr-transfer), but this VMM has memory of its own: start it so that it waits at the "
			       "cpr channel (migd-vmm --cpr-listen)", name);
	if (fstat(b->fd, &st) < 0)
		return in_fail(t->in, -errno, "RAM block '%s': %s", name, strerror(errno));
	if (v[0] != b->len || v[1] != b->fd_offset || v[2] != st.st_dev || v[3] != st.st_ino)
		return in_fail(t->in, -EINVAL, "RAM block '%s' is not the source's memory: %" PRIu64
			       " bytes at %" PRIu64 " of another file", name, b->len, b->fd_offset);
	return 0;
}

int cpr_receive_ram(struct ram_target *t, uint16_t len)
{
	bool seen[ATTACH_RAM_BLOCKS_MAX] = { false };
	size_t left = len, n = 0;
	uint64_t v[4];
	char name[256];

	if (!t->listed || t->handed)
		return in_fail(t->in, -EBADMSG, "command CPR_RAM out of place");
	for (; left > 0; left -= BLOCK_LEN(strlen(name)), n++) {
		if (in_str8(t->in, "RAM block name", name) < 0)
			return in_error(t->in);
		if (left < BLOCK_LEN(strlen(name)))
			return in_fail(t->in, -EBADMSG, "command CPR_RAM: length %u", len);
		for (size_t i = 0; i < 4; i++)
			v[i] = in_be64(t->in);
		if (in_error(t->in) || check_block(t, name, v) < 0)
			return in_error(t->in);
		if (seen[ram_find(t->ram, name) - t->ram->blocks])
			return in_fail(t->in, -EBADMSG, "command CPR_RAM: block '%s' is there twice", name);
		seen[ram_find(t->ram, name) - t->ram->blocks] = true;
	}
	if (n != t->ram->n_blocks)
		return in_fail(t->in, -EINVAL, "the source hands over %zu RAM blocks of %zu", n,
			       t->ram->n_blocks);
	FAULT_POINT("cpr.memory-taken");
	t->handed = true;
	return 0;
}

int cpr_check_received(struct ram_target *t)
{
	for (size_t i = 0; i < t->ram->n_blocks; i++)
		if (t->ram->blocks[i].handed && !t->handed)
			return in_fail(t->in, -EINVAL, "RAM block '%s' is another VMM's memory, in which a guest runs: "
				       "this VMM takes that guest only, by mode cpr-transfer",
				       t->ram->blocks[i].name);
	return 0;
}
