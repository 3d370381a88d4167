/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about the ports that the guests of a host share. */
#include <stdio.h>

#include "ctl/address.h"
#include "ctl/ctl.h"
#include "ctl/table.h"

static void add_listener(struct table *t, const json_t *l)
{
	const json_t *refused = json_object_get(l, "refused");
	char address[256];
	long long sent_away = 0;
	size_t i;
	json_t *count;

	json_array_foreach(refused, i, count)
		sent_away += (long long)ctl_int(count, "count", 0);
	table_add(t, "%s", ctl_str(l, "uri", "?"));
	table_add(t, "%s", json_object_get(l, "address")
				   ? address_text(json_object_get(l, "address"), address, sizeof(address))
				   : ctl_str(l, "error", "?"));
	table_add(t, "%lld", (long long)ctl_int(l, "connections", 0));
	table_add(t, "%lld", (long long)ctl_int(l, "passed", 0));
	table_add(t, "%lld", (long long)ctl_int(l, "undecided", 0));
	table_add(t, "%lld", sent_away);
}

static void print_refusals(const json_t *l)
{
	size_t i;
	json_t *count;

	json_array_foreach(json_object_get(l, "refused"), i, count)
		printf("%s: sent away as %s: %lld\n", ctl_str(l, "uri", "?"), ctl_str(count, "reason", "?"),
		       (long long)ctl_int(count, "count", 0));
}

static int listeners_run(struct ctl *ctl, struct merr *err)
{
	static const char *const titles[] = { "URI", "LISTENS ON", ">CAME", ">PASSED", ">UNDECIDED", ">SENT AWAY" };
	_cleanup_json_ json_t *list = NULL;
	int r = ctl_execute(ctl, "query-host-listeners", NULL, &list, err);
	size_t i;
	json_t *l;

	if (r != CTL_OK)
		return r;
	if (ctl->json) {
		ctl_print_json(list);
		return CTL_OK;
	}
	table_print_list(titles, ARRAY_SIZE(titles), list, add_listener);
	json_array_foreach(list, i, l)
		print_refusals(l);
	return CTL_OK;
}

static int listen_run(struct ctl *ctl, struct merr *err)
{
	_cleanup_json_ json_t *l = NULL;
	int r = ctl_execute(ctl, "host-listen", json_pack("{s:s}", "uri", ctl->args[0]), &l, err);
	char address[256];

	if (r != CTL_OK)
		return r;
	if (ctl->json)
		ctl_print_json(l);
	else
		printf("listening on %s\n", address_text(json_object_get(l, "address"), address, sizeof(address)));
	return CTL_OK;
}

static int listen_stop_run(struct ctl *ctl, struct merr *err)
{
	return ctl_do(ctl, "host-listen-stop", json_pack("{s:s}", "uri", ctl->args[0]), err);
}

const struct ctl_command ctl_port_commands[] = {
	{ .name = "host-listen",
	  .args = "URI",
	  .help = "open a port at which any guest of this host can be received",
	  .text = "Guests wait there by `migctl incoming shared:`, and a source says whom it is for by `,guest=NAME` at the end of its "
		  "address. It is there until `migctl host-listen-stop`, also for the next daemon. Prints where it listens.",
	  .trouble = "The address is taken: choose another port. There are 16 already: stop one.",
	  .examples = "# one port for all\nmigctl host-listen tcp:0.0.0.0:4444\nmigctl -g web1 incoming shared:\n"
		      "# at the source\nmigctl -g web1 migrate tcp:host-b:4444,guest=web1",
	  .related = "host-listeners host-listen-stop incoming",
	  .no_guest = true,
	  .run = listen_run },
	{ .name = "host-listen-stop",
	  .args = "LISTENER",
	  .help = "close a shared port",
	  .text = "Connections that were passed on to a guest stay; guests that wait go on waiting at the other ports.",
	  .examples = "# as host-listeners shows it\nmigctl host-listen-stop tcp:0.0.0.0:4444",
	  .related = "host-listeners host-listen",
	  .no_guest = true,
	  .run = listen_stop_run },
	{ .name = "host-listeners",
	  .help = "list the shared ports, and what became of who connected",
	  .text = "How many connections came, how many were passed on to a guest, and for what reasons others were sent away.",
	  .trouble = "It does not listen: the column says why; it is tried again every 5 s.",
	  .examples = "# why does nobody arrive?\nmigctl host-listeners",
	  .related = "host-listen host-listen-stop",
	  .no_guest = true,
	  .run = listeners_run },
	{ 0 },
};
