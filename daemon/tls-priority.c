/* SPDX-License-Identifier: Apache-2.0 */
/* GnuTLS priority strings: a base, then words that add to it or take from it, and %options. */
#include "daemon/tls-priority.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- what there is ---- */

enum what { VERSION, CIPHER, GROUP, EXCHANGE, N_WHAT };

enum { TLS13, TLS12, N_VERSIONS };
enum { AES256, CHACHA, AES128, CCM128, N_CIPHERS };
enum { X25519, P256, X448, P521, P384, FF2048, FF3072, FF4096, FF6144, FF8192, N_GROUPS };
enum { ECDHE_ECDSA, ECDHE_RSA, ECDHE_PSK, DHE_PSK, PSK, N_EXCHANGES };

#define MEMBERS_MAX 16U

/* An ordered choice of one kind of thing. */
struct choice {
	unsigned char members[MEMBERS_MAX];
	size_t n;
};

struct state {
	struct choice of[N_WHAT];
	bool server_precedence;
};

static const size_t n_members[N_WHAT] = {
	[VERSION] = N_VERSIONS, [CIPHER] = N_CIPHERS, [GROUP] = N_GROUPS, [EXCHANGE] = N_EXCHANGES
};
static_assert(N_GROUPS <= MEMBERS_MAX, "a choice has room for all groups");

static const char *const suites_13[N_CIPHERS] = {
	[AES256] = "TLS_AES_256_GCM_SHA384",
	[CHACHA] = "TLS_CHACHA20_POLY1305_SHA256",
	[AES128] = "TLS_AES_128_GCM_SHA256",
	[CCM128] = "TLS_AES_128_CCM_SHA256",
};

/* NULL: there is no such combination. */
static const char *const ciphers_12[N_EXCHANGES][N_CIPHERS] = {
	[ECDHE_ECDSA] = { "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256",
			  "ECDHE-ECDSA-AES128-CCM" },
	[ECDHE_RSA] = { "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256", NULL },
	[ECDHE_PSK] = { NULL, "ECDHE-PSK-CHACHA20-POLY1305", NULL, NULL },
	[DHE_PSK] = { "DHE-PSK-AES256-GCM-SHA384", "DHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-GCM-SHA256",
		      "DHE-PSK-AES128-CCM" },
	[PSK] = { "PSK-AES256-GCM-SHA384", "PSK-CHACHA20-POLY1305", "PSK-AES128-GCM-SHA256", "PSK-AES128-CCM" },
};

static const char *const groups[N_GROUPS] = {
	[X25519] = "X25519",	[P256] = "P-256",	[X448] = "X448",	[P521] = "P-521",	[P384] = "P-384",
	[FF2048] = "ffdhe2048", [FF3072] = "ffdhe3072", [FF4096] = "ffdhe4096", [FF6144] = "ffdhe6144",
	[FF8192] = "ffdhe8192",
};

/* ---- the words ---- */

#define LIST(...) { { __VA_ARGS__ }, sizeof((unsigned char[]){ __VA_ARGS__ }) }
#define ALL_VERSIONS   LIST(TLS13, TLS12)
#define ALL_CIPHERS    LIST(AES256, CHACHA, AES128, CCM128)
#define ALL_GROUPS     LIST(X25519, P256, X448, P521, P384, FF2048, FF3072, FF4096, FF6144, FF8192)
#define STRONG_GROUPS  LIST(X448, P521, P384, FF8192)
#define X509_EXCHANGES LIST(ECDHE_ECDSA, ECDHE_RSA)
#define PSK_EXCHANGES  LIST(ECDHE_PSK, DHE_PSK, PSK)

/* What a string begins with. Key exchanges of certificates; those of pre-shared keys are added. */
static const struct base {
	const char *word;
	struct choice of[N_WHAT];
} bases[] = {
	{ "NORMAL", { ALL_VERSIONS, ALL_CIPHERS, ALL_GROUPS, X509_EXCHANGES } },
	{ "PERFORMANCE", { ALL_VERSIONS, LIST(AES128, CHACHA, AES256, CCM128), ALL_GROUPS, X509_EXCHANGES } },
	{ "PFS", { ALL_VERSIONS, ALL_CIPHERS, ALL_GROUPS, X509_EXCHANGES } },
	{ "SECURE128", { ALL_VERSIONS, ALL_CIPHERS, ALL_GROUPS, X509_EXCHANGES } },
	{ "SECURE192", { ALL_VERSIONS, LIST(AES256, CHACHA), STRONG_GROUPS, X509_EXCHANGES } },
	{ "SECURE256", { ALL_VERSIONS, LIST(AES256, CHACHA), STRONG_GROUPS, X509_EXCHANGES } },
	{ "NONE", { { { 0 }, 0 } } },
};

#define EVERY 0xFF /* all of the kind */

