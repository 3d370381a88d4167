/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes on a client's socket, through framing, negotiation, and the arguments of every command that there is.
 * The handlers only answer. Whatever is said back is lines of ASCII, each an answer, an event or the greeting.
 */
/* LIBS: migd_qmp_commands migd_qmp migd_schema migd_base */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "qmp/parser.h"
#include "qmp/server.h"
#include "schema/commands.h"
#include "schema-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* More turns than the server needs for what one piece of input says. */
#define TURNS 16

#define ANSWER(name)                                                                  \
	void cmd_##name(struct qmp_call *call, const struct name##_args *args)        \
	{                                                                             \
		(void)args;                                                           \
		qmp_return(call, NULL);                                               \
	}
QMP_HANDLERS(ANSWER)

static void check_line(const uint8_t *line, size_t len)
{
	struct qmp_parser p = { .limits = &qmp_parser_default_limits };
	struct merr err = MERR_INIT;
	json_t *value = NULL;
	size_t used;

	assert(len > 2 && line[len - 2] == '\r');
	for (size_t i = 0; i < len - 2; i++)
		assert(line[i] >= 0x20 && line[i] <= 0x7E);
	assert(qmp_parser_feed(&p, line, len, &used, &value, &err) == QMP_PARSER_VALUE);
	assert(json_object_get(value, "QMP") || json_object_get(value, "event") ||
	       !json_object_get(value, "return") != !json_object_get(value, "error"));
	json_decref(value);
	qmp_parser_done(&p);
}

/* Take in what was said, and check the lines that are whole; false: the connection is closed. */
static bool listen_to(int fd, struct buf *said)
{
	static uint8_t piece[65536];
	const uint8_t *end;
	ssize_t n;

	while ((n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
		buf_add(said, piece, (size_t)n);
	while (said->len > 0 && (end = memchr(said->data, '\n', said->len))) {
		size_t len = (size_t)(end - said->data) + 1;

		check_line(said->data, len);
		buf_consume(said, len);
	}
	return n != 0;
}

static bool run(struct event_base *base, int fd, struct buf *said)
{
	bool open = true;

	for (int i = 0; open && i < TURNS; i++) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		open = listen_to(fd, said);
	}
	return open;
}

static void talk(struct event_base *base, int fd, const uint8_t *data, size_t len, size_t piece)
{
	struct buf said = { 0 };
	bool open = true;

	while (open && len > 0) {
		ssize_t n = send(fd, data, len < piece ? len : piece, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		open = run(base, fd, &said);
	}
	(void)shutdown(fd, SHUT_WR);
	(void)run(base, fd, &said);
	buf_done(&said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char negotiate[] = "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}";
	static struct event_base *base;
	struct qmp_server *server;
	struct buf input = { 0 };
	int fds[2];

	if (len == 0)
		return 0;
	if (!base)
		base = event_base_new();
	server = qmp_server_new(&(struct qmp_server_options){
		.base = base, .commands = qmp_commands, .major = 1, .package = "fuzz" });
	assert(server && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	assert(qmp_server_add_session(server, fds[1], data[0] & 0x40 ? "guest" : NULL, NULL) == 0);
	/* The first byte says whether it is negotiated already, and how odd the pieces are. */
	if (data[0] & 0x80)
		buf_add(&input, negotiate, sizeof(negotiate) - 1);
	buf_add(&input, data + 1, len - 1);
	talk(base, fds[0], input.data, input.len, data[0] & 0x20 ? 1 + data[0] % 0x20 : 65536);
	buf_done(&input);
	(void)close(fds[0]);
	qmp_server_free(server);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	return 0;
}

static const struct grammar_row rows[] = {
	{ 'S', "<C*><C*>" },
	{ 'C', "{\"execute\": <V>, \"arguments\": {<A>}}" },
	{ 'C', "{\"exec-oob\": <V>, \"id\": <V>}" },
	{ 'C', "{\"execute\": \"migrate-exec\", \"id\": <V>, \"arguments\": {<A>}}" },
	{ 'C', "{<A>}" },
	{ 'C', "<V>" },
	{ 'C', "<1b>" },
	{ 'C', "<ff>" },
	{ 'A', "\"guest\": <V>" },
	{ 'A', "\"guest\": \"a\", \"uri\": <V>" },
	{ 'A', "\"execute\": <V>, \"arguments\": <V>, \"id\": <V>" },
	{ 'V', "\"qmp_capabilities\"" },
	{ 'V', "\"query-status\"" },
	{ 'V', "\"migrate\"" },
	{ 'V', "1" },
	{ 'V', "-0.5e3" },
	{ 'V', "18446744073709551615" },
	{ 'V', "null" },
	{ 'V', "[<V>, <V>]" },
	{ 'V', "{<A>}" },
	{ 'V', "'\\u00e4\\n'" },
	{ 0, NULL },
};

/* Any command, with an argument or so that it might know. */
static void make_command(unsigned int *seed, struct wcur *w)
{
	static const struct schema_type *const arguments[] = { &migration_parameters_type, &object_options_type, &host_parameters_type,
							       &migration_channel_type, &evacuation_assignment_type };
	uint32_t n = 0;
	char text[128];

	while (qmp_commands[n].name)
		n++;
	(void)snprintf(text, sizeof(text), "{\"execute\": \"%s\", \"arguments\": ", qmp_commands[fuzz_random(seed) % n].name);
	wcur_bytes(w, text, strlen(text));
	fuzz_json_text(arguments[fuzz_random(seed) % (sizeof(arguments) / sizeof(arguments[0]))], seed, w);
	wcur_u8(w, '}');
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));

	if (size == 0 || fuzz_random(&seed) % 8)
		return grammar_mutate(rows, 'S', 'C', 1, data, size, max_size, seed);
	make_command(&seed, &w);
	return fuzz_splice(data, size, max_size, size, 0, &w);
}
