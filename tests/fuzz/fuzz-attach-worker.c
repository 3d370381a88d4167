/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMM's library says to a worker: each message of the input is there before the worker asks
 * for one of its type, so that replies, wrong ones, and events come in any order.
 */
/* LIBS: migd_engine */
#include <assert.h>

#include "engine/guest-link.h"
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_message_type types[] = { FUZZ_ATTACH_TYPES };

struct worker {
	struct guest_link link;
	struct ram ram;
	struct merr err;
};

#define CALL(name, ...)                                                                            \
	static int call_##name(struct worker *w)                                                   \
	{                                                                                          \
		return __VA_ARGS__;                                                                \
	}

static uint8_t bytes[ATTACH_CONFIG_MAX];
static size_t len;
static uint64_t us;
static struct mismatches mismatches;
static struct attach_mig_pause_reply pause_reply;
static struct attach_query_reply query_reply;
static struct attach_ram_poison_reply poison_reply;
static struct attach_mig_dirty_limit_reply limit_reply;
static struct guest_feed_result feed_result;
static enum handover_state state;

CALL(ram_table, guest_ram_table(&w->link, &w->ram, &w->err))
CALL(config_get, guest_config_fetch(&w->link, bytes, &len, &w->err))
CALL(config_check, guest_config_compare(&w->link, bytes, 8, &mismatches, &w->err))
CALL(dirty_start, guest_dirty_start(&w->link, &w->ram, &w->err))
CALL(dirty_sync, guest_dirty_sync(&w->link, &w->err))
CALL(dirty_clear, guest_dirty_clear(&w->link, 0, 0, (const uint64_t[]){ 1, 2 },
				    us % 2 ? 128 : ATTACH_CLEAR_PAGES_MAX + 64, &w->err))
CALL(pause, guest_pause(&w->link, 1, &pause_reply, &w->err))
CALL(state_load, guest_state_give(&w->link, 0, 1, &us, &w->err))
CALL(feed, guest_state_feed(&w->link, &(struct guest_section){ "dev", 0, 1 }, 0, bytes, 16,
			    &feed_result, &w->err))
CALL(feed_end, guest_state_feed_end(&w->link, true, &us, &w->err))
CALL(throttle, guest_throttle(&w->link, 20, &w->err))
CALL(dirty_limit, guest_dirty_limit(&w->link, 1, 1000, &w->err))
CALL(dirty_limit_stats, guest_dirty_limit_stats(&w->link, &limit_reply, &w->err))
CALL(hint_start, guest_hint_start(&w->link, &w->ram, &w->err))
CALL(poison, guest_ram_poison(&w->link, 0, &poison_reply, &w->err))
CALL(poison_set, guest_ram_poison_set(&w->link, 0, 0, 1, &w->err))
CALL(heartbeat, guest_heartbeat(&w->link, &w->err))
CALL(query, guest_query(&w->link, &query_reply, &w->err))
CALL(exec, guest_exec(&w->link, (char *const[]){ (char *)(uintptr_t) "a" }, 1, &w->err))
CALL(received_maps, guest_received_maps(&w->link, &w->ram, &w->err))
CALL(uffd_end, guest_uffd_end(&w->link, &w->err))
CALL(memo_set, guest_memo_set(&w->link, "abc", 3, &w->err))
CALL(memo_get, guest_memo_get(&w->link, bytes, &len, &w->err))
CALL(begin, guest_begin(&w->link, &w->err))
CALL(abort, guest_abort(&w->link, &state, &w->err))
CALL(loaded, guest_loaded(&w->link, false, &w->err))
CALL(release, guest_release(&w->link, &w->err))
CALL(activate, guest_activate(&w->link, &us, &w->err))
CALL(retire, guest_retire(&w->link, &w->err))
CALL(reclaim, guest_reclaim(&w->link, &w->err))

static int call_state_save(struct worker *w)
{
	struct attach_state_save_reply reply;
	int fd = -1, r = guest_state_fetch(&w->link, 0, &reply, &fd, &w->err);

	assert(r < 0 || (fd >= 0 && reply.len <= WIRE_PACKAGE_MAX));
	(void)close_fd(fd);
	return r;
}

