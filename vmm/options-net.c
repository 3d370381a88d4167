/* SPDX-License-Identifier: Apache-2.0 */
/* The option --net. */
#include "vmm/options-net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/util.h"

static int copy(const char *option, const char *key, const char *value, char *to, size_t max)
{
	if (!*value || strlen(value) > max)
		return fail(-EINVAL, "--%s: %s '%s' has not 1 to %zu bytes", option, key, value, max);
	memcpy(to, value, strlen(value) + 1);
	return 0;
}

static int set_tap(const char *option, const char *value, struct net_options *net)
{
	return copy(option, "tap", value, net->tap, NET_NAME_MAX);
}

static int set_id(const char *option, const char *value, struct net_options *net)
{
	return copy(option, "id", value, net->id, NET_ID_MAX);
}

static int set_mac(const char *option, const char *value, struct net_options *net)
{
	uint8_t *m = net->mac;
	int end = 0;
	if (sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &m[0], &m[1], &m[2], &m[3],
		   &m[4], &m[5], &end) != 6 ||
	    value[end])
		return fail(-EINVAL, "--%s: '%s' is not of the form 02:00:00:00:00:01", option, value);
	if (m[0] & 1)
		return fail(-EINVAL, "--%s: '%s' is a multicast address; its first byte must be even",
			    option, value);
	net->has_mac = true;
	return 0;
}

static const struct {
	const char *key;
	int (*set)(const char *option, const char *value, struct net_options *net);
} keys[] = { { "tap=", set_tap }, { "mac=", set_mac }, { "id=", set_id } };

static int set_part(const char *option, const char *part, struct net_options *net)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strncmp(part, keys[i].key, strlen(keys[i].key)) == 0)
			return keys[i].set(option, part + strlen(keys[i].key), net);
	return fail(-EINVAL, "--%s: '%s' is none of tap=IFNAME, mac=MAC, id=ID", option, part);
}

int net_options_parse(const char *option, const char *value, unsigned int index,
		      struct net_options *ret)
{
	struct net_options net = { 0 };
	_cleanup_free_ char *copied = strdup(value);
	char *save = NULL;
	if (!copied)
		return fail(-ENOMEM, "--%s: out of memory", option);
	(void)snprintf(net.id, sizeof(net.id), "net%u", index);
	for (char *part = strtok_r(copied, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		int r = set_part(option, part, &net);
		if (r < 0)
			return r;
	}
	if (!net.tap[0])
		return fail(-EINVAL, "--%s: '%s' is not tap=IFNAME[,mac=MAC][,id=ID]", option, value);
	*ret = net;
	return 0;
}
