/* SPDX-License-Identifier: Apache-2.0 */
/* The shared page of a migration's statistics. */
#include "engine/stats-page.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

static int map(int fd, struct stats_page **ret)
{
	void *p = mmap(NULL, STATS_PAGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int stats_page_create(struct stats_page **ret, int *ret_fd)
{
	_cleanup_close_ int fd = fd_memfd("migd-stats", STATS_PAGE_LEN);
	struct stats_page *page;
	int r;

	if (fd < 0)
		return fd;
	r = map(fd, &page);
	if (r < 0)
		return r;
	page->magic = STATS_MAGIC;
	page->version = STATS_VERSION;
	*ret = page;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int stats_page_open(int fd, struct stats_page **ret)
{
	struct stats_page *page;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != STATS_PAGE_LEN)
		return -EBADMSG;
	r = map(fd, &page);
	if (r < 0)
		return r;
	if (page->magic != STATS_MAGIC || page->version != STATS_VERSION) {
		stats_page_unmap(page);
		return -EBADMSG;
	}
	*ret = page;
	return 0;
}

void stats_page_unmap(struct stats_page *page)
{
	if (page)
		(void)munmap(page, STATS_PAGE_LEN);
}
