/* SPDX-License-Identifier: Apache-2.0 */
/* info migrate. */
#include <string.h>

#include "base/cleanup.h"
#include "daemon/hmp.h"

struct field {
	const char *label;
	const char *member;
	bool only_if_set;	/* not there if it is 0 */
};

/* Numbers of one object, behind each other in one line, which is not there if none of them is. */
struct line {
	const char *label;
	const char *object;	/* of query-migrate's answer; NULL: the answer itself */
	bool all;		/* info migrate -a only */
	struct field fields[6];
};

#define SHOW(label, member)   { label, member, false }
#define IF_SET(label, member) { label, member, true }

static const struct line lines[] = {
	{ "Time (ms)", NULL, false,
	  { SHOW("total", "total-time"), SHOW("setup", "setup-time"), SHOW("expected down", "expected-downtime"),
	    SHOW("down", "downtime") } },
	{ "RAM speed (Mbit/s)", "ram", false, { SHOW("now", "mbps") } },
	{ "RAM size (bytes)", "ram", false,
	  { SHOW("total", "total"), SHOW("transferred", "transferred"), SHOW("remaining", "remaining"), SHOW("page", "page-size") } },
	{ "RAM channels (bytes)", "ram", false,
	  { SHOW("precopy", "precopy-bytes"), IF_SET("downtime", "downtime-bytes"), SHOW("multifd", "multifd-bytes"),
	    SHOW("postcopy", "postcopy-bytes") } },
	{ "VFIO (bytes)", "vfio", false, { SHOW("transferred", "transferred") } },
	{ "RAM pages", "ram", false, { SHOW("normal", "normal"), SHOW("zero", "duplicate"), IF_SET("never touched", "hole"),
	    IF_SET("free", "hinted") } },
	{ "RAM rate (pages/s)", "ram", false, { SHOW("sent", "pages-per-second"), IF_SET("dirtied", "dirty-pages-rate") } },
	{ "RAM counts", "ram", false,
	  { SHOW("bitmap syncs", "dirty-sync-count"), IF_SET("postcopy requests", "postcopy-requests"),
	    IF_SET("zero-copy fallbacks", "dirty-sync-missed-zero-copy") } },
	{ "XBZRLE", "xbzrle-cache", true,
	  { SHOW("cache size", "cache-size"), SHOW("bytes", "bytes"), SHOW("pages", "pages"), SHOW("cache misses", "cache-miss"),
	    SHOW("encoding rate", "encoding-rate"), SHOW("overflows", "overflow") } },
	{ "Throttle (%)", NULL, true, { SHOW("cpu", "cpu-throttle-percentage") } },
	{ "Dirty limit (us)", NULL, true,
	  { SHOW("throttle per round", "dirty-limit-throttle-time-per-round"), SHOW("ring full", "dirty-limit-ring-full-time") } },
	{ "Post-copy blocktime (ms)", NULL, true,
	  { SHOW("all vCPUs at once", "postcopy-blocktime"), SHOW("each", "postcopy-vcpu-blocktime") } },
	{ "Post-copy latency (ns)", NULL, true,
	  { SHOW("mean", "postcopy-latency"), SHOW("each vCPU", "postcopy-vcpu-latency"),
	    SHOW("others", "postcopy-non-vcpu-latency"), SHOW("distribution", "postcopy-latency-dist") } },
	{ "Handover", "handover", true, { SHOW("state", "state"), SHOW("peer", "peer") } },
	{ "Reconnects", NULL, true, { SHOW("made", "reconnects") } },
	{ "Queue", "queue", false, { SHOW("position", "position"), SHOW("length", "length") } },
	{ "Bandwidth (bytes/s)", NULL, true, { SHOW("share of the host's", "host-share") } },
};

static bool is_shown(const struct field *f, const json_t *value)
{
	return value && !(f->only_if_set && json_is_integer(value) && json_integer_value(value) == 0);
}

static void print_line(struct buf *out, const struct line *l, const json_t *info)
{
	const json_t *object = l->object ? json_object_get(info, l->object) : info;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(l->fields) / sizeof(l->fields[0]) && l->fields[i].label; i++) {
		const json_t *value = json_object_get(object, l->fields[i].member);

		if (!is_shown(&l->fields[i], value))
			continue;
		if (n++ == 0)
			buf_printf(out, "%s: ", l->label);
		else
			buf_add_str(out, ", ");
		buf_printf(out, "%s=", l->fields[i].label);
		hmp_print_value(out, value);
	}
	if (n > 0)
		buf_add_str(out, "\n");
}

static const char *text_of(const json_t *value, const char *name)
{
	const char *text = json_string_value(json_object_get(value, name));

	return text ? text : "";
}

static void print_status(struct buf *out, const json_t *info)
{
	const char *error = text_of(info, "error-desc");

	if (!json_object_get(info, "status"))
		return;
	buf_printf(out, "Status: %s", text_of(info, "status"));
	if (*error)
		buf_printf(out, " (%s)", error);
	buf_add_str(out, "\n");
}

/* As it would be written behind `migrate`. */
static void print_socket(struct buf *out, const json_t *address)
{
	const char *type = text_of(address, "type"), *host = text_of(address, "host");
	bool is_v6 = strchr(host, ':');

	if (strcmp(type, "inet") == 0)
		buf_printf(out, "tcp:%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "", text_of(address, "port"));
	else if (strcmp(type, "vsock") == 0)
		buf_printf(out, "vsock:%s:%s", text_of(address, "cid"), text_of(address, "port"));
	else
		buf_printf(out, "%s:%s%s", type, text_of(address, "path"), text_of(address, "str"));
}

static void print_list(struct buf *out, const char *label, const json_t *list,
		       void (*print)(struct buf *out, const json_t *item))
{
	json_t *item;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	buf_printf(out, "%s:\n", label);
	json_array_foreach(list, i, item) {
		buf_add_str(out, "  ");
		print(out, item);
		buf_add_str(out, "\n");
	}
}

void hmp_print_migration(struct buf *out, const json_t *words, const json_t *value)
{
	bool all = json_object_get(words, "all");
	size_t before = out->len;

	print_list(out, "Blocked", json_object_get(value, "blocked-reasons"), hmp_print_value);
	print_status(out, value);
	print_list(out, "Sockets", json_object_get(value, "socket-address"), print_socket);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (all || !lines[i].all)
			print_line(out, &lines[i], value);
	}
	if (out->len == before)
		buf_add_str(out, "There was no migration yet\n");
}
