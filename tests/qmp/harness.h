/* SPDX-License-Identifier: Apache-2.0 */
/* A QMP server in this process with commands of the tests' own, and clients on socketpairs. */
#ifndef MIGD_TESTS_QMP_HARNESS_H
#define MIGD_TESTS_QMP_HARNESS_H

#include <stddef.h>

#include "base/buf.h"
#include "qmp/server.h"

#define GREETING \
	"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 1, \"minor\": 2, \"micro\": 3}, \"package\": \"test\"}, " \
	"\"capabilities\": [\"oob\"]}}\r\n"
#define OK "{\"return\": {}}\r\n"
#define NEGOTIATE "{\"execute\": \"qmp_capabilities\"}"
#define NEGOTIATE_OOB "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}"
#define ERROR(class, desc) "{\"error\": {\"class\": \"" class "\", \"desc\": \"" desc "\"}}\r\n"
#define ERROR_ID(class, desc, id) "{\"error\": {\"class\": \"" class "\", \"desc\": \"" desc "\"}, \"id\": " id "}\r\n"

/*
 * The commands: echo (returns its arguments), wait and oob-wait (answered by release_call()), oob-now, fail {class},
 * emit {name, guest?} (sends an event, then answers), take-fd (returns the descriptor's inode), guest (the session's),
 * inner {command, arguments?} (runs that, and returns its answer),
 * operate, admin (of these classes), open {privileged?} (takes class privileged if asked to). All others are of class read.
 */
struct harness {
	unsigned int rights;	/* of clients; all at first */
	struct qmp_peer peer;	/* that was asked about last; its groups are not kept */
	struct event_base *base;
	struct qmp_server *server;
};

/* cmocka's setup and teardown: a struct harness in *state. */
int harness_set_up(void **state);
int harness_tear_down(void **state);
/* Make h->server, on h->base. */
void harness_make_server(struct harness *h);

/* A client's end of a new session, past greeting and, if SAY is not NULL, past the answer OK to it. */
int harness_client(struct harness *h, const char *guest, const char *say);

/* Let the server do what there is to do. */
void harness_run(struct harness *h);

void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *data, size_t len);
void client_send_fds(int fd, const char *text, const int *fds, size_t n_fds);

/* Everything that the server has sent by now is EXPECTED. */
void client_expect(struct harness *h, int fd, const char *expected);
/* The server has closed the connection, and sent nothing before. */
void client_expect_end(struct harness *h, int fd);
/* Send TEXT; all that comes back is EXPECTED. */
void client_exchange(struct harness *h, int fd, const char *text, const char *expected);

/* Answer the oldest call of wait or oob-wait with its arguments. */
void release_call(void);
unsigned int n_waiting_calls(void);

#endif
