/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that touches a page that has not come waits until a worker, another process, brings it: whatever becomes of that
 * worker, the guest never sees zeros in its place.
 */
/* LIBS: migd_engine migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/uffd.h"
#include "fixture.h"
#include "guest/gate.h"

/* The page that is missing when the guest starts, in its upper half, and what it holds. */
#define MISSING 0x90000U
#define VALUE   41U

#define BAD_ID 0xee

static const uint64_t n_pages[] = { VM_RAM_LEN / VM_PAGE };

struct arrival {
	struct fixture dst;
	uint8_t image[VM_RAM_LEN]; /* the guest's memory as it was at the source */
	uint64_t page_size;
	uint8_t *file; /* its file, mapped once more: what a worker writes shows only after CONTINUE */
	struct peer_uffd uffd;
};

/* Where guest address GPA is in the block: a huge guest's upper half is in its second page. */
static uint64_t offset_of(const struct arrival *a, uint64_t gpa)
{
	return a->page_size == VM_HUGE && gpa >= VM_RAM_LEN / 2 ? gpa - VM_RAM_LEN / 2 + VM_HUGE : gpa;
}

static uint64_t missing_page(const struct arrival *a)
{
	return offset_of(a, MISSING) / a->page_size * a->page_size;
}

static uint64_t host(const struct arrival *a, uint64_t offset)
{
	return (uint64_t)(uintptr_t)a->dst.vm.ram + offset;
}

static void fill(struct arrival *a, uint64_t gpa, uint64_t len)
{
	memcpy(a->file + offset_of(a, gpa), a->image + gpa, len);
}

/* Everything below the missing page: into the file, then into the VMM's view. */
static void fill_the_rest(struct arrival *a)
{
	uint64_t end = min_u64(MISSING, VM_RAM_LEN / 2), done;

	fill(a, 0, end);
	end = a->page_size == VM_HUGE ? VM_HUGE : end;
	assert_int_equal(uffd_continue(a->uffd.fd, host(a, 0), end, a->page_size, &done), 0);
	assert_int_equal(done, end);
}

/* The source: one that just waits for its list, which will name the missing page. */
static int make_image(struct arrival *a, struct attach_state_save_reply *rep)
{
	const struct vm_options o = { .name = "src", .program = VM_LIST_WRITER, .role = MIGD_GUEST_RUNNING };
	uint32_t value = VALUE;
	struct fixture src;
	int fd;

	fixture_begin(&src, &o);
	(void)sem_wait(&src.vm.out);
	fixture_paused(&src, id_a);
	MUST(&src, peer_save(&src.peer, &fd, rep));
	memcpy(a->image, src.vm.ram, VM_RAM_LEN);
	store_le32(a->image + VM_GO, 1);
	store_le32(a->image + VM_LIST, MISSING / 16);
	memcpy(a->image + MISSING, &value, sizeof(value));
	fixture_end(&src);
	return fd;
}

