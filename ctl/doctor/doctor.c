/* SPDX-License-Identifier: Apache-2.0 */
/* The table of checks, and how their findings are shown. */
#include "ctl/doctor/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 512
#define STATE_DIR_DEFAULT "/run/migd"

static const struct {
	const char *group;
	void (*check)(struct doctor *d);
} groups[] = {
	{ "kvm", doctor_check_kvm },
	{ "userfaultfd", doctor_check_userfaultfd },
	{ "memory", doctor_check_memory },
	{ "clock", doctor_check_clock },
	{ "kernel", doctor_check_kernel },
	{ "daemon", doctor_check_daemon },
	{ "tls", doctor_check_tls },
	{ "peer", doctor_check_peer },
};

static const struct {
	const char *word;
	enum ctl_colour colour;
} results[DOCTOR_N_RESULTS] = {
	[DOCTOR_OK] = { "ok", CTL_GREEN },
	[DOCTOR_WARNING] = { "warning", CTL_YELLOW },
	[DOCTOR_PROBLEM] = { "problem", CTL_RED },
};

void doctor_say(struct doctor *d, enum doctor_result result, const char *check, const char *advice, const char *fmt, ...)
{
	char text[TEXT_MAX], found[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)ctl_clean(text, found, sizeof(found));
	d->count[result]++;
	json_array_append_new(d->findings,
			      json_pack("{s:s, s:s, s:s, s:s, s:s*}", "group", d->group, "check", check, "result",
					results[result].word, "found", found, "advice", advice));
	if (d->ctl->json)
		return;
	printf("%s%-8s%s %-18s %s\n", ctl_colour(results[result].colour), results[result].word, ctl_colour(CTL_PLAIN), check,
	       found);
	if (advice)
		printf("%-27s => %s\n", "", advice);
	fflush(stdout);
}

static int doctor_run(struct ctl *ctl, struct merr *err)
{
	struct doctor d = { .ctl = ctl, .state_dir = STATE_DIR_DEFAULT, .findings = json_array() };

	if (ctl_has(ctl, CTL_OPT_STATE_DIR))
		d.state_dir = ctl_value(ctl, CTL_OPT_STATE_DIR);
	if (!ctl->json)
		printf("These checks are made as user %u; where it matters what migd or a VMM may do, run them as its user.\n",
		       (unsigned int)geteuid());
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		d.group = groups[i].group;
		groups[i].check(&d);
	}
	if (ctl->json)
		ctl_print_json(d.findings);
	else
		printf("%u ok, %u warnings, %u problems\n", d.count[DOCTOR_OK], d.count[DOCTOR_WARNING], d.count[DOCTOR_PROBLEM]);
	json_decref(d.findings);
	if (d.count[DOCTOR_PROBLEM] == 0)
		return CTL_OK;
	merr_set(err, -EINVAL, "doctor: %u of the checks found a problem", d.count[DOCTOR_PROBLEM]);
	return CTL_FAILED;
}

const struct ctl_command ctl_doctor_commands[] = {
	{ .name = "doctor",
	  .help = "check whether this host is fit for migrations, and say what to do",
	  .text = "KVM, userfaultfd, memory, clock and kernel; the daemon, its sockets and its state directory. With `--tls-dir` the files "
		  "of TLS credentials, as tls-creds-x509 and tls-creds-psk name them; with `--peer` whether the other host can be "
		  "reached (it connects, and says nothing). Each line is ok, warning (something will not work, or not as well as it "
		  "could) or problem (migrations fail), what was found, and what to do. The exit status is 1 if there was a problem.\n"
		  "The checks are made with the rights of who runs migctl. What counts for KVM and userfaultfd are those of the VMMs, "
		  "for the state directory, TLS files and the network those of migd: run it as its user, or as root, to see that.",
	  .examples = "# this host\nmigctl doctor\n# before the first migration to another one\n"
		      "migctl doctor --peer tcp:host-b:4444 --tls-dir /etc/migd/tls\n# problems only, for a script\n"
		      "migctl --json doctor | jq '.[] | select(.result == \"problem\")'",
	  .related = "preflight credentials status",
	  .options = CTL_TAKES(CTL_OPT_PEER) | CTL_TAKES(CTL_OPT_TLS_DIR) | CTL_TAKES(CTL_OPT_STATE_DIR),
	  .no_guest = true,
	  .no_daemon = true,
	  .run = doctor_run },
	{ 0 },
};
