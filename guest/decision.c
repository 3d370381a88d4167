/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's side of the decision page. */
#include "guest/decision.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

/*
 * Since Linux 5.1; no writable mapping but the library's own, so that whoever holds the page cannot
 * decide.
 */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static int map_page(int fd, struct decision_page **ret)
{
	struct decision_page *page;

	if (ftruncate(fd, DECISION_PAGE_LEN) < 0)
		return -errno;
	page = mmap(NULL, DECISION_PAGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
		int r = -errno;

		(void)munmap(page, DECISION_PAGE_LEN);
		return r;
	}
	*ret = page;
	return 0;
}

int decision_init(struct decision *d, enum handover_state first)
{
	_cleanup_close_ int fd = memfd_create("migd-decision", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = map_page(fd, &d->page);
	if (r < 0)
		return r;
	d->page->magic = DECISION_MAGIC;
	d->page->version = DECISION_VERSION;
	__atomic_store_n(&d->page->state, (uint32_t)first, __ATOMIC_RELEASE);
	d->fd = TAKE_FD(fd);
	return 0;
}

void decision_done(struct decision *d)
{
	decision_unmap(d->page);
	d->page = NULL;
	d->fd = close_fd(d->fd);
}

void decision_set_id(struct decision *d, const uint8_t id[ATTACH_ID_LEN])
{
	memcpy(d->page->handover_id, id, ATTACH_ID_LEN);
}

int decision_move(struct decision *d, enum handover_event event, struct merr *err)
{
	enum handover_state from = decision_get(d), to = handover_next(from, event);
	uint32_t expected = from;

	if (to == HANDOVER_INVALID ||
	    !__atomic_compare_exchange_n(&d->page->state, &expected, (uint32_t)to, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return merr_set(err, -EBADFD, "handover: '%s' is not possible in state '%s'",
				handover_event_name(event), handover_state_name(from));
	return 0;
}