/* Up to a guest that runs here, with one page missing. DEVICE: with UFFD_OPEN. */
static void arrive(struct arrival *a, bool huge, int device)
{
	const struct vm_options o = { .name = "dst", .role = MIGD_GUEST_INCOMING, .huge = huge };
	struct attach_state_save_reply rep;
	_cleanup_close_ int state = make_image(a, &rep);

	a->page_size = huge ? VM_HUGE : VM_PAGE;
	fixture_begin(&a->dst, &o);
	a->file = mmap(NULL, a->dst.vm.ram_len, PROT_READ | PROT_WRITE, MAP_SHARED, a->dst.vm.ram_fd, 0);
	assert_true(a->file != MAP_FAILED);
	/* A VMM that looked at its memory before has pages mapped. The fault must come all the same. */
	assert_int_equal(*(volatile uint8_t *)(a->dst.vm.ram + missing_page(a)), 0);
	peer_must_open(&a->dst.peer, PEER_TARGET);
	MUST(&a->dst, peer_handover(&a->dst.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	MUST(&a->dst, peer_uffd_open(&a->dst.peer, ATTACH_UFFD_POSTCOPY, device, &a->uffd));
	assert_false(a->uffd.existing);
	assert_int_equal(a->uffd.n_vcpus, 1);
	assert_int_equal(a->uffd.vcpu0_thread, a->dst.vm.vcpus[0].gate->tid);
	if (!huge)
		MUST(&a->dst, peer_received_maps(&a->dst.peer, n_pages, 1));
	fill_the_rest(a);
	MUST(&a->dst, peer_load(&a->dst.peer, state, rep.len));
	MUST(&a->dst, peer_loaded(&a->dst.peer, id_a, 0));
	MUST(&a->dst, peer_handover(&a->dst.peer, ATTACH_ACTIVATE, id_a, NULL));
}

static void leave(struct arrival *a)
{
	(void)munmap(a->file, a->dst.vm.ram_len);
	(void)close_fd(a->uffd.fd);
	fixture_end(&a->dst);
}

/* ---- workers: processes of their own, which say by their exit status how it went ---- */

static int wait_fault(struct arrival *a)
{
	struct uffd_fault fault;
	int n;

	do {
		if (fd_wait(a->uffd.fd, POLLIN, -1, PEER_DEADLINE) < 0)
			return 10;
		n = uffd_read(a->uffd.fd, &fault, 1);
	} while (n == 0);
	if (n < 0)
		return 11;
	if (fault.address / a->page_size * a->page_size != host(a, missing_page(a)))
		return 12;
	return fault.thread_id == a->uffd.vcpu0_thread ? 0 : 13;
}

static int resolve(struct arrival *a)
{
	int r = wait_fault(a);
	uint64_t done;

	if (r)
		return r;
	fill(a, MISSING, VM_PAGE);
	r = uffd_continue(a->uffd.fd, host(a, missing_page(a)), a->page_size, a->page_size, &done);
	return r == 0 && done == a->page_size ? 0 : 14;
}

static int wake_and_resolve(struct arrival *a)
{
	return uffd_wake(a->uffd.fd, host(a, 0), a->dst.vm.ram_len) < 0 ? 15 : resolve(a);
}

static void in_another_process(struct arrival *a, int (*work)(struct arrival *))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(work(a));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void expect_waiting(struct arrival *a)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	assert_int_not_equal(sem_trywait(&a->dst.vm.out), 0);
}

/* The guest adds one to the page's first word, and says so. */
static void expect_arrived(struct arrival *a)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	if (sem_timedwait(&a->dst.vm.out, &until) < 0)
		fail_msg("the guest still waits");
	assert_int_equal(load_le32(a->file + offset_of(a, MISSING)), VALUE + 1);
}

/* ---- tests ---- */

static void test_a_page_comes(void **state)
{
	struct arrival a;

	(void)state;
	arrive(&a, false, -1);
	expect_waiting(&a);
	in_another_process(&a, resolve);
	expect_arrived(&a);
	MUST(&a.dst, peer_plain(&a.dst.peer, a.dst.peer.channel, ATTACH_UFFD_END));
	MUST(&a.dst, peer_plain(&a.dst.peer, a.dst.peer.channel, ATTACH_UFFD_END));
	/* Nothing waits any more: what was never shown is read from the file. */
	assert_int_equal(a.dst.vm.ram[MISSING + VM_PAGE], 0);
	leave(&a);
}

static void test_a_worker_dies(void **state)
{
	struct arrival a;

	(void)state;
	arrive(&a, false, -1);
	in_another_process(&a, wait_fault);
	a.uffd.fd = close_fd(a.uffd.fd);
	peer_hang_up(&a.dst.peer);
	expect_waiting(&a);
	peer_must_open(&a.dst.peer, PEER_TARGET);
	MUST(&a.dst, peer_uffd_open(&a.dst.peer, ATTACH_UFFD_POSTCOPY, -1, &a.uffd));
	assert_true(a.uffd.existing);
	in_another_process(&a, wake_and_resolve);
	expect_arrived(&a);
	leave(&a);
}