static const struct word {
	const char *text;
	enum what what;
	unsigned char member;
} words[] = {
	{ "VERS-TLS1.3", VERSION, TLS13 },
	{ "VERS-TLS1.2", VERSION, TLS12 },
	{ "VERS-ALL", VERSION, EVERY },
	{ "VERS-TLS-ALL", VERSION, EVERY },
	{ "AES-256-GCM", CIPHER, AES256 },
	{ "CHACHA20-POLY1305", CIPHER, CHACHA },
	{ "AES-128-GCM", CIPHER, AES128 },
	{ "AES-128-CCM", CIPHER, CCM128 },
	{ "CIPHER-ALL", CIPHER, EVERY },
	{ "GROUP-X25519", GROUP, X25519 },
	{ "GROUP-X448", GROUP, X448 },
	{ "GROUP-SECP256R1", GROUP, P256 },
	{ "GROUP-SECP384R1", GROUP, P384 },
	{ "GROUP-SECP521R1", GROUP, P521 },
	{ "GROUP-FFDHE2048", GROUP, FF2048 },
	{ "GROUP-FFDHE3072", GROUP, FF3072 },
	{ "GROUP-FFDHE4096", GROUP, FF4096 },
	{ "GROUP-FFDHE6144", GROUP, FF6144 },
	{ "GROUP-FFDHE8192", GROUP, FF8192 },
	{ "GROUP-ALL", GROUP, EVERY },
	{ "CURVE-X25519", GROUP, X25519 },
	{ "CURVE-X448", GROUP, X448 },
	{ "CURVE-SECP256R1", GROUP, P256 },
	{ "CURVE-SECP384R1", GROUP, P384 },
	{ "CURVE-SECP521R1", GROUP, P521 },
	{ "ECDHE-ECDSA", EXCHANGE, ECDHE_ECDSA },
	{ "ECDHE-RSA", EXCHANGE, ECDHE_RSA },
	{ "ECDHE-PSK", EXCHANGE, ECDHE_PSK },
	{ "DHE-PSK", EXCHANGE, DHE_PSK },
	{ "PSK", EXCHANGE, PSK },
	{ "KX-ALL", EXCHANGE, EVERY },
};

/* Always on, by what the other words choose: they may be added, which changes nothing. */
static const char *const always[] = { "AEAD", "MAC-ALL", "SIGN-ALL", "COMP-NULL", "COMP-ALL", "CTYPE-X509", "CTYPE-ALL" };

/* Always off: they may be taken away. */
static const char *const never[] = {
	"VERS-SSL3.0", "VERS-TLS1.0", "VERS-TLS1.1", "VERS-DTLS1.0", "VERS-DTLS1.2", "VERS-DTLS-ALL", "AES-128-CBC",
	"AES-256-CBC", "CAMELLIA-128-CBC", "CAMELLIA-256-CBC", "3DES-CBC", "ARCFOUR-128", "SHA1", "MD5", "RSA", "DHE-RSA",
	"DHE-DSS", "ANON-DH", "ANON-ECDH", "RSA-PSK",
};

/* ---- parsing ---- */

static void take_out(struct choice *c, unsigned char member)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->members[i] != member)
			c->members[kept++] = c->members[i];
	c->n = kept;
}

/* Last in order; one that is there stays where it is. */
static void put_in(struct choice *c, unsigned char member)
{
	if (!memchr(c->members, member, c->n))
		c->members[c->n++] = member;
}

static void apply(struct state *s, const struct word *w, bool add)
{
	for (unsigned char i = 0; i < n_members[w->what]; i++) {
		if (w->member != EVERY && w->member != i)
			continue;
		if (add)
			put_in(&s->of[w->what], i);
		else
			take_out(&s->of[w->what], i);
	}
}

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text, list[i]) == 0)
			return true;
	return false;
}

static int parse_change(const char *text, struct state *s, struct merr *err)
{
	bool add = text[0] == '+';

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(text + 1, words[i].text) == 0) {
			apply(s, &words[i], add);
			return 0;
		}
	if (add ? is_one_of(text + 1, always, ARRAY_SIZE(always)) : is_one_of(text + 1, never, ARRAY_SIZE(never)))
		return 0;
	if (is_one_of(text + 1, always, ARRAY_SIZE(always)) || is_one_of(text + 1, never, ARRAY_SIZE(never)))
		return merr_set(err, -EINVAL, "'%s' is not possible: '%s' is always %s", text, text + 1, add ? "off" : "on");
	return merr_set(err, -EINVAL, "'%s' is not understood; docs/tls.md has the words that are", text);
}

static int parse_word(const char *text, struct state *s, struct merr *err)
{
	if (text[0] == '+' || text[0] == '-' || text[0] == '!')
		return parse_change(text, s, err);
	if (strcmp(text, "%SERVER_PRECEDENCE") == 0) {
		s->server_precedence = true;
		return 0;
	}
	return merr_set(err, -EINVAL, "'%s' is not understood after the first word: there, words begin with '+' or '-'", text);
}

