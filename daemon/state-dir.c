/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory. Every name in it is reached through the directory's descriptor. */
#include "daemon/state-dir-internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/json.h"

#define ID_DIGITS    (STATE_DIR_ID_LEN - 1)
#define NAME_MAX_LEN 64
/* A journal holds a name, two addresses and numbers. */
#define FILE_MAX_BYTES (4 << 20)
#define WORKER_BACKLOG    4

/* 20 ms apart. */
#define LOCK_TRIES 150

static int open_dir(int parent, const char *name, int *ret, struct merr *err)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return merr_set_errno(
			err, -errno,
			"cannot make directory '%s'; make its parent, or choose another with "
			"--state-dir",
			name);
	*ret = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0)
		return merr_set_errno(err, -errno, "cannot open directory '%s'", name);
	return 0;
}

/*
 * A daemon that was killed while it started a worker: that one has the lock, and all the sockets, until its exec, which may take
 * a while on a host without a free CPU. Whoever has it for longer is another daemon.
 */
static int wait_lock(int fd)
{
	const struct timespec moment = { .tv_nsec = 20 * NS_PER_MS };

	for (int left = LOCK_TRIES; flock(fd, LOCK_EX | LOCK_NB) < 0; left--) {
		if (errno != EWOULDBLOCK || left == 1)
			return -errno;
		(void)nanosleep(&moment, NULL);
	}
	return 0;
}

static int take_lock(int dir, const char *path, int *ret, struct merr *err)
{
	int r;

	*ret = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*ret < 0)
		return merr_set_errno(err, -errno, "cannot open '%s/lock'", path);
	r = wait_lock(*ret);
	if (r == -EWOULDBLOCK)
		return merr_set(err, -EBUSY,
				"another migd uses the state directory '%s': stop it, or give this "
				"one its own with "
				"--state-dir",
				path);
	return r < 0 ? merr_set_errno(err, r, "cannot lock '%s/lock'", path) : 0;
}

int state_dir_open(const char *path, struct state_dir **ret, struct merr *err)
{
	struct state_dir *s = calloc(1, sizeof(*s));
	_cleanup_close_ int dir = -1;
	struct merr why = MERR_INIT;
	int r;

	if (!s)
		return merr_set(err, -ENOMEM, "out of memory");
	s->lock_fd = s->migrations_fd = s->settings_fd = s->workers_fd = s->records_fd = -1;
	r = open_dir(AT_FDCWD, path, &dir, err);
	if (r == 0)
		r = take_lock(dir, path, &s->lock_fd, err);
	if (r == 0)
		r = open_dir(dir, "migrations", &s->migrations_fd, err);
	if (r == 0)
		r = open_dir(dir, "settings", &s->settings_fd, err);
	if (r == 0)
		r = open_dir(dir, "workers", &s->workers_fd, err);
	if (r < 0) {
		(void)state_dir_free(s);
		return merr_prefix(err, "state directory '%s'", path);
	}
	if (open_dir(dir, "records", &s->records_fd, &why) < 0)
		log_err("no history of migrations is kept: %s", merr_msg(&why));
	*ret = s;
	return 0;
}

struct state_dir *state_dir_free(struct state_dir *s)
{
	if (!s)
		return NULL;
	close_fd(s->records_fd);
	close_fd(s->workers_fd);
	close_fd(s->settings_fd);
	close_fd(s->migrations_fd);
	close_fd(s->lock_fd);
	free(s);
	return NULL;
}

/* ---- workers' sockets ---- */

/* Through /proc, so that the state directory's path may be longer than a socket's address. */
static void socket_address(const struct state_dir *s, const char *id, struct sockaddr_un *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	(void)snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%.32s.sock",
		       s->workers_fd, id);
}