static void test_huge_pages(void **state)
{
	int fd = memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct arrival a;

	(void)state;
	if (fd < 0 || ftruncate(fd, 2 * VM_HUGE) < 0 ||
	    mmap(NULL, 2 * VM_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) {
		(void)printf("SKIP: no two free pages of 2 MiB: sysctl vm.nr_hugepages=16\n");
		(void)close_fd(fd);
		skip();
	}
	(void)close(fd);
	arrive(&a, true, -1);
	expect_waiting(&a);
	in_another_process(&a, resolve);
	expect_arrived(&a);
	leave(&a);
}

/* A vCPU that waits for a page cannot always be stopped; it can once the page is there. */
static void test_stop_while_waiting(void **state)
{
	struct arrival a;
	int r;

	(void)state;
	arrive(&a, false, -1);
	expect_waiting(&a);
	r = peer_pause(&a.dst.peer, 300);
	if (r < 0) {
		assert_int_equal(r, -ETIMEDOUT);
		assert_non_null(strstr(a.dst.peer.last_text, "vCPU 0 did not stop within 300 ms"));
		assert_non_null(strstr(a.dst.peer.last_text, "waits for a page that has not come yet"));
	}
	(void)printf("a vCPU that waits for a page is %s\n", r < 0 ? "not stopped" : "stopped");
	if (r == 0)
		MUST(&a.dst, peer_resume(&a.dst.peer));
	in_another_process(&a, wake_and_resolve);
	expect_arrived(&a);
	MUST(&a.dst, peer_pause(&a.dst.peer, 20000));
	leave(&a);
}

/* Whoever made the VMM can end it, missing pages or not. */
static void test_end_while_waiting(void **state)
{
	/* Shared: this removes the directories that the child made. */
	struct arrival *a = mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(a != MAP_FAILED && child >= 0);
	if (child == 0) {
		arrive(a, false, -1);
		expect_waiting(a);
		migd_guest_stop(a->dst.vm.guest);
		(void)kill(getpid(), SIGTERM);
		(void)pause();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	tmp_dir_remove(a->dst.dir);
	(void)munmap(a, sizeof(*a));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void test_what_a_successor_finds(void **state)
{
	uint8_t memo[ATTACH_MEMO_MAX + 1] = { 1, 2, 3 }, found[ATTACH_MEMO_MAX];
	struct arrival a;
	size_t len;

	(void)state;
	arrive(&a, false, -1);
	assert_int_equal(bitmap_count_range(a.dst.peer.maps[0].bits, 0, n_pages[0]), 0);
	bitmap_set(a.dst.peer.maps[0].bits, 17);
	MUST(&a.dst, peer_memo_get(&a.dst.peer, found, &len));
	assert_int_equal(len, 0);
	assert_int_equal(peer_memo_set(&a.dst.peer, memo, sizeof(memo)), -EINVAL);
	MUST(&a.dst, peer_memo_set(&a.dst.peer, memo, ATTACH_MEMO_MAX));
	MUST(&a.dst, peer_memo_set(&a.dst.peer, memo, 3));
	peer_hang_up(&a.dst.peer);
	peer_must_open(&a.dst.peer, PEER_TARGET);
	MUST(&a.dst, peer_received_maps(&a.dst.peer, n_pages, 1));
	assert_int_equal(bitmap_count_range(a.dst.peer.maps[0].bits, 0, n_pages[0]), 1);
	assert_true(bitmap_test(a.dst.peer.maps[0].bits, 17));
	MUST(&a.dst, peer_memo_get(&a.dst.peer, found, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(found, memo, 3);
	in_another_process(&a, resolve);
	expect_arrived(&a);
	leave(&a);
}

static void expect_bad_state(struct fixture *f)
{
	struct peer_uffd uffd;

	assert_int_equal(peer_uffd_open(&f->peer, ATTACH_UFFD_POSTCOPY, -1, &uffd), -EBADFD);
	assert_int_equal(peer_received_maps(&f->peer, n_pages, 1), -EBADFD);
}

static void test_refusals(void **state)
{
	const struct vm_options o = { .name = "src", .program = VM_HALT, .role = MIGD_GUEST_RUNNING };
	uint8_t memo[1] = { 7 }, found[ATTACH_MEMO_MAX];
	struct peer_uffd uffd;
	struct arrival a;
	struct fixture f;
	size_t len;

	(void)state;
	fixture_begin(&f, &o);
	peer_must_open(&f.peer, PEER_SOURCE);
	expect_bad_state(&f);
	MUST(&f, peer_memo_set(&f.peer, memo, 1));
	MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	expect_bad_state(&f);
	MUST(&f, peer_memo_get(&f.peer, found, &len));
	assert_int_equal(len, 0); /* another handover's */
	fixture_end(&f);

	arrive(&a, false, -1);
	assert_int_equal(peer_uffd_open(&a.dst.peer, BAD_ID, -1, &uffd), -EOPNOTSUPP);
	peer_hang_up(&a.dst.peer);
	peer_must_open(&a.dst.peer, PEER_SOURCE);
	assert_int_equal(peer_handover(&a.dst.peer, ATTACH_HANDOVER_BEGIN, id_b, NULL), -EBUSY);
	assert_non_null(strstr(a.dst.peer.last_text, "waits for pages"));
	in_another_process(&a, resolve);
	expect_arrived(&a);
	MUST(&a.dst, peer_plain(&a.dst.peer, a.dst.peer.channel, ATTACH_UFFD_END));
	expect_bad_state(&a.dst);
	MUST(&a.dst, peer_handover(&a.dst.peer, ATTACH_HANDOVER_BEGIN, id_b, NULL));
	leave(&a);
}

/* A guest that does not come after all: its memory is the VMM's again. */
static void test_discarded(void **state)
{
	const struct vm_options o = { .name = "dst", .role = MIGD_GUEST_INCOMING };
	struct peer_uffd uffd;
	struct fixture f;

	(void)state;
	fixture_begin(&f, &o);
	peer_must_open(&f.peer, PEER_TARGET);
	MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	MUST(&f, peer_uffd_open(&f.peer, ATTACH_UFFD_POSTCOPY, -1, &uffd));
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_DISCARDED);
	assert_int_equal(f.vm.ram[MISSING], 0);
	(void)close(uffd.fd);
	fixture_end(&f);
}

/* ---- a VMM without privileges ---- */

#define NOBODY 65534

static void test_unprivileged(void **state)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct vm_options o = { .name = "dst", .role = MIGD_GUEST_INCOMING };
	struct peer_uffd uffd;
	struct fixture f;

	(void)state;
	assert_true(device >= 0);
	fixture_begin(&f, &o);
	assert_int_equal(chown(f.dir, NOBODY, NOBODY), 0); /* who removes it */
	assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
	peer_must_open(&f.peer, PEER_TARGET);
	MUST(&f, peer_handover(&f.peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
	assert_int_equal(peer_uffd_open(&f.peer, ATTACH_UFFD_POSTCOPY, -1, &uffd), -EPERM);
	assert_non_null(strstr(f.peer.last_text, "this VMM gets no userfaultfd"));
	assert_int_equal(peer_uffd_open(&f.peer, ATTACH_UFFD_POSTCOPY, null, &uffd), -EPERM);
	MUST(&f, peer_uffd_open(&f.peer, ATTACH_UFFD_POSTCOPY, device, &uffd));
	assert_false(uffd.existing);
	(void)close(uffd.fd);
	(void)close(device);
	(void)close(null);
	fixture_end(&f);
}

/* The sysctl lets everybody. */
static bool everybody_may(void)
{
	char text[2] = { 0 };
	_cleanup_close_ int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, 1) == 1 && text[0] != '0';
}

/* For good: so in a process of its own. */
static int run_unprivileged(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_unprivileged) };
	pid_t child;
	int status;

	if (getuid() != 0 || access("/dev/userfaultfd", R_OK | W_OK) < 0 || everybody_may()) {
		(void)printf("SKIP: test_unprivileged needs root, /dev/userfaultfd, and vm.unprivileged_userfaultfd=0\n");
		return 0;
	}
	(void)fflush(NULL);
	child = fork();
	if (child == 0)
		exit(cmocka_run_group_tests(tests, NULL, NULL));
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void need_userfaultfd(void)
{
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (getenv("MIGD_VALGRIND"))
		(void)printf("SKIP: valgrind runs one thread at a time: who waits for a page keeps those from running that would bring it\n");
	else if (fd < 0 && device < 0)
		(void)printf("SKIP: neither userfaultfd(2) nor /dev/userfaultfd can be used here\n");
	else
		return;
	exit(77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_page_comes),
		cmocka_unit_test(test_a_worker_dies),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_stop_while_waiting),
		cmocka_unit_test(test_end_while_waiting),
		cmocka_unit_test(test_what_a_successor_finds),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_discarded),
	};
	int failed;

	vm_need_kvm();
	need_userfaultfd();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed + run_unprivileged();
}
