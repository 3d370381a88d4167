/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon and a worker say to a VMM's library: a real VM and guest, whose service thread is
 * this one. The input's first byte: 1: it is an incoming guest, 2: HELLO is answered and a
 * migration channel opened first, 4: messages are an old VMM's, to one that waits for its memory,
 * 8: CONFIG_CHECK and STATE_LOAD bring what a source of the same kind says, changed at the places
 * (be16 offset, u8 by what) that are their bodies; an offset with the highest bit set is a kind of
 * record, within which the offset (be16) that follows is.
 */
/* LIBS: migd_guest migd_attach migd_schema migd_base */
/* LABELS: kvm */
/* TIMEOUT: 900 */
#include <assert.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include <migd/live.h>

#include "attach/codec.h"
#include "base/buf.h"
#include "guest/dispatch.h"
#include "messages.h"

#define RAM_LEN (256 * KIB)
#define N_VCPUS 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_message_type types[] = { FUZZ_ATTACH_TYPES };

/* Made once; but the VM, once state was loaded into it. */
static struct {
	int kvm, vm, vcpu[N_VCPUS], listener, ram_fd;
	struct kvm_run *run[N_VCPUS];
	size_t run_len;
	void *ram;
	char dir[32], path[64];
} host;

struct said;

/* The other side's ends. */
struct peer {
	struct conn *daemon, *worker;
	struct said *said; /* noted here, unless NULL */
	uint32_t seq;
};

/* ---- the host ---- */

static void need_kvm(void)
{
	host.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (host.kvm < 0) {
		(void)printf("SKIP: /dev/kvm cannot be opened: %s\n", strerror(errno));
		exit(77);
	}
	host.run_len = (size_t)ioctl(host.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	host.ram_fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert(ftruncate(host.ram_fd, RAM_LEN) == 0);
	host.ram = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, host.ram_fd, 0);
}

