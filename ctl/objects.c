/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the daemon's objects: TLS credentials, who may connect, secrets; and sets of descriptors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/nearest.h"
#include "ctl/spec.h"
#include "ctl/table.h"

static int objects_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *objects = NULL;
	struct table t = { .n_columns = 3 };
	int r = ctl_execute(ctl, "query-objects", NULL, &objects, err);
	size_t i;
	json_t *o;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(objects);
		return CTL_OK;
	}
	table_add(&t, "ID");
	table_add(&t, "TYPE");
	table_add(&t, "STATE");
	json_array_foreach(objects, i, o) {
		table_add(&t, "%s", ctl_str(o, "id", "?"));
		table_add(&t, "%s", ctl_str(o, "qom-type", "?"));
		table_add(&t, "%s", ctl_str(o, "error", "ok"));
	}
	table_print(&t);
	return CTL_OK;
}

static int complain_about_type(const char *type, struct merr *err)
{
	const json_t *words = spec_words(spec_member(spec_arguments("object-add"), "qom-type"));
	struct nearest nearest = { .word = type };
	char hint[96];
	size_t i;
	json_t *w;

	json_array_foreach(words, i, w)
		nearest_try(&nearest, json_string_value(w));
	merr_set(err, -EINVAL, "object-add: there is no type '%s'%s", type, nearest_hint(&nearest, "", hint, sizeof(hint)));
	return CTL_USAGE;
}

static int object_add_run(struct ctl *ctl, struct merr *err)
{
	const json_t *members = spec_variant("object-add", ctl->args[0]);
	json_t *args;
	int r;

	if (!members)
		return complain_about_type(ctl->args[0], err);
	args = json_pack("{s:s, s:s}", "qom-type", ctl->args[0], "id", ctl->args[1]);
	if (!args) {
		merr_set(err, -EINVAL, "object-add: '%s' is no text in UTF-8", ctl->args[1]);
		return CTL_USAGE;
	}
	r = spec_add_all(args, members, "object-add", ctl->args + 2, ctl->n_args - 2, err);
	if (r == CTL_OK)
		return ctl_do(ctl, "object-add", args, err);
	json_decref(args);
	return r;
}

static int object_del_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "object-del", json_pack("{s:s}", "id", ctl->args[0]), err);
}

static void print_certificates(struct table *t, const json_t *list)
{
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c) {
		table_add(t, "  %s", ctl_str(c, "role", "?"));
		table_add(t, "%s", ctl_str(c, "subject", "?"));
		table_add(t, "until %s", ctl_str(c, "not-after", "?"));
	}
}

static void print_credential(struct table *t, const json_t *c)
{
	const json_t *users = json_object_get(c, "usernames");

	table_add(t, "%s", ctl_str(c, "id", "?"));
	table_add(t, "%s, %s%s, %s", ctl_str(c, "qom-type", "?"), ctl_str(c, "endpoint", "?"),
		  ctl_bool(c, "verify-peer") ? "" : " that verifies nobody", ctl_str(c, "dir", "?"));
	if (json_array_size(users) > 0 && !ctl_str(c, "error", NULL))
		table_add(t, "%zu users", json_array_size(users));
	else
		table_add(t, "%s", ctl_str(c, "error", "ok"));
	print_certificates(t, json_object_get(c, "certificates"));
}

static int credentials_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *list = NULL;
	struct table t = { .n_columns = 3 };
	int r = ctl_execute(ctl, "query-tls-credentials", NULL, &list, err);
	const char *bad = NULL;
	size_t i;
	json_t *c;

	if (r != CTL_OK)
		return r;
	table_add(&t, "ID");
	table_add(&t, "WHAT");
	table_add(&t, "STATE");
	json_array_foreach(list, i, c) {
		print_credential(&t, c);
		if (ctl_str(c, "error", NULL) && !bad)
			bad = ctl_str(c, "id", "?");
	}
	if (ctl->json) {
		ctl_print_json(list);
		buf_done(&t.cells);
	} else {
		table_print(&t);
	}
	if (!bad)
		return CTL_OK;
	merr_set(err, -EINVAL, "the files of '%s' cannot be used as they are now", bad);
	return CTL_FAILED;
}

static int fdsets_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *sets = NULL;
	struct table t = { .n_columns = 3 };
	int r = ctl_execute(ctl, "query-fdsets", NULL, &sets, err);
	json_t *s, *f;
	size_t i, k;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(sets);
		return CTL_OK;
	}
	table_add(&t, ">SET");
	table_add(&t, ">FD");
	table_add(&t, "NOTE");
	json_array_foreach(sets, i, s)
		json_array_foreach(json_object_get(s, "fds"), k, f) {
			table_add(&t, "%lld", (long long)ctl_int(s, "fdset-id", 0));
			table_add(&t, "%lld", (long long)ctl_int(f, "fd", 0));
			table_add(&t, "%s", ctl_str(f, "opaque", "-"));
		}
	table_print(&t);
	return CTL_OK;
}

