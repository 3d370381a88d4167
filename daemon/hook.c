/* SPDX-License-Identifier: Apache-2.0 */
/* VMMs started for guests that are announced. */
#include "daemon/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "attach/proto.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/command.h"
#include "daemon/daemon.h"
#include "daemon/hello.h"
#include "daemon/json.h"

#define PATH_OF_HOOKS "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SYSTEMCTL     "/usr/bin/systemctl"
/* Each byte may become "\x2d". */
#define INSTANCE_MAX (4 * ATTACH_STR_MAX + 1)

struct hook {
	struct daemon *daemon;
	struct command *command;
	char *unit; /* NULL: a program was started */
	char *file; /* with it: the description */
	hook_fn fn;
	void *opaque;
};

/* ---- names ---- */

/* It becomes an argument, and most likely a part of paths. */
static int check_name(const char *name, struct merr *err)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@+-";

	if (name[strspn(name, good)] == '\0' && name[0] != '-' && name[0] != '.')
		return 0;
	return merr_set(err, -EINVAL,
			"no VMM is started for a guest with this name: letters, digits and _.:@+- can be in it, and it begins "
			"with none of -.; start a VMM by hand");
}

/* As systemd.unit(5), "String escaping for inclusion in unit names", of a name that check_name() lets pass. */
static void escape(const char *name, char ret[INSTANCE_MAX])
{
	size_t len = 0;

	for (; *name; name++)
		if (strchr("-@+", *name))
			len += (size_t)snprintf(ret + len, 5, "\\x%02x", (unsigned int)(unsigned char)*name);
		else
			ret[len++] = *name;
	ret[len] = '\0';
}

/* ---- a program ---- */

static void on_ended(void *opaque, const struct merr *err)
{
	struct hook *h = opaque;
	struct merr why = MERR_INIT;
	hook_fn fn = TAKE_PTR(h->fn);

	if (err)
		(void)merr_set(&why, -EIO, "'%s' did not start a VMM: %s",
			       h->unit ?: h->daemon->config.arrivals.start_command, merr_msg(err));
	fn(h->opaque, err ? &why : NULL);
}

static int run(struct hook *h, char *const argv[], int input, struct merr *err)
{
	_cleanup_free_ char *attach = NULL;
	int r = asprintf(&attach, "MIGD_ATTACH=%s", door_path(h->daemon->door));
	char *env[] = { (char *)(uintptr_t)PATH_OF_HOOKS, attach, NULL };

	if (r < 0) {
		attach = NULL;
		return merr_set(err, -ENOMEM, "out of memory");
	}
	r = command_start(h->daemon->base, argv, env, input, &h->command, err);
	if (r == 0)
		command_await(h->command, on_ended, h);
	return r;
}

static char *describe(const struct guest_description *g)
{
	_cleanup_json_ json_t *o = guest_description_to_json(g);

	return o ? json_dumps(o, JSON_INDENT(2)) : NULL;
}

static int start_command(struct hook *h, const struct guest_description *g, const char *text, struct merr *err)
{
	char *path = h->daemon->config.arrivals.start_command;
	char *argv[] = { path, g->name, NULL };
	_cleanup_close_ int fd = fd_memfd("migd-arrival", strlen(text));
	int r = fd < 0 ? fd : fd_pwrite_full(fd, text, strlen(text), 0);

	if (path[0] != '/')
		return merr_set(err, -EINVAL, "start-command in section [arrivals] expects an absolute path, not '%s'", path);
	if (r < 0)
		return merr_set_errno(err, r, "cannot start '%s'", path);
	return run(h, argv, fd, err);
}

/* ---- a unit ---- */

static int write_file(const struct hook *h, const char *text, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	(void)mkdir(HOOK_DIRECTORY, 0755);
	(void)unlink(h->file);
	fd = open(h->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
	return r < 0 ? merr_set_errno(err, r, "cannot write '%s' for a unit", h->file) : 0;
}

static int systemctl(struct hook *h, const char *verb, struct merr *err)
{
	char *argv[] = { (char *)(uintptr_t)SYSTEMCTL, (char *)(uintptr_t)verb, (char *)(uintptr_t)"--no-block",
			 (char *)(uintptr_t)"--", h->unit, NULL };
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? merr_set_errno(err, -errno, "cannot start '%s'", SYSTEMCTL) : run(h, argv, fd, err);
}

static int start_unit(struct hook *h, const struct guest_description *g, const char *text, struct merr *err)
{
	const char *template = h->daemon->config.arrivals.start_unit, *at = strchr(template, '@');
	char instance[INSTANCE_MAX];
	int r;

	if (!at)
		return merr_set(err, -EINVAL, "start-unit in section [arrivals] expects a template unit, such as "
				"'guest-incoming@.service', not '%s'", template);
	if (sd_booted() <= 0)
		return merr_set(err, -ENOTSUP,
				"systemd does not run on this host, and start-unit in section [arrivals] needs it: use start-command");
	escape(g->name, instance);
	if (asprintf(&h->unit, "%.*s@%s%s", (int)(at - template), template, instance, at + 1) < 0)
		h->unit = NULL;
	if (asprintf(&h->file, HOOK_DIRECTORY "/%s.json", instance) < 0)
		h->file = NULL;
	if (!h->unit || !h->file)
		return merr_set(err, -ENOMEM, "out of memory");
	r = write_file(h, text, err);
	return r < 0 ? r : systemctl(h, "start", err);
}

/* ---- both ---- */

static void hook_free(struct hook *h)
{
	if (h->file)
		(void)unlink(h->file);
	free(h->file);
	free(h->unit);
	free(h);
}

int hook_start(struct daemon *d, const struct guest_description *g, hook_fn fn, void *opaque, struct hook **ret,
	       struct merr *err)
{
	const struct config_arrivals *c = &d->config.arrivals;
	_cleanup_free_ char *text = describe(g);
	struct hook *h;
	int r = check_name(g->name, err);

	if (r < 0)
		return r;
	if (!c->start_command[0] && !c->start_unit[0])
		return merr_set(err, -ENOENT,
				"nothing is configured to start a VMM for it: give the destination's migd start-command or "
				"start-unit in section [arrivals], or start a VMM there that waits for it");
	h = calloc(1, sizeof(*h));
	if (!h || !text) {
		free(h);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	*h = (struct hook){ .daemon = d, .fn = fn, .opaque = opaque };
	r = c->start_command[0] ? start_command(h, g, text, err) : start_unit(h, g, text, err);
	if (r < 0)
		hook_free(h);
	else
		*ret = h;
	return r;
}

struct hook *hook_leave(struct hook *h)
{
	if (!h)
		return NULL;
	h->command = command_drop(h->command, false);
	hook_free(h);
	return NULL;
}

struct hook *hook_undo(struct hook *h)
{
	struct merr err = MERR_INIT;

	if (!h)
		return NULL;
	h->command = command_kill(h->command);
	h->fn = NULL;
	if (h->unit && systemctl(h, "stop", &err) < 0)
		log_warning("a unit that was started for a guest goes on: %s unit='%s'", merr_msg(&err), h->unit);
	return hook_leave(h);
}
