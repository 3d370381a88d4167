/* SPDX-License-Identifier: Apache-2.0 */
/* Every error the header promises for new, set_kvm, add_* and start, with its text. */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "guest/internal.h"

#define LEN (4U * VM_PAGE)

static void expect(int r, int code, const char *text)
{
	if (r != code || !strstr(migd_guest_error(), text))
		fail_msg("got %d '%s', expected %d '%s'", r, migd_guest_error(), code, text);
}

/* A guest with KVM set, and a memfd mapped twice: shared and private. */
struct bare {
	struct migd_guest *guest;
	int kvm, vm, fd;
	void *shared, *private;
	struct migd_guest_ram ram;
};

static struct migd_guest *new_guest(void)
{
	struct migd_guest_options o = { .size = sizeof(o),
					.name = "x",
					.role = MIGD_GUEST_RUNNING,
					.attach_path = "/nonexistent/attach" };
	struct migd_guest *g = NULL;

	assert_int_equal(migd_guest_new(&o, &g), 0);
	return g;
}

static void bare_begin(struct bare *b)
{
	struct migd_guest_kvm kvm = { .size = sizeof(kvm) };

	b->guest = new_guest();
	kvm.kvm_fd = b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	kvm.vm_fd = b->vm = ioctl(b->kvm, KVM_CREATE_VM, 0);
	assert_int_equal(migd_guest_set_kvm(b->guest, &kvm), 0);
	b->fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(b->fd, 2 * LEN), 0);
	b->shared = mmap(NULL, 2 * LEN, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	b->private = mmap(NULL, 2 * LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, b->fd, 0);
	b->ram = (struct migd_guest_ram){
		.size = sizeof(b->ram), .name = "ram", .host = b->shared, .len = LEN, .fd = b->fd
	};
}

static void bare_end(struct bare *b)
{
	migd_guest_free(b->guest);
	(void)munmap(b->shared, 2 * LEN);
	(void)munmap(b->private, 2 * LEN);
	(void)close(b->fd);
	(void)close(b->vm);
	(void)close(b->kvm);
}

static void test_options(void **state)
{
	struct migd_guest_options good = { .size = sizeof(good),
					   .name = "x",
					   .role = MIGD_GUEST_RUNNING,
					   .attach_path = "/nonexistent/attach" };
	struct {
		struct migd_guest_options o;
		char newer[16];
	} longer = { .o = good };
	struct migd_guest_hooks hooks = { .size = 3 };
	char long_name[MIGD_GUEST_NAME_MAX + 1];
	struct migd_guest_options o;
	struct migd_guest *g = NULL;

	(void)state;
	memset(long_name, 'n', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
#define WITH(field, value, text)                                                                   \
	do {                                                                                       \
		o = good;                                                                          \
		o.field = (value);                                                                 \
		expect(migd_guest_new(&o, &g), -EINVAL, (text));                                   \
	} while (0)
	WITH(name, NULL, "name");
	WITH(name, "", "name");
	WITH(name, "a\nb", "control character");
	WITH(name, long_name, "1 to 127 bytes");
	WITH(role, 0, "role");
	WITH(role, 3, "role");
	WITH(attach_path, NULL, "exactly one");
	WITH(listen_path, "/tmp/x", "exactly one");
	WITH(kick_signal, 1000, "signal");
	WITH(size, 0, "size");
	WITH(hooks, &hooks, "size");
	expect(migd_guest_new(NULL, &g), -EINVAL, "NULL");
	assert_null(g);
	/*
	 * An older caller's struct ends earlier, a newer one's later: fine as long as what we do
	 * not know is unset.
	 */
	o = good;
	o.size = offsetof(struct migd_guest_options, listen_path);
	assert_int_equal(migd_guest_new(&o, &g), 0);
	migd_guest_free(g);
	longer.o.size = sizeof(longer);
	assert_int_equal(migd_guest_new(&longer.o, &g), 0);
	migd_guest_free(g);
	longer.newer[7] = 1;
	expect(migd_guest_new(&longer.o, &g), -EINVAL, "newer");
	migd_guest_free(NULL);
}

static void test_kvm_comes_first(void **state)
{
	struct migd_guest_kvm kvm = { .size = sizeof(kvm), .vm_fd = -1, .kvm_fd = -1 };
	struct migd_guest_ram ram = { .size = sizeof(ram), .name = "x" };
	struct migd_guest *g = new_guest();
	struct migd_guest_vcpu *v;

	(void)state;
	expect(migd_guest_add_ram(g, &ram), -EINVAL, "set_kvm");
	expect(migd_guest_add_ram_slot(g, 0, 0, 0, 0, 4096), -EINVAL, "set_kvm");
	expect(migd_guest_add_vcpu(g, 0, 3, (struct kvm_run *)(void *)&ram, &v), -EINVAL,
	       "set_kvm");
	expect(migd_guest_start(g), -EINVAL, "set_kvm");
	expect(migd_guest_set_kvm(g, &kvm), -EINVAL, "no KVM VM");
	migd_guest_free(g);
}

/* Linux 6.8; older headers lack it. */
static int guest_memfd(int vm_fd)
{
	struct {
		uint64_t size, flags, reserved[6];
	} args = { .size = LEN };

	return ioctl(vm_fd, _IOWR(KVMIO, 0xd4, args), &args);
}

/* Which kinds of confidential VM there are depends on the machine: those there are, are refused. */
static void test_confidential_vms(void **state)
{
	static const struct {
		unsigned long type;
		const char *name;
	} types[] = { { 1, "software-protected" }, { 2, "SEV" }, { 3, "SEV-ES" }, { 4, "SEV-SNP" }, { 5, "TDX" } };
	struct bare b;

	(void)state;
	bare_begin(&b);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct migd_guest_kvm kvm = { .size = sizeof(kvm), .kvm_fd = b.kvm };
		struct migd_guest *g = NULL;

		kvm.vm_fd = ioctl(b.kvm, KVM_CREATE_VM, types[i].type);
		if (kvm.vm_fd < 0) {
			print_message("no %s VM here: %s\n", types[i].name, strerror(errno));
			continue;
		}
		g = new_guest();
		expect(migd_guest_set_kvm(g, &kvm), -ENOTSUP, "cannot be migrated");
		migd_guest_free(g);
		(void)close(kvm.vm_fd);
	}
	bare_end(&b);
}