static void make_vm(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_LEN };

	slot.userspace_addr = (uint64_t)(uintptr_t)host.ram;
	host.vm = ioctl(host.kvm, KVM_CREATE_VM, 0);
	assert(host.vm >= 0 && ioctl(host.vm, KVM_SET_TSS_ADDR, 0xfffbd000) == 0 &&
	       ioctl(host.vm, KVM_CREATE_IRQCHIP, 0) == 0 &&
	       ioctl(host.vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
	for (int i = 0; i < N_VCPUS; i++) {
		host.vcpu[i] = ioctl(host.vm, KVM_CREATE_VCPU, i);
		assert(host.vcpu[i] >= 0);
		host.run[i] = mmap(NULL, host.run_len, PROT_READ | PROT_WRITE, MAP_SHARED, host.vcpu[i], 0);
	}
}

static void end_vm(void)
{
	for (int i = 0; i < N_VCPUS; i++) {
		(void)munmap(host.run[i], host.run_len);
		(void)close(host.vcpu[i]);
	}
	(void)close(host.vm);
}

static void remove_dir(void)
{
	(void)unlink(host.path);
	(void)rmdir(host.dir);
}

static void make_host(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	need_kvm();
	make_vm();
	strcpy(host.dir, "/tmp/migd-fuzz-XXXXXX");
	assert(mkdtemp(host.dir));
	(void)atexit(remove_dir);
	(void)snprintf(host.path, sizeof(host.path), "%s/attach", host.dir);
	strcpy(addr.sun_path, host.path);
	host.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert(bind(host.listener, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	       listen(host.listener, 8) == 0);
}

/* ---- the VMM ---- */

static int save(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err)
{
	(void)opaque;
	(void)err;
	migd_guest_write_be(w, 7, 4);
	return 0;
}

static int load(void *opaque, struct migd_guest_reader *r, uint32_t version,
		struct migd_vmstate_error *err)
{
	uint64_t v;

	(void)opaque;
	(void)version;
	(void)err;
	return migd_guest_read_be(r, &v, 4);
}

static int pending(void *opaque, bool exact, uint64_t *ret)
{
	(void)opaque;
	*ret = exact;
	return 0;
}

static int fill(void *opaque, struct migd_live_chunk *chunk)
{
	(void)opaque;
	memset(chunk->data, 1, 100);
	chunk->len = 100;
	chunk->more = false;
	return 0;
}

static int take(void *opaque, const void *data, size_t len, uint32_t version)
{
	(void)opaque;
	return len && version ? -(((const uint8_t *)data)[len - 1] == 0xff) : 0;
}

static bool said(void *opaque)
{
	(void)opaque;
	return true;
}

static int on_poison(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	return gpa + len <= RAM_LEN ? 0 : -EINVAL;
}

static void on_request(void *opaque, enum migd_guest_event what)
{
	(void)opaque;
	(void)what;
}

static int on_exec(void *opaque, char *const argv[], char *const envp[])
{
	(void)opaque;
	return argv[0] && envp ? -EPERM : -EINVAL;
}

static void on_log(void *opaque, int level, const char *text)
{
	(void)opaque;
	assert(level <= 7 && text);
}

static void add_all(struct migd_guest *g)
{
	static const struct migd_guest_device_ops ops = {
		.size = sizeof(ops), .version = 1, .save = save, .load = load
	};
	struct migd_guest_kvm kvm = {
		.size = sizeof(kvm), .kvm_fd = host.kvm, .vm_fd = host.vm, .irqchip = true
	};
	struct migd_guest_ram ram = { .size = sizeof(ram),
				      .name = "ram",
				      .host = host.ram,
				      .len = RAM_LEN,
				      .fd = host.ram_fd };
	struct migd_guest_device device = { .size = sizeof(device), .name = "dev", .ops = &ops };
	struct migd_live live = { .size = sizeof(live),
				  .name = "live",
				  .version = 2,
				  .minimum_version = 1,
				  .pending = pending,
				  .iterate = fill,
				  .complete = fill,
				  .load = take,
				  .load_ready = said,
				  .unplug_pending = said };
	struct migd_guest_vcpu *vcpu;

	assert(migd_guest_set_kvm(g, &kvm) == 0 && migd_guest_add_ram(g, &ram) == 0 &&
	       migd_guest_add_ram_slot(g, 0, 0, 0, 0, RAM_LEN) == 0 &&
	       migd_guest_register_device(g, &device) == 0 && migd_guest_add_live(g, &live) == 0);
	/* Their threads are none: as if they had parked. */
	for (int i = 0; i < N_VCPUS; i++) {
		assert(migd_guest_add_vcpu(g, i, host.vcpu[i], host.run[i], &vcpu) == 0);
		vcpu->parked = true;
	}
	g->gate.n_parked = N_VCPUS;
}

static struct migd_guest *make_guest(bool incoming)
{
	struct migd_guest_hooks hooks = { .size = sizeof(hooks),
					  .poison = on_poison,
					  .request = on_request,
					  .exec = on_exec,
					  .log = on_log };
	struct migd_guest_options o = { .size = sizeof(o),
					.name = "vm",
					.role = incoming ? MIGD_GUEST_INCOMING : MIGD_GUEST_RUNNING,
					.attach_path = host.path,
					.hooks = &hooks };
	struct merr err = MERR_INIT;
	struct migd_guest *g = NULL;

	assert(migd_guest_new(&o, &g) == 0);
	add_all(g);
	/* As migd_guest_start() does, without a thread. */
	if (tables_freeze(g, &err) < 0 || arch_state_new(&g->tables, &g->arch, &err) < 0 ||
	    control_init(g, &err) < 0)
		abort();
	g->started = true;
	gate_open(&g->gate, GATE_NOT_STARTED);
	control_tick(g, clock_now_ns());
	return g;
}

static bool is_readable(const struct conn *c)
{
	return c && fd_wait(conn_fd(c), POLLIN, -1, 0) > 0;
}

/* What a library said of its guest. */
struct said {
	struct buf description, state;
};

static void note(struct said *said, struct conn_msg *m)
{
	struct attach_state_save_reply saved;
	struct attach_config config;
	uint8_t *bytes;

	if (m->error || !m->reply_to)
		return;
	if (m->type == ATTACH_CONFIG_GET && attach_config_decode(&m->body, &config, NULL) == 0)
		buf_add(&said->description, config.config.data, config.config.len);
	if (m->type != ATTACH_STATE_SAVE || attach_state_save_reply_decode(&m->body, &saved, NULL) < 0)
		return;
	bytes = malloc(saved.len ? saved.len : 1);
	assert(bytes && m->n_fds == 1 && fd_pread_full(m->fds[0], bytes, saved.len, 0) == 0);
	buf_add(&said->state, bytes, saved.len);
	free(bytes);
}

static void drain(struct conn *c, struct said *said)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;

	while (c && conn_recv(c, &m, &err) > 0) {
		if (said)
			note(said, &m);
		conn_msg_done(&m);
	}
	merr_clear(&err);
}

/* A round of the service thread, until it has nothing to do; the other side reads all that it says.
 */
static void serve(struct migd_guest *g, struct peer *p)
{
	uint64_t now;

	while (is_readable(g->mig.conn))
		migration_readable(g);
	while (is_readable(g->control.conn))
		control_readable(g);
	wake_drain(g->wake_fd);
	events_flush(g);
	now = clock_now_ns();
	pause_poll(g, now);
	migration_tick(g, now);
	throttle_tick(g, now);
	dirty_limit_tick(g, now);
	dirty_rate_tick(g, now);
	drain(p->daemon, NULL);
	drain(p->worker, p->said);
}

/* ---- the conversation ---- */

static void greet(struct migd_guest *g, struct peer *p)
{
	const struct attach_hello_reply reply = { .version = ATTACH_VERSION, .epoch = 1 };
	const struct attach_mig_open open_it = { .role = g->role == MIGD_GUEST_RUNNING ? 1 : 2 };
	uint8_t bytes[64];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	int fds[2];

	(void)attach_hello_reply_encode(&w, &reply);
	(void)conn_reply_to(p->daemon, ATTACH_HELLO, 1, bytes, w.len);
	serve(g, p);
	w = wcur_of(bytes, sizeof(bytes));
	(void)attach_mig_open_encode(&w, &open_it);
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	(void)conn_send(p->daemon, ATTACH_MIG_OPEN, bytes, w.len, &fds[1], 1, NULL);
	(void)close(fds[1]);
	p->worker = conn_new(fds[0]);
	p->seq = 16;
	serve(g, p);
}

static void hang_up(struct migd_guest *g, struct peer *p)
{
	p->worker = conn_free(p->worker);
	serve(g, p);
	p->daemon = conn_free(p->daemon);
	serve(g, p);
}

static void begin(struct peer *p)
{
	*p = (struct peer){ .daemon = conn_new(accept4(host.listener, NULL, NULL, SOCK_CLOEXEC)) };
	assert(p->daemon);
}

/* A source, up to its state. */
static void ask_source(struct said *ret)
{
	static const uint8_t id[ATTACH_ID_LEN] = { 1 }, pause[ATTACH_ID_LEN + 4] = { 1, [ATTACH_ID_LEN] = 100 };
	static const struct {
		uint16_t type;
		const void *body;
		size_t len;
	} steps[] = {
		{ ATTACH_HANDOVER_BEGIN, id, sizeof(id) },
		{ ATTACH_CONFIG_GET, NULL, 0 },
		{ ATTACH_MIG_PAUSE, pause, sizeof(pause) },
		{ ATTACH_STATE_SAVE, "\5\0\0", 4 },
	};
	struct migd_guest *g = make_guest(false);
	struct peer p;

	begin(&p);
	p.said = ret;
	greet(g, &p);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		(void)conn_send(p.worker, steps[i].type, steps[i].body, steps[i].len, NULL, 0, NULL);
		serve(g, &p);
	}
	assert(ret->description.len && ret->state.len);
	hang_up(g, &p);
	migd_guest_free(g);
}

