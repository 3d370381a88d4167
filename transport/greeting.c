/* SPDX-License-Identifier: Apache-2.0 */
/* Preambles and server names, written and read. */
#include "transport/greeting.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"

/* What else may come: a main stream's magic and a multifd channel's (QEMU's docs/devel/migration). */
#define STREAM_MAGIC  0x5145564dU
#define CHANNEL_MAGIC 0x11223344U

/* TLS: RFC 8446, 5.1 and 4.1.2. */
#define RECORD_HANDSHAKE  22
#define RECORD_HEADER_LEN 5U
#define RECORD_MAX	  16384U
#define CLIENT_HELLO	  1
#define MESSAGE_HEADER_LEN 4U
#define RANDOM_LEN	  32U
#define EXT_SERVER_NAME	  0
#define NAME_TYPE_HOST	  0

/* RFC 4648, 6, in the case that DNS names are usually written in; without padding, which no label may hold. */
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";
#define SUFFIX	      ".guest.migd"
#define ANNOUNCEMENT  ".comes.migd"	/* as long as SUFFIX */
#define LABEL_MAX     63U
/* The preamble's flags. */
#define FLAG_ANNOUNCES 1U
#define BASE32_LEN(n) (((n) * 8 + 4) / 5)

bool greeting_is_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	return len >= 1 && len <= GREETING_NAME_MAX;
}

/* ---- the preamble ---- */

void greeting_write(const struct greeting *g, uint8_t ret[GREETING_LEN])
{
	struct wcur w = wcur_of(ret, GREETING_LEN);
	char name[GREETING_NAME_MAX] = { 0 };
	size_t len = strnlen(g->guest, GREETING_NAME_MAX);

	memcpy(name, g->guest, len);
	wcur_be32(&w, GREETING_MAGIC);
	wcur_be16(&w, GREETING_VERSION);
	wcur_be16(&w, g->announces ? FLAG_ANNOUNCES : 0);
	wcur_bytes(&w, g->handover_id, GREETING_ID_LEN);
	wcur_u8(&w, (uint8_t)len);
	wcur_bytes(&w, name, sizeof(name));
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len > 0 && *p == 0) {
		p++;
		len--;
	}
	return len == 0;
}

/* The name of LEN bytes at P; false if it is none. */
static bool take_name(const uint8_t *p, size_t len, struct greeting *ret)
{
	if (len > GREETING_NAME_MAX || memchr(p, 0, len))
		return false;
	memcpy(ret->guest, p, len);
	ret->guest[len] = '\0';
	return greeting_is_name(ret->guest);
}

static enum greeting_verdict read_preamble(struct rcur c, struct greeting *ret)
{
	struct greeting g = { .tls = false };
	uint16_t version, flags;
	const uint8_t *id, *name;
	uint8_t len;

	(void)rcur_be32(&c);
	version = rcur_be16(&c);
	flags = rcur_be16(&c);
	id = rcur_bytes(&c, GREETING_ID_LEN);
	len = rcur_u8(&c);
	name = rcur_bytes(&c, GREETING_NAME_MAX);
	if (c.bad)
		return GREETING_MORE;
	if (version != GREETING_VERSION || flags > FLAG_ANNOUNCES || !take_name(name, len, &g) ||
	    !all_zero(name + len, GREETING_NAME_MAX - len))
		return GREETING_GARBAGE;
	memcpy(g.handover_id, id, GREETING_ID_LEN);
	g.announces = flags == FLAG_ANNOUNCES;
	*ret = g;
	return GREETING_NAMED;
}

/* ---- the server name ---- */

_Static_assert(sizeof(SUFFIX) == sizeof(ANNOUNCEMENT), "either has its place at the end");

static const char *suffix_of(const struct greeting *g)
{
	return g->announces ? ANNOUNCEMENT : SUFFIX;
}

static char *put_base32(char *to, const uint8_t *from, size_t len)
{
	unsigned int bits = 0, held = 0;

	for (size_t i = 0; i < len; i++) {
		held = held << 8 | from[i];
		for (bits += 8; bits >= 5; bits -= 5)
			*to++ = base32_digits[held >> (bits - 5) & 31];
	}
	if (bits > 0)
		*to++ = base32_digits[held << (5 - bits) & 31];
	return to;
}

