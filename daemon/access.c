/* SPDX-License-Identifier: Apache-2.0 */
/* Which QMP clients may do what. */
#include "daemon/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"

/* Users whose names are known to be told; all of them may have rights. */
#define NAMES_MAX 4096U

struct list {
	bool everybody;
	struct buf users, groups;	/* uid_t, gid_t */
};

struct user_name {
	uid_t uid;
	char name[33];
};

struct access {
	struct list lists[QMP_ACCESS__MAX];
	struct buf names;	/* struct user_name */
};

/* ---- reading the lists ---- */

static bool parse_number(const char *word, unsigned int *ret)
{
	unsigned long n;
	char *end;

	if (word[0] < '0' || word[0] > '9')
		return false;
	errno = 0;
	n = strtoul(word, &end, 10);
	/* The last one is nobody's: "no change" to the kernel. */
	if (*end || errno || n >= UINT32_MAX)
		return false;
	*ret = (unsigned int)n;
	return true;
}

static bool find_user(const char *word, uid_t *ret)
{
	const struct passwd *pw;

	if (parse_number(word, ret))
		return true;
	pw = getpwnam(word);
	if (pw)
		*ret = pw->pw_uid;
	return pw != NULL;
}

static bool find_group(const char *word, gid_t *ret)
{
	const struct group *gr;

	if (parse_number(word, ret))
		return true;
	gr = getgrnam(word);
	if (gr)
		*ret = gr->gr_gid;
	return gr != NULL;
}

static void add_word(struct list *l, const char *class, const char *word)
{
	bool is_group = word[0] == '@';
	uid_t uid;
	gid_t gid;

	if (strcmp(word, "*") == 0)
		l->everybody = true;
	else if (is_group && find_group(word + 1, &gid))
		buf_add(&l->groups, &gid, sizeof(gid));
	else if (!is_group && find_user(word, &uid))
		buf_add(&l->users, &uid, sizeof(uid));
	else
		log_warning("[access] %s: there is no %s '%s' here: the entry allows nobody anything", class,
			    is_group ? "group" : "user", is_group ? word + 1 : word);
}

static int read_list(struct list *l, const char *class, const char *text, struct merr *err)
{
	_cleanup_free_ char *copy = strdup(text);
	char *save = NULL;

	if (!copy)
		return merr_set(err, -ENOMEM, "out of memory");
	for (const char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (strchr(word, ','))
			return merr_set(err, -EINVAL, "[access] %s: '%.100s': names are separated by spaces, not by commas",
					class, word);
		add_word(l, class, word);
	}
	return l->users.error || l->groups.error ? merr_set(err, -ENOMEM, "out of memory") : 0;
}

/* Those of the host itself: a name is only for people to read, and no name service is asked for one. */
static int read_names(struct access *a)
{
	FILE *f = fopen("/etc/passwd", "re");
	struct user_name n;
	struct passwd *pw;

	while (f && a->names.len < NAMES_MAX * sizeof(n) && (pw = fgetpwent(f))) {
		n = (struct user_name){ .uid = pw->pw_uid };
		(void)snprintf(n.name, sizeof(n.name), "%s", pw->pw_name);
		buf_add(&a->names, &n, sizeof(n));
	}
	if (f)
		(void)fclose(f);
	return a->names.error;
}

static int read_all(struct access *a, const struct config_access *c, struct merr *err)
{
	const char *const texts[] = {
		[QMP_ACCESS_READ] = c->read,
		[QMP_ACCESS_OPERATE] = c->operate,
		[QMP_ACCESS_ADMIN] = c->admin,
		[QMP_ACCESS_PRIVILEGED] = c->privileged,
	};
	int r = read_names(a) < 0 ? merr_set(err, -ENOMEM, "out of memory") : 0;

	for (enum qmp_access i = 0; r == 0 && i < QMP_ACCESS__MAX; i++)
		r = read_list(&a->lists[i], qmp_access_str(i), texts[i] ? texts[i] : "", err);
	return r;
}

struct access *access_free(struct access *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(a->lists); i++) {
		buf_done(&a->lists[i].users);
		buf_done(&a->lists[i].groups);
	}
	buf_done(&a->names);
	free(a);
	return NULL;
}

int access_load(struct daemon *d, struct merr *err)
{
	struct access *a = calloc(1, sizeof(*a));
	int r = a ? read_all(a, &d->config.access, err) : merr_set(err, -ENOMEM, "out of memory");

	if (r < 0) {
		(void)access_free(a);
		return r;
	}
	(void)access_free(d->access);
	d->access = a;
	if (d->qmp)
		qmp_server_review_rights(d->qmp);
	return 0;
}

/* ---- asking them ---- */

/* User and group numbers are of one type. */
static bool has(const struct buf *list, unsigned int number)
{
	const unsigned int *numbers = (const unsigned int *)(const void *)list->data;

	for (size_t i = 0; i < list->len / sizeof(numbers[0]); i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static bool is_in(const struct list *l, const struct qmp_peer *peer)
{
	if (l->everybody || has(&l->users, peer->uid) || has(&l->groups, peer->gid))
		return true;
	for (size_t i = 0; i < peer->n_groups; i++)
		if (has(&l->groups, peer->groups[i]))
			return true;
	return false;
}

unsigned int access_rights(void *opaque, const struct qmp_peer *peer)
{
	const struct daemon *d = opaque;
	unsigned int rights = 0;

	if (peer->uid == 0 || peer->uid == geteuid())
		return QMP_ACCESS_ALL;
	for (unsigned int i = 0; i < QMP_ACCESS__MAX; i++)
		if (is_in(&d->access->lists[i], peer))
			rights |= QMP_ACCESS_BIT(i);
	return rights;
}

const char *access_user_name(const struct daemon *d, uid_t uid)
{
	const struct user_name *names = (const struct user_name *)(const void *)d->access->names.data;

	for (size_t i = 0; i < d->access->names.len / sizeof(names[0]); i++)
		if (names[i].uid == uid)
			return names[i].name;
	return "";
}

int access_refuse(void *opaque, const struct qmp_peer *peer, enum qmp_access access, struct merr *err)
{
	const char *class = qmp_access_str(access), *name = access_user_name(opaque, peer->uid);

	return merr_set(err, -EPERM,
			"it takes class '%s', which user %s%s(uid %u) does not have; to allow it, add the user to '%s' in "
			"section [access] of migd.conf, and reload migd",
			class, name, name[0] ? " " : "", (unsigned int)peer->uid, class);
}