/* Where the next change is to be: a description's layout is that of guest/config.h. */
static size_t next_place(struct rcur *c, const struct buf *what)
{
	size_t at = rcur_be16(c), kind = at & 0x7fff, len;

	if (!(at & 0x8000))
		return at;
	for (at = 8; what->len - at >= 12; at += 12 + len) {
		if (load_be16(what->data + at) == kind)
			return at + rcur_be16(c);
		len = load_be32(what->data + at + 8);
		if (len > what->len - at - 12)
			break;
	}
	return rcur_be16(c);
}

/* M brings WHAT, changed as M's body says; a blob has its length first. */
static void bring(struct fuzz_message *m, const struct buf *what, bool as_blob, struct buf *body)
{
	uint8_t head[8];
	size_t at;

	for (struct rcur c = m->body; c.left >= 3;) {
		at = next_place(&c, what);
		what->data[at % what->len] ^= rcur_u8(&c);
	}
	if (as_blob) {
		store_le32(head, (uint32_t)what->len);
		buf_add(body, head, 4);
		buf_add(body, what->data, what->len);
	} else {
		store_le64(head, what->len);
		buf_add(body, head, 8);
		m->kept = rcur_of(what->data, what->len);
		m->fds = FUZZ_FD_BODY << 4 | 1;
	}
	m->body = rcur_of(body->data, body->len);
}

