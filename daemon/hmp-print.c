/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of HMP commands as text; info migrate's is in hmp-migration.c. Lines end with \n here. */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/hmp.h"
#include "qmp/printer.h"
#include "schema/types.h"
#include "schema/value.h"

static const char *text_of(const json_t *value, const char *name)
{
	const char *text = json_string_value(json_object_get(value, name));

	return text ? text : "";
}

static void print_member(struct buf *out, const json_t *value, const char *name)
{
	hmp_print_value(out, json_object_get(value, name));
}

void hmp_print_value(struct buf *out, const json_t *value)
{
	uint64_t big;

	if (json_is_boolean(value))
		buf_add_str(out, json_is_true(value) ? "on" : "off");
	else if (json_is_string(value) && !json_is_big(value, &big))
		buf_add(out, json_string_value(value), json_string_length(value));
	else if (json_is_real(value))
		buf_printf(out, "%.2f", json_real_value(value));
	else if (value)
		qmp_print(out, value);
}

/* ---- help ---- */

static void print_capitals(struct buf *out, const char *name)
{
	for (; *name; name++)
		buf_u8(out, (uint8_t)toupper((unsigned char)*name));
}

void hmp_print_usage(struct buf *out, const struct hmp_command *c)
{
	buf_add_str(out, c->name);
	for (size_t i = 0; i < sizeof(c->flags) / sizeof(c->flags[0]) && c->flags[i].letter; i++)
		buf_printf(out, " [-%c]", c->flags[i].letter);
	for (size_t i = 0; i < sizeof(c->args) / sizeof(c->args[0]) && c->args[i].name; i++) {
		buf_add_str(out, c->args[i].optional ? " [" : " ");
		print_capitals(out, c->args[i].name);
		buf_add_str(out, c->args[i].optional ? "]" : "");
	}
}

static void print_help_of(struct buf *out, const struct hmp_command *c)
{
	hmp_print_usage(out, c);
	buf_printf(out, " -- %s\n", c->help);
}

/* WORDS are all of NAME, or the first of its two. */
static bool is_about(const char *name, const char *command, const char *topic)
{
	size_t len = strlen(command);

	if (strncmp(name, command, len) != 0 || (name[len] && name[len] != ' '))
		return false;
	return !*topic || (name[len] && strcmp(name + len + 1, topic) == 0);
}

void hmp_print_info_help(struct buf *out, const json_t *words, const json_t *value)
{
	(void)words;
	(void)value;
	for (const struct hmp_command *c = hmp_commands; c->name; c++) {
		if (is_about(c->name, "info", "") && strcmp(c->name, "info") != 0)
			print_help_of(out, c);
	}
}

void hmp_print_help(struct buf *out, const json_t *words, const json_t *value)
{
	const char *command = text_of(words, "command"), *topic = text_of(words, "topic");
	size_t before = out->len;

	(void)value;
	for (const struct hmp_command *c = hmp_commands; c->name; c++) {
		if (!c->absent && (!*command || is_about(c->name, command, topic)))
			print_help_of(out, c);
	}
	if (out->len == before)
		buf_printf(out, "Error: there is no command '%s%s%s' here; see 'help'\n", command, *topic ? " " : "", topic);
}

/* ---- small ones ---- */

void hmp_print_status(struct buf *out, const json_t *words, const json_t *value)
{
	bool running = json_is_true(json_object_get(value, "running"));

	(void)words;
	buf_printf(out, "Status: %s%s\n", text_of(value, "status"), running ? "" : " (does not run)");
}

void hmp_print_name(struct buf *out, const json_t *words, const json_t *value)
{
	(void)words;
	buf_printf(out, "%s\n", text_of(value, "name"));
}

void hmp_print_uuid(struct buf *out, const json_t *words, const json_t *value)
{
	(void)words;
	buf_printf(out, "%s\n", text_of(value, "UUID"));
}

