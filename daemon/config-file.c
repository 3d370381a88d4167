/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file. */
#include "daemon/config-file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/ini.h"

/* ---- its text ---- */

/* At most ROOM bytes of it. */
static ssize_t read_all(int fd, char *text, size_t room)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, text + len, room - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len < room) || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : (ssize_t)len;
}

static int cannot_read(const char *path, int code, struct config_report *report)
{
	config_report_add(report, path, 0, "cannot read it: %s%s", strerror(-code),
			  code == -ENOENT ? "; an empty file will do, where the defaults are right" : "");
	return code;
}

static int read_text(const char *path, char **ret, size_t *ret_len, struct config_report *report)
{
	/* A pipe that nobody writes to is not waited for. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);
	ssize_t n;

	if (fd < 0)
		return cannot_read(path, -errno, report);
	if (!text)
		return cannot_read(path, -ENOMEM, report);
	n = read_all(fd, text, CONFIG_FILE_MAX_BYTES + 1);
	if (n < 0)
		return cannot_read(path, (int)n, report);
	if (n > CONFIG_FILE_MAX_BYTES) {
		config_report_add(report, path, 0, "it has more than %d bytes: this is no configuration of migd's",
				  CONFIG_FILE_MAX_BYTES);
		return -EFBIG;
	}
	*ret = TAKE_PTR(text);
	*ret_len = (size_t)n;
	return 0;
}

/* ---- its settings ---- */

unsigned int config_file_line(const struct config_file *file, struct config_key k)
{
	for (size_t i = 0; i < file->n_lines; i++)
		if (file->lines[i].key == k.key)
			return file->lines[i].line;
	return 0;
}

static void take_setting(struct config_file *f, const struct ini_entry *e, struct config_report *report)
{
	struct merr err = MERR_INIT;
	struct config_key k;
	unsigned int before;

	if (config_find_key(e->section, e->key, &k, &err) < 0) {
		config_report_add(report, f->path, e->line, "%s", merr_msg(&err));
		return;
	}
	before = config_file_line(f, k);
	if (before) {
		config_report_add(report, f->path, e->line, "[%s] %s: it is set in line %u already", e->section, e->key, before);
		return;
	}
	/* Also if the value is wrong: that is not to be said twice. */
	f->lines[f->n_lines++] = (struct config_line){ .key = k.key, .line = e->line };
	if (config_set(&f->given, k, e->value, true, &err) < 0)
		config_report_add(report, f->path, e->line, "[%s] %s: %s", e->section, e->key, merr_msg(&err));
}

/* The settings of a section that is not known are not looked at. */
static void take(struct config_file *f, const struct ini *ini, struct config_report *report)
{
	const struct schema_member *section = NULL;
	struct merr err = MERR_INIT;

	for (size_t i = 0; i < ini->n; i++) {
		if (ini->entries[i].key && section)
			take_setting(f, &ini->entries[i], report);
		if (ini->entries[i].key)
			continue;
		merr_clear(&err);
		if (config_find_section(ini->entries[i].section, &section, &err) < 0)
			config_report_add(report, f->path, ini->entries[i].line, "%s", merr_msg(&err));
	}
}

/* As many as there are keys at all. */
static struct config_line *room_for_lines(void)
{
	struct config_key k = { 0 };
	size_t n = 0;

	while (config_next_key(&k))
		n++;
	assert(n > 0);
	return calloc(n, sizeof(struct config_line));
}

int config_file_parse(const char *path, char *text, size_t len, struct config_file *ret, struct config_report *report)
{
	struct config_file f = { .path = strdup(path), .lines = room_for_lines() };
	size_t before = report->n;
	struct ini ini = { 0 };
	int r;

	r = f.path && f.lines ? ini_parse(path, text, len, &ini, report) : -ENOMEM;
	if (!f.path || !f.lines)
		free(text);
	if (r == 0)
		take(&f, &ini, report);
	else
		(void)cannot_read(path, r, report);
	ini_done(&ini);
	if (r == 0 && report->n > before)
		r = -EINVAL;
	if (r < 0)
		config_file_done(&f);
	*ret = f;
	return r;
}

int config_file_read(const char *path, struct config_file *ret, struct config_report *report)
{
	size_t len = 0;
	char *text = NULL;
	int r = read_text(path, &text, &len, report);

	*ret = (struct config_file){ 0 };
	return r < 0 ? r : config_file_parse(path, text, len, ret, report);
}

void config_file_done(struct config_file *file)
{
	config_done(&file->given);
	free(file->lines);
	free(file->path);
	*file = (struct config_file){ 0 };
}
