/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpr-exec: this process becomes another program, which finds the guest's memory among its descriptors. Both ends of
 * that: leaving the descriptors behind (service thread), and finding them (before there is a guest).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/cpr.h"
#include "guest/dispatch.h"

/* No more than a kernel takes (MAX_ARG_STRINGS is far beyond), and what a message holds. */
#define ARGS_MAX 1024

/* ---- leaving ---- */

/* What exec needs, on its way. */
struct passage {
	char *argv[ARGS_MAX + 1];	/* into `words` */
	char *words;
	char *variable;
	char **envp;			/* the environment's, and the variable */
	int table_fd;
	int fds[ATTACH_FDS_MAX];	/* borrowed */
};

static void passage_done(struct passage *p)
{
	free(p->words);
	free(p->variable);
	free(p->envp);
	close_fd(p->table_fd);
}

static int split(struct passage *p, const struct attach_blob *argv, struct merr *err)
{
	size_t n = 0;

	if (!argv->len || argv->data[argv->len - 1] || !argv->data[0])
		return merr_set(err, -EPROTO, "CPR_EXEC: field 'argv': no program, or its end is missing");
	p->words = malloc(argv->len);
	if (!p->words)
		return merr_set(err, -ENOMEM, "CPR_EXEC: no memory");
	memcpy(p->words, argv->data, argv->len);
	for (size_t at = 0; at < argv->len; at += strlen(p->words + at) + 1) {
		if (n == ARGS_MAX)
			return merr_set(err, -E2BIG, "CPR_EXEC: more than %d arguments", ARGS_MAX);
		p->argv[n++] = p->words + at;
	}
	return 0;
}

static int write_table(struct migd_guest *g, struct passage *p, struct merr *err)
{
	static const uint8_t no_id[ATTACH_ID_LEN];
	struct wcur w = wcur_of(g->body, ATTACH_BODY_MAX);
	int r = cpr_encode_offer(&g->tables, no_id, &w, p->fds, err);

	if (r < 0)
		return r;
	p->table_fd = fd_memfd("migd-cpr", w.len);
	r = p->table_fd < 0 ? p->table_fd : fd_pwrite_full(p->table_fd, w.p, w.len, 0);
	return r < 0 ? merr_set_errno(err, r, "CPR_EXEC: the table of memory") : 0;
}

static int name_fds(struct passage *p, size_t n, struct merr *err)
{
	size_t room = sizeof(CPR_VARIABLE) + 32 + 12 * n;
	int len;

	p->variable = malloc(room);
	if (!p->variable)
		return merr_set(err, -ENOMEM, "CPR_EXEC: no memory");
	len = snprintf(p->variable, room, CPR_VARIABLE "=%d:%d:", (int)getpid(), p->table_fd);
	for (size_t i = 0; i < n; i++)
		len += snprintf(p->variable + len, room - (size_t)len, "%s%d", i ? "," : "", p->fds[i]);
	return 0;
}

static int extend_environment(struct passage *p, struct merr *err)
{
	size_t n = 0, k = 0;

	while (environ && environ[n])
		n++;
	p->envp = calloc(n + 2, sizeof(*p->envp));
	if (!p->envp)
		return merr_set(err, -ENOMEM, "CPR_EXEC: no memory");
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], CPR_VARIABLE "=", sizeof(CPR_VARIABLE)) != 0)
			p->envp[k++] = environ[i];
	p->envp[k] = p->variable;
	return 0;
}

static int set_inherited(const struct passage *p, size_t n, bool inherited)
{
	int r = fd_set_cloexec(p->table_fd, !inherited);

	for (size_t i = 0; i < n && r >= 0; i++)
		r = fd_set_cloexec(p->fds[i], !inherited);
	return r;
}

/* Does not return if it succeeds. */
static int become(struct migd_guest *g, const struct attach_blob *argv, struct merr *err)
{
	struct passage p = { .table_fd = -1 };
	size_t n = g->tables.n_blocks;
	int r;

	r = split(&p, argv, err);
	if (r >= 0)
		r = write_table(g, &p, err);
	if (r >= 0)
		r = name_fds(&p, n, err);
	if (r >= 0)
		r = extend_environment(&p, err);
	if (r >= 0) {
		r = set_inherited(&p, n, true);
		if (r >= 0)
			r = g->hooks.exec(g->opaque, p.argv, p.envp);
		(void)set_inherited(&p, n, false);
		(void)merr_set_errno(err, r, "cannot execute '%s'", p.argv[0]);
	}
	passage_done(&p);
	return r < 0 ? r : merr_set(err, -EIO, "the VMM's exec hook returned");
}