static void converse(struct migd_guest *g, struct rcur in, bool greeted, struct said *said)
{
	struct fuzz_message m = { 0 };
	struct peer p;

	begin(&p);
	if (greeted)
		greet(g, &p);
	while (fuzz_message_next(&in, &m)) {
		struct conn *to = m.how & FUZZ_SECOND && p.worker ? p.worker : p.daemon;
		struct buf body = { 0 };

		if (said && (m.type == ATTACH_CONFIG_CHECK || m.type == ATTACH_STATE_LOAD))
			bring(&m, m.type == ATTACH_STATE_LOAD ? &said->state : &said->description,
			      m.type == ATTACH_CONFIG_CHECK, &body);
		fuzz_message_send(conn_fd(to), &m, ++p.seq, 1, 0);
		serve(g, &p);
		buf_done(&body);
	}
	hang_up(g, &p);
}

/* ---- memory that comes from another VMM ---- */

static void offer(struct rcur in)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct migd_guest_cpr *cpr = NULL;
	struct migd_guest_ram ram;
	struct fuzz_message m = { 0 };
	uint32_t seq = 0;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/cpr", host.dir);
	assert(migd_guest_cpr_listen(addr.sun_path, &cpr) == 0);
	assert(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	while (fuzz_message_next(&in, &m))
		fuzz_message_send(fd, &m, ++seq, 1, 0);
	(void)shutdown(fd, SHUT_WR);
	if (migd_guest_cpr_receive(cpr, 0) == 0 && migd_guest_cpr_ram(cpr, "ram", &ram) == 0)
		assert(ram.len > 0 && ram.fd >= 0);
	migd_guest_cpr_free(cpr);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct said said = { 0 };
	struct migd_guest *g;

	if (!host.run[0])
		make_host();
	if (size == 0)
		return 0;
	if (data[0] & 4) {
		offer(rcur_of(data + 1, size - 1));
		return 0;
	}
	if (data[0] & 8)
		ask_source(&said);
	g = make_guest(data[0] & 1);
	converse(g, rcur_of(data + 1, size - 1), data[0] & 2, data[0] & 8 ? &said : NULL);
	migd_guest_free(g);
	buf_done(&said.description);
	buf_done(&said.state);
	if (data[0] & 8) {
		end_vm();
		make_vm();
	}
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return fuzz_messages_mutate(types, ARRAY_SIZE(types), 1, data, size, max_size, seed);
}
