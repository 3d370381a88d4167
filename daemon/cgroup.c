/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' cgroups: Documentation/admin-guide/cgroup-v2.rst. */
#include "daemon/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "schema/types.h"

#define LEAF	      "daemon"
#define WORKER_PREFIX "worker-"
#define NAME_CAP      64
#define LEAF_WEIGHT   "1000" /* ten workers': it answers also when many of them keep every CPU busy, and needs little */

/* Where a host that has cgroup v1 as well mounts v2. */
static const char *const mounts[] = { "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };

struct cgroups {
	const struct config_workers *config;
	int fd; /* the delegated cgroup */
};

static int write_at(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static ssize_t read_at(int dir, const char *name, char *ret, size_t cap)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, cap - 1);

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return n;
}

/* ---- ours ---- */

/* systemd marks what it delegates; what belongs to this user was meant for it. Everything root can write was not. */
static bool is_delegated(int dir)
{
	struct stat st;
	char value[2];

	if (fgetxattr(dir, "user.delegate", value, sizeof(value)) == 1 && value[0] == '1')
		return true;
	return fstat(dir, &st) == 0 && st.st_uid == geteuid() && st.st_uid != 0;
}

/* This process's, of the v2 hierarchy; without the leaf that a process before this one (exec) moved into. */
static int open_own(void)
{
	char text[4096], path[4096];
	char *own, *end;
	int fd = -ENOENT;

	if (read_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text)) < 0)
		return -ENOENT;
	own = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!own)
		return -ENOENT;
	own += own == text ? 3 : 4;
	own[strcspn(own, "\n")] = '\0';
	end = strrchr(own, '/');
	if (end && strcmp(end, "/" LEAF) == 0)
		*end = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(mounts) && fd < 0; i++) {
		(void)snprintf(path, sizeof(path), "%s%.3000s/cgroup.subtree_control", mounts[i], own);
		if (access(path, W_OK) < 0)
			continue;
		*strrchr(path, '/') = '\0';
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd;
}

static int enter_leaf(int dir)
{
	if (mkdirat(dir, LEAF, 0755) < 0 && errno != EEXIST)
		return -errno;
	return write_at(dir, LEAF "/cgroup.procs", "0");
}

/* What a limit of the configuration needs, and is written to. */
static const struct {
	const char *key, *controller, *file;
} limits[] = {
	{ "cpu-weight", "+cpu", "cpu.weight" },
	{ "io-weight", "+io", "io.weight" },
	{ "memory-max", "+memory", "memory.max" },
};

static uint64_t wanted(const struct config_workers *c, size_t limit)
{
	const uint64_t values[] = { c->cpu_weight, c->io_weight, c->memory_max };

	return values[limit];
}

static void enable_controllers(const struct cgroups *c)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		r = wanted(c->config, i) ? write_at(c->fd, "cgroup.subtree_control", limits[i].controller) : 0;
		if (r < 0)
			log_warning("'%s' of section [workers] does not hold: no controller '%s' for migd's cgroup: %s",
				    limits[i].key, limits[i].controller + 1, strerror(-r));
	}
}

/* What former daemons' workers left. Those that are there still cannot be removed. */
static void sweep(const struct cgroups *c)
{
	_cleanup_closedir_ DIR *d = fd_listing(c->fd);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, WORKER_PREFIX, strlen(WORKER_PREFIX)) == 0)
			(void)unlinkat(c->fd, e->d_name, AT_REMOVEDIR);
}

struct cgroups *cgroups_new(const struct config_workers *config)
{
	_cleanup_close_ int fd = -1;
	struct cgroups *c;
	int r;