/* The name's digits in as few labels as they fit in, the handover id's in one, and the suffix. */
void greeting_server_name(const struct greeting *g, char ret[GREETING_SERVER_NAME_MAX + 1])
{
	char digits[BASE32_LEN(GREETING_NAME_MAX)], *to = ret;
	size_t len = strnlen(g->guest, GREETING_NAME_MAX);
	size_t n = (size_t)(put_base32(digits, (const uint8_t *)g->guest, len) - digits);

	for (size_t i = 0; i < n; i++) {
		if (i > 0 && i % LABEL_MAX == 0)
			*to++ = '.';
		*to++ = digits[i];
	}
	*to++ = '.';
	to = put_base32(to, g->handover_id, GREETING_ID_LEN);
	memcpy(to, suffix_of(g), sizeof(SUFFIX));
}

static int digit_of(uint8_t c)
{
	const char *at;

	if (c >= 'A' && c <= 'Z')
		c = (uint8_t)(c - 'A' + 'a');
	at = c ? strchr(base32_digits, c) : NULL;
	return at ? (int)(at - base32_digits) : -1;
}

/* The bytes that the digits of [P, P + LEN) stand for, dots skipped, at most CAP; SIZE_MAX: that is no such text. */
static size_t get_base32(const uint8_t *p, size_t len, uint8_t *to, size_t cap)
{
	unsigned int bits = 0, held = 0;
	size_t n = 0;
	int digit;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '.')
			continue;
		digit = digit_of(p[i]);
		if (digit < 0)
			return SIZE_MAX;
		held = (held << 5 | (unsigned int)digit) & 0xfff;
		bits += 5;
		if (bits < 8)
			continue;
		if (n == cap)
			return SIZE_MAX;
		bits -= 8;
		to[n++] = (uint8_t)(held >> bits);
	}
	return n;
}

/* NAME is one of ours: exactly what greeting_server_name() writes, in whatever case. */
static bool take_server_name(const uint8_t *name, size_t len, struct greeting *ret)
{
	const size_t tail = 1 + BASE32_LEN(GREETING_ID_LEN) + sizeof(SUFFIX) - 1;
	struct greeting g = { .tls = true };
	char again[GREETING_SERVER_NAME_MAX + 1];
	uint8_t bytes[GREETING_NAME_MAX];
	size_t n;

	if (len <= tail || len > GREETING_SERVER_NAME_MAX)
		return false;
	n = get_base32(name, len - tail, bytes, sizeof(bytes));
	if (n == SIZE_MAX || !take_name(bytes, n, &g) ||
	    get_base32(name + len - tail + 1, BASE32_LEN(GREETING_ID_LEN), g.handover_id, GREETING_ID_LEN) !=
		    GREETING_ID_LEN)
		return false;
	g.announces = strncasecmp((const char *)name + len - (sizeof(SUFFIX) - 1), ANNOUNCEMENT, sizeof(SUFFIX) - 1) == 0;
	greeting_server_name(&g, again);
	if (strlen(again) != len || strncasecmp(again, (const char *)name, len) != 0)
		return false;
	*ret = g;
	return true;
}

/* ---- the ClientHello ---- */

/* A vector whose length is a number of WIDTH bytes. */
static struct rcur vector(struct rcur *c, size_t width)
{
	size_t len = width == 1 ? rcur_u8(c) : rcur_be16(c);
	const uint8_t *p = rcur_bytes(c, len);

	return p ? rcur_of(p, len) : (struct rcur){ .bad = true };
}

/* One name, of the one type there is: "MUST NOT contain more than one name of the same name_type". */
static enum greeting_verdict read_server_name(struct rcur ext, struct greeting *ret)
{
	struct rcur list = vector(&ext, 2), name;
	uint8_t type = rcur_u8(&list);

	name = vector(&list, 2);
	if (ext.bad || ext.left || list.bad || list.left || name.bad)
		return GREETING_GARBAGE;
	if (type != NAME_TYPE_HOST || !take_server_name(name.p, name.left, ret))
		return GREETING_NO_NAME;
	return GREETING_NAMED;
}

static enum greeting_verdict read_extensions(struct rcur c, struct greeting *ret)
{
	enum greeting_verdict v = GREETING_NO_NAME;
	bool seen = false;
	struct rcur body;
	uint16_t type;

