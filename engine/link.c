/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the worker link. */
#include "engine/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

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

/* TEXT in a memfd. */
static int send_text(struct conn *c, enum link_type type, const char *text)
{
	_cleanup_close_ int fd = fd_memfd("migd-link", strlen(text));
	int r = fd < 0 ? fd : fd_pwrite_full(fd, text, strlen(text), 0);

	return r < 0 ? r : link_send(c, type, NULL, &fd, 1);
}

int link_send_long(struct conn *c, enum link_type type, const json_t *body, size_t max)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (!text)
		return -ENOMEM;
	return strlen(text) > max ? -E2BIG : send_text(c, type, text);
}

int link_receive_long(struct conn_msg *m, size_t max, json_t **ret, struct merr *err)
{
	_cleanup_close_ int fd = conn_msg_take_fd(m, 0);
	_cleanup_free_ char *text = NULL;
	json_error_t why;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return merr_set(err, -EBADMSG, "worker link: message %u without a body, or with one of more than %zu bytes",
				m->type, max);
	text = malloc((size_t)st.st_size);
	if (!text)
		return merr_set_errno(err, -ENOMEM, "worker link");
	r = fd_pread_full(fd, text, (size_t)st.st_size, 0);
	if (r < 0)
		return merr_set_errno(err, r, "worker link: message %u", m->type);
	*ret = json_loadb(text, (size_t)st.st_size, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		/* Not WHY's text: it quotes what may be a key. */
		return merr_set(err, -EBADMSG, "worker link: message %u: no JSON at byte %d", m->type, why.position);
	return 0;
}

int link_send_tls(struct conn *c, const struct worker_tls *tls)
{
	json_t *body = worker_tls_to_json(tls);
	int r = link_send_long(c, LINK_TLS, body, LINK_TLS_MAX);

	json_decref(body);
	return r;
}

int link_receive_tls(struct conn_msg *m, struct worker_tls *ret, struct merr *err)
{
	json_t *body = NULL;
	int r = link_receive_long(m, LINK_TLS_MAX, &body, err);

	if (r == 0)
		r = worker_tls_from_json(body, ret, err);
	json_decref(body);
	return r;
}
