/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a block of guest memory is what the VMM says: its file, its size, its mapping. */
#include "guest/ram-check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* ---- the file ---- */

/* guest_memfd has a file system of its own since Linux 6.18; before, it was one of the nameless inodes. */
#define GUEST_MEMFD_FS_MAGIC 0x474d454dUL

static int check_file_system(struct ram_block *b, struct merr *err)
{
	struct statfs fs;

	if (b->fd < 0)
		return merr_set(
			err, -ENOTSUP,
			"RAM block '%s' is anonymous memory: use a memfd, mapped MAP_SHARED",
			b->name);
	if (fstatfs(b->fd, &fs) < 0)
		return merr_set_errno(err, -EINVAL, "RAM block '%s': descriptor %d", b->name,
				      b->fd);
	switch ((unsigned long)fs.f_type) {
	case TMPFS_MAGIC:
		b->page_size = 4096;
		return 0;
	case HUGETLBFS_MAGIC:
		b->page_size = (uint64_t)fs.f_bsize;
		return 0;
	case GUEST_MEMFD_FS_MAGIC:
	case ANON_INODE_FS_MAGIC:
		return merr_set(err, -ENOTSUP,
				"RAM block '%s' is a guest_memfd (or no memory at all): what is the guest's "
				"alone cannot be read, and so not migrated; use a memfd", b->name);
	default:
		return merr_set(err, -ENOTSUP,
				"RAM block '%s' is a file of a file system (0x%lx) that is neither "
				"tmpfs nor hugetlbfs",
				b->name, (unsigned long)fs.f_type);
	}
}

static int check_file(const struct ram_block *b, struct merr *err)
{
	struct stat st;
	int flags = fcntl(b->fd, F_GETFL);

	if (fstat(b->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return merr_set(err, -EINVAL, "RAM block '%s': the descriptor is no file", b->name);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return merr_set(
			err, -EINVAL,
			"RAM block '%s': the descriptor is not open for reading and writing",
			b->name);
	if (!range_ok(b->fd_offset, b->len, (uint64_t)st.st_size))
		return merr_set(err, -EINVAL,
				"RAM block '%s': %" PRIu64 " bytes at %" PRIu64
				" of a file of %lld bytes",
				b->name, b->len, b->fd_offset, (long long)st.st_size);
	return 0;
}

/* Nobody else can open what has no name (a memfd, a removed file). */
static int check_shared(const struct ram_block *b, struct merr *err)
{
	struct stat st;

	if (!(b->flags & MIGD_GUEST_RAM_SHARED) || fstat(b->fd, &st) < 0 || st.st_nlink > 0)
		return 0;
	return merr_set(err, -EINVAL,
			"RAM block '%s' is said to be shared by name, but its file has none", b->name);
}

static int check_alignment(const struct ram_block *b, struct merr *err)
{
	if (!b->len || !b->host)
		return merr_set(err, -EINVAL, "RAM block '%s' is empty", b->name);
	if (b->len % b->page_size || b->fd_offset % b->page_size ||
	    (uintptr_t)b->host % b->page_size)
		return merr_set(err, -EINVAL,
				"RAM block '%s': address, length and file offset must be multiples "
				"of %" PRIu64,
				b->name, b->page_size);
	return 0;
}

/*
 * A file that shrinks under a mapping kills who touches it. Only memfds can be sealed; a named
 * tmpfs file reports F_SEAL_SEAL, and so does a memfd made without MFD_ALLOW_SEALING: those stay as
 * they are.
 */
static int seal(const struct ram_block *b, struct merr *err)
{
	int want = F_SEAL_SHRINK | F_SEAL_GROW, seals = fcntl(b->fd, F_GET_SEALS);

	if (seals < 0 || (seals & want) == want || seals & F_SEAL_SEAL)
		return 0;
	if (fcntl(b->fd, F_ADD_SEALS, want) < 0)
		return merr_set_errno(err, -EINVAL, "RAM block '%s': cannot seal the memfd",
				      b->name);
	return 0;
}

/* ---- the mapping ---- */

struct mapping {
	uint64_t start, end, offset, inode;
	char perms[5];
	unsigned int major, minor;
};

static bool mapping_fits(const struct mapping *m, const struct ram_block *b, const struct stat *st,
			 uint64_t at)
{
	return m->perms[3] == 's' && m->inode == st->st_ino &&
	       makedev(m->major, m->minor) == st->st_dev &&
	       m->offset + (at - m->start) == b->fd_offset + (at - (uintptr_t)b->host);
}

/* Walk the mappings over the block, in order of address; NULL if all is as it should be. */
static const char *walk_mappings(FILE *maps, const struct ram_block *b, const struct stat *st)
{
	uint64_t at = (uintptr_t)b->host, end = at + b->len;
	char line[512];
	struct mapping m;

	while (at < end && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &m.start,
			   &m.end, m.perms, &m.offset, &m.major, &m.minor, &m.inode) != 7)
			continue; /* the rest of a line with a long path */
		if (m.end <= at)
			continue;
		if (m.start > at)
			return "is not mapped";
		if (!mapping_fits(&m, b, st, at))
			return "is not where that part of the file is mapped MAP_SHARED";
		at = m.end;
	}
	return at < end ? "is not mapped" : NULL;
}

static int check_mapping(const struct ram_block *b, struct merr *err)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	const char *wrong;
	struct stat st;

	if (!maps)
		return 0; /* a sandbox without /proc: believe it */
	wrong = fstat(b->fd, &st) < 0 ? "has no file" : walk_mappings(maps, b, &st);
	(void)fclose(maps);
	if (wrong)
		return merr_set(err, -EINVAL, "RAM block '%s': its address %s", b->name, wrong);
	return 0;
}

int ram_check(struct ram_block *b, struct merr *err)
{
	int r = check_file_system(b, err);

	if (r >= 0)
		r = check_alignment(b, err);
	if (r >= 0)
		r = check_file(b, err);
	if (r >= 0)
		r = check_shared(b, err);
	if (r >= 0)
		r = check_mapping(b, err);
	if (r >= 0)
		r = seal(b, err);
	return r;
}

bool ram_same_file(const struct ram_block *a, const struct ram_block *b)
{
	struct stat sa, sb;

	if (fstat(a->fd, &sa) < 0 || fstat(b->fd, &sb) < 0 || sa.st_dev != sb.st_dev ||
	    sa.st_ino != sb.st_ino)
		return false;
	return a->fd_offset < b->fd_offset + b->len && b->fd_offset < a->fd_offset + a->len;
}
