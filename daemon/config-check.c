/* SPDX-License-Identifier: Apache-2.0 */
/* What the schema does not know about the configuration's values. */
#include "daemon/config-check.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/config-file.h"
#include "daemon/json.h"
#include "transport/addr.h"

/* ---- one value ---- */

static int is_log_level(const char *v, struct merr *err)
{
	return log_level_parse(v) >= 0 ? 0
				       : merr_set(err, -EINVAL,
						  "'%s' is no level; there are emerg, alert, crit, err, warning, notice, info "
						  "and debug",
						  v);
}

static int is_audit(const char *v, struct merr *err)
{
	if (strcmp(v, "none") == 0 || strcmp(v, "changes") == 0 || strcmp(v, "all") == 0)
		return 0;
	return merr_set(err, -EINVAL, "'%s' is not one of: none, changes, all", v);
}

static int is_mode(const char *v, struct merr *err)
{
	char *end;
	unsigned long mode = strtoul(v, &end, 8);

	if (isdigit((unsigned char)*v) && !*end && mode <= 0777 && (mode & 0600) == 0600)
		return 0;
	return merr_set(err, -EINVAL, "'%s' is no mode of a socket; a right one is octal and lets its owner in, such as 0660", v);
}

static int is_number(const char *v)
{
	return *v && strspn(v, "0123456789") == strlen(v) && strlen(v) <= 10 && strtoul(v, NULL, 10) < UINT32_MAX;
}

static int is_group(const char *v, struct merr *err)
{
	if (!*v || is_number(v) || getgrnam(v))
		return 0;
	return merr_set(err, -EINVAL, "there is no group '%s' on this host", v);
}

static int is_user(const char *v, struct merr *err)
{
	if (strcmp(v, "*") == 0 || is_number(v))
		return 0;
	if (strchr(v, ','))
		return merr_set(err, -EINVAL, "'%s': names are separated by spaces, not by commas", v);
	if (*v == '@')
		return v[1] ? is_group(v + 1, err) : merr_set(err, -EINVAL, "a group follows the @, such as @migd");
	return getpwnam(v) ? 0 : merr_set(err, -EINVAL, "there is no user '%s' on this host; a group is written @%s", v, v);
}

static int is_uri(const char *v, struct merr *err)
{
	struct addr a;
	int r = addr_parse_uri(v, &a, err);

	if (r == 0 && (!addr_is_network(&a) || a.to_guest))
		r = merr_set(err, -EINVAL, "'%s' is no address to listen on for all guests; a right one looks like tcp:HOST:PORT", v);
	return r;
}

/* Each word of V. */
static int each(const char *v, int (*fn)(const char *word, struct merr *err), struct merr *err)
{
	_cleanup_free_ char *copy = strdup(v);
	char *save = NULL;
	int r = copy ? 0 : merr_set(err, -ENOMEM, "out of memory");

	for (char *word = copy ? strtok_r(copy, " \t", &save) : NULL; r == 0 && word; word = strtok_r(NULL, " \t", &save))
		r = fn(word, err);
	return r;
}

static int are_users(const char *v, struct merr *err)
{
	return each(v, is_user, err);
}

static int are_uris(const char *v, struct merr *err)
{
	return each(v, is_uri, err);
}

static bool is_loopback(const char *host)
{
	return strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0 ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static int is_local_listener(const char *v, struct merr *err)
{
	struct addr a;

	if (!*v)
		return 0;
	if (addr_parse_uri(v, &a, NULL) == 0 && !a.to_guest &&
	    ((a.type == ADDR_UNIX && (a.abstract || a.path[0] == '/')) || (a.type == ADDR_TCP && is_loopback(a.host))))
		return 0;
	return merr_set(err, -EINVAL,
			"'%s' is neither unix:/PATH nor tcp:HOST:PORT with a HOST of the loopback (127.0.0.1, [::1], localhost)", v);
}

/* One of "2-3,6", of which what comes behind is returned, or NULL. */
static const char *cpu_range(const char *v)
{
	unsigned long first, last;
	char *end;

	if (!isdigit((unsigned char)*v))
		return NULL;
	first = last = strtoul(v, &end, 10);
	if (*end == '-') {
		if (!isdigit((unsigned char)end[1]))
			return NULL;
		last = strtoul(end + 1, &end, 10);
	}
	return first <= last && last < CPU_SETSIZE ? end : NULL;
}

static int are_cpus(const char *v, struct merr *err)
{
	const char *at = *v ? cpu_range(v) : v;

	while (at && *at == ',')
		at = cpu_range(at + 1);
	if (at && !*at)
		return 0;
	return merr_set(err, -EINVAL, "'%s' is no list of CPUs; a right one looks like 2-3,6 and has numbers below %d", v,
			CPU_SETSIZE);
}

static int is_template_unit(const char *v, struct merr *err)
{
	const char *at = strchr(v, '@'), *dot = strrchr(v, '.');

	if (!*v || (at && at != v && at + 1 == dot && strcmp(dot, ".service") == 0 && !strpbrk(v, "/ \t")))
		return 0;
	return merr_set(err, -EINVAL, "'%s' is no template unit; a right one looks like guest-incoming@.service", v);
}

static int is_program(const char *v, struct merr *err)
{
	struct stat st;

	if (!*v)
		return 0;
	if (stat(v, &st) < 0)
		return merr_set_errno(err, -errno, "'%s' is no program", v);
	return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : merr_set(err, -EINVAL, "'%s' is no program: it cannot be run", v);
}

static int is_source_address(const char *v, struct merr *err)
{
	struct source s = { 0 };

	return source_set_address(&s, v, err);
}

static int is_source_interface(const char *v, struct merr *err)
{
	struct source s = { 0 };

	return source_set_interface(&s, v, err);
}

/* What a path is of. */
enum path_kind { NO_PATH, SOCKET_PATH, OTHER_PATH };

static const struct format {
	const char *section, *key;
	enum path_kind path;
	bool may_be_empty;	/* a path */
	int (*check)(const char *value, struct merr *err);
} formats[] = {
	{ "daemon", "state-dir", .path = OTHER_PATH },
	{ "daemon", "log-level", .check = is_log_level },
	{ "daemon", "listen", .check = are_uris },
	{ "qmp", "socket", .path = SOCKET_PATH },
	{ "qmp", "read-only-socket", .path = SOCKET_PATH, .may_be_empty = true },
	{ "qmp", "guest-sockets", .path = OTHER_PATH, .may_be_empty = true },
	{ "qmp", "socket-mode", .check = is_mode },
	{ "qmp", "socket-group", .check = is_group },
	{ "qmp", "audit", .check = is_audit },
	{ "attach", "socket", .path = SOCKET_PATH },
	{ "attach", "socket-mode", .check = is_mode },
	{ "attach", "socket-group", .check = is_group },
	{ "access", "read", .check = are_users },
	{ "access", "operate", .check = are_users },
	{ "access", "admin", .check = are_users },
	{ "access", "privileged", .check = are_users },
	{ "host", "source-address", .check = is_source_address },
	{ "host", "source-interface", .check = is_source_interface },
	{ "metrics", "listen", .check = is_local_listener },
	{ "arrivals", "start-command", .path = OTHER_PATH, .may_be_empty = true, .check = is_program },
	{ "arrivals", "start-unit", .check = is_template_unit },
	{ "workers", "cpus", .check = are_cpus },
};

static const struct format *format_of(struct config_key k)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (strcmp(formats[i].section, k.section->name) == 0 && strcmp(formats[i].key, k.key->name) == 0)
			return &formats[i];
	return NULL;
}

