/* SPDX-License-Identifier: Apache-2.0 */
/* A whole daemon inside a fuzz target, in a directory of its own, with what a former one left
 * there. It starts no process. */
#ifndef MIGD_TESTS_FUZZ_IN_DAEMON_H
#define MIGD_TESTS_FUZZ_IN_DAEMON_H

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "daemon/config-source.h"
#include "daemon/daemon.h"

/* Of the migration that a former daemon left, and of its handover. */
#define FUZZ_ID "00112233445566778899aabbccddeeff"
/* More than anything takes that has only to be done. */
#define FUZZ_ROUNDS 8

struct fuzz_host {
	char dir[32];
	char state[48], attach[48], qmp[48];
	struct config options;
	struct config_source source;
};

static inline void fuzz_set(struct fuzz_host *h, const char *section, const char *key,
			    const char *text)
{
	struct merr err = MERR_INIT;
	struct config_key k;

	if (config_find_key(section, key, &k, &err) < 0 ||
	    config_set(&h->options, k, text, false, &err) < 0) {
		(void)fprintf(stderr, "%s\n", merr_msg(&err));
		abort();
	}
}

/* A path of this program's own: there is room for it. */
__attribute__((format(printf, 3, 4))) static inline void fuzz_path(char *to, size_t size,
								   const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(to, size, format, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < size);
}

static inline int fuzz_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	if (at->level > 0)
		(void)remove(path);
	return 0;
}

/* What PATH has in it; not PATH. */
static inline void fuzz_empty(const char *path)
{
	(void)nftw(path, fuzz_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct fuzz_host fuzz_host;

static inline void fuzz_host_remove(void)
{
	fuzz_empty(fuzz_host.dir);
	(void)rmdir(fuzz_host.dir);
}

/* The directories, made once; with nothing in them. */
static inline struct fuzz_host *fuzz_host_clean(void)
{
	static const char *const folders[] = { "", "/migrations", "/settings", "/workers",
					       "/records" };
	struct fuzz_host *h = &fuzz_host;
	char path[sizeof(h->state) + 16];

	if (!h->dir[0]) {
		log_init("fuzz", LOG_TARGET_NONE, LOG_DEBUG);
		(void)signal(SIGPIPE, SIG_IGN);
		strcpy(h->dir, "/tmp/migd-fuzz-XXXXXX");
		assert(mkdtemp(h->dir));
		(void)atexit(fuzz_host_remove);
		fuzz_path(h->state, sizeof(h->state), "%s/state", h->dir);
		fuzz_path(h->attach, sizeof(h->attach), "%s/attach", h->dir);
		fuzz_path(h->qmp, sizeof(h->qmp), "%s/qmp", h->dir);
		fuzz_set(h, "daemon", "state-dir", h->state);
		fuzz_set(h, "attach", "socket", h->attach);
		fuzz_set(h, "qmp", "socket", h->qmp);
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		fuzz_path(path, sizeof(path), "%s%s", h->state, folders[i]);
		(void)mkdir(path, 0700);
		if (i > 0)
			fuzz_empty(path);
	}
	return h;
}

static inline void fuzz_file(const struct fuzz_host *h, const char *name, const void *text,
			     size_t len)
{
	char path[128];
	int fd;

	fuzz_path(path, sizeof(path), "%s/%s", h->state, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, text, len) < 0)
		abort();
	(void)close(fd);
}

static inline struct daemon *fuzz_daemon_start(struct fuzz_host *h)
{
	struct config_report report = { 0 };
	struct merr err = MERR_INIT;
	struct daemon *d = NULL;

	h->source = (struct config_source){ .options = &h->options };
	if (config_source_load(&h->source, &report) < 0 ||
	    daemon_new(&h->source, open("/dev/null", O_RDONLY | O_CLOEXEC), &d, &err) < 0) {
		(void)fprintf(stderr, "%s\n", merr_msg(&err));
		abort();
	}
	config_report_done(&report);
	return d;
}

static inline void fuzz_daemon_end(struct fuzz_host *h, struct daemon *d)
{
	(void)daemon_free(d);
	config_source_done(&h->source);
}

/* What can be done now is done. */
static inline void fuzz_daemon_turn(struct daemon *d)
{
	for (int i = 0; i < FUZZ_ROUNDS; i++)
		(void)event_base_loop(d->base, EVLOOP_NONBLOCK);
}

static inline void fuzz_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	fuzz_path(ret->sun_path, sizeof(ret->sun_path), "%s", path);
}

static inline int fuzz_connect(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;

	fuzz_address(path, &addr);
	assert(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

#endif
