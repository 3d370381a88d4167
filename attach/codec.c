/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of attach messages to bytes and back, made from the tables in attach/proto.h. */
#include "attach/codec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One pair of functions per kind of field. A getter returns what is wrong, or NULL. */

#define DEFINE_INT_FIELD(kind, type, cursor)                             \
	static inline void put_##kind(struct wcur *c, const type *v)     \
	{                                                                \
		wcur_##cursor(c, *v);                                    \
	}                                                                \
	static inline const char *get_##kind(struct rcur *c, type *v)    \
	{                                                                \
		*v = rcur_##cursor(c);                                   \
		return c->bad ? "beyond the end of the message" : NULL;  \
	}
DEFINE_INT_FIELD(u8, uint8_t, u8)
DEFINE_INT_FIELD(u16, uint16_t, le16)
DEFINE_INT_FIELD(u32, uint32_t, le32)
DEFINE_INT_FIELD(u64, uint64_t, le64)
#undef DEFINE_INT_FIELD

static void put_id(struct wcur *c, const uint8_t (*v)[ATTACH_ID_LEN])
{
	wcur_bytes(c, *v, ATTACH_ID_LEN);
}

static const char *get_id(struct rcur *c, uint8_t (*v)[ATTACH_ID_LEN])
{
	const uint8_t *p = rcur_bytes(c, ATTACH_ID_LEN);

	if (!p)
		return "beyond the end of the message";
	memcpy(*v, p, ATTACH_ID_LEN);
	return NULL;
}

static void put_str(struct wcur *c, const char (*v)[ATTACH_STR_MAX + 1])
{
	size_t len = strnlen(*v, sizeof(*v));

	if (len > ATTACH_STR_MAX) {
		c->bad = true;
		return;
	}
	wcur_le16(c, (uint16_t)len);
	wcur_bytes(c, *v, len);
}

static const char *get_str(struct rcur *c, char (*v)[ATTACH_STR_MAX + 1])
{
	uint16_t len = rcur_le16(c);
	const uint8_t *p;

	if (!c->bad && len > ATTACH_STR_MAX)
		return "the string is too long";
	p = rcur_bytes(c, len);
	if (!p)
		return "the string ends beyond the end of the message";
	if (len && memchr(p, 0, len))
		return "the string holds a NUL";
	if (len)
		memcpy(*v, p, len);
	(*v)[len] = '\0';
	return NULL;
}

static void put_blob(struct wcur *c, const struct attach_blob *v)
{
	wcur_le32(c, v->len);
	wcur_bytes(c, v->data, v->len);
}

static const char *get_blob(struct rcur *c, struct attach_blob *v)
{
	uint32_t len = rcur_le32(c);
	const uint8_t *p = rcur_bytes(c, len);

	if (!p)
		return "the bytes end beyond the end of the message";
	*v = (struct attach_blob){ .data = p, .len = len };
	return NULL;
}

static int bad_field(struct merr *err, const char *message, const char *field, const char *why)
{
	return merr_set(err, -EBADMSG, "attach message '%s': field '%s': %s", message, field, why);
}

int attach_decode_end(const struct rcur *c, struct merr *err)
{
	if (c->left)
		return merr_set(err, -EBADMSG, "attach message: %zu bytes too many", c->left);
	return 0;
}

/* Bodies that are rows of a list: another may follow. */
static const char *const rows[] = { "ram_block", "interface", "mismatch", "vcpu_dirty",
				    "live_device" };

/* Whether nothing may follow this body. */
static int end_after(const struct rcur *c, const char *message, struct merr *err)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(message, rows[i]))
			return 0;
	if (!c->left)
		return 0;
	return merr_set(err, -EBADMSG, "attach message '%s': %zu bytes too many", message, c->left);
}

#define ENCODE_FIELD(kind, m) put_##kind(c, &v->m);
#define DEFINE_ENCODE(upper, lower)                                           \
	int attach_##lower##_encode(struct wcur *c, const struct attach_##lower *v) \
	{                                                                     \
		(void)v;                                                      \
		ATTACH_##upper##_FIELDS(ENCODE_FIELD)                         \
		return c->bad ? -EMSGSIZE : 0;                                \
	}
ATTACH_BODIES(DEFINE_ENCODE)

/* Decoded into a local, so that *v is untouched on failure. */
#define DECODE_FIELD(kind, m)                               \
	why = get_##kind(c, &out.m);                        \
	if (why)                                            \
		return bad_field(err, message, #m, why);
#define DEFINE_DECODE(upper, lower)                                                               \
	int attach_##lower##_decode(struct rcur *c, struct attach_##lower *v, struct merr *err)   \
	{                                                                                         \
		static const char message[] = #lower;                                             \
		struct attach_##lower out;                                                        \
		const char *why = NULL;                                                           \
                                                                                                  \
		memset(&out, 0, sizeof(out));                                                     \
		(void)why;                                                                        \
		ATTACH_##upper##_FIELDS(DECODE_FIELD)                                             \
		if (end_after(c, message, err) < 0)                                               \
			return -EBADMSG;                                                          \
		*v = out;                                                                         \
		return 0;                                                                         \
	}
ATTACH_BODIES(DEFINE_DECODE)

const char *attach_type_name(uint16_t type)
{
	static _Thread_local char text[16];

	switch (type) {
#define TYPE_NAME(number, name, req, rep) \
	case number:                      \
		return #name;
		ATTACH_MESSAGES(TYPE_NAME)
#undef TYPE_NAME
	default:
		(void)snprintf(text, sizeof(text), "type %u", type);
		return text;
	}
}
