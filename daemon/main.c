/* SPDX-License-Identifier: Apache-2.0 */
/* The executable: migd, the daemon; or, when migd started it so, a worker, the greeter, or a herald. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/config-source.h"
#include "daemon/daemon.h"
#include "daemon/journald.h"
#include "daemon/options.h"
#include "daemon/version.h"
#include "engine/greeter-link.h"
#include "engine/herald-link.h"
#include "engine/link.h"

/* Bad usage, and nothing was tried. */
#define EXIT_USAGE 2

/*
 * Descriptors 0 to 2 are somebody's from the start: a socket that got one of their numbers would
 * receive log lines.
 */
static int fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close_fd(fd);
	return 0;
}

/*
 * Leave the terminal: the parent stays until the child runs, or failed to. In the child: the
 * descriptor to report on; the parent does not return.
 */
static int detach_from_terminal(void)
{
	int report[2];
	char ok = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close_fd(report[0]);
		(void)setsid();
		return report[1];
	}
	close_fd(report[1]);
	_exit(fd_read_full(report[0], &ok, 1) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void report_ready(int fd)
{
	char ok = 1;
	int null_fd;

	if (fd < 0)
		return;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0) {
		(void)dup2(null_fd, STDIN_FILENO);
		(void)dup2(null_fd, STDOUT_FILENO);
		close_fd(null_fd);
	}
	(void)fd_write_full(fd, &ok, 1);
	close_fd(fd);
}

static int run(struct config_source *source, bool foreground)
{
	struct merr err = MERR_INIT;
	struct daemon *d = NULL;
	int exe_fd, report_fd = -1, r;

	/* Before anything else: an upgrade may replace the file at any time. */
	exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (exe_fd < 0) {
		log_err("cannot open '/proc/self/exe', from which workers are started: %s",
			strerror(errno));
		return EXIT_FAILURE;
	}
	if (!foreground) {
		report_fd = detach_from_terminal();
		if (report_fd < 0) {
			log_err("cannot detach from the terminal: %s; try --foreground",
				strerror(-report_fd));
			close_fd(exe_fd);
			return EXIT_FAILURE;
		}
	}
	if (daemon_new(source, exe_fd, &d, &err) < 0) {
		log_err("%s", merr_msg(&err));
		return EXIT_FAILURE;
	}
	report_ready(report_fd);
	r = daemon_run(d);
	(void)daemon_free(d);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void print_error(const char *line)
{
	(void)fprintf(stderr, "migd: %s\n", line);
}

/* What is wrong is told, all of it. */
static int load(struct config_source *source)
{
	struct config_report report = { 0 };
	int r = config_source_load(source, &report);

	config_report_each(&report, print_error);
	config_report_done(&report);
	return r;
}

static int start(const struct options *o)
{
	struct config_source source = { .path = o->config_file, .options = &o->given };
	int status = EXIT_SUCCESS;

	if (load(&source) < 0)
		return o->check_config ? EXIT_FAILURE : EXIT_USAGE;
	if (o->print_config)
		config_source_print(&source, stdout);
	if (!o->print_config && !o->check_config) {
		log_init("migd", LOG_TARGET_STDERR, log_level_parse(source.wanted.daemon.log_level));
		journald_start("migd");
		status = run(&source, o->foreground);
	}
	config_source_done(&source);
	return status;
}

int main(int argc, char *argv[])
{
	struct merr err = MERR_INIT;
	struct options o;
	int status;

	if (argc > 0 && strcmp(argv[0], WORKER_ARGV0) == 0)
		return worker_main();
	if (argc > 0 && strcmp(argv[0], GREETER_ARGV0) == 0)
		return greeter_main();
	if (argc > 0 && strcmp(argv[0], HERALD_ARGV0) == 0)
		return herald_main();
	if (fill_standard_fds() < 0)
		return EXIT_FAILURE;
	if (options_parse(argc, argv, &o, &err) < 0) {
		print_error(merr_msg(&err));
		return EXIT_USAGE;
	}
	if (o.help) {
		(void)fputs(options_help(), stdout);
		return EXIT_SUCCESS;
	}
	if (o.version) {
		(void)puts("migd " MIGD_VERSION);
		return EXIT_SUCCESS;
	}
	status = start(&o);
	options_done(&o);
	return status;
}
