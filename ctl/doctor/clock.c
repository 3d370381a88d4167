/* SPDX-License-Identifier: Apache-2.0 */
/* Time: guests take theirs from the host, and certificates are judged by it. */
#include <errno.h>
#include <string.h>
#include <sys/timex.h>

#include "ctl/doctor/doctor.h"
#include "ctl/doctor/files.h"

#define SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static void check_synchronised(struct doctor *d)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);

	if (state < 0)
		doctor_say(d, DOCTOR_WARNING, "clock", NULL, "cannot ask whether the clock is synchronised: %s", strerror(errno));
	else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_say(d, DOCTOR_WARNING, "clock",
			   "run chrony, systemd-timesyncd or another NTP client: a guest's time jumps by how much two hosts differ, and "
			   "certificates may seem not valid",
			   "the clock is not synchronised");
	else
		doctor_say(d, DOCTOR_OK, "clock", NULL, "the clock is synchronised, to within %.1f ms", (double)t.maxerror / 1000);
}

static void check_source(struct doctor *d)
{
	char name[64];

	doctor_read_line(SOURCE, name, sizeof(name));
#ifdef __x86_64__
	if (strcmp(name, "tsc") != 0) {
		doctor_say(d, DOCTOR_WARNING, "clocksource",
			   "guests' kvmclock is exact with tsc only: see the kernel's log for why it is not used",
			   "the kernel's clock source is %s, not tsc", name[0] ? name : "unknown");
		return;
	}
#endif
	doctor_say(d, DOCTOR_OK, "clocksource", NULL, "the kernel's clock source is %s", name[0] ? name : "unknown");
}

void doctor_check_clock(struct doctor *d)
{
	check_synchronised(d);
	check_source(d);
}