static int parse_base(const char *text, bool psk, struct state *s, struct merr *err)
{
	static const struct choice more = PSK_EXCHANGES;

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		if (strcmp(text, bases[i].word) != 0)
			continue;
		memcpy(s->of, bases[i].of, sizeof(s->of));
		for (size_t j = 0; psk && j < more.n; j++)
			if (more.members[j] != PSK || strcmp(text, "PFS") != 0)
				put_in(&s->of[EXCHANGE], more.members[j]);
		return 0;
	}
	return merr_set(err, -EINVAL,
			"'%s' is not understood; it begins with NORMAL, PERFORMANCE, PFS, SECURE128, SECURE192, SECURE256 or NONE",
			text);
}

static int parse(const char *text, bool psk, struct state *s, struct merr *err)
{
	char copy[TLS_PRIORITY_TEXT_MAX];
	char *rest = copy, *word;
	size_t len = strlen(text);
	int r;

	if (len >= sizeof(copy))
		return merr_set(err, -EINVAL, "it is longer than %d bytes", TLS_PRIORITY_TEXT_MAX - 1);
	memcpy(copy, text, len + 1);
	word = strsep(&rest, ":");
	r = parse_base(word, psk, s, err);
	while (r == 0 && (word = strsep(&rest, ":")))
		r = parse_word(word, s, err);
	return r;
}

/* ---- in OpenSSL's words ---- */

/* All names together fit TLS_PRIORITY_TEXT_MAX; the test of all of them would tell. */
static void append(char list[TLS_PRIORITY_TEXT_MAX], const char *name)
{
	size_t len = strlen(list);

	if (name)
		(void)snprintf(list + len, TLS_PRIORITY_TEXT_MAX - len, "%s%s", len ? ":" : "", name);
}

static bool has_version(const struct state *s, unsigned char version)
{
	return memchr(s->of[VERSION].members, version, s->of[VERSION].n) != NULL;
}

/* A preferred cipher with any exchange comes before the next cipher. */
static void list_ciphers_12(const struct state *s, bool psk, char list[TLS_PRIORITY_TEXT_MAX])
{
	const struct choice *ciphers = &s->of[CIPHER], *exchanges = &s->of[EXCHANGE];

	for (size_t i = 0; i < ciphers->n; i++)
		for (size_t j = 0; j < exchanges->n; j++)
			if ((exchanges->members[j] >= ECDHE_PSK) == psk)
				append(list, ciphers_12[exchanges->members[j]][ciphers->members[i]]);
}

static int translate(const struct state *s, bool psk, struct tls_priority *p, struct merr *err)
{
	p->server_precedence = s->server_precedence;
	/* A shared key goes with SHA-256 in TLS 1.3 (WIRE.md 10.4). */
	for (size_t i = 0; i < s->of[CIPHER].n; i++)
		if (!psk || s->of[CIPHER].members[i] != AES256)
			append(p->suites_13, suites_13[s->of[CIPHER].members[i]]);
	for (size_t i = 0; i < s->of[GROUP].n; i++)
		append(p->groups, groups[s->of[GROUP].members[i]]);
	list_ciphers_12(s, psk, p->ciphers_12);
	/* Versions without what they need are not offered. */
	p->tls13 = has_version(s, TLS13) && p->suites_13[0];
	p->tls12 = has_version(s, TLS12) && p->ciphers_12[0];
	if (!p->tls12)
		p->ciphers_12[0] = '\0';
	if (s->of[VERSION].n == 0)
		return merr_set(err, -EINVAL, "it leaves no version of TLS: add +VERS-TLS1.3, +VERS-TLS1.2 or +VERS-ALL");
	if (s->of[CIPHER].n == 0)
		return merr_set(err, -EINVAL, "it leaves no cipher: add +AES-256-GCM or +CIPHER-ALL");
	if (!p->groups[0])
		return merr_set(err, -EINVAL, "it leaves no group: add +GROUP-X25519 or +GROUP-ALL");
	if (!p->tls13 && !p->tls12)
		return merr_set(err, -EINVAL,
				"it leaves no cipher and key exchange that go together: add +KX-ALL; with pre-shared keys, "
				"AES-256-GCM is TLS 1.2's alone");
	return 0;
}

int tls_priority_parse(const char *text, bool psk, struct tls_priority *ret, struct merr *err)
{
	struct tls_priority p = { 0 };
	struct state s = { 0 };
	int r = parse(text ? text : "NORMAL", psk, &s, err);

	if (r == 0)
		r = translate(&s, psk, &p, err);
	if (r < 0)
		return merr_prefix(err, "Parameter 'priority' ('%.200s')", text ? text : "NORMAL");
	*ret = p;
	return 0;
}
