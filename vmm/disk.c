/* SPDX-License-Identifier: Apache-2.0 */
/* A disk's file and its lock. */
#include "vmm/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "vmm/util.h"

int disk_open(struct disk *d, const char *path)
{
	*d = (struct disk){ .path = path };
	d->fd = open(path, O_RDWR | O_CLOEXEC);
	return d->fd < 0 ? fail(-errno, "--disk: cannot open '%s': %m", path) : 0;
}

void disk_close(struct disk *d)
{
	if (d->fd >= 0)
		(void)close(d->fd);
	d->fd = -1;
}

int disk_size(const struct disk *d, uint64_t *ret_bytes)
{
	struct stat st;
	if (fstat(d->fd, &st) < 0)
		return fail(-errno, "--disk: cannot stat '%s': %m", d->path);
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(d->fd, BLKGETSIZE64, ret_bytes) < 0)
			return fail(-errno, "--disk: size of '%s': %m", d->path);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return fail(-EINVAL, "--disk: '%s' is neither a file nor a block device", d->path);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int set_lock(struct disk *d, short type)
{
	struct flock whole = { .l_type = type, .l_whence = SEEK_SET };
	if (fcntl(d->fd, F_OFD_SETLK, &whole) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	d->locked = type != F_UNLCK;
	return 0;
}

int disk_lock(struct disk *d)
{
	if (d->locked)
		return 0;
	int r = set_lock(d, F_WRLCK);
	/* What was cached here before somebody else wrote it is stale (shared file systems). */
	if (r == 0)
		(void)posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	return r;
}

int disk_flush_and_unlock(struct disk *d)
{
	if (!d->locked)
		return 0;
	if (fdatasync(d->fd) < 0)
		return fail(-errno, "cannot write back '%s': %m", d->path);
	int r = set_lock(d, F_UNLCK);
	return r < 0 ? fail(r, "cannot unlock '%s': %s", d->path, strerrordesc_np(-r)) : 0;
}
