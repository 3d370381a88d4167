/* SPDX-License-Identifier: Apache-2.0 */
/* Completion, from the table of commands, the schema, and what the daemon has now. */
#include "ctl/complete.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/kinds.h"
#include "ctl/spec.h"
#include "ctl/words.h"

#define ANSWER_NS (500 * NS_PER_MS)
#define PATH_LEN 4096

struct completion {
	FILE *out;
	const char *word;	/* so far */
	const char *before;	/* what is said before each candidate: "--guest=", "file:", ... */
	struct ctl ctl;		/* what is known from the words before; its socket and guest, too */
	char *args[WORDS_MAX];
};

static void offer(struct completion *c, const char *candidate, const char *end, const char *help)
{
	if (strncmp(candidate, c->word, strlen(c->word)) == 0)
		fprintf(c->out, "%s%s%s\t%s\n", c->before, candidate, end, help ? help : "");
}

/* What the daemon has: MEMBER of each element of a query's answer. */
static void offer_asked(struct completion *c, const char *command, const char *member, const char *help)
{
	_cleanup_json_ json_t *list = NULL;
	struct merr err = MERR_INIT;
	char text[256];
	json_t *e, *v;
	size_t i;

	if (!c->ctl.client && qmp_client_connect(c->ctl.socket_path, &c->ctl.client, &err) < 0)
		return;
	qmp_client_set_timeout(c->ctl.client, ANSWER_NS);
	if (qmp_client_execute(c->ctl.client, command, NULL, &list, &err) < 0)
		return;
	json_array_foreach(list, i, e) {
		v = json_object_get(e, member);
		if (json_is_integer(v))
			(void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
		else
			(void)ctl_clean(json_is_string(v) ? json_string_value(v) : "", text, sizeof(text));
		if (text[0])
			offer(c, text, "", ctl_str(e, help, ""));
	}
}

static void offer_guests(struct completion *c)
{
	offer_asked(c, "query-guests", "name", "run-state");
}

static void offer_objects(struct completion *c)
{
	offer_asked(c, "query-objects", "id", "qom-type");
}

static void offer_listeners(struct completion *c)
{
	offer_asked(c, "query-host-listeners", "uri", "error");
}

static void offer_fdsets(struct completion *c)
{
	offer_asked(c, "query-fdsets", "fdset-id", "");
}

static void offer_migrations(struct completion *c)
{
	offer_asked(c, "query-migration-history", "id", "guest");
}

static void offer_files(struct completion *c)
{
	const char *slash = strrchr(c->word, '/'), *name = slash ? slash + 1 : c->word;
	char folder[PATH_LEN], path[PATH_LEN];
	struct dirent *e;
	DIR *dir;

	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(name - c->word), c->word);
	dir = opendir(folder[0] ? folder : ".");
	while (dir && (e = readdir(dir))) {
		bool is_folder = e->d_type == DT_DIR;

		if (e->d_name[0] == '.' && name[0] != '.')
			continue;
		if (snprintf(path, sizeof(path), "%s%s", folder, e->d_name) < (int)sizeof(path))
			offer(c, path, is_folder ? "/" : "", "");
	}
	if (dir)
		closedir(dir);
}

static void offer_uris(struct completion *c)
{
	static const struct {
		const char *scheme, *help;
		bool path;
	} schemes[] = {
		{ "tcp:", "HOST:PORT", false },	 { "unix:", "PATH", true },   { "vsock:", "CID:PORT", false },
		{ "file:", "PATH", true },	 { "fd:", "NAME", false },    { "exec:", "COMMAND", true },
		{ "shared:", "NAME", false },
	};
	char before[128];

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t len = strlen(schemes[i].scheme);

		if (strncmp(c->word, schemes[i].scheme, len) != 0) {
			offer(c, schemes[i].scheme, "", schemes[i].help);
		} else if (schemes[i].path) {
			(void)snprintf(before, sizeof(before), "%s%s", c->before, schemes[i].scheme);
			c->before = before;
			c->word += len;
			offer_files(c);
			c->before = "";
			return;
		}
	}
}

static void offer_words(struct completion *c, const json_t *words)
{
	size_t i;
	json_t *w;

	json_array_foreach(words, i, w)
		offer(c, json_string_value(w), "", "");
}

static void offer_switch(struct completion *c)
{
	offer(c, "on", "", "");
	offer(c, "off", "", "");
}

/* What may stand behind NAME=. */
static void offer_value(struct completion *c, const json_t *member)
{
	const char *name = ctl_str(member, "name", "");

	if (spec_words(member))
		offer_words(c, spec_words(member));
	else if (spec_is_switch(member))
		offer_switch(c);
	else if (strncmp(name, "tls-creds", 9) == 0 || strcmp(name, "tls-authz") == 0 || strcmp(name, "passwordid") == 0)
		offer_objects(c);
	else if (strcmp(name, "dir") == 0 || strcmp(name, "file") == 0 || strcmp(name, "filename") == 0)
		offer_files(c);
}

