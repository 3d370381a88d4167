/* SPDX-License-Identifier: Apache-2.0 */
/* migd-vmm, the reference VMM: a small x86-64 machine on KVM that migd can migrate. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/io.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/poison.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define EXIT_USAGE 2

static void announce(const struct options *opt)
{
	note(LOG_NOTICE, "pid=%d name='%s' memory=%lluMiB cpus=%u role=%s %s='%s'", (int)getpid(),
	     opt->name, (unsigned long long)(opt->memory_bytes / MIB), opt->n_cpus,
	     opt->incoming ? "incoming" : "running", opt->attach_path ? "attach" : "attach-listen",
	     opt->attach_path ? opt->attach_path : opt->listen_path);
}

/* Load the boot source, make the vCPUs, attach. */
static int start(struct machine *m)
{
	struct boot_entry entry = { 0 }, *enter = m->opt->incoming || m->opt->ram_only ? NULL : &entry;
	int r = vcpus_new(m, m->opt->n_cpus, &m->vcpus);
	if (r == 0 && enter)
		r = boot_load(m, enter);
	if (r == 0)
		r = machine_attach(m);
	if (r == 0)
		r = vcpus_start(m->vcpus, enter);
	if (r < 0)
		return r;
	r = migd_guest_start(m->guest);
	if (r < 0)
		return fail(r, "cannot start: %s", migd_guest_error());
	if (m->opt->has_poison && poison_report(m, m->opt->poison_gpa) < 0)
		return -EIO;
	announce(m->opt);
	vcpus_go(m->vcpus);
	return 0;
}

static int exit_status(const struct options *opt, enum end_reason reason, int status)
{
	switch (reason) {
	case END_RETIRED:
		printf("guest %s now runs elsewhere\n", opt->name);
		return EXIT_SUCCESS;
	case END_DISCARDED:
		note(LOG_NOTICE, "the guest will not arrive");
		return EXIT_FAILURE;
	case END_EXIT:
		return status;
	default:
		return EXIT_SUCCESS;
	}
}

static int run(const struct options *opt)
{
	struct machine m;
	int status = EXIT_FAILURE;
	int r = machine_init(&m, opt);
	if (r == 0)
		r = start(&m);
	if (r == 0) {
		int guest_status;
		enum end_reason reason = control_run(&m, &guest_status);
		status = exit_status(opt, reason, guest_status);
	}
	if (m.guest)
		migd_guest_stop(m.guest);
	if (!vcpus_join(m.vcpus)) {
		note(LOG_NOTICE, "ending while a vCPU waits for a page of memory that has not come");
		(void)fflush(NULL);
		_exit(status);
	}
	io_stop(m.io); /* devices tell the library what they wrote */
	migd_guest_free(m.guest);
	m.guest = NULL;
	m.vcpus = vcpus_free(m.vcpus);
	machine_done(&m);
	return status;
}

int main(int argc, char **argv)
{
	struct options opt;
	(void)signal(SIGPIPE, SIG_IGN);
	int r = options_parse(&opt, argc, argv);
	if (r < 0)
		return EXIT_USAGE;
	if (r == OPTIONS_DONE)
		return EXIT_SUCCESS;
	log_set_name(opt.name);
	int status = run(&opt);
	options_done(&opt);
	return status;
}