static void test_ram(void **state)
{
	struct migd_guest_ram ram;
	int other;
	struct bare b;

	(void)state;
	bare_begin(&b);
#define RAM_WITH(field, value, code, text)                                                         \
	do {                                                                                       \
		ram = b.ram;                                                                       \
		ram.field = (value);                                                               \
		expect(migd_guest_add_ram(b.guest, &ram), (code), (text));                         \
	} while (0)
	RAM_WITH(fd, -1, -ENOTSUP, "anonymous memory");
	RAM_WITH(name, "", -EINVAL, "1 to 127 bytes");
	RAM_WITH(name, NULL, -EINVAL, "1 to 127 bytes");
	RAM_WITH(len, 0, -EINVAL, "empty");
	RAM_WITH(len, 100, -EINVAL, "multiples of 4096");
	RAM_WITH(fd_offset, 100, -EINVAL, "multiples of 4096");
	RAM_WITH(host, (char *)b.shared + 1, -EINVAL, "multiples of 4096");
	RAM_WITH(len, 4 * LEN, -EINVAL, "of a file of");
	RAM_WITH(fd_offset, UINT64_MAX - 4095, -EINVAL, "of a file of");
	RAM_WITH(host, b.private, -EINVAL, "MAP_SHARED");
	RAM_WITH(fd_offset, LEN, -EINVAL,
		 "MAP_SHARED"); /* another part of the file is mapped there */
	RAM_WITH(host, (void *)(uintptr_t)4096, -EINVAL, "is not mapped");
	RAM_WITH(flags, 4, -EINVAL, "flags");
	RAM_WITH(flags, MIGD_GUEST_RAM_SHARED, -EINVAL, "its file has none");
	RAM_WITH(size, 4, -EINVAL, "size");
	other = guest_memfd(b.vm);
	if (other >= 0)
		RAM_WITH(fd, other, -ENOTSUP, "is a guest_memfd");
	else
		print_message("KVM has no guest_memfd here: %s\n", strerror(errno));
	(void)close(other);
	other = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	RAM_WITH(fd, other, -ENOTSUP, "neither tmpfs nor hugetlbfs");
	(void)close(other);
	other = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(other, LEN), 0);
	RAM_WITH(fd, other, -EINVAL, "MAP_SHARED");
	(void)close(other);
	assert_int_equal(migd_guest_add_ram(b.guest, &b.ram), 0);
	assert_int_equal(fcntl(b.fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
			 F_SEAL_SHRINK | F_SEAL_GROW);
	expect(migd_guest_add_ram(b.guest, &b.ram), -EINVAL, "already");
	RAM_WITH(name, "again", -EINVAL, "overlaps block 'ram'");
	ram = b.ram;
	ram.name = "second";
	ram.host = (char *)b.shared + LEN;
	ram.fd_offset = LEN;
	assert_int_equal(migd_guest_add_ram(b.guest, &ram), 1);
	bare_end(&b);
}

