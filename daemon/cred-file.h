/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that credentials are made of: read as a whole, with what they were when they were read, so that a change is
 * noticed. Small ones, on a local disk: reading does not keep the daemon's loop waiting.
 */
#ifndef MIGD_DAEMON_CRED_FILE_H
#define MIGD_DAEMON_CRED_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Far beyond any chain of certificates, or list of rules. */
#define CRED_FILE_MAX_BYTES (1024 * 1024)

/* Files that were looked at, those too that were not there. All zero: none. */
struct cred_files {
	struct cred_file_stamp *stamps;
	size_t n;
};

void cred_files_done(struct cred_files *files);

/* True if one of FILES is another than it was. */
bool cred_files_changed(const struct cred_files *files);

/* Call FN for the directory of each; some more than once. */
void cred_files_each_dir(const struct cred_files *files, void (*fn)(void *opaque, const char *dir), void *opaque);

enum cred_file_kind {
	CRED_FILE_PUBLIC = 1,
	CRED_FILE_SECRET, /* must not be readable by group or others: a rule of migd's own */
};

/*
 * Read "DIR/NAME" (DIR NULL: NAME is the path) and note it in FILES, also if that fails. *RET ends with a NUL that LEN
 * does not count; free it with cred_file_free(). -ENOENT: it is not there, and ERR says so; else -errno with ERR.
 */
int cred_file_read(struct cred_files *files, const char *dir, const char *name, enum cred_file_kind kind, char **ret,
		   size_t *ret_len, struct merr *err);

/* Whether "DIR/NAME" is there; noted in FILES. */
bool cred_file_exists(struct cred_files *files, const char *dir, const char *name);

/* It may have been secret: it is overwritten first. NULL is fine. */
void cred_file_free(char *text, size_t len);

#endif
