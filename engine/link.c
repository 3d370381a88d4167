/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the worker link. */
#include "engine/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int link_send(struct conn *c, enum link_type type, const json_t *body, const int *fds, size_t n_fds)
{
	_cleanup_free_ char *text = NULL;
	const char *p = "{}";

	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			return -ENOMEM;
		p = text;
	}
	return conn_send(c, (uint16_t)type, p, strlen(p), fds, n_fds, NULL);
}

int link_body(const struct conn_msg *m, json_t **ret, struct merr *err)
{
	json_error_t why;
	json_t *j;

	/* Size and nesting are bounded: by the message, and by jansson (2048 levels). */
	j = json_loadb((const char *)m->body.p, m->body.left, JSON_REJECT_DUPLICATES, &why);
	if (!j)
		return merr_set(err, -EBADMSG, "worker link: message %u: %s", m->type, why.text);
	if (!json_is_object(j)) {
		json_decref(j);
		return merr_set(err, -EBADMSG, "worker link: message %u is not a JSON object",
				m->type);
	}
	*ret = j;
	return 0;
}