void hmp_print_version(struct buf *out, const json_t *words, const json_t *value)
{
	static const char *const parts[] = { "major", "minor", "micro" };
	const json_t *triple = json_object_get(value, "qemu");

	(void)words;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		buf_add_str(out, i > 0 ? "." : "");
		print_member(out, triple, parts[i]);
	}
	buf_printf(out, " (%s)\n", text_of(value, "package"));
}

void hmp_print_capabilities(struct buf *out, const json_t *words, const json_t *value)
{
	json_t *row;
	size_t i;

	(void)words;
	json_array_foreach(value, i, row) {
		buf_printf(out, "%s: ", text_of(row, "capability"));
		print_member(out, row, "state");
		buf_add_str(out, "\n");
	}
}

/* What QEMU's monitor leaves out, too. */
static bool is_level(const char *name)
{
	const char *suffix = strstr(name, "-level");

	return suffix && !suffix[strlen("-level")];
}

static void print_parameter(struct buf *out, const struct schema_member *m, const json_t *value)
{
	json_t *item;
	size_t i;

	buf_printf(out, "%s:", m->name);
	if (json_is_array(value)) {
		json_array_foreach(value, i, item) {
			buf_add_str(out, " ");
			hmp_print_value(out, item);
		}
	} else {
		buf_add_str(out, " ");
		hmp_print_value(out, value);
	}
	buf_printf(out, "%s%s\n", m->unit ? " " : "", m->unit ? m->unit : "");
}

void hmp_print_parameters(struct buf *out, const json_t *words, const json_t *value)
{
	(void)words;
	for (uint32_t i = 0; i < migration_parameters_type.n_members; i++) {
		const struct schema_member *m = &migration_parameters_type.members[i];
		const json_t *v = json_object_get(value, m->name);

		if (v && !is_level(m->name))
			print_parameter(out, m, v);
	}
}

void hmp_print_detached(struct buf *out, const json_t *words, const json_t *value)
{
	(void)value;
	if (!json_object_get(words, "detach"))
		buf_add_str(out, "The migration is under way. This monitor cannot wait for its end: see 'info migrate'\n");
}

/* ---- what the guest dirties ---- */

static void print_line(struct buf *out, const char *label, const json_t *value, const char *unit)
{
	if (!value)
		return;
	buf_printf(out, "%s: ", label);
	hmp_print_value(out, value);
	buf_printf(out, "%s%s\n", *unit ? " " : "", unit);
}

void hmp_print_dirty_rate(struct buf *out, const json_t *words, const json_t *value)
{
	json_t *row;
	size_t i;

	(void)words;
	print_line(out, "Status", json_object_get(value, "status"), "");
	print_line(out, "Start time", json_object_get(value, "start-time"), "s");
	print_line(out, "Period", json_object_get(value, "calc-time"), text_of(value, "calc-time-unit"));
	print_line(out, "Mode", json_object_get(value, "mode"), "");
	print_line(out, "Sample pages", json_object_get(value, "sample-pages"), "per GiB");
	print_line(out, "Dirty rate", json_object_get(value, "dirty-rate"), "MiB/s");
	json_array_foreach(json_object_get(value, "vcpu-dirty-rate"), i, row) {
		buf_add_str(out, "vCPU ");
		print_member(out, row, "id");
		print_line(out, "", json_object_get(row, "dirty-rate"), "MiB/s");
	}
}

void hmp_print_dirty_limit(struct buf *out, const json_t *words, const json_t *value)
{
	json_t *row;
	size_t i;

	(void)words;
	if (json_array_size(value) == 0)
		buf_add_str(out, "No vCPU is limited\n");
	json_array_foreach(value, i, row) {
		buf_add_str(out, "vCPU ");
		print_member(out, row, "cpu-index");
		buf_add_str(out, ": limit ");
		print_member(out, row, "limit-rate");
		buf_add_str(out, " MiB/s, now ");
		print_member(out, row, "current-rate");
		buf_add_str(out, " MiB/s\n");
	}
}