/* The part of the word behind '=', for which DO offers something. False: there is no '='. */
static bool behind_equals(struct completion *c, char *name, size_t len)
{
	const char *equals = strchr(c->word, '=');

	if (!equals || snprintf(name, len, "%.*s", (int)(equals - c->word), c->word) >= (int)len)
		return false;
	c->word = equals + 1;
	return true;
}

static void offer_members(struct completion *c, const json_t *members)
{
	char name[128], before[160];
	const char *member_name;
	size_t i;
	json_t *m;

	if (behind_equals(c, name, sizeof(name))) {
		(void)snprintf(before, sizeof(before), "%s=", name);
		c->before = before;
		offer_value(c, spec_member(members, name));
		c->before = "";
		return;
	}
	json_array_foreach(members, i, m) {
		member_name = ctl_str(m, "name", "");
		if (strcmp(member_name, "guest") != 0)
			offer(c, member_name, "=", "");
	}
}

static const json_t *capability_words(void)
{
	static json_t *made;
	const json_t *all = spec_all();
	size_t i;
	json_t *e;

	/* The enum is found by one of its words: types have no names in the introspection. */
	json_array_foreach(all, i, e) {
		const json_t *first = json_array_get(json_object_get(e, "values"), 0);

		if (!made && first && strcmp(json_string_value(first), "xbzrle") == 0)
			made = json_object_get(e, "values");
	}
	return made;
}

static void offer_capabilities(struct completion *c)
{
	char name[128], before[160];
	size_t i;
	json_t *w;

	if (behind_equals(c, name, sizeof(name))) {
		(void)snprintf(before, sizeof(before), "%s=", name);
		c->before = before;
		offer_switch(c);
		c->before = "";
		return;
	}
	json_array_foreach(capability_words(), i, w)
		offer(c, json_string_value(w), "=", "capability");
}

static void offer_parameters(struct completion *c)
{
	const json_t *members = spec_arguments("migrate-set-parameters");
	char name[128];
	const char *word = c->word;
	bool is_parameter = behind_equals(c, name, sizeof(name)) && spec_member(members, name);

	c->word = word;
	if (is_parameter || !strchr(word, '='))
		offer_members(c, members);
	if (!is_parameter)
		offer_capabilities(c);
}

static void offer_host_parameters(struct completion *c)
{
	offer_members(c, spec_arguments("host-set-parameters"));
}

static void offer_host_parameter_names(struct completion *c)
{
	const json_t *members = spec_arguments("host-set-parameters");
	size_t i;
	json_t *m;

	json_array_foreach(members, i, m)
		offer(c, ctl_str(m, "name", ""), "", "");
}

static void offer_settings(struct completion *c)
{
	offer_members(c, spec_arguments(c->ctl.command->settings));
}

static void offer_properties(struct completion *c)
{
	offer_members(c, spec_variant("object-add", c->ctl.args[0]));
}

static void offer_types(struct completion *c)
{
	offer_words(c, spec_words(spec_member(spec_arguments("object-add"), "qom-type")));
}

static void offer_strategies(struct completion *c)
{
	offer_words(c, spec_words(spec_member(spec_arguments("migrate"), "strategy")));
}

static void offer_verbs(struct completion *c)
{
	for (const struct ctl_group *g = ctl_groups; g->title; g++)
		for (const struct ctl_command *v = g->commands; v->name; v++)
			offer(c, v->name, "", v->help);
}

static void offer_entries(struct completion *c, const char *meta_type)
{
	size_t i;
	json_t *e;

	json_array_foreach(spec_all(), i, e)
		if (strcmp(ctl_str(e, "meta-type", ""), meta_type) == 0)
			offer(c, ctl_str(e, "name", ""), "", "");
}

static void offer_events(struct completion *c)
{
	offer_entries(c, "event");
}

static void offer_commands(struct completion *c)
{
	offer_entries(c, "command");
}

static void offer_off(struct completion *c)
{
	offer(c, "off", "", "lift the limit");
}

static const struct {
	const char *kind;
	void (*offer)(struct completion *c);
} sources[] = {
	{ "CAPABILITY=on|off", offer_capabilities },
	{ "DIR", offer_files },
	{ "EVENT", offer_events },
	{ "FDSET", offer_fdsets },
	{ "FILE", offer_files },
	{ "GUEST", offer_guests },
	{ "HOST-PARAMETER", offer_host_parameter_names },
	{ "HOST-PARAMETER=VALUE", offer_host_parameters },
	{ "JSON|NAME", offer_commands },
	{ "LISTENER", offer_listeners },
	{ "MB/S", offer_off },
	{ "MIGRATION", offer_migrations },
	{ "OBJECT", offer_objects },
	{ "PARAMETER=VALUE", offer_parameters },
	{ "PATH", offer_files },
	{ "PROPERTY=VALUE", offer_properties },
	{ "SETTING=VALUE", offer_settings },
	{ "STRATEGY", offer_strategies },
	{ "TYPE", offer_types },
	{ "URI", offer_uris },
	{ "VERB", offer_verbs },
};

