/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM: one file, one mapping. */
#include "vmm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/util.h"

/* The lock tells a file that a running VMM, or the worker it gave it to, still has from one that was left behind. */
static int open_file(const char *path, enum ram_file_use use)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(-errno, "cannot make the memory file '%s': %m", path);
	if (flock(fd, (use == RAM_FILE_JOINED ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return fail(-EBUSY, "the memory file '%s' is in use by another guest", path);
	if (use != RAM_FILE_JOINED && ftruncate(fd, 0) < 0)
		return fail(-errno, "cannot empty the memory file '%s': %m", path);
	if (use == RAM_FILE_SHARED && flock(fd, LOCK_SH | LOCK_NB) < 0)
		return fail(-EBUSY, "the memory file '%s' was taken by another guest", path);
	return take_fd(&fd);
}

static int open_memfd(bool hugetlb)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("ram", flags | (hugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	if (fd < 0)
		return fail(-errno, "cannot make a memfd%s: %m",
			    hugetlb ? " of 2 MiB huge pages" : "");
	return fd;
}

/* A file of another size is another guest's; changing it would cut off memory of a guest that runs. */
static int check_size(const struct ram *ram, const char *path)
{
	struct stat st;
	if (fstat(ram->fd, &st) < 0)
		return fail(-errno, "memory file '%s': %m", path);
	if (st.st_size && (uint64_t)st.st_size != ram->len)
		return fail(-EINVAL, "the memory file '%s' has %lld MiB, not %llu: give --memory as the "
			    "source has it", path, (long long)st.st_size / (long long)MIB,
			    (unsigned long long)(ram->len / MIB));
	return 0;
}

static int resize(struct ram *ram)
{
	if (ftruncate(ram->fd, (off_t)ram->len) < 0)
		return fail(-errno, "cannot make guest RAM %llu MiB large: %m",
			    (unsigned long long)(ram->len / MIB));
	return 0;
}

static int map(struct ram *ram, bool hugetlb)
{
	void *host = mmap(NULL, ram->len, PROT_READ | PROT_WRITE,
			  MAP_SHARED | (hugetlb ? 0 : MAP_NORESERVE), ram->fd, (off_t)ram->fd_offset);
	if (host == MAP_FAILED && hugetlb)
		return fail(-errno, "cannot map %llu MiB of huge pages: %m; reserve %llu in "
			    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
			    (unsigned long long)(ram->len / MIB),
			    (unsigned long long)(ram->len / (2 * MIB)));
	if (host == MAP_FAILED)
		return fail(-errno, "cannot map %llu MiB of guest RAM: %m",
			    (unsigned long long)(ram->len / MIB));
	ram->host = host;
	return 0;
}

int ram_init(struct ram *ram, uint64_t len, const char *path, enum ram_file_use use, bool hugetlb)
{
	*ram = (struct ram){ .len = len };
	ram->fd = path ? open_file(path, use) : open_memfd(hugetlb);
	int r = ram->fd < 0 ? ram->fd : path ? check_size(ram, path) : 0;
	if (r == 0)
		r = resize(ram);
	if (r == 0)
		r = map(ram, hugetlb);
	if (r < 0)
		ram_done(ram);
	return r;
}

int ram_init_shared(struct ram *ram, uint64_t len, int fd, uint64_t offset)
{
	*ram = (struct ram){ .len = len, .fd_offset = offset };
	ram->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r = ram->fd < 0 ? fail(-errno, "cannot take over guest RAM: %m") : map(ram, false);
	if (r < 0)
		ram_done(ram);
	return r;
}

void ram_done(struct ram *ram)
{
	if (ram->host)
		(void)munmap(ram->host, ram->len);
	if (ram->fd >= 0)
		(void)close(ram->fd);
	*ram = (struct ram){ .fd = -1 };
}

uint64_t ram_low_len(const struct ram *ram)
{
	return MIN(ram->len, RAM_LOW_MAX);
}

uint64_t ram_high_len(const struct ram *ram)
{
	return ram->len - ram_low_len(ram);
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	uint64_t start = gpa < RAM_HIGH_GPA ? 0 : RAM_HIGH_GPA;
	uint64_t size = gpa < RAM_HIGH_GPA ? ram_low_len(ram) : ram_high_len(ram);
	uint64_t offset = gpa < RAM_HIGH_GPA ? 0 : RAM_LOW_MAX;
	if (gpa - start > size || len > size - (gpa - start))
		return NULL;
	return ram->host + offset + (gpa - start);
}