int state_dir_worker_socket(struct state_dir *s, const char *id, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char name[NAME_MAX_LEN];
	struct sockaddr_un sun;

	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a worker's socket");
	/* A successor of a worker that died takes over its name. */
	(void)snprintf(name, sizeof(name), "%.32s.sock", id);
	(void)unlinkat(s->workers_fd, name, 0);
	socket_address(s, id, &sun);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, WORKER_BACKLOG) < 0)
		return merr_set_errno(err, -errno,
				      "cannot listen on a worker's socket in the state directory");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int state_dir_worker_connect(struct state_dir *s, const char *id, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun;

	if (fd < 0)
		return -errno;
	socket_address(s, id, &sun);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- journals ---- */

static char *journal_text(const struct journal *j)
{
	_cleanup_json_ json_t *o =
		json_pack("{s:i, s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:i, s:I, s:i, s:I, s:i, s:b, s:b, s:I, s:b, "
			  "s:s, s:I, s:b, s:b, s:b}", "version", JOURNAL_VERSION, "id", j->id, "guest", j->guest, "outgoing", j->outgoing,
			  "exit-on-error", j->exit_on_error, "uri", j->uri, "handover-id",
			  j->handover_id, "listen", j->listen, "worker-pid", j->worker_pid,
			  "worker-start-time", (json_int_t)j->worker_start_time, "vmm-pid",
			  j->vmm_pid, "vmm-start-time", (json_int_t)j->vmm_start_time, "priority",
			  j->priority, "waits", j->waits, "allow-weak-handover",
			  j->allow_weak_handover, "arrival", (json_int_t)j->arrival,
			  "postcopy", j->postcopy, "strategy", j->strategy, "deadline",
			  (json_int_t)j->deadline_ms, "start-postcopy", j->start_postcopy, "start-remote", j->start_remote,
			  "peer-waits", j->peer_waits);

	return o ? json_dumps(o, JSON_INDENT(1)) : NULL;
}

int state_dir_record(struct state_dir *s, const struct journal *j, struct merr *err)
{
	char name[NAME_MAX_LEN], temporary[NAME_MAX_LEN];
	_cleanup_free_ char *text = journal_text(j);
	int r;

	if (!text)
		return merr_set(err, -ENOMEM, "cannot write a migration's journal: out of memory");
	(void)snprintf(name, sizeof(name), "%.32s.json", j->id);
	(void)snprintf(temporary, sizeof(temporary), "%.32s.new", j->id);
	r = FAULT_FAILS("file.journal-write");
	if (r == 0)
		r = state_dir_replace(s->migrations_fd, name, temporary, text, false);
	return r < 0 ? merr_set_errno(err, r, "cannot write the journal '%s' in the state directory", name) : 0;
}

void state_dir_forget(struct state_dir *s, const char *id)
{
	char name[NAME_MAX_LEN];

	(void)snprintf(name, sizeof(name), "%.32s.sock", id);
	(void)unlinkat(s->workers_fd, name, 0);
	(void)snprintf(name, sizeof(name), "%.32s.json", id);
	if (unlinkat(s->migrations_fd, name, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove a journal name='%s': %s", name, strerror(errno));
}

static int load_json(int dir, const char *name, json_t **ret, struct merr *err)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	json_error_t why;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "cannot read it");
	if (st.st_size > FILE_MAX_BYTES)
		return merr_set(err, -EFBIG, "it has more than %d bytes", FILE_MAX_BYTES);
	text = malloc((size_t)st.st_size + 1);
	r = text ? fd_pread_full(fd, text, (size_t)st.st_size, 0) : -ENOMEM;
	if (r < 0)
		return merr_set_errno(err, r, "cannot read it");
	*ret = json_loadb(text, (size_t)st.st_size, 0, &why);
	return *ret ? 0 : merr_set(err, -EBADMSG, "%s", why.text);
}

static int parse_journal(json_t *o, struct journal *j, struct merr *err)
{
	json_int_t worker_start, vmm_start, arrival = 0, deadline = 0;
	int version, outgoing, exit_on_error, waits = 0, allow_weak = 0, postcopy = 0, start_postcopy = 0,
	    start_remote = 0, peer_waits = -1;
	json_error_t why;

	if (json_unpack_ex(o, &why, 0, "{s:i}", "version", &version) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (version != JOURNAL_VERSION)
		return merr_set(err, -ENOTSUP,
				"version %d is not known to this migd, which writes version %d",
				version, JOURNAL_VERSION);
	j->strategy = "";
	if (json_unpack_ex(o, &why, 0, "{s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:i, s:I, s:i, s:I, s?i, s?b, s?b, s?I, "
			   "s?b, s?s, s?I, s?b, s?b, s?b}",
			   "id", &j->id, "guest", &j->guest, "outgoing", &outgoing, "exit-on-error",
			   &exit_on_error, "uri", &j->uri, "handover-id", &j->handover_id, "listen",
			   &j->listen, "worker-pid", &j->worker_pid, "worker-start-time",
			   &worker_start, "vmm-pid", &j->vmm_pid, "vmm-start-time", &vmm_start,
			   "priority", &j->priority, "waits", &waits, "allow-weak-handover",
			   &allow_weak, "arrival", &arrival, "postcopy", &postcopy, "strategy", &j->strategy,
			   "deadline", &deadline, "start-postcopy", &start_postcopy, "start-remote", &start_remote,
			   "peer-waits", &peer_waits) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (strlen(j->id) != ID_DIGITS || strlen(j->handover_id) != ID_DIGITS)
		return merr_set(err, -EBADMSG, "an id has not %d digits", ID_DIGITS);
	j->outgoing = outgoing != 0;
	j->exit_on_error = exit_on_error != 0;
	j->waits = waits != 0;
	j->allow_weak_handover = allow_weak != 0;
	j->arrival = (uint64_t)arrival;
	j->postcopy = postcopy != 0;
	j->deadline_ms = (uint64_t)deadline;
	j->start_postcopy = start_postcopy != 0;
	j->start_remote = start_remote != 0;
	/* Whether a source was told LOADED, a former migd did not say: somebody has to be there if it asks. */
	j->peer_waits = peer_waits < 0 ? !j->outgoing : peer_waits != 0;
	j->worker_start_time = (uint64_t)worker_start;
	j->vmm_start_time = (uint64_t)vmm_start;
	return 0;
}

static void scan_journal(struct state_dir *s, const char *name,
			 void (*fn)(void *opaque, const struct journal *j), void *opaque)
{
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	struct journal j = { 0 };

	if (load_json(s->migrations_fd, name, &o, &err) < 0 || parse_journal(o, &j, &err) < 0) {
		log_err("ignoring a journal of the state directory name='%s': %s", name,
			merr_msg(&err));
		return;
	}
	fn(opaque, &j);
}

static void remove_stale_sockets(struct state_dir *s)
{
	_cleanup_closedir_ DIR *d = fd_listing(s->workers_fd);
	char id[ID_DIGITS + 1], journal[NAME_MAX_LEN];
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!state_dir_parse_name(e->d_name, ".sock", id))
			continue;
		(void)snprintf(journal, sizeof(journal), "%s.json", id);
		if (faccessat(s->migrations_fd, journal, F_OK, 0) < 0)
			(void)unlinkat(s->workers_fd, e->d_name, 0);
	}
}

void state_dir_scan(struct state_dir *s, void (*fn)(void *opaque, const struct journal *j),
		    void *opaque)
{
	_cleanup_closedir_ DIR *d = fd_listing(s->migrations_fd);
	char id[ID_DIGITS + 1];
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (state_dir_parse_name(e->d_name, ".json", id))
			scan_journal(s, e->d_name, fn, opaque);
	remove_stale_sockets(s);
}
