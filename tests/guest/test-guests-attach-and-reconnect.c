/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest needs no daemon to run, finds each new one, listens where it is asked to, and shares its
 * process with others.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

#include "base/fd.h"
#include "fixture.h"

static const struct vm_options source = { .name = "vm",
					  .program = VM_COUNT,
					  .role = MIGD_GUEST_RUNNING };

static void test_runs_without_a_daemon(void **state)
{
	struct vm_options o = source;
	char dir[64];
	struct peer p;
	struct vm vm;

	(void)state;
	tmp_dir_make(dir);
	o.dir = dir;
	vm_start(&vm, &o);
	vm_expect_running(&vm);
	peer_init(&p, dir);
	peer_accept(&p, 1);
	assert_string_equal(p.hello.name, "vm");
	assert_string_equal(p.hello.arch, "x86_64");
	assert_int_equal(p.hello.role, MIGD_GUEST_RUNNING);
	assert_int_equal(p.hello.run_state, MIGD_GUEST_RS_RUNNING);
	assert_int_equal(p.hello.handover_state, HANDOVER_RUNNING);
	assert_int_equal(p.hello.n_vcpus, 1);
	assert_int_equal(p.hello.ram_bytes, VM_RAM_LEN);
	assert_int_equal(p.hello.prev_epoch, 0);
	assert_int_equal(p.hello.pid, getpid());
	vm_end(&vm);
	peer_done(&p);
	tmp_dir_remove(dir);
}

/* A new daemon gets what the last one left: epoch, a stop that stays, a guest in doubt. */
static const struct migd_vmstate_field no_fields[] = { MIGD_VMS_FIELD_END };
static const struct migd_vmstate pinned_desc = { .name = "pinned", .version = 1, .fields = no_fields };

