/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the manual page that are made from the tables, in man(7)'s macros. scripts/update-manual puts them in place. */
#include <stdio.h>
#include <string.h>

#include "ctl/help.h"
#include "ctl/kinds.h"

#define LINE_LEN 78

/* How a character of running text is written; *BOLD is turned by a backquote. */
static const char *escape(char c, bool *bold, char buf[2])
{
	switch (c) {
	case '-':
		return "\\-";
	case '\\':
		return "\\e";
	case '`':
		*bold = !*bold;
		return *bold ? "\\fB" : "\\fR";
	default:
		buf[0] = c;
		buf[1] = '\0';
		return buf;
	}
}

/* One paragraph: `quoted` words are bold; a sentence begins a line, and none is long. */
static void print_paragraph(const char *text, size_t len)
{
	bool bold = false;
	int column = 0;
	char buf[2];

	for (size_t i = 0; i < len; i++) {
		/* Each character of the next word may become two or three. */
		if (text[i] == ' ' && (strchr(".?", text[i - 1]) || column + 3 * (int)strcspn(text + i + 1, " \n") / 2 > LINE_LEN)) {
			printf("\n");
			column = 0;
			continue;
		}
		if (column == 0 && (text[i] == '.' || text[i] == '\''))
			column += printf("\\&");
		column += printf("%s", escape(text[i], &bold, buf));
	}
	printf("\n");
}

static void print_text(const char *text, size_t len)
{
	bool bold = false;
	char buf[2];

	for (size_t i = 0; i < len; i++)
		printf("%s", escape(text[i], &bold, buf));
}

static void print_paragraphs(const char *text, const char *between)
{
	while (text && *text) {
		size_t len = strcspn(text, "\n");

		print_paragraph(text, len);
		text += len;
		if (*text) {
			printf("%s\n", between);
			text++;
		}
	}
}

static void print_option_name(const struct ctl_option_row *o)
{
	printf(".TP\n");
	if (o->letter)
		printf("\\fB\\-%c\\fR, ", o->letter);
	printf("\\fB\\-\\-");
	print_text(o->name, strlen(o->name));
	printf("\\fR");
	if (o->value)
		printf(" \\fI%s\\fR", o->value);
	printf("\n");
}

static void print_own_options(const struct ctl_command *c)
{
	uint64_t options = ctl_options_of(c) & ~CTL_TAKEN_BY_ALL;

	if (!options)
		return;
	printf(".RS\n");
	for (int i = 0; i < CTL_N_OPTIONS; i++)
		if (options & CTL_TAKES(i)) {
			print_option_name(&ctl_options[i]);
			print_paragraph(ctl_options[i].help, strlen(ctl_options[i].help));
		}
	printf(".RE\n");
}

static void print_examples(const char *lines)
{
	printf(".IP\n.nf\n");
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		printf(*lines == '#' ? "\\fI" : "$ ");
		print_text(lines, len);
		printf(*lines == '#' ? "\\fR\n" : "\n");
		lines += len + (lines[len] == '\n');
	}
	printf(".fi\n");
}

static void print_command(const struct ctl_command *c)
{
	printf(".TP\n\\fB");
	print_text(c->name, strlen(c->name));
	printf("\\fR");
	if (c->args) {
		printf(" \\fI");
		print_text(c->args, strlen(c->args));
		printf("\\fR");
	}
	printf("\n");
	if (c->text)
		print_paragraphs(c->text, ".IP");
	else
		print_paragraph(c->help, strlen(c->help));
	if (c->trouble) {
		printf(".IP\n");
		print_paragraphs(c->trouble, ".IP");
	}
	print_own_options(c);
	if (c->examples)
		print_examples(c->examples);
}

static void print_commands(void)
{
	for (const struct ctl_group *g = ctl_groups; g->title; g++) {
		printf(".SS %s\n", g->title);
		for (const struct ctl_command *c = g->commands; c->name; c++)
			print_command(c);
	}
}

static void print_common_options(void)
{
	for (int i = 0; i < CTL_N_OPTIONS; i++)
		if (CTL_TAKEN_BY_ALL & CTL_TAKES(i)) {
			print_option_name(&ctl_options[i]);
			print_paragraph(ctl_options[i].help, strlen(ctl_options[i].help));
		}
}

static void print_statuses(void)
{
	for (int i = 0; i < CTL_N_STATUS; i++) {
		printf(".TP\n.B %d\n", i);
		print_paragraph(ctl_status_rows[i].help, strlen(ctl_status_rows[i].help));
	}
}

void manual_print(void)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} parts[] = {
		{ "commands", print_commands },
		{ "options", print_common_options },
		{ "statuses", print_statuses },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		printf(".\\\" BEGIN %s (made by scripts/update-manual)\n", parts[i].name);
		parts[i].print();
		printf(".\\\" END %s\n", parts[i].name);
	}
}
