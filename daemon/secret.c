/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords. */
#include "daemon/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static int check(const struct secret_properties *p, struct merr *err)
{
	if (p->has_keyid || p->has_iv)
		return merr_set(err, -ENOTSUP,
				"Parameter '%s' is not supported: migd's secrets are not encrypted with others; give a 'file' that "
				"nobody else may read",
				p->has_keyid ? "keyid" : "iv");
	if (p->has_data == p->has_file)
		return merr_set(err, -EINVAL, "exactly one of 'data' and 'file' is expected");
	if (p->has_file && p->file[0] != '/')
		return merr_set(err, -EINVAL, "Parameter 'file' expects an absolute path, not '%s'", p->file);
	return 0;
}

static int take_data(const char *data, struct secret *s, struct merr *err)
{
	s->bytes = strdup(data);
	if (!s->bytes)
		return merr_set(err, -ENOMEM, "out of memory");
	s->len = strlen(data);
	return 0;
}

/* In place: what is decoded is shorter. */
static int decode(struct secret *s, struct merr *err)
{
	EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
	unsigned char *bytes = malloc(s->len + 1);
	int n = 0, rest = 0, r;

	if (!ctx || !bytes) {
		r = merr_set(err, -ENOMEM, "out of memory");
	} else {
		EVP_DecodeInit(ctx);
		r = EVP_DecodeUpdate(ctx, bytes, &n, (const unsigned char *)s->bytes, (int)s->len) < 0 ||
				    EVP_DecodeFinal(ctx, bytes + n, &rest) < 0
			    ? merr_set(err, -EINVAL, "what is given is no base64")
			    : 0;
	}
	EVP_ENCODE_CTX_free(ctx);
	if (r == 0) {
		cred_file_free(s->bytes, s->len);
		s->bytes = (char *)bytes;
		s->len = (size_t)n + (size_t)rest;
		s->bytes[s->len] = '\0';
		return 0;
	}
	cred_file_free((char *)bytes, bytes ? s->len : 0);
	return r;
}

int secret_load(const struct secret_properties *p, struct cred_files *files, struct secret **ret, struct merr *err)
{
	struct secret *s;
	int r = check(p, err);

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return merr_set(err, -ENOMEM, "out of memory");
	r = p->has_file ? cred_file_read(files, NULL, p->file, CRED_FILE_SECRET, &s->bytes, &s->len, err)
			: take_data(p->data, s, err);
	if (r == 0 && p->has_format && p->format == SECRET_FORMAT_BASE64)
		r = decode(s, err);
	if (r < 0) {
		(void)secret_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct secret *secret_free(struct secret *s)
{
	if (s)
		cred_file_free(s->bytes, s->len);
	free(s);
	return NULL;
}
