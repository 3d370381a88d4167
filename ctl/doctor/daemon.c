/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: its socket, its state directory, its version, and what it says about its guests and credentials. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ctl/doctor/doctor.h"

#define SPACE_MIN (16.0 * 1024 * 1024)
#define ANSWER_NS (10 * NS_PER_SEC)

static void check_socket_mode(struct doctor *d)
{
	const char *path = d->ctl->socket_path;
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	if (!S_ISSOCK(st.st_mode))
		doctor_say(d, DOCTOR_PROBLEM, "socket", "say --socket PATH, or set MIGD_SOCKET", "'%s' is no socket", path);
	else if (st.st_mode & S_IWOTH)
		doctor_say(d, DOCTOR_PROBLEM, "socket", "whoever opens it may move and stop all guests: chmod o-rwx it, or socket-mode in "
			   "migd.conf", "everybody may open '%s' (mode %04o)", path, (unsigned int)st.st_mode & 07777);
	else
		doctor_say(d, DOCTOR_OK, "socket", NULL, "'%s' has mode %04o", path, (unsigned int)st.st_mode & 07777);
}

static const char *advice_for(int code)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return "the socket's group and mode say who may; use sudo, or be added to that group";
	case -ENOENT:
		return "start migd (systemctl start migd), or say where its socket is: --socket PATH";
	case -ECONNREFUSED:
		return "the socket is left over from a daemon that ended: start migd (systemctl start migd)";
	default:
		return "see the daemon's log (journalctl -u migd)";
	}
}

static bool check_reachable(struct doctor *d)
{
	struct merr err = MERR_INIT;
	const json_t *version;
	char text[64];
	int r = qmp_client_connect(d->ctl->socket_path, &d->ctl->client, &err);

	if (r < 0) {
		doctor_say(d, DOCTOR_PROBLEM, "daemon", advice_for(r), "%s", merr_msg(&err));
		return false;
	}
	qmp_client_set_timeout(d->ctl->client, ANSWER_NS);
	version = json_object_get(json_object_get(qmp_client_greeting(d->ctl->client), "QMP"), "version");
	(void)snprintf(text, sizeof(text), "%lld.%lld.%lld", (long long)ctl_int(version, "qemu.major", 0),
		       (long long)ctl_int(version, "qemu.minor", 0), (long long)ctl_int(version, "qemu.micro", 0));
	if (strcmp(text, MIGD_VERSION) != 0)
		doctor_say(d, DOCTOR_WARNING, "daemon", "restart migd after an upgrade: guests reconnect, and nothing is lost",
			   "it answers, and has version %s; migctl has " MIGD_VERSION, text);
	else
		doctor_say(d, DOCTOR_OK, "daemon", NULL, "it answers, and has version %s as migctl has", text);
	return true;
}

static void check_guests(struct doctor *d)
{
	_cleanup_json_ json_t *guests = NULL;
	struct merr err = MERR_INIT;
	unsigned int gone = 0, doubtful = 0;
	size_t i;
	json_t *g;

	if (ctl_execute(d->ctl, "query-guests", NULL, &guests, &err) != CTL_OK) {
		doctor_say(d, DOCTOR_PROBLEM, "guests", NULL, "%s", merr_msg(&err));
		return;
	}
	json_array_foreach(guests, i, g) {
		gone += !ctl_bool(g, "attached");
		doubtful += ctl_bool(g, "handover.in-doubt");
	}
	if (doubtful > 0)
		doctor_say(d, DOCTOR_PROBLEM, "guests", "`migctl guests` says which; migctl help resolve",
			   "%u guests are in doubt: stopped until their other side can be asked", doubtful);
	else if (gone > 0)
		doctor_say(d, DOCTOR_WARNING, "guests", "`migctl guests` says which; their VMMs attach again by themselves if they run",
			   "%u of %zu guests are not attached", gone, json_array_size(guests));
	else
		doctor_say(d, DOCTOR_OK, "guests", NULL, "%zu guests are attached", json_array_size(guests));
}

static void check_credentials(struct doctor *d)
{
	_cleanup_json_ json_t *list = NULL;
	struct merr err = MERR_INIT;
	size_t i;
	json_t *c;

	if (ctl_execute(d->ctl, "query-tls-credentials", NULL, &list, &err) != CTL_OK) {
		doctor_say(d, DOCTOR_WARNING, "credentials", NULL, "%s", merr_msg(&err));
		return;
	}
	json_array_foreach(list, i, c) {
		if (ctl_str(c, "error", NULL))
			doctor_say(d, DOCTOR_PROBLEM, "credentials", "docs/tls.md", "the daemon's '%s': %s", ctl_str(c, "id", "?"),
				   ctl_str(c, "error", ""));
		else
			doctor_say(d, DOCTOR_OK, "credentials", NULL, "the daemon can use its '%s'", ctl_str(c, "id", "?"));
	}
}

static void check_state_dir(struct doctor *d)
{
	struct statvfs fs;
	struct stat st;
	char size[32];

	if (stat(d->state_dir, &st) < 0) {
		doctor_say(d, d->ctl->client ? DOCTOR_OK : DOCTOR_WARNING, "state-dir",
			   "if migd's is another one, say --state-dir DIR; migd makes it at its start", "'%s' cannot be seen: %s", d->state_dir,
			   strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode) || (st.st_mode & S_IWOTH)) {
		doctor_say(d, DOCTOR_PROBLEM, "state-dir", "only migd's user may write there: what is in it decides where guests run",
			   "'%s' is no directory of migd's own (mode %04o)", d->state_dir, (unsigned int)st.st_mode & 07777);
		return;
	}
	if (statvfs(d->state_dir, &fs) < 0)
		return;
	ctl_size((double)fs.f_bavail * (double)fs.f_frsize, size, sizeof(size));
	if ((double)fs.f_bavail * (double)fs.f_frsize < SPACE_MIN)
		doctor_say(d, DOCTOR_PROBLEM, "state-dir", "free some space: migd keeps there what the next one needs to go on", "%s free in '%s'",
			   size, d->state_dir);
	else
		doctor_say(d, DOCTOR_OK, "state-dir", NULL, "'%s' has mode %04o and %s free", d->state_dir, (unsigned int)st.st_mode & 07777,
			   size);
}

void doctor_check_daemon(struct doctor *d)
{
	check_socket_mode(d);
	if (check_reachable(d)) {
		check_guests(d);
		check_credentials(d);
	}
	check_state_dir(d);
}
