/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: what is free, memfds, huge pages, and what may be locked. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/doctor/doctor.h"
#include "ctl/doctor/files.h"

#define MEMINFO "/proc/meminfo"
#define KIB 1024.0
#define FREE_MIN (256 * KIB * KIB)
/* What zero-copy-send has in flight at once, with a few channels. */
#define LOCKED_MIN (64U << 20)

static void check_free(struct doctor *d)
{
	double available = KIB * (double)doctor_read_number(MEMINFO, "MemAvailable");
	char size[32];

	ctl_size(available, size, sizeof(size));
	if (available < FREE_MIN)
		doctor_say(d, DOCTOR_WARNING, "free-memory", "a guest that comes needs all of its memory here: free some", "%s are available",
			   size);
	else
		doctor_say(d, DOCTOR_OK, "free-memory", NULL, "%s are available for guests that come", size);
}

static void check_memfd(struct doctor *d)
{
	_cleanup_close_ int fd = memfd_create("migctl-doctor", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		doctor_say(d, DOCTOR_PROBLEM, "memfd", "use a kernel with CONFIG_MEMFD_CREATE; see that no filter of system calls forbids it",
			   "no memfd can be made: %s", strerror(errno));
	else
		doctor_say(d, DOCTOR_OK, "memfd", NULL, "memfds can be made");
}

static void check_hugepages(struct doctor *d)
{
	long long total = (long long)doctor_read_number(MEMINFO, "HugePages_Total");
	long long left = (long long)doctor_read_number(MEMINFO, "HugePages_Free");
	double size = KIB * (double)doctor_read_number(MEMINFO, "Hugepagesize");
	char text[32];

	if (total > 0 && left == 0)
		doctor_say(d, DOCTOR_WARNING, "hugepages", "a guest in huge pages that comes needs as many: raise vm.nr_hugepages",
			   "none of %lld huge pages is free", total);
	else if (total > 0)
		doctor_say(d, DOCTOR_OK, "hugepages", NULL, "%lld of %lld huge pages of %s are free", left, total,
			   ctl_size(size, text, sizeof(text)));
	else
		doctor_say(d, DOCTOR_OK, "hugepages", NULL, "none are reserved; only guests in huge pages need them");
}

static void check_locked(struct doctor *d)
{
	struct rlimit limit;
	char size[32];

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		doctor_say(d, DOCTOR_OK, "memlock", NULL, "any amount of memory may be locked");
	else if (limit.rlim_cur < LOCKED_MIN)
		doctor_say(d, DOCTOR_WARNING, "memlock", "only zero-copy-send needs more: LimitMEMLOCK= of migd's service, or ulimit -l",
			   "%s may be locked", ctl_size((double)limit.rlim_cur, size, sizeof(size)));
	else
		doctor_say(d, DOCTOR_OK, "memlock", NULL, "%s may be locked", ctl_size((double)limit.rlim_cur, size, sizeof(size)));
}

void doctor_check_memory(struct doctor *d)
{
	check_free(d);
	check_memfd(d);
	check_hugepages(d);
	check_locked(d);
}
