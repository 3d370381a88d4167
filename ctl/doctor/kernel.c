/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel: its version, what it can load, CPUs and control groups. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctl/doctor/doctor.h"
#include "ctl/doctor/files.h"

/* What each version brought that migd uses; the newest is enough for all. */
static const struct {
	int major, minor;
	enum doctor_result result;	/* of an older one */
	const char *without;
} versions[] = {
	{ 5, 10, DOCTOR_PROBLEM, "migd is made for Linux 5.10 and later" },
	{ 5, 14, DOCTOR_WARNING, "post-copy needs Linux 5.14" },
	{ 5, 19, DOCTOR_WARNING, "background snapshots need Linux 5.19" },
};

static void check_version(struct doctor *d)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2) {
		doctor_say(d, DOCTOR_WARNING, "kernel", NULL, "the kernel's version is unknown");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (major < versions[i].major || (major == versions[i].major && minor < versions[i].minor)) {
			doctor_say(d, versions[i].result, "kernel", versions[i].without, "Linux %s", u.release);
			return;
		}
	doctor_say(d, DOCTOR_OK, "kernel", NULL, "Linux %s", u.release);
}

static void check_modules(struct doctor *d)
{
	char line[256];

	if (strstr(doctor_read_line("/proc/sys/net/ipv4/tcp_available_ulp", line, sizeof(line)), "tls"))
		doctor_say(d, DOCTOR_OK, "module-tls", NULL, "the kernel can encrypt TLS connections");
	else
		doctor_say(d, DOCTOR_OK, "module-tls", NULL, "the module tls is not loaded: TLS is done outside the kernel, which is slower");
	if (access("/dev/vsock", F_OK) == 0)
		doctor_say(d, DOCTOR_OK, "module-vsock", NULL, "addresses vsock:CID:PORT can be used");
	else
		doctor_say(d, DOCTOR_OK, "module-vsock", NULL, "the module vsock is not loaded: no addresses vsock:CID:PORT");
}

static void check_cpus(struct doctor *d)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < 2)
		doctor_say(d, DOCTOR_WARNING, "cpus", "a migration and its guest share it: both are slow", "%ld CPU", n);
	else
		doctor_say(d, DOCTOR_OK, "cpus", NULL, "%ld CPUs", n);
}

static void check_cgroups(struct doctor *d)
{
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
		doctor_say(d, DOCTOR_OK, "cgroups", NULL, "control groups are version 2");
	else
		doctor_say(d, DOCTOR_WARNING, "cgroups", "boot with systemd.unified_cgroup_hierarchy=1, for limits of what migrations take",
			   "control groups are not version 2");
}

void doctor_check_kernel(struct doctor *d)
{
	check_version(d);
	check_modules(d);
	check_cpus(d);
	check_cgroups(d);
}