static int call_uffd_open(struct worker *w)
{
	static struct guest_uffd got;
	int r = guest_uffd_open(&w->link, ATTACH_UFFD_SNAPSHOT, -1, &got, &w->err);

	assert(r < 0 || got.n_vcpus <= STATS_VCPUS_MAX);
	if (r == 0)
		(void)close_fd(got.fd);
	return r;
}

static int call_poll(struct worker *w)
{
	return guest_link_poll(&w->link, &w->err);
}

static const struct {
	uint16_t type;
	int (*fn)(struct worker *w);
} calls[] = {
	{ ATTACH_RAM_TABLE, call_ram_table },
	{ ATTACH_CONFIG_GET, call_config_get },
	{ ATTACH_CONFIG_CHECK, call_config_check },
	{ ATTACH_DIRTY_START, call_dirty_start },
	{ ATTACH_DIRTY_SYNC, call_dirty_sync },
	{ ATTACH_DIRTY_CLEAR, call_dirty_clear },
	{ ATTACH_MIG_PAUSE, call_pause },
	{ ATTACH_STATE_SAVE, call_state_save },
	{ ATTACH_STATE_LOAD, call_state_load },
	{ ATTACH_STATE_FEED, call_feed },
	{ ATTACH_STATE_FEED_END, call_feed_end },
	{ ATTACH_THROTTLE, call_throttle },
	{ ATTACH_MIG_DIRTY_LIMIT, call_dirty_limit },
	{ ATTACH_MIG_DIRTY_LIMIT_STATS, call_dirty_limit_stats },
	{ ATTACH_HINT_START, call_hint_start },
	{ ATTACH_RAM_POISON, call_poison },
	{ ATTACH_RAM_POISON_SET, call_poison_set },
	{ ATTACH_HEARTBEAT, call_heartbeat },
	{ ATTACH_QUERY, call_query },
	{ ATTACH_CPR_EXEC, call_exec },
	{ ATTACH_UFFD_OPEN, call_uffd_open },
	{ ATTACH_RECEIVED_MAPS, call_received_maps },
	{ ATTACH_UFFD_END, call_uffd_end },
	{ ATTACH_MEMO_SET, call_memo_set },
	{ ATTACH_MEMO_GET, call_memo_get },
	{ ATTACH_HANDOVER_BEGIN, call_begin },
	{ ATTACH_MIG_ABORT, call_abort },
	{ ATTACH_HANDOVER_LOADED, call_loaded },
	{ ATTACH_RELEASE, call_release },
	{ ATTACH_ACTIVATE, call_activate },
	{ ATTACH_RETIRE, call_retire },
	{ ATTACH_RECLAIM, call_reclaim },
	{ ATTACH_EVENT, call_poll },
};

/* The number that the next call has: those of another type come before it. */
static void converse(struct worker *w, int fd, struct rcur in)
{
	struct fuzz_message m = { 0 };
	uint32_t seq = 0, asked = 0;
	int r = 0;

	while (fuzz_message_next(&in, &m)) {
		fuzz_message_send(fd, &m, ++seq, asked + 1, 0);
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
			if (calls[i].type != m.type || m.how & FUZZ_SECOND)
				continue;
			asked += calls[i].fn != call_poll;
			r = calls[i].fn(w);
			assert(r >= 0 || merr_is_set(&w->err));
			merr_clear(&w->err);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct worker w;
	int fds[2], cancel_fd = wake_new();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 || cancel_fd < 0)
		abort();
	/* What is not there yet never comes. */
	wake_raise(cancel_fd);
	w = (struct worker){ .err = MERR_INIT };
	assert(guest_link_init(&w.link, fds[0], cancel_fd) == 0);
	converse(&w, fds[1], rcur_of(data, size));
	guest_link_done(&w.link);
	ram_done(&w.ram);
	(void)close(fds[1]);
	(void)close(cancel_fd);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 0, data, size, max_size, seed);
}