static void test_too_many_blocks(void **state)
{
	char name[16];
	struct bare b;
	void *p;
	int fd, r = 0;

	(void)state;
	bare_begin(&b);
	fd = memfd_create("many", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 65 * 4096), 0);
	p = mmap(NULL, 65 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b.ram.fd = fd;
	b.ram.len = 4096;
	for (unsigned int i = 0; i < 65; i++) {
		(void)snprintf(name, sizeof(name), "b%u", i);
		b.ram.name = name;
		b.ram.host = (char *)p + 4096 * i;
		b.ram.fd_offset = 4096 * i;
		r = migd_guest_add_ram(b.guest, &b.ram);
		assert_int_equal(r < 0 ? 64 : r, i);
	}
	expect(r, -E2BIG, "64 RAM blocks");
	(void)munmap(p, 65 * 4096);
	(void)close(fd);
	bare_end(&b);
}

static void test_slots(void **state)
{
	struct bare b;
	int r = 0;

	(void)state;
	bare_begin(&b);
	assert_int_equal(migd_guest_add_ram(b.guest, &b.ram), 0);
	expect(migd_guest_add_ram_slot(b.guest, 1, 0, 0, 0, 4096), -EINVAL, "no RAM block 1");
	expect(migd_guest_add_ram_slot(b.guest, 0, 0, 1, 0, 4096), -EINVAL, "multiples of 4096");
	expect(migd_guest_add_ram_slot(b.guest, 0, 0, 0, 0, 0), -EINVAL, "multiples of 4096");
	expect(migd_guest_add_ram_slot(b.guest, 0, 0, 0, 4096, LEN), -EINVAL,
	       "beyond RAM block 'ram'");
	expect(migd_guest_add_ram_slot(b.guest, 0, 0, UINT64_MAX - 4095, 0, 8192), -EINVAL,
	       "multiples of 4096");
	assert_int_equal(migd_guest_add_ram_slot(b.guest, 0, 0, 0, 0, 4096), 0);
	expect(migd_guest_add_ram_slot(b.guest, 0, 0, 8192, 0, 4096), -EINVAL, "slot 0 already");
	expect(migd_guest_add_ram_slot(b.guest, 0, 1, 0, 0, 4096), -EINVAL, "overlap");
	for (uint32_t i = 1; r == 0 && i < 200; i++)
		r = migd_guest_add_ram_slot(b.guest, 0, i, i * 4096, 0, 4096);
	expect(r, -E2BIG, "128 memory slots");
	bare_end(&b);
}

static const struct migd_vmstate_field fields[] = { MIGD_VMS_FIELD_END };
static const struct migd_vmstate good_desc = { .name = "dev", .version = 1, .fields = fields };
static const struct migd_vmstate bad_desc = {
	.name = "dev", .version = 1, .minimum_version = 2, .fields = fields
};

static void test_devices(void **state)
{
	struct bare b;

	(void)state;
	bare_begin(&b);
	assert_int_equal(migd_guest_add_device(b.guest, "dev", 0, &good_desc, &b, 0), 0);
	expect(migd_guest_add_device(b.guest, "dev", 0, &good_desc, &b, 0), -EEXIST,
	       "instance 0 already");
	assert_int_equal(migd_guest_add_device(b.guest, "dev", 1, &good_desc, &b, 0), 0);
	expect(migd_guest_add_device(b.guest, "", 0, &good_desc, &b, 0), -EINVAL, "1 to 127 bytes");
	expect(migd_guest_add_device(b.guest, "d", 0, NULL, &b, 0), -EINVAL, "device 'd'");
	expect(migd_guest_add_device(b.guest, "d", 0, &bad_desc, &b, 0), -EINVAL, "device 'd'");
	bare_end(&b);
}

