/* SPDX-License-Identifier: Apache-2.0 */
/* Pre-shared keys. */
#include "daemon/psk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FILE_NAME	 "keys.psk"
#define USERNAME_DEFAULT "qemu"

static int check_line(const char *user, const char *key, size_t line, struct merr *err)
{
	size_t digits = key ? strspn(key, "0123456789abcdefABCDEF") : 0;

	if (!key)
		return merr_set(err, -EINVAL, "line %zu: there is no ':'; a line is USER:HEXKEY", line);
	if (!user[0] || strlen(user) > TLS_PSK_USER_MAX)
		return merr_set(err, -EINVAL, "line %zu: a user's name has 1 to %u bytes", line, TLS_PSK_USER_MAX);
	if (!key[0] || key[digits] || digits % 2 != 0 || digits > 2 * (size_t)TLS_PSK_KEY_MAX)
		return merr_set(err, -EINVAL, "line %zu: the key of '%s' is not an even number of hex digits, 2 to %u", line,
				user, 2 * TLS_PSK_KEY_MAX);
	return 0;
}

static int add_key(struct tls_creds *c, const char *user, const char *key, struct merr *err)
{
	struct tls_psk *k;

	if (c->n_psks == TLS_PSKS_MAX)
		return merr_set(err, -E2BIG, "there are more than %u keys", TLS_PSKS_MAX);
	k = &c->psks[c->n_psks];
	k->user = strdup(user);
	if (!k->user)
		return merr_set(err, -ENOMEM, "out of memory");
	memcpy(k->key, key, strlen(key) + 1);
	c->n_psks++;
	return 0;
}

/* Empty lines and comments are skipped. TEXT is taken apart. USER NULL: all keys. */
static int parse(struct tls_creds *c, char *text, const char *user, struct merr *err)
{
	char *line;
	int r = 0;

	for (size_t n = 1; r == 0 && (line = strsep(&text, "\n")); n++) {
		char *name, *key = line + strcspn(line, "\r");

		*key = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		key = line;
		name = strsep(&key, ":");
		r = check_line(name, key, n, err);
		if (r == 0 && (!user || strcmp(name, user) == 0))
			r = add_key(c, name, key, err);
	}
	if (r == 0 && c->n_psks == 0)
		r = user ? merr_set(err, -ENOENT, "there is no key of user '%s'; 'username' chooses another", user)
			 : merr_set(err, -ENOENT, "there is no key in it");
	return r;
}

static int read_keys(struct tls_creds *c, const char *dir, const char *user, struct cred_files *files, struct merr *err)
{
	char *text = NULL;
	size_t len = 0;
	int r = cred_file_read(files, dir, FILE_NAME, CRED_FILE_SECRET, &text, &len, err);

	if (r < 0)
		return r;
	c->psks = calloc(TLS_PSKS_MAX, sizeof(*c->psks));
	if (!c->psks)
		r = merr_set(err, -ENOMEM, "out of memory");
	else if (strlen(text) != len)
		r = merr_set(err, -EINVAL, "there is a NUL in it");
	else
		r = parse(c, text, user, err);
	if (r < 0)
		(void)merr_prefix(err, "'%s/" FILE_NAME "'", dir);
	cred_file_free(text, len);
	return r;
}

int psk_load(const struct tls_creds_psk_properties *p, struct cred_files *files, struct tls_creds **ret,
	     struct merr *err)
{
	struct tls_creds *c = NULL;
	const char *dir;
	bool client;
	int r = tls_creds_dir(TLS_CREDS_COMMON(p), &dir, err);

	if (r == 0)
		r = tls_creds_new(OBJECT_TYPE_TLS_CREDS_PSK, TLS_CREDS_COMMON(p), &c, err);
	if (r != 0)
		return r;
	client = c->endpoint == TLS_CREDS_ENDPOINT_CLIENT;
	if (!client && p->has_username)
		r = merr_set(err, -EINVAL, "Parameter 'username' is a client's: a server knows all users of its keys.psk");
	else
		r = read_keys(c, dir, client ? (p->has_username ? p->username : USERNAME_DEFAULT) : NULL, files, err);
	if (r < 0) {
		(void)tls_creds_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}
