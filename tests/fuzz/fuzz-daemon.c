/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VMMs and workers say to a daemon, which has taken over a migration of a guest "vm" and is
 * connected to its worker. Each message is the VMM's, or (FUZZ_SECOND) the worker's. A HELLO with
 * FUZZ_SECOND is another VMM's, on a connection of its own; what follows comes on that. The input's
 * first byte: 1: the migration is incoming, 2: into a file, 4: the VMM said HELLO already, 8: the
 * worker said ADOPT already.
 */
/* LIBS: migd_daemon */
#include "attach/codec.h"
#include "attach/conn.h"
#include "daemon/guest.h"
#include "daemon/registry.h"
#include "engine/link.h"
#include "engine/stats-page.h"
#include "in-daemon.h"
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INCOMING = 1, FILE_URI = 2, ATTACHED = 4, ADOPTED = 8 };

static const struct fuzz_message_type types[] = {
	FUZZ_ATTACH_TYPES{ LINK_STATE, "", "", &worker_state_type },
	{ LINK_PASS, "", "", &worker_pass_type },
	{ LINK_CONNECT, "", "", &worker_admit_type },
	{ LINK_ADOPT, "", "", &worker_adopt_type },
	{ LINK_DONE, "", "", &worker_outcome_type },
	{ LINK_PUBLISH, "", "", &worker_published_type },
	{ LINK_PREFLIGHT, "", "", &migration_preflight_type },
	{ LINK_SIGN, "", "", &worker_sign_type },
	{ LINK_AUTHORIZE, "", "", &worker_authorize_type },
	{ LINK_ADMIT, "", "", &worker_admit_type },
	{ LINK_DECISION, "", "", &migration_decision_type },
	{ LINK_RECONNECT, "", "", &worker_reconnect_type },
};

struct peers {
	struct daemon *d;
	int listener;
	struct conn *vmm, *worker, *former; /* the last VMM before this one */
	uint32_t seq, asked;                /* the last request of the daemon's */
};

/* ---- before ---- */

static void write_journal(const struct fuzz_host *h, unsigned int how)
{
	char text[1024], uri[80] = "unix:/nonexistent/peer";
	int n;

	if (how & FILE_URI)
		fuzz_path(uri, sizeof(uri), "file:%s/image", h->dir);
	n = snprintf(text, sizeof(text),
		     "{\"version\": 1, \"id\": \"" FUZZ_ID
		     "\", \"guest\": \"vm\", \"outgoing\": %s, \"exit-on-error\": false, "
		     "\"uri\": \"%s\", \"handover-id\": \"" FUZZ_ID
		     "\", \"listen\": \"\", \"worker-pid\": 0, "
		     "\"worker-start-time\": 0, \"vmm-pid\": 0, \"vmm-start-time\": 0}",
		     how & INCOMING ? "false" : "true", uri);
	fuzz_file(h, "migrations/" FUZZ_ID ".json", text, (size_t)n);
}

static int listen_as_worker(const struct fuzz_host *h)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	char path[128];

	fuzz_path(path, sizeof(path), "%s/workers/" FUZZ_ID ".sock", h->state);
	fuzz_address(path, &addr);
	assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0);
	return fd;
}

static void say_hello(struct peers *p, unsigned int how)
{
	const struct attach_hello h = { .proto_min = ATTACH_VERSION,
					.proto_max = ATTACH_VERSION,
					.name = "vm",
					.arch = "x86_64",
					.role = how & INCOMING ? 2 : 1,
					.run_state = 1,
					.handover_state = HANDOVER_RUNNING,
					.page_size = 4096,
					.ram_bytes = MIB,
					.prev_epoch = 1 };
	int fd = fuzz_fd_decision();
	uint8_t bytes[512];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	(void)attach_hello_encode(&w, &h);
	(void)conn_send(p->vmm, ATTACH_HELLO, bytes, w.len, &fd, 1, NULL);
	(void)close(fd);
}