static int no_chunk(void *opaque, struct migd_live_chunk *chunk)
{
	(void)opaque;
	(void)chunk;
	return 0;
}

static int no_live_load(void *opaque, const void *data, size_t len, uint32_t version)
{
	(void)opaque;
	(void)data;
	(void)len;
	(void)version;
	return 0;
}

static void test_live_devices(void **state)
{
	const struct migd_live good = { .size = sizeof(good), .name = "large", .iterate = no_chunk,
					.complete = no_chunk, .load = no_live_load };
	struct migd_live l = good;
	struct bare b;

	(void)state;
	bare_begin(&b);
	expect(migd_guest_add_live(b.guest, NULL), -EINVAL, "live device");
	l.load = NULL;
	expect(migd_guest_add_live(b.guest, &l), -EINVAL, "belong together");
	l.iterate = l.complete = NULL;
	expect(migd_guest_add_live(b.guest, &l), -EINVAL, "neither");
	l = good;
	l.minimum_version = 1;
	expect(migd_guest_add_live(b.guest, &l), -EINVAL, "above version");
	l = good;
	l.name = "";
	expect(migd_guest_add_live(b.guest, &l), -EINVAL, "1 to 127 bytes");
	assert_int_equal(migd_guest_add_live(b.guest, &good), 0);
	expect(migd_guest_add_live(b.guest, &good), -EEXIST, "already");
	expect(migd_guest_add_device(b.guest, "large", 0, &good_desc, &b, 0), -EEXIST, "live device");
	l = good;
	for (l.instance = 1; l.instance < 32; l.instance++)
		assert_int_equal(migd_guest_add_live(b.guest, &l), 0);
	expect(migd_guest_add_live(b.guest, &l), -E2BIG, "at most 32");
	bare_end(&b);
}

static int no_save(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err)
{
	(void)opaque;
	(void)w;
	(void)err;
	return 0;
}

static int no_load(void *opaque, struct migd_guest_reader *r, uint32_t version,
		   struct migd_vmstate_error *err)
{
	(void)opaque;
	(void)r;
	(void)version;
	(void)err;
	return 0;
}

static void test_devices_in_full(void **state)
{
	static const struct migd_guest_device_ops good_ops = {
		.size = sizeof(good_ops), .version = 2, .minimum_version = 1, .save = no_save, .load = no_load
	};
	static const struct migd_guest_device_ops half_ops = { .size = sizeof(half_ops), .save = no_save };
	static const struct migd_guest_device_ops old_ops = {
		.size = sizeof(old_ops), .version = 1, .minimum_version = 2, .save = no_save, .load = no_load
	};
	static const struct {
		struct migd_guest_device device;
		int code;
		const char *text;
	} cases[] = {
		{ { .name = "fifo", .ops = &good_ops }, 0, NULL },
		{ { .name = "fifo", .desc = &good_desc }, -EEXIST, "instance 0 already" },
		{ { .name = "x" }, -EINVAL, "there is no description" },
		{ { .name = "x", .desc = &good_desc, .ops = &good_ops }, -EINVAL, "one of them" },
		{ { .name = "x", .ops = &half_ops }, -EINVAL, "save or load is missing" },
		{ { .name = "x", .ops = &old_ops }, -EINVAL, "minimum_version 2 is over version 1" },
		{ { .name = "bus/rtc", .desc = &good_desc, .has_alias = true, .alias_name = "rtc",
		    .alias_instance = 4, .unmigratable = "for now" }, 0, NULL },
		{ { .name = "rtc", .instance = 4, .desc = &good_desc }, -EEXIST, "instance 4 already" },
		{ { .name = "y", .desc = &good_desc, .has_alias = true, .alias_name = "rtc",
		    .alias_instance = 4 }, -EEXIST, "its alias 'rtc' instance 4 is another device's" },
		{ { .name = "y", .desc = &good_desc, .has_alias = true }, -EINVAL, "its alias is its name" },
		{ { .name = "y", .ops = &good_ops, .has_alias = true, .alias_instance = 1 }, -EINVAL,
		  "versions up to 0, which are not loaded any more" },
		{ { .name = "y", .ops = &good_ops, .has_alias = true, .alias_name = "" }, -EINVAL,
		  "1 to 127 bytes" },
	};
	struct bare b;

	(void)state;
	bare_begin(&b);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct migd_guest_device d = cases[i].device;

		d.size = sizeof(d);
		if (cases[i].code)
			expect(migd_guest_register_device(b.guest, &d), cases[i].code, cases[i].text);
		else
			assert_int_equal(migd_guest_register_device(b.guest, &d), 0);
	}
	expect(migd_guest_register_device(b.guest, NULL), -EINVAL, "device: NULL");
	expect(migd_guest_register_device(b.guest, &(struct migd_guest_device){ .name = "z" }), -EINVAL,
	       "set it to sizeof the struct");
	bare_end(&b);
}