	if (!config->cpu_weight && !config->io_weight && !config->memory_max)
		return NULL;
	fd = open_own();
	r = fd < 0 ? fd : !is_delegated(fd) ? -EACCES : enter_leaf(fd);
	c = r < 0 ? NULL : calloc(1, sizeof(*c));
	if (!c) {
		log_info("workers get no cgroup of their own, and the limits of section [workers] do not hold: no cgroup was "
			 "delegated to migd (Delegate= of a systemd unit): %s", strerror(r < 0 ? -r : ENOMEM));
		return NULL;
	}
	c->config = config;
	c->fd = TAKE_FD(fd);
	sweep(c);
	enable_controllers(c);
	if (config->cpu_weight)
		(void)write_at(c->fd, LEAF "/cpu.weight", LEAF_WEIGHT);
	return c;
}

struct cgroups *cgroups_free(struct cgroups *c)
{
	if (!c)
		return NULL;
	close_fd(c->fd);
	free(c);
	return NULL;
}

/* ---- workers' ---- */

static void format_name(const char *id, const char *file, char ret[NAME_CAP + 32])
{
	(void)snprintf(ret, NAME_CAP + 32, WORKER_PREFIX "%.32s%s%s", id, file ? "/" : "", file ? file : "");
}

static void set_limits(const struct cgroups *c, const char *id)
{
	char name[NAME_CAP + 32], value[32];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		if (!wanted(c->config, i))
			continue;
		format_name(id, limits[i].file, name);
		(void)snprintf(value, sizeof(value), "%" PRIu64, wanted(c->config, i));
		r = write_at(c->fd, name, value);
		if (r < 0)
			log_warning("'%s' of section [workers] does not hold for a worker: %s mig=%s", limits[i].key,
				    strerror(-r), id);
	}
}

int cgroups_add(struct cgroups *c, const char *id)
{
	char name[NAME_CAP + 32];
	int fd = -1;

	if (!c)
		return -ENOENT;
	format_name(id, NULL, name);
	if (mkdirat(c->fd, name, 0755) == 0 || errno == EEXIST) {
		set_limits(c, id);
		format_name(id, "cgroup.procs", name);
		fd = openat(c->fd, name, O_WRONLY | O_CLOEXEC);
	}
	if (fd >= 0)
		return fd;
	log_warning("a worker gets no cgroup of its own: %s mig=%s", strerror(errno), id);
	return -errno;
}

void cgroups_adopt(struct cgroups *c, const char *id)
{
	char name[NAME_CAP + 32];

	if (!c)
		return;
	format_name(id, NULL, name);
	if (faccessat(c->fd, name, F_OK, 0) == 0)
		set_limits(c, id);
}

bool cgroups_was_oom(const struct cgroups *c, const char *id)
{
	char name[NAME_CAP + 32], text[512];
	const char *count;

	if (!c)
		return false;
	format_name(id, "memory.events", name);
	if (read_at(c->fd, name, text, sizeof(text)) < 0)
		return false;
	count = strstr(text, "oom_kill ");
	return count && strtoul(count + strlen("oom_kill "), NULL, 10) > 0;
}

void cgroups_remove(struct cgroups *c, const char *id)
{
	char name[NAME_CAP + 32];

	if (!c)
		return;
	format_name(id, NULL, name);
	(void)unlinkat(c->fd, name, AT_REMOVEDIR);
}

/* ---- CPUs ---- */

bool cgroups_cpus(const struct config_workers *config, cpu_set_t *ret)
{
	const char *p = config->cpus;
	cpu_set_t own;
	char *end;

	if (!p || !*p)
		return false;
	CPU_ZERO(ret);
	while (*p) {
		unsigned long first = strtoul(p, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		/* daemon/config-check.c knows it to be well-formed, and not beyond CPU_SETSIZE. */
		for (unsigned long i = first; i <= last && i < CPU_SETSIZE; i++)
			CPU_SET(i, ret);
		p = end + (*end == ',');
		if (*end && *end != ',')
			break;
	}
	if (sched_getaffinity(0, sizeof(own), &own) == 0)
		CPU_AND(ret, ret, &own);
	if (CPU_COUNT(ret) > 0)
		return true;
	log_warning("'cpus' of section [workers] does not hold: migd may use none of '%s'", config->cpus);
	return false;
}
