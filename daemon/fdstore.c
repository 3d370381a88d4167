/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the service manager keeps. */
#include "daemon/fdstore.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "daemon/passed.h"

/* systemd's, with the end; names are printable ASCII without ':'. */
#define NAME_CAP 256

/* "KIND-ID", where anything but letters, digits and "._-" of ID is %XX. -ENAMETOOLONG: it is not kept. */
static int format_name(const char *kind, const char *id, char ret[NAME_CAP])
{
	int n = snprintf(ret, NAME_CAP, "%s-", kind);
	size_t len = (size_t)n;

	for (; *id; id++) {
		unsigned char c = (unsigned char)*id;

		if (len + 4 > NAME_CAP)
			return -ENAMETOOLONG;
		if ((isascii(c) && isalnum(c)) || strchr("._-", c))
			ret[len++] = (char)c;
		else
			len += (size_t)snprintf(ret + len, NAME_CAP - len, "%%%02X", c);
	}
	ret[len] = '\0';
	return 0;
}

void fdstore_put(const char *kind, const char *id, int fd)
{
	char name[NAME_CAP], text[NAME_CAP + 64];
	int r = fd < 0 ? 0 : format_name(kind, id, name);

	if (fd >= 0 && r == 0) {
		(void)snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
		r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	}
	if (r < 0)
		log_warning("the service manager does not keep a descriptor for the next migd %s='%s': %s", kind, id,
			    strerror(-r));
}

void fdstore_forget(const char *name)
{
	(void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void fdstore_drop(const char *kind, const char *id)
{
	char name[NAME_CAP];

	if (format_name(kind, id, name) == 0)
		fdstore_forget(name);
}

int fdstore_claim(struct passed *p, const char *kind, const char *id)
{
	char name[NAME_CAP];

	if (!p || format_name(kind, id, name) < 0)
		return -ENOENT;
	return passed_claim(p, name);
}
