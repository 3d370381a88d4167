/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: an address as a client gives it, a URI or a JSON list of channels. What is accepted is whole, and its text is a
 * URI of the same address.
 */
/* LIBS: migd_daemon */
#include <assert.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/address.h"
#include "schema-json.h"

#define CHANNELS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ASSERT_ENDS(text) assert(memchr(text, '\0', sizeof(text)))

static void check_whole(const struct addr *a)
{
	size_t at = 0;

	ASSERT_ENDS(a->host);
	ASSERT_ENDS(a->port);
	ASSERT_ENDS(a->path);
	ASSERT_ENDS(a->guest);
	ASSERT_ENDS(a->text);
	for (size_t i = 0; a->type == ADDR_EXEC && i < a->n_args; i++) {
		assert(at <= ADDR_TEXT_MAX && addr_arg(a, i) == a->text + at);
		at += strlen(a->text + at) + 1;
	}
}

/* Not a command: its URI is for a shell. Nor what a URI cannot say, a comma in a path. */
static bool has_uri(const struct addr *a)
{
	return a->type != ADDR_EXEC && !strchr(a->path, ',') && !strchr(a->text, ',') && !a->to_guest;
}

static void check_text(const struct addr *a)
{
	static char text[ADDR_FORMATTED_MAX], again[ADDR_FORMATTED_MAX];
	static struct addr same;
	struct merr err = MERR_INIT;

	(void)addr_format(a, text, sizeof(text));
	if (!has_uri(a))
		return;
	assert(addr_parse_uri(text, &same, &err) == 0);
	assert(strcmp(addr_format(&same, again, sizeof(again)), text) == 0);
	assert(same.type == a->type && same.offset == a->offset);
	assert(strcmp(same.host, a->host) == 0 && strcmp(same.port, a->port) == 0);
	assert(strcmp(same.path, a->path) == 0 && strcmp(same.text, a->text) == 0);
}

static void check(int r, const struct addr *a, struct merr *err)
{
	assert(r < 0 ? merr_is_set(err) && err->code == r : !merr_is_set(err));
	if (r == 0) {
		check_whole(a);
		check_text(a);
	}
	merr_clear(err);
}

static void try_all(const char *uri, const struct migration_channel *channels, size_t n)
{
	static char text[ADDRESS_TEXT_MAX];
	static struct addr a;
	struct merr err = MERR_INIT;
	struct socket_address described = { 0 };
	char path[sizeof(a.path)];
	int r;

	check(address_parse_incoming(uri, channels, n, &a, text, &err), &a, &err);
	r = address_parse(uri, channels, n, &a, text, &err);
	if (r == 0)
		ASSERT_ENDS(text);
	if (r == 0 && addr_is_network(&a) && address_describe(&a, &described) == 0)
		socket_address_done(&described);
	check(r, &a, &err);
	if (uri)
		check(address_parse_listen(uri, NULL, &a, text, &err), &a, &err);
	else if (channels[0].addr.transport == MIGRATION_ADDRESS_TYPE_SOCKET)
		check(address_parse_listen(NULL, &channels[0].addr.u.socket, &a, text, &err), &a, &err);
	if (address_parse_cpr(channels, n, path, &err) == 0)
		ASSERT_ENDS(path);
}

static void try_channels(json_t *list)
{
	struct migration_channel channels[CHANNELS_MAX];
	struct merr err = MERR_INIT;
	size_t n = 0, i;
	json_t *one;

	json_array_foreach(list, i, one)
	if (n < CHANNELS_MAX && migration_channel_from_json(one, &channels[n], &err) == 0)
		n++;
	if (n)
		try_all(NULL, channels, n);
	while (n--)
		migration_channel_done(&channels[n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	json_t *list = len ? json_loadb((const char *)data, len, 0, NULL) : NULL;
	char *uri = malloc(len + 1);

	assert(uri);
	memcpy(uri, data, len);
	uri[len] = '\0';
	if (json_is_array(list))
		try_channels(list);
	else
		try_all(uri, NULL, 0);
	json_decref(list);
	free(uri);
	return 0;
}

static const struct grammar_row rows[] = {
	{ 'S', "tcp:<H>:<P><O*>" },
	{ 'S', "unix:<X><O*>" },
	{ 'S', "vsock:<P>:<P>" },
	{ 'S', "fd:<P>" },
	{ 'S', "exec:<X>" },
	{ 'S', "file:<X>,offset=<P>" },
	{ 'S', "file:<X><O*>" },
	{ 'H', "" },
	{ 'H', "a.b" },
	{ 'H', "127.0.0.1" },
	{ 'H', "[::1]" },
	{ 'H', "[::1" },
	{ 'P', "0" },
	{ 'P', "4444" },
	{ 'P', "65536" },
	{ 'P', "-1" },
	{ 'P', "http" },
	{ 'P', "0x1000" },
	{ 'P', "1M" },
	{ 'P', "any" },
	{ 'X', "/a" },
	{ 'X', "a<ff>" },
	{ 'X', "/dev/fdset/1" },
	{ 'X', "" },
	{ 'O', ",to=<P>" },
	{ 'O', ",ipv4<W>" },
	{ 'O', ",ipv6<W>" },
	{ 'O', ",keep-alive<W>" },
	{ 'O', ",keep-alive-count=<P>" },
	{ 'O', ",keep-alive-idle=<P>" },
	{ 'O', ",numeric<W>" },
	{ 'O', ",mptcp<W>" },
	{ 'O', ",source-address=<H>" },
	{ 'O', ",source-interface=<X>" },
	{ 'O', ",guest=<X>" },
	{ 'O', ",guest=" },
	{ 'O', ",abstract<W>,tight<W>" },
	{ 'O', ",,none" },
	{ 'W', "" },
	{ 'W', "=on" },
	{ 'W', "=off" },
	{ 'W', "=x" },
	{ 0, NULL },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));

	if (fuzz_random(&seed) % 4)
		return grammar_mutate(rows, 'S', 'O', 0, data, size, max_size, seed);
	wcur_u8(&w, '[');
	fuzz_json_text(&migration_channel_type, &seed, &w);
	wcur_u8(&w, ']');
	return fuzz_splice(data, size, max_size, 0, size, &w);
}
