/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of arguments: what they are, and reading the grammar that names them. */
#include "ctl/kinds.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *kind;
	const char *help;
} kinds[] = {
	{ "CAPABILITY=on|off", "a capability of migrations; `migctl capabilities` lists them" },
	{ "DESTINATION", "a shared port of another host's migd, such as tcp:HOST:4450; weight=N, max-guests=N and max-memory=SIZE may "
			 "follow it, after commas" },
	{ "DIR", "a directory" },
	{ "COMMAND", "a command, as it would be typed there" },
	{ "EVENT", "an event's name, such as MIGRATION or STOP" },
	{ "FD", "the number of a file descriptor of migctl's, such as 3 after `3<>FILE` in the shell" },
	{ "FDSET", "a set's number, as `migctl fdsets` shows it" },
	{ "GUEST", "a guest's name, as `migctl guests` shows it" },
	{ "ID", "a name: a letter, then letters, digits, -, . and _" },
	{ "JSON|NAME", "a QMP command as JSON, or the name of one that has no arguments but the guest" },
	{ "HOST-PARAMETER", "the name of a parameter that holds for all guests; `migctl host` lists them" },
	{ "LINE", "a command line up to the cursor, with `migctl` in front" },
	{ "LISTENER", "the address of a shared port, as `migctl host-listeners` shows it" },
	{ "MIGRATION", "a migration's id, or enough of its beginning; `migctl history` lists them" },
	{ "MB/S", "MiB a second" },
	{ "MS", "milliseconds" },
	{ "N", "a number" },
	{ "NAME", "a name of your choice" },
	{ "OBJECT", "an object's id, as `migctl objects` shows it" },
	{ "PARAMETER=VALUE", "a parameter or a capability; `migctl set` lists them. Numbers may have a suffix K, M, G or T (powers of "
			     "1024); switches are on or off" },
	{ "HOST-PARAMETER=VALUE", "what holds for all guests; `migctl host` lists them" },
	{ "PATH", "a file's or a socket's name" },
	{ "PROPERTY=VALUE", "a property of such an object: docs/qmp-reference.md, `ObjectOptions`" },
	{ "SECONDS", "seconds; parts of them too, such as 0.5" },
	{ "SETTING=VALUE", "one of the settings below" },
	{ "STRATEGY", "precopy, postcopy or auto" },
	{ "TYPE", "an object's type: tls-creds-x509, tls-creds-psk, authz-simple, authz-list, authz-listfile or secret" },
	{ "URI", "where the other side is: tcp:HOST:PORT, unix:PATH, vsock:CID:PORT, file:PATH, fd:NAME, exec:COMMAND; to wait at the "
		 "host's shared ports also shared:NAME. migd(8) has their options" },
	{ "VERB", "a command's name" },
};

const char *ctl_kind_help(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].help;
	return NULL;
}

bool ctl_kind_is_choice(const char *kind)
{
	for (const char *p = kind; *p; p++)
		if (isupper((unsigned char)*p))
			return false;
	return *kind;
}

const char *ctl_kind_word(const char *kind, size_t index, char *buf, size_t len)
{
	for (; index > 0; index--) {
		kind = strchr(kind, '|');
		if (!kind)
			return NULL;
		kind++;
	}
	(void)snprintf(buf, len, "%.*s", (int)strcspn(kind, "|"), kind);
	return buf;
}

/* One word of the grammar, LEN long. */
static void read_word(const char *word, size_t len, struct ctl_argument *ret)
{
	ret->repeated = len > 3 && strncmp(word + len - 3, "...", 3) == 0;
	if (ret->repeated)
		len -= 3;
	ret->optional = *word == '[';
	if (ret->optional) {
		word++;
		len -= 2;
	}
	(void)snprintf(ret->kind, sizeof(ret->kind), "%.*s", (int)len, word);
}

bool ctl_argument_at(const char *grammar, int index, struct ctl_argument *ret)
{
	const char *word = grammar ? grammar : "";

	for (;; index--) {
		size_t len = strcspn(word, " ");

		if (len == 0)
			return false;
		read_word(word, len, ret);
		if (index == 0 || ret->repeated)
			return true;
		word += len + strspn(word + len, " ");
	}
}

void ctl_argument_count(const char *grammar, int *min, int *max)
{
	struct ctl_argument a;

	*min = *max = 0;
	for (int i = 0; ctl_argument_at(grammar, i, &a); i++) {
		if (!a.optional)
			*min = i + 1;
		*max = i + 1;
		if (a.repeated) {
			*max = -1;
			break;
		}
	}
}