static void test_devices_are_saved_by_priority(void **state)
{
	static const struct {
		const char *name;
		int priority;
	} rows[] = { { "a", 2 }, { "bus", MIGD_VMS_PRIORITY_BUS }, { "b", 2 }, { "low", MIGD_VMS_PRIORITY_LOW },
		     { "gic", MIGD_VMS_PRIORITY_GIC }, { "c", 2 } };
	static const char *const want[] = { "gic", "bus", "a", "b", "c", "low" };
	struct guest_device devices[sizeof(rows) / sizeof(rows[0])] = { 0 };
	struct guest_tables *t = calloc(1, sizeof(*t));

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		strcpy(devices[i].name, rows[i].name);
		devices[i].priority = rows[i].priority;
	}
	t->devices = devices;
	t->n_devices = sizeof(rows) / sizeof(rows[0]);
	devices_sort(t);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_string_equal(devices[i].name, want[i]);
	free(t);
}

static void test_vcpus_and_start(void **state)
{
	struct migd_guest_kvm again = { .size = sizeof(again) };
	struct migd_guest_vcpu *v = NULL;
	struct kvm_run *run;
	struct bare b;
	size_t len;
	int fd;

	(void)state;
	bare_begin(&b);
	len = (size_t)ioctl(b.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	fd = ioctl(b.vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	expect(migd_guest_set_kvm(b.guest, &again), -EBUSY, "already");
	expect(migd_guest_start(b.guest), -EINVAL, "no RAM");
	assert_int_equal(migd_guest_add_ram(b.guest, &b.ram), 0);
	expect(migd_guest_add_vcpu(b.guest, 1024, fd, run, &v), -EINVAL, "vCPU index 1024");
	expect(migd_guest_add_vcpu(b.guest, 0, -1, run, &v), -EINVAL, "no descriptor");
	expect(migd_guest_add_vcpu(b.guest, 0, fd, NULL, &v), -EINVAL, "no kvm_run");
	assert_null(v);
	assert_int_equal(migd_guest_add_vcpu(b.guest, 0, fd, run, &v), 0);
	expect(migd_guest_add_vcpu(b.guest, 0, fd, run, &v), -EINVAL, "vCPU 0 already");
	expect(migd_guest_start(b.guest), -EINVAL, "no memory slot");
	bare_end(&b);
	(void)munmap(run, len);
	(void)close(fd);
}

static void test_frozen_after_start(void **state)
{
	struct fixture f;
	struct migd_guest_ram ram = { .size = sizeof(ram), .name = "late" };
	struct migd_guest_kvm kvm = { .size = sizeof(kvm) };
	struct migd_guest_vcpu *v;

	(void)state;
	fixture_begin(&f, &(struct vm_options){ .program = VM_COUNT, .role = MIGD_GUEST_RUNNING });
	expect(migd_guest_set_kvm(f.vm.guest, &kvm), -EBUSY, "started");
	expect(migd_guest_add_ram(f.vm.guest, &ram), -EBUSY, "started");
	expect(migd_guest_add_ram_slot(f.vm.guest, 0, 9, 0, 0, 4096), -EBUSY, "started");
	expect(migd_guest_add_device(f.vm.guest, "d", 0, &good_desc, &f, 0), -EBUSY, "started");
	expect(migd_guest_add_vcpu(f.vm.guest, 5, 1, f.vm.vcpus[0].run, &v), -EBUSY, "started");
	expect(migd_guest_start(f.vm.guest), -EBUSY, "started");
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_live_devices),
		cmocka_unit_test(test_kvm_comes_first),
		cmocka_unit_test(test_ram),
		cmocka_unit_test(test_confidential_vms),
		cmocka_unit_test(test_too_many_blocks),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_devices_in_full),
		cmocka_unit_test(test_devices_are_saved_by_priority),
		cmocka_unit_test(test_vcpus_and_start),
		cmocka_unit_test(test_frozen_after_start),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