static void say_adopt(struct peers *p, unsigned int how)
{
	struct worker_adopt a = { .start = { .version = LINK_VERSION,
					     .direction = how & INCOMING
								  ? WORKER_DIRECTION_INCOMING
								  : WORKER_DIRECTION_OUTGOING,
					     .mode = WORKER_MODE_FRESH,
					     .id = (char *)(uintptr_t)FUZZ_ID,
					     .guest = (char *)(uintptr_t) "vm",
					     .handover_id = (char *)(uintptr_t)FUZZ_ID,
					     .peer = (char *)(uintptr_t) "unix:/nonexistent/peer" },
				  .state = { .status = MIGRATION_STATUS_ACTIVE } };
	json_t *body = worker_adopt_to_json(&a);
	struct stats_page *page = NULL;
	int fd = -1;

	assert(body && stats_page_create(&page, &fd) == 0);
	stats_page_unmap(page);
	(void)link_send(p->worker, LINK_ADOPT, body, &fd, 1);
	(void)close(fd);
	json_decref(body);
}

/* ---- the conversation ---- */

/* What the daemon says is read, and forgotten, but for what it waits to be answered. */
static void drain(struct peers *p)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;

	while (p->vmm && conn_recv(p->vmm, &m, &err) > 0) {
		if (!m.reply_to)
			p->asked = m.seq;
		conn_msg_done(&m);
	}
	while (p->worker && conn_recv(p->worker, &m, &err) > 0)
		conn_msg_done(&m);
	merr_clear(&err);
}

static void on_reply(void *opaque, struct rcur *body, const struct merr *err)
{
	(void)opaque;
	assert(body || err);
}

/* A reply is to a request of its type. */
static void ask(struct peers *p, uint16_t type)
{
	struct guest *g = registry_find(p->d->registry, "vm");
	struct merr err = MERR_INIT;

	if (g && guest_attached(g))
		(void)guest_request(g, type, NULL, 0, NULL, 0, 10000, on_reply, NULL, &err);
	drain(p);
}

static void turn(struct peers *p)
{
	int fd;

	fuzz_daemon_turn(p->d);
	fd = p->worker ? -1 : accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		p->worker = conn_new(fd);
	drain(p);
}

static void look(struct peers *p)
{
	struct guest *g = registry_find(p->d->registry, "vm");
	struct guest_info info = { 0 };

	if (g && guest_describe(g, &info) == 0)
		guest_info_done(&info);
}

static struct conn *next_vmm(struct peers *p, const struct fuzz_host *h)
{
	(void)conn_free(p->former);
	p->former = p->vmm;
	p->vmm = conn_new(fuzz_connect(h->attach));
	assert(p->vmm);
	turn(p);
	return p->vmm;
}

static void converse(struct peers *p, const struct fuzz_host *h, struct rcur in, unsigned int how)
{
	struct fuzz_message m = { 0 };

	turn(p);
	if (how & ATTACHED)
		say_hello(p, how);
	if (how & ADOPTED && p->worker)
		say_adopt(p, how);
	turn(p);
	while (fuzz_message_next(&in, &m)) {
		struct conn *to = !(m.how & FUZZ_SECOND)   ? p->vmm
				  : m.type == ATTACH_HELLO ? next_vmm(p, h)
							   : p->worker;

		if (m.how & FUZZ_REPLY && to == p->vmm)
			ask(p, m.type);
		if (to)
			fuzz_message_send(conn_fd(to), &m, 16 + ++p->seq, p->asked, 0);
		turn(p);
		look(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_host *h = fuzz_host_clean();
	struct peers p = { 0 };

	if (size == 0)
		return 0;
	write_journal(h, data[0]);
	p.listener = listen_as_worker(h);
	p.d = fuzz_daemon_start(h);
	p.vmm = conn_new(fuzz_connect(h->attach));
	converse(&p, h, rcur_of(data + 1, size - 1), data[0]);
	p.former = conn_free(p.former);
	p.vmm = conn_free(p.vmm);
	turn(&p);
	p.worker = conn_free(p.worker);
	turn(&p);
	(void)close(p.listener);
	fuzz_daemon_end(h, p.d);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 1, data, size, max_size, seed);
}
