/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM's userfaultfd: opened, registered, given to workers, closed. */
#include "guest/uffd.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

/* Linux 5.18: like MADV_DONTNEED, of locked memory too. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* The major number of "misc" devices, of which /dev/userfaultfd is one. */
#define MISC_MAJOR 10

/* What a mode asks of the kernel: features for each kind of memory, and how blocks are registered. */
static const struct mode {
	uint32_t states;	/* of the handover, in which one is made */
	bool is_kept;		/* by us, too: the worker's end lets nobody go on */
	bool is_missing;	/* pages are still to come: none is in the mapping, but those of memory that was handed over */
	uint64_t features, shmem, hugetlb, registered;
	const char *needs; /* for people */
} modes[] = {
	[ATTACH_UFFD_POSTCOPY] = {
		.states = IN(INCOMING) | IN(LOADED),
		.is_kept = true,
		.is_missing = true,
		.features = UFFD_FEATURE_THREAD_ID,
		.shmem = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
		.hugetlb = UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS,
		.registered = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
		.needs = "post-copy needs Linux 5.14 or later",
	},
	[ATTACH_UFFD_SNAPSHOT] = {
		.states = IN(PRECOPY),
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
		.registered = UFFDIO_REGISTER_MODE_WP,
		.needs = "a background snapshot needs Linux 5.19 or later, x86-64 or arm64",
	},
};

bool uffd_is_open(const struct migd_guest *g)
{
	return g->uffd.fd >= 0;
}

/* ---- opening ---- */

/* By a descriptor of /dev/userfaultfd: whoever has one may. */
static int open_by_device(int device)
{
	struct stat st;
	int fd;

	if (fstat(device, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode) || major(st.st_rdev) != MISC_MAJOR)
		return -ENOTTY;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int open_device(void)
{
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	return device < 0 ? -errno : open_by_device(device);
}

static int open_by_call(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/*
 * PASSED first: of the three it asks least of the VMM's own sandbox. Without faults of the kernel's it would be no use: KVM's
 * are.
 */
static int open_any(int passed, struct merr *err)
{
	int by_passed = passed >= 0 ? open_by_device(passed) : -ENOENT, by_device, by_call;

	if (by_passed >= 0)
		return by_passed;
	by_device = open_device();
	if (by_device >= 0)
		return by_device;
	by_call = open_by_call();
	if (by_call >= 0)
		return by_call;
	return merr_set(err, by_call,
			"this VMM gets no userfaultfd: the daemon's descriptor: %s; /dev/userfaultfd: %s; userfaultfd(2): %s. "
			"Let migd or the VMM open /dev/userfaultfd (its group and mode), or set the sysctl "
			"vm.unprivileged_userfaultfd to 1",
			passed >= 0 ? strerror(-by_passed) : "none", strerror(-by_device), strerror(-by_call));
}

static int agree(struct migd_guest *g, int fd, const struct mode *mode, uint64_t *ret_features, struct merr *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = mode->features };

	for (size_t i = 0; i < g->tables.n_blocks; i++)
		api.features |= g->tables.blocks[i].page_size > DIRTY_PAGE_SIZE ? mode->hugetlb : mode->shmem;
	*ret_features = api.features;
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return 0;
	return merr_set_errno(err, errno == EINVAL ? -EOPNOTSUPP : -errno,
			      "this kernel's userfaultfd lacks a feature (%s)", mode->needs);
}

/* ---- registering ---- */

static int register_block(int fd, const struct ram_block *b, const struct mode *mode, struct merr *err)
{
	struct uffdio_register reg = {
		.range = { (uint64_t)(uintptr_t)b->host, b->len },
		.mode = mode->registered,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &reg) == 0)
		return 0;
	if (errno == EBUSY)
		return merr_set(err, -EBUSY, "RAM block '%s': the VMM has a userfaultfd of its own there", b->name);
	return merr_set_errno(err, -errno, "RAM block '%s': cannot register it with userfaultfd", b->name);
}

/* What the VMM has touched so far would cause no fault: out of its mapping with it. The file keeps it. */
static int unmap_pages(const struct ram_block *b, struct merr *err)
{
	int r = madvise(b->host, b->len, MADV_DONTNEED_LOCKED);

	if (r < 0 && errno == EINVAL)
		r = madvise(b->host, b->len, MADV_DONTNEED);
	if (r == 0)
		return 0;
	return merr_set_errno(err, -errno, "RAM block '%s': cannot unmap its pages (is the VMM's memory locked?)", b->name);
}

/* Memory that another VMM still uses has all of its pages. */
static bool takes_part(const struct ram_block *b, const struct mode *mode)
{
	return !mode->is_missing || !b->handed;
}