int handle_cpr_exec(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_cpr_exec req;

	if (CALL_DECODE(c, cpr_exec, &req, err) < 0)
		return -EBADMSG;
	if (!g->hooks.exec)
		return merr_set(err, -EOPNOTSUPP, "this VMM cannot execute another program in its place");
	if (req.check)
		return 0;
	if (decision_get(&g->decision) != HANDOVER_RELEASED)
		return merr_set(err, -EBADFD, "CPR_EXEC: the guest was not released");
	return become(g, &req.argv, err);
}

/* ---- arriving ---- */

/* Read "PID:TABLE:FD,FD,..."; -ENOENT: it is for another process. */
static int parse(const char *text, int *ret_table, int fds[ATTACH_FDS_MAX], size_t *ret_n)
{
	int pid, len = 0;

	if (sscanf(text, "%d:%d:%n", &pid, ret_table, &len) != 2 || !len || *ret_table < 0)
		return -EINVAL;
	if (pid != (int)getpid())
		return -ENOENT;
	for (text += len, *ret_n = 0; *ret_n < ATTACH_FDS_MAX; text += len + 1) {
		if (sscanf(text, "%d%n", &fds[*ret_n], &len) != 1 || fds[(*ret_n)++] < 0)
			return -EINVAL;
		if (text[len] != ',')
			return text[len] ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int load_table(struct migd_guest_cpr *cpr, int table_fd, int *fds, size_t n, struct merr *err)
{
	_cleanup_free_ uint8_t *bytes = malloc(ATTACH_BODY_MAX);
	struct attach_ram_offer offer;
	struct stat st;
	struct rcur c;
	int r;

	if (!bytes)
		return merr_set(err, -ENOMEM, "no memory");
	if (fstat(table_fd, &st) < 0 || st.st_size <= 0 || st.st_size > ATTACH_BODY_MAX)
		return merr_set(err, -EINVAL, "descriptor %d is no table of inherited memory", table_fd);
	r = fd_pread_full(table_fd, bytes, (size_t)st.st_size, 0);
	if (r < 0)
		return merr_set_errno(err, r, "the table of inherited memory");
	c = rcur_of(bytes, (size_t)st.st_size);
	r = attach_ram_offer_decode(&c, &offer, err);
	if (r >= 0)
		r = cpr_take_blocks(cpr, &offer, fds, n, err);
	for (size_t i = 0; i < cpr->n_blocks; i++)
		(void)fd_set_cloexec(cpr->blocks[i].fd, true);
	return r;
}

static int inherit(struct migd_guest_cpr *cpr, const char *text, struct merr *err)
{
	int fds[ATTACH_FDS_MAX], r;
	_cleanup_close_ int table_fd = -1;
	size_t n;

	r = parse(text, &table_fd, fds, &n);
	if (r < 0) {
		table_fd = -1;
		return merr_set(err, r, r == -ENOENT ? "no memory was left for this process" :
						       "environment variable " CPR_VARIABLE " is malformed");
	}
	cpr->inherited = true;
	return load_table(cpr, table_fd, fds, n, err);
}

int migd_guest_cpr_inherit(struct migd_guest_cpr **ret_cpr)
{
	const char *text = getenv(CPR_VARIABLE);
	struct migd_guest_cpr *cpr;
	struct merr err = MERR_INIT;
	int r;

	if (!text)
		return guest_failf(-ENOENT, "no memory was left for this process");
	cpr = cpr_new();
	if (!cpr)
		return guest_failf(-ENOMEM, "no memory");
	r = inherit(cpr, text, &err);
	(void)unsetenv(CPR_VARIABLE);
	if (r < 0) {
		migd_guest_cpr_free(cpr);
		return guest_fail(&err);
	}
	*ret_cpr = cpr;
	return 0;
}