	while (c.left > 0) {
		type = rcur_be16(&c);
		body = vector(&c, 2);
		if (c.bad || (type == EXT_SERVER_NAME && seen))
			return GREETING_GARBAGE;
		if (type != EXT_SERVER_NAME)
			continue;
		seen = true;
		v = read_server_name(body, ret);
	}
	return v;
}

static enum greeting_verdict read_client_hello(struct rcur c, struct greeting *ret)
{
	struct greeting found;
	enum greeting_verdict v;
	struct rcur extensions;

	(void)rcur_be16(&c); /* legacy_version */
	(void)rcur_bytes(&c, RANDOM_LEN);
	(void)vector(&c, 1); /* session id */
	(void)vector(&c, 2); /* cipher suites */
	(void)vector(&c, 1); /* compression methods */
	if (c.bad)
		return GREETING_GARBAGE;
	if (c.left == 0)
		return GREETING_NO_NAME;
	extensions = vector(&c, 2);
	if (c.bad || c.left)
		return GREETING_GARBAGE;
	v = read_extensions(extensions, &found);
	if (v == GREETING_NAMED)
		*ret = found;
	return v;
}

/* What the message whose first N bytes are at MSG is: how long it has to be is in its header. */
static enum greeting_verdict check_message(const uint8_t *msg, size_t n, size_t *ret_len)
{
	if (n > 0 && msg[0] != CLIENT_HELLO)
		return GREETING_GARBAGE;
	if (n < MESSAGE_HEADER_LEN)
		return GREETING_MORE;
	*ret_len = MESSAGE_HEADER_LEN + (load_be32(msg) & 0xffffff);
	if (*ret_len > GREETING_HELLO_MAX)
		return GREETING_TOO_LONG;
	return n < *ret_len ? GREETING_MORE : GREETING_NAMED;
}

/* The message of a handshake, put together from the records that it came in. GREETING_NAMED: it is whole. */
static enum greeting_verdict unwrap(struct rcur c, uint8_t msg[GREETING_HELLO_MAX], size_t *ret_len)
{
	enum greeting_verdict v = GREETING_MORE;
	size_t n = 0, len, here;
	const uint8_t *part;
	uint8_t type, major;

	while (v == GREETING_MORE && c.left >= RECORD_HEADER_LEN) {
		type = rcur_u8(&c);
		major = rcur_u8(&c);
		(void)rcur_u8(&c);
		len = rcur_be16(&c);
		if (type != RECORD_HANDSHAKE || major != 3 || len == 0 || len > RECORD_MAX)
			return GREETING_GARBAGE;
		here = min_u64(min_u64(len, c.left), GREETING_HELLO_MAX - n);
		part = rcur_bytes(&c, here);
		if (!part)
			return GREETING_GARBAGE;
		memcpy(msg + n, part, here);
		n += here;
		v = check_message(msg, n, ret_len);
		if (here < len)
			break; /* the rest of this record is still to come, or of no interest */
	}
	return v;
}

static enum greeting_verdict read_tls(struct rcur c, struct greeting *ret)
{
	uint8_t msg[GREETING_HELLO_MAX];
	size_t len = 0;
	enum greeting_verdict v = unwrap(c, msg, &len);

	if (v != GREETING_NAMED)
		return v;
	return read_client_hello(rcur_of(msg + MESSAGE_HEADER_LEN, len - MESSAGE_HEADER_LEN), ret);
}

enum greeting_verdict greeting_read(const void *p, size_t len, struct greeting *ret)
{
	struct rcur c = rcur_of(p, len);
	enum greeting_verdict v = GREETING_MORE;
	const uint8_t *head = p;

	if (len >= 1 && head[0] == RECORD_HANDSHAKE) {
		v = read_tls(c, ret);
	} else if (len >= 4) {
		switch (load_be32(head)) {
		case GREETING_MAGIC:
			v = read_preamble(c, ret);
			break;
		case STREAM_MAGIC:
		case CHANNEL_MAGIC:
			v = GREETING_STREAM;
			break;
		default:
			v = GREETING_GARBAGE;
		}
	}
	return v == GREETING_MORE && len >= GREETING_PEEK_MAX ? GREETING_TOO_LONG : v;
}