/* Each daemon is told why the guest cannot be migrated, the second like the first. */
static void test_says_what_keeps_it_here(void **state)
{
	const struct migd_guest_device pinned = {
		.size = sizeof(pinned),
		.name = "pinned",
		.desc = &pinned_desc,
		.unmigratable = "it is part of this host",
	};
	struct vm_options o = source;
	struct fixture f;

	(void)state;
	o.device = &pinned;
	fixture_begin(&f, &o);
	peer_wait_event(&f.peer, ATTACH_EVENT_BLOCKED);
	peer_done(&f.peer);
	peer_init(&f.peer, f.dir);
	peer_accept(&f.peer, 9);
	peer_wait_event(&f.peer, ATTACH_EVENT_BLOCKED);
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void test_reconnects(void **state)
{
	struct fixture f;

	(void)state;
	fixture_begin(&f, &source);
	MUST(&f, peer_pause(&f.peer, 5000));
	peer_done(&f.peer);
	(void)usleep(100000);
	peer_init(&f.peer, f.dir);
	peer_accept(&f.peer, 9);
	assert_int_equal(f.peer.hello.prev_epoch, 1);
	assert_int_equal(f.peer.hello.run_state, MIGD_GUEST_RS_PAUSED);
	vm_expect_frozen(&f.vm);
	MUST(&f, peer_resume(&f.peer));
	fixture_paused(&f, id_a);
	MUST(&f, peer_handover(&f.peer, ATTACH_RELEASE, id_a, NULL));
	peer_done(&f.peer);
	peer_init(&f.peer, f.dir);
	peer_accept(&f.peer, 10);
	assert_int_equal(f.peer.hello.prev_epoch, 9);
	assert_int_equal(f.peer.hello.handover_state, HANDOVER_RELEASED);
	assert_memory_equal(f.peer.hello.handover_id, id_a, ATTACH_ID_LEN);
	vm_expect_frozen(&f.vm);
	MUST(&f, peer_resolve(&f.peer, id_a, true));
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

/*
 * A PAUSE whose daemon goes away before the vCPUs stopped is carried out, and nobody else gets its
 * reply.
 */
static void test_daemon_leaves_during_a_pause(void **state)
{
	struct vm_options o = source;
	struct attach_pause req = { .deadline_ms = 300 };
	uint8_t bytes[8];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct conn_msg m;
	struct fixture f;

	(void)state;
	o.program = VM_HALT;
	o.stuck = true;
	fixture_begin(&f, &o);
	(void)sem_wait(&f.vm.out);
	assert_int_equal(attach_pause_encode(&w, &req), 0);
	assert_int_equal(conn_send(f.peer.control, ATTACH_PAUSE, bytes, w.len, NULL, 0, NULL), 0);
	peer_drop_control(&f.peer);
	peer_accept(&f.peer, 2);
	for (int ms = 0; migd_guest_run_state(f.vm.guest) != MIGD_GUEST_RS_RUNNING && ms < 20000;
	     ms++)
		(void)usleep(1000);
	assert_int_equal(migd_guest_run_state(f.vm.guest), MIGD_GUEST_RS_RUNNING);
	assert_int_equal(conn_recv(f.peer.control, &m, NULL), 0);
	fixture_end(&f);
}

static void test_refused_guest_tries_again(void **state)
{
	struct vm_options o = source;
	struct merr err = MERR_INIT;
	struct conn_msg m;
	struct conn *c;
	char dir[64];
	struct peer p;
	struct vm vm;
	int fd;

	(void)state;
	tmp_dir_make(dir);
	peer_init(&p, dir);
	o.dir = dir;
	vm_start(&vm, &o);
	assert_true(fd_wait(p.listen_fd, 1, -1, PEER_DEADLINE) > 0);
	fd = accept4(p.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	c = conn_new(fd);
	assert_true(fd_wait(fd, 1, -1, PEER_DEADLINE) > 0);
	assert_int_equal(conn_recv(c, &m, NULL), 1);
	(void)merr_set(&err, -EEXIST, "there is a guest of that name");
	assert_int_equal(conn_reply_error(c, &m, &err), 0);
	conn_msg_done(&m);
	peer_accept(&p, 3);
	(void)conn_free(c);
	vm_expect_running(&vm);
	vm_end(&vm);
	peer_done(&p);
	tmp_dir_remove(dir);
}

static void test_listens(void **state)
{
	struct vm_options o = source;
	struct stat st;
	char dir[64], path[100];
	struct peer p;
	struct vm vm;
	mode_t old;

	(void)state;
	tmp_dir_make(dir);
	(void)snprintf(path, sizeof(path), "%s/listen", dir);
	o.listen_path = path;
	old = umask(0);
	vm_start(&vm, &o);
	(void)umask(old);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	peer_init(&p, NULL);
	for (uint32_t epoch = 1; epoch < 4; epoch++) {
		peer_connect(&p, path, epoch);
		assert_int_equal(p.hello.prev_epoch, epoch - 1);
		MUST(&(struct fixture){ .peer = p }, peer_pause(&p, 5000));
		vm_expect_frozen(&vm);
		assert_int_equal(peer_resume(&p), 0);
		peer_drop_control(&p);
	}
	vm_end(&vm);
	assert_int_equal(stat(path, &st), -1);
	peer_done(&p);
	tmp_dir_remove(dir);
}

static int connect_raw(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* One daemon at a time; and a socket file that a dead VMM left behind is taken over. */
static void test_second_daemon_is_turned_away(void **state)
{
	struct vm_options o = source;
	char dir[64], path[100], byte;
	struct peer p;
	struct vm vm;
	int stale, second;

	(void)state;
	tmp_dir_make(dir);
	(void)snprintf(path, sizeof(path), "%s/attach", dir);
	peer_init(&p, dir); /* binds DIR/attach ... */
	stale = p.listen_fd;
	(void)close(stale); /* ... and leaves it */
	peer_init(&p, NULL);
	o.listen_path = path;
	vm_start(&vm, &o);
	peer_connect(&p, path, 1);
	assert_int_equal(peer_plain(&p, p.control, ATTACH_HEARTBEAT), 0);
	second = connect_raw(path);
	assert_int_equal(read(second, &byte, 1), 0);
	(void)close(second);
	assert_int_equal(peer_plain(&p, p.control, ATTACH_HEARTBEAT), 0);
	vm_end(&vm);
	peer_done(&p);
	tmp_dir_remove(dir);
}

static void test_many_guests_in_one_process(void **state)
{
	struct fixture f[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		fixture_begin(&f[i], &source);
	MUST(&f[1], peer_pause(&f[1].peer, 5000));
	vm_expect_frozen(&f[1].vm);
	vm_expect_running(&f[0].vm);
	vm_expect_running(&f[2].vm);
	fixture_end(&f[0]);
	MUST(&f[1], peer_resume(&f[1].peer));
	vm_expect_running(&f[1].vm);
	fixture_end(&f[2]);
	fixture_end(&f[1]);
}

static unsigned int kicks;

static void own_kick(void *opaque, unsigned int index, int tid)
{
	(void)opaque;
	(void)index;
	__atomic_fetch_add(&kicks, 1, __ATOMIC_RELAXED);
	(void)syscall(SYS_tgkill, getpid(), tid, SIGUSR2);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void test_own_kick(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct vm_options o = source;
	struct fixture f;

	(void)state;
	assert_int_equal(sigaction(SIGUSR2, &sa, NULL), 0);
	o.kick = own_kick;
	fixture_begin(&f, &o);
	for (int i = 0; i < 100; i++) {
		MUST(&f, peer_pause(&f.peer, 5000));
		MUST(&f, peer_resume(&f.peer));
	}
	assert_true(kicks > 0);
	fixture_end(&f);
}

/* A signal of the VMM's own brings the thread out of the library. */
static void test_other_signals_are_the_vmms(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct fixture f;

	(void)state;
	assert_int_equal(sigaction(SIGUSR2, &sa, NULL), 0);
	fixture_begin(&f, &source);
	vm_expect_running(&f.vm);
	for (int ms = 0; !f.vm.vcpus[0].interrupted; ms++) {
		assert_true(ms < 20000);
		assert_int_equal(pthread_kill(f.vm.vcpus[0].thread, SIGUSR2), 0);
		(void)usleep(1000);
	}
	vm_expect_running(&f.vm);
	fixture_end(&f);
}

static void test_stop_wakes_waiters(void **state)
{
	struct vm_options o = source;
	struct fixture f;

	(void)state;
	o.role = MIGD_GUEST_INCOMING;
	fixture_begin(&f, &o);
	migd_guest_stop(f.vm.guest);
	assert_int_equal(migd_guest_wait_active(f.vm.guest, -1), -ECANCELED);
	assert_true(migd_guest_wait_gone(f.vm.guest, -1) < 0);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_without_a_daemon),
		cmocka_unit_test(test_says_what_keeps_it_here),
		cmocka_unit_test(test_reconnects),
		cmocka_unit_test(test_daemon_leaves_during_a_pause),
		cmocka_unit_test(test_refused_guest_tries_again),
		cmocka_unit_test(test_listens),
		cmocka_unit_test(test_second_daemon_is_turned_away),
		cmocka_unit_test(test_many_guests_in_one_process),
		cmocka_unit_test(test_own_kick),
		cmocka_unit_test(test_other_signals_are_the_vmms),
		cmocka_unit_test(test_stop_wakes_waiters),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
