/* SPDX-License-Identifier: Apache-2.0 */
/* The option --net: tap=IFNAME[,mac=MAC][,id=ID]. */
#ifndef MIGD_VMM_OPTIONS_NET_H
#define MIGD_VMM_OPTIONS_NET_H

#include <stdbool.h>
#include <stdint.h>

#define NET_NAME_MAX 15		/* IFNAMSIZ, without NUL */
#define NET_ID_MAX 31

struct net_options {
	char tap[NET_NAME_MAX + 1];
	char id[NET_ID_MAX + 1];	/* what announce-self calls it; "net" and its number by default */
	bool has_mac;			/* else one is made from the guest's name */
	uint8_t mac[6];
};

/* The INDEX-th one. 0 or -EINVAL after saying what is wrong. */
int net_options_parse(const char *option, const char *value, unsigned int index,
		      struct net_options *ret);

#endif