static int fdset_add_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *args = json_object(), *number = json_object(), *ret = NULL;
	int r = ctl_add_number(number, "fd", ctl->args[0], err);

	if (r == CTL_OK && ctl->n_args > 1)
		r = ctl_add_number(args, "fdset-id", ctl->args[1], err);
	if (r != CTL_OK)
		return r;
	if (ctl_int(number, "fd", -1) < 0 || ctl_int(number, "fd", -1) > 65535) {
		merr_set(err, -EINVAL, "fdset-add: %s is no descriptor's number", ctl->args[0]);
		return CTL_USAGE;
	}
	if (qmp_client_execute_fd(ctl->client, "add-fd", args, (int)ctl_int(number, "fd", -1), &ret, err) < 0)
		return ctl_status_of(err);
	if (ctl->json)
		ctl_print_json(ret);
	else
		printf("set %lld, descriptor %lld\n", (long long)ctl_int(ret, "fdset-id", 0), (long long)ctl_int(ret, "fd", 0));
	return CTL_OK;
}

static int fdset_remove_run(struct ctl *ctl, struct merr *err)
{
	json_t *args = json_object();
	int r = ctl_add_number(args, "fdset-id", ctl->args[0], err);

	if (r == CTL_OK && ctl->n_args > 1)
		r = ctl_add_number(args, "fd", ctl->args[1], err);
	if (r == CTL_OK)
		return ctl_do(ctl, "remove-fd", args, err);
	json_decref(args);
	return r;
}

const struct ctl_command ctl_object_commands[] = {
	{ .name = "objects",
	  .help = "list the daemon's objects: TLS credentials, who may connect, secrets",
	  .text = "And of each why it is of no use just now, if so.",
	  .examples = "# what there is\nmigctl objects",
	  .related = "object-add object-del credentials",
	  .no_guest = true,
	  .run = objects_run },
	{ .name = "object-add",
	  .args = "TYPE ID [PROPERTY=VALUE]...",
	  .help = "make an object of the daemon's",
	  .text = "It is there for the next daemon too, unless it is a secret with data=. Its files are read now, and again when they "
		  "were changed. tls-creds-x509 has the properties dir, endpoint (client, server), verify-peer, priority, "
		  "sanity-check and passwordid; tls-creds-psk has dir, endpoint, username; authz-simple has identity; authz-list has "
		  "policy and rules; authz-listfile has filename and refresh; secret has data or file, and format. docs/tls.md "
		  "explains them.",
	  .trouble = "Something about its files: the text says what to do; `migctl doctor --tls-dir DIR` looks at all of them.",
	  .examples = "# credentials of a source\n"
		      "migctl object-add tls-creds-x509 tls-out dir=/etc/migd/tls endpoint=client\n"
		      "# use them for web1's migrations\nmigctl -g web1 set tls-creds=tls-out",
	  .related = "objects object-del credentials set",
	  .no_guest = true,
	  .run = object_add_run },
	{ .name = "object-del",
	  .args = "OBJECT",
	  .help = "remove an object",
	  .text = "One that a migration or another object uses stays.",
	  .examples = "# credentials that nobody uses any more\nmigctl object-del tls-out",
	  .related = "objects object-add",
	  .no_guest = true,
	  .run = object_del_run },
	{ .name = "credentials",
	  .help = "check the daemon's TLS credentials, and show their certificates",
	  .text = "The daemon looks whether the files were changed, and reads them again. Fails if some cannot be used as they are now.",
	  .trouble = "The text in the column STATE says which file, and what to do about it: docs/tls.md.",
	  .examples = "# after certificates were replaced\nmigctl credentials\n# when they end\n"
		      "migctl --json credentials | jq -r '.[].certificates[].\"not-after\"'",
	  .related = "object-add objects",
	  .no_guest = true,
	  .run = credentials_run },
	{ .name = "fdsets",
	  .help = "list the sets of descriptors that the daemon was given",
	  .text = "A set can be used as a file, file:/dev/fdset/SET.",
	  .examples = "# what there is\nmigctl fdsets",
	  .related = "fdset-add fdset-remove",
	  .no_guest = true,
	  .run = fdsets_run },
	{ .name = "fdset-add",
	  .args = "FD [FDSET]",
	  .help = "give the daemon an open file of your own, as a set of descriptors",
	  .text = "So that a guest can be saved to, or come from, a file that the daemon may not open itself. Prints the number of the "
		  "set, which is a new one unless FDSET is given.",
	  .trouble = "Bad file descriptor: the shell has to open it for migctl: `3<>FILE`.",
	  .examples = "# save a guest to a file of your own\nmigctl fdset-add 3 1 3<>saved\nmigctl -g web1 migrate file:/dev/fdset/1",
	  .related = "fdsets fdset-remove migrate",
	  .no_guest = true,
	  .run = fdset_add_run },
	{ .name = "fdset-remove",
	  .args = "FDSET [FD]",
	  .help = "close a set of descriptors, or one of them",
	  .text = "A set without any descriptor is gone.",
	  .examples = "# all of set 1\nmigctl fdset-remove 1",
	  .related = "fdsets fdset-add",
	  .no_guest = true,
	  .run = fdset_remove_run },
	{ 0 },
};