static void offer_kind(struct completion *c, const char *kind)
{
	char word[64];

	if (ctl_kind_is_choice(kind))
		for (size_t i = 0; ctl_kind_word(kind, i, word, sizeof(word)); i++)
			offer(c, word, "", "");
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (strcmp(sources[i].kind, kind) == 0)
			sources[i].offer(c);
}

static void offer_options(struct completion *c)
{
	uint64_t taken = c->ctl.command ? ctl_options_of(c->ctl.command) : CTL_TAKEN_BY_ALL;
	char name[64];

	for (int i = 0; i < CTL_N_OPTIONS; i++) {
		(void)snprintf(name, sizeof(name), "--%s", ctl_options[i].name);
		if ((taken & CTL_TAKES(i)) && !c->ctl.given[i])
			offer(c, name, "", ctl_options[i].help);
	}
}

/* The option that WORD is, or -1. *VALUE: what is behind '=' or the letter, or NULL. */
static int option_in(const char *word, const char **value)
{
	*value = NULL;
	for (int i = 0; word[0] == '-' && i < CTL_N_OPTIONS; i++) {
		size_t len = strlen(ctl_options[i].name);

		if (word[1] != '-' && word[1] && word[1] == ctl_options[i].letter) {
			*value = word[2] ? word + 2 : NULL;
			return i;
		}
		if (word[1] == '-' && strncmp(word + 2, ctl_options[i].name, len) == 0 && (!word[2 + len] || word[2 + len] == '=')) {
			*value = word[2 + len] ? word + 3 + len : NULL;
			return i;
		}
	}
	return -1;
}

/* The words before the last one. Returns the option whose value the last one is, or -1; *PLAIN: no option can follow. */
static int read_words(struct completion *c, const struct words *w, bool *plain)
{
	*plain = false;
	for (int i = 1; i < w->n - 1; i++) {
		const char *value;
		int option = *plain ? -1 : option_in(w->word[i], &value);

		if (!*plain && strcmp(w->word[i], "--") == 0) {
			*plain = true;
		} else if (option >= 0 && ctl_options[option].value && !value) {
			if (i + 1 == w->n - 1)
				return option;
			c->ctl.given[option] = w->word[++i];
		} else if (option >= 0) {
			c->ctl.given[option] = value ? value : "";
		} else if (!c->ctl.command) {
			c->ctl.command = ctl_find_command(w->word[i]);
			if (!c->ctl.command)
				return CTL_N_OPTIONS;
		} else {
			c->ctl.args[c->ctl.n_args++] = w->word[i];
		}
	}
	return -1;
}

static void offer_next(struct completion *c, bool plain)
{
	struct ctl_argument a;
	const char *value;
	char before[64];
	int option = plain ? -1 : option_in(c->word, &value);

	if (option >= 0 && value && c->word[1] == '-') {
		(void)snprintf(before, sizeof(before), "--%s=", ctl_options[option].name);
		c->before = before;
		c->word = value;
		offer_kind(c, ctl_options[option].value ? ctl_options[option].value : "");
	} else if (!plain && c->word[0] == '-') {
		offer_options(c);
	} else if (!c->ctl.command) {
		offer_verbs(c);
	} else if (ctl_argument_at(c->ctl.command->args, c->ctl.n_args, &a)) {
		offer_kind(c, a.kind);
	}
}

void complete_line(const char *line, const char *socket_path, const char *guest, FILE *out)
{
	static char empty[1];
	struct completion c = { .out = out, .before = "" };
	struct words w;
	bool plain;
	int option;

	if (words_split(line, &w) < 0)
		return;
	if (w.ended && w.n < WORDS_MAX)
		w.word[w.n++] = empty;
	if (w.n >= 2) {
		c.word = w.word[w.n - 1];
		fprintf(out, "%s\n", c.word);
		c.ctl.args = c.args;
		option = read_words(&c, &w, &plain);
		c.ctl.socket_path = c.ctl.given[CTL_OPT_SOCKET] ? c.ctl.given[CTL_OPT_SOCKET] : socket_path;
		c.ctl.guest = c.ctl.given[CTL_OPT_GUEST] ? c.ctl.given[CTL_OPT_GUEST] : guest;
		if (option >= 0 && option < CTL_N_OPTIONS)
			offer_kind(&c, ctl_options[option].value);
		else if (option < 0)
			offer_next(&c, plain);
		qmp_client_free(c.ctl.client);
	}
	words_done(&w);
}
