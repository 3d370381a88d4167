/* SPDX-License-Identifier: Apache-2.0 */
/* The shared dirty bitmap of one RAM block: making and mapping it. */
#include "attach/dirty-map.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"

/* More pages than any address space has; keeps the sizes below from overflowing. */
#define DIRTY_MAP_PAGES_MAX (1ULL << 52)

static uint64_t map_len_of(uint64_t n_pages)
{
	return DIRTY_MAP_BITS_OFFSET + bitmap_words(n_pages) * sizeof(uint64_t);
}

static int map_fd(int fd, uint64_t n_pages, struct dirty_map *ret)
{
	size_t len = map_len_of(n_pages);
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = (struct dirty_map){
		.header = (struct dirty_map_header *)(void *)p,
		.bits = (uint64_t *)(void *)(p + DIRTY_MAP_BITS_OFFSET),
		.n_pages = n_pages,
		.map_len = len,
	};
	return 0;
}

int dirty_map_create(uint64_t n_pages, struct dirty_map *ret, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!n_pages || n_pages > DIRTY_MAP_PAGES_MAX)
		return -EINVAL;
	fd = fd_memfd("migd-dirty", map_len_of(n_pages));
	if (fd < 0)
		return fd;
	r = map_fd(fd, n_pages, ret);
	if (r < 0)
		return r;
	*ret->header = (struct dirty_map_header){
		.magic = DIRTY_MAP_MAGIC,
		.version = DIRTY_MAP_VERSION,
		.n_pages = n_pages,
	};
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int check_file(int fd, uint64_t n_pages, struct merr *err)
{
	int want = F_SEAL_SHRINK | F_SEAL_GROW, seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & want) != want)
		return merr_set(err, -EBADMSG, "dirty map: the descriptor is no sealed memfd");
	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -EBADMSG, "dirty map");
	if ((uint64_t)st.st_size != map_len_of(n_pages))
		return merr_set(err, -EBADMSG,
				"dirty map: %lld bytes, %llu expected for %llu pages",
				(long long)st.st_size, (unsigned long long)map_len_of(n_pages),
				(unsigned long long)n_pages);
	return 0;
}

int dirty_map_open(int fd, uint64_t n_pages, struct dirty_map *ret, struct merr *err)
{
	struct dirty_map m = { 0 };
	int r;

	if (!n_pages || n_pages > DIRTY_MAP_PAGES_MAX)
		return merr_set(err, -EINVAL, "dirty map: a block of %llu pages",
				(unsigned long long)n_pages);
	r = check_file(fd, n_pages, err);
	if (r < 0)
		return r;
	r = map_fd(fd, n_pages, &m);
	if (r < 0)
		return merr_set_errno(err, r, "dirty map: mmap");
	assert(m.header);
	if (m.header->magic != DIRTY_MAP_MAGIC || m.header->version != DIRTY_MAP_VERSION ||
	    m.header->n_pages != n_pages || m.header->flags) {
		dirty_map_done(&m);
		return merr_set(err, -EBADMSG, "dirty map: bad header");
	}
	*ret = m;
	return 0;
}

void dirty_map_done(struct dirty_map *m)
{
	if (m->header)
		(void)munmap(m->header, m->map_len);
	*m = (struct dirty_map){ 0 };
}