static int check_path(const struct format *f, const char *v, bool from_file, struct merr *err)
{
	if (!*v)
		return f->may_be_empty ? 0 : merr_set(err, -EINVAL, "a path is needed");
	if (from_file && *v != '/')
		return merr_set(err, -EINVAL, "'%s' is no absolute path: it has to begin with /", v);
	if (from_file && f->path == SOCKET_PATH && strlen(v) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return merr_set(err, -EINVAL, "the path of a Unix socket can have %zu bytes, '%s' has %zu",
				sizeof(((struct sockaddr_un *)0)->sun_path) - 1, v, strlen(v));
	return 0;
}

int config_check_value(struct config_key k, const char *value, bool from_file, struct merr *err)
{
	const struct format *f = format_of(k);
	int r = f && f->path ? check_path(f, value, from_file, err) : 0;

	return r == 0 && f && f->check ? f->check(value, err) : r;
}

/* ---- all of them ---- */

/* Report what is wrong with K where it comes from. */
static void wrong(const struct config_source *s, struct config_key k, struct config_report *report, const char *text)
{
	unsigned int line;
	const char *where = config_source_of(s, k, &line);

	config_report_add(report, where, line, "[%s] %s: %s", k.section->name, k.key->name, text);
}

/* The path that K names, or NULL. In *HOLD, which has to be dropped. */
static const char *path_of(const struct config *c, struct config_key k, json_t **hold)
{
	const struct format *f = format_of(k);
	bool is_listener = strcmp(k.section->name, "metrics") == 0 && strcmp(k.key->name, "listen") == 0;
	const char *s;

	*hold = NULL;
	if (!is_listener && (!f || f->path == NO_PATH || f->check))
		return NULL;
	*hold = config_get(c, k);
	s = json_string_value(*hold);
	if (s && is_listener)
		s = strncmp(s, "unix:", 5) == 0 ? s + 5 : NULL;
	return s && *s ? s : NULL;
}

static void check_paths_differ(const struct config_source *s, struct config_report *report)
{
	const struct config *c = &s->wanted;
	char text[512];

	for (struct config_key b = { 0 }; config_next_key(&b);) {
		_cleanup_json_ json_t *hold_b = NULL;
		const char *path = path_of(c, b, &hold_b);

		for (struct config_key a = { 0 }; path && config_next_key(&a) && a.key != b.key;) {
			_cleanup_json_ json_t *hold_a = NULL;
			const char *other = path_of(c, a, &hold_a);

			if (!other || strcmp(other, path) != 0)
				continue;
			(void)snprintf(text, sizeof(text), "[%s] %s has the same path, '%.200s'; they need different paths",
				       a.section->name, a.key->name, path);
			wrong(s, b, report, text);
		}
	}
}

static void check_one_way_to_start(const struct config_source *s, struct config_report *report)
{
	const struct config_arrivals *a = &s->wanted.arrivals;
	struct config_key unit;

	if (a->start_command[0] && a->start_unit[0] &&
	    config_find_key("arrivals", "start-unit", &unit, NULL) == 0)
		wrong(s, unit, report, "start-command is given as well; a VMM is started by one of the two");
}

int config_check_all(const struct config_source *source, struct config_report *report)
{
	size_t before = report->n;

	check_paths_differ(source, report);
	check_one_way_to_start(source, report);
	return report->n > before ? -EINVAL : 0;
}
