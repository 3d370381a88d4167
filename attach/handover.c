/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handover: the table of legal moves, names, the reader's side of the decision page, ids as text.
 */
#include "attach/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static_assert(sizeof(struct decision_page) <= DECISION_PAGE_LEN, "the decision page is one page");
static_assert(sizeof(struct decision_page) == 32, "a fixed layout that other builds read");

/* A move that is not here does not exist. */
static const struct {
	enum handover_state from;
	enum handover_event event;
	enum handover_state to;
} moves[] = {
	/* source */
	{ HANDOVER_RUNNING, HANDOVER_EV_BEGIN, HANDOVER_PRECOPY },
	{ HANDOVER_PRECOPY, HANDOVER_EV_PAUSE, HANDOVER_PAUSED },
	{ HANDOVER_PRECOPY, HANDOVER_EV_ABORT, HANDOVER_RUNNING },
	{ HANDOVER_PAUSED, HANDOVER_EV_ABORT, HANDOVER_RUNNING },
	{ HANDOVER_PAUSED, HANDOVER_EV_RELEASE, HANDOVER_RELEASED },
	{ HANDOVER_RELEASED, HANDOVER_EV_RETIRE, HANDOVER_RETIRED },
	{ HANDOVER_RELEASED, HANDOVER_EV_RECLAIM, HANDOVER_RUNNING },
	/* target */
	{ HANDOVER_EMPTY, HANDOVER_EV_BEGIN, HANDOVER_INCOMING },
	{ HANDOVER_INCOMING, HANDOVER_EV_LOADED, HANDOVER_LOADED },
	{ HANDOVER_LOADED, HANDOVER_EV_ACTIVATE, HANDOVER_RUNNING },
	{ HANDOVER_INCOMING, HANDOVER_EV_ABORT, HANDOVER_DISCARDED },
	{ HANDOVER_LOADED, HANDOVER_EV_ABORT, HANDOVER_DISCARDED },
	{ HANDOVER_EMPTY, HANDOVER_EV_DISCARD, HANDOVER_DISCARDED },
	{ HANDOVER_INCOMING, HANDOVER_EV_DISCARD, HANDOVER_DISCARDED },
	{ HANDOVER_LOADED, HANDOVER_EV_DISCARD, HANDOVER_DISCARDED },
};

static const char *const state_names[] = {
	[HANDOVER_INVALID] = "invalid",   [HANDOVER_RUNNING] = "running",
	[HANDOVER_PRECOPY] = "precopy",   [HANDOVER_PAUSED] = "paused",
	[HANDOVER_RELEASED] = "released", [HANDOVER_RETIRED] = "retired",
	[HANDOVER_EMPTY] = "empty",       [HANDOVER_INCOMING] = "incoming",
	[HANDOVER_LOADED] = "loaded",     [HANDOVER_DISCARDED] = "discarded",
};
static_assert(ARRAY_SIZE(state_names) == HANDOVER_N_STATES, "a name for each state");

static const char *const event_names[] = {
	[0] = "invalid",
	[HANDOVER_EV_BEGIN] = "begin",
	[HANDOVER_EV_PAUSE] = "pause",
	[HANDOVER_EV_ABORT] = "abort",
	[HANDOVER_EV_RELEASE] = "release",
	[HANDOVER_EV_RETIRE] = "retire",
	[HANDOVER_EV_RECLAIM] = "reclaim",
	[HANDOVER_EV_LOADED] = "loaded",
	[HANDOVER_EV_ACTIVATE] = "activate",
	[HANDOVER_EV_DISCARD] = "discard",
};
static_assert(ARRAY_SIZE(event_names) == HANDOVER_N_EVENTS, "a name for each event");

enum handover_state handover_next(enum handover_state state, enum handover_event event)
{
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].from == state && moves[i].event == event)
			return moves[i].to;
	return HANDOVER_INVALID;
}

bool handover_may_run(enum handover_state state)
{
	return state == HANDOVER_RUNNING || state == HANDOVER_PRECOPY;
}

/* Both take numbers from elsewhere, too: what is out of range is "invalid". */
const char *handover_state_name(enum handover_state state)
{
	return state_names[(unsigned int)state < HANDOVER_N_STATES ? state : HANDOVER_INVALID];
}

const char *handover_event_name(enum handover_event event)
{
	return event_names[(unsigned int)event < HANDOVER_N_EVENTS ? (unsigned int)event : 0];
}

int decision_map(int fd, const struct decision_page **ret)
{
	int want = F_SEAL_SHRINK | F_SEAL_GROW, seals = fcntl(fd, F_GET_SEALS);
	const struct decision_page *page;
	struct stat st;

	if (seals < 0 || (seals & want) != want || fstat(fd, &st) < 0 ||
	    st.st_size != DECISION_PAGE_LEN)
		return -EBADMSG;
	page = mmap(NULL, DECISION_PAGE_LEN, PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	if (page->magic != DECISION_MAGIC || page->version != DECISION_VERSION ||
	    decision_state(page) == HANDOVER_INVALID) {
		decision_unmap(page);
		return -EBADMSG;
	}
	*ret = page;
	return 0;
}

void decision_unmap(const struct decision_page *page)
{
	if (page)
		(void)munmap((void *)(uintptr_t)page, DECISION_PAGE_LEN);
}

enum handover_state decision_state(const struct decision_page *page)
{
	uint32_t state = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);

	return state < HANDOVER_N_STATES ? (enum handover_state)state : HANDOVER_INVALID;
}

bool decision_runs(int fd, const uint8_t id[ATTACH_ID_LEN])
{
	const struct decision_page *page = NULL;
	bool runs;

	if (decision_map(fd, &page) < 0)
		return false;
	assert(page);
	runs = decision_state(page) == HANDOVER_RUNNING &&
	       memcmp(page->handover_id, id, ATTACH_ID_LEN) == 0;
	decision_unmap(page);
	return runs;
}

void handover_id_format(const uint8_t id[ATTACH_ID_LEN], char ret[2 * ATTACH_ID_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < ATTACH_ID_LEN; i++) {
		ret[2 * i] = digits[id[i] >> 4];
		ret[2 * i + 1] = digits[id[i] & 15];
	}
	ret[2 * ATTACH_ID_LEN] = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -EINVAL;
}

int handover_id_parse(const char *text, uint8_t ret[ATTACH_ID_LEN])
{
	uint8_t id[ATTACH_ID_LEN];

	if (strnlen(text, 2 * ATTACH_ID_LEN + 1) != 2 * ATTACH_ID_LEN)
		return -EINVAL;
	for (size_t i = 0; i < ATTACH_ID_LEN; i++) {
		int hi = digit_value(text[2 * i]), lo = digit_value(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		id[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(ret, id, sizeof(id));
	return 0;
}