static int register_blocks(struct migd_guest *g, int fd, const struct mode *mode, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n_blocks; i++)
		if (takes_part(&t->blocks[i], mode))
			r = register_block(fd, &t->blocks[i], mode, err);
	for (size_t i = 0; mode->is_missing && r == 0 && i < t->n_blocks; i++)
		if (takes_part(&t->blocks[i], mode))
			r = unmap_pages(&t->blocks[i], err);
	return r;
}

static int open_new(struct migd_guest *g, unsigned int mode, int passed, struct uffd *ret, struct merr *err)
{
	_cleanup_close_ int fd = open_any(passed, err);
	uint64_t features;
	int r;

	if (fd < 0)
		return fd;
	r = agree(g, fd, &modes[mode], &features, err);
	if (r == 0)
		r = register_blocks(g, fd, &modes[mode], err);
	if (r < 0)
		return r;
	*ret = (struct uffd){ .fd = TAKE_FD(fd), .mode = mode, .features = features };
	return 0;
}

/* A guest that runs with all of its memory has nothing to wait for. */
static int check_open(struct migd_guest *g, unsigned int mode, struct merr *err)
{
	enum handover_state state = decision_get(&g->decision);

	if (mode >= ARRAY_SIZE(modes) || !modes[mode].registered)
		return merr_set(err, -EOPNOTSUPP, "UFFD_OPEN: field 'mode': %u", mode);
	if (uffd_is_open(g) && g->uffd.mode != mode)
		return merr_set(err, -EBUSY, "UFFD_OPEN: there is a userfaultfd in mode %u already", g->uffd.mode);
	if (!uffd_is_open(g) && !(modes[mode].states & 1U << state))
		return merr_set(err, -EBADFD, "UFFD_OPEN: none is made in handover state '%s'", handover_state_name(state));
	return 0;
}

/* ---- messages ---- */

/* By the vCPUs' indices; 0 where there is none. */
static size_t vcpu_threads(const struct migd_guest *g, uint32_t threads[GUEST_VCPUS_MAX])
{
	size_t n = 0;

	memset(threads, 0, GUEST_VCPUS_MAX * sizeof(threads[0]));
	for (size_t i = 0; i < g->gate.n_vcpus; i++) {
		const struct migd_guest_vcpu *v = g->gate.vcpus[i];

		threads[v->index] = htole32((uint32_t)v->tid);
		if (v->index >= n)
			n = v->index + 1;
	}
	return n;
}

int handle_uffd_open(struct migd_guest *g, struct call *c, struct merr *err)
{
	bool existing = uffd_is_open(g);
	struct uffd u = g->uffd;
	uint32_t threads[GUEST_VCPUS_MAX];
	struct attach_uffd_open req;
	size_t n;
	int r;

	if (CALL_DECODE(c, uffd_open, &req, err) < 0)
		return -EBADMSG;
	r = check_open(g, req.mode, err);
	if (r == 0 && !existing)
		r = open_new(g, req.mode, c->msg->n_fds > 0 ? c->msg->fds[0] : -1, &u, err);
	if (r < 0)
		return r;
	c->fds[c->n_fds++] = u.fd;
	if (modes[req.mode].is_kept)
		g->uffd = u;
	else
		c->owns_fds = true;
	n = vcpu_threads(g, threads);
	return CALL_REPLY(c, uffd_open_reply, .existing = existing, .features = u.features, .n_vcpus = (uint32_t)n,
			  .vcpus = { .data = (const uint8_t *)threads, .len = (uint32_t)(n * sizeof(threads[0])) });
}

void uffd_end(struct migd_guest *g)
{
	const struct guest_tables *t = &g->tables;

	/* The worker may have its duplicate for a while yet. */
	for (size_t i = 0; uffd_is_open(g) && i < t->n_blocks; i++) {
		struct uffdio_range range = { (uint64_t)(uintptr_t)t->blocks[i].host, t->blocks[i].len };

		if (takes_part(&t->blocks[i], &modes[g->uffd.mode]) &&
		    ioctl(g->uffd.fd, UFFDIO_UNREGISTER, &range) < 0)
			guest_log(g, 4, "RAM block '%s' stays registered with userfaultfd: %s", t->blocks[i].name,
				  strerror(errno));
	}
	g->uffd.fd = close_fd(g->uffd.fd);
	for (size_t i = 0; i < g->received.n; i++)
		(void)close_fd(g->received.fds[i]);
	g->received.n = 0;
}

int handle_uffd_end(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	uffd_end(g);
	return 0;
}
