/* SPDX-License-Identifier: Apache-2.0 */
/* The shared page of a migration's statistics. */
#include "engine/stats-page.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* NULL, with errno, on failure. */
static struct stats_page *map(int fd)
{
	void *p = mmap(NULL, STATS_PAGE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

int stats_page_create(struct stats_page **ret, int *ret_fd)
{
	_cleanup_close_ int fd = fd_memfd("migd-stats", STATS_PAGE_LEN);
	struct stats_page *page;

	if (fd < 0)
		return fd;
	page = map(fd);
	if (!page)
		return -errno;
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

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != STATS_PAGE_LEN)
		return -EBADMSG;
	page = map(fd);
	if (!page)
		return -errno;
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
