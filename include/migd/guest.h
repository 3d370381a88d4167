/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmigd-guest: what a KVM VMM links to be live-migrated by migd.
 *
 * The VMM keeps all it owns: KVM descriptors, vCPU threads, guest memory, devices. The library adds one
 * *service thread*, which talks to migd and carries out what it asks, and a *gate* in front of KVM_RUN,
 * where vCPU threads stop while the guest is paused. It is the last authority on whether the
 * guest may run (see "Handover" in docs/design.md): a guest that was given away never enters KVM_RUN
 * here again, whatever becomes of migd.
 *
 * Life of a guest:
 *
 *     migd_guest_new()
 *     migd_guest_set_kvm()            the VM exists
 *     migd_guest_add_ram(), migd_guest_add_ram_slot(), migd_guest_add_device(), migd_guest_add_live()
 *     migd_guest_add_vcpu()           before any KVM_RUN
 *     migd_guest_start()              attaches; the tables are frozen
 *     migd_guest_vcpu_run() ...       in each vCPU thread, in place of ioctl(KVM_RUN)
 *     migd_guest_stop()               vCPU threads are told to leave
 *     migd_guest_free()
 *
 * A guest that arrives by post-copy, or is restored lazily, runs before all of its memory is there. A thread of the
 * VMM that touches a page of RAM that is missing waits, in the kernel, until the page has come: a vCPU, a device's
 * thread, a callback. That can be long while the source is out of reach; the service thread does without guest memory then, so
 * callbacks of a guest that runs (quiesce, unquiesce, activate) should as well. The library registers the RAM blocks with a
 * userfaultfd and unmaps what of them the VMM has mapped so far (not what the file holds). Memory that something else than
 * this process's page tables reaches (a vhost-user back-end, pages pinned for a device) is not covered. A VMM with a
 * system call filter has to allow: madvise(), and ioctl() with USERFAULTFD_IOC_NEW, UFFDIO_API, UFFDIO_REGISTER and
 * UFFDIO_UNREGISTER; and, for when the daemon cannot open it, open("/dev/userfaultfd") or userfaultfd().
 *
 * While a background snapshot is taken of a guest that runs, a thread that writes to a page of RAM for the first time waits until
 * the page was copied. What is written other than by this process's page tables is not noticed, and what is taken away
 * (MADV_REMOVE, punched holes: a balloon) is lost to the image.
 *
 * Functions return 0 (or what they say) on success and a negative errno on failure;
 * migd_guest_error() then has the text. "Any thread" means that the call locks what it needs; none may be
 * called from a signal handler except migd_guest_mark_dirty*(). Callbacks run on the service thread unless
 * they say otherwise and may call nothing here but migd_guest_mark_dirty*(), migd_guest_notify() and
 * migd_guest_error(); anything else returns -EDEADLK.
 *
 * The library prints nothing, never ends the process, keeps no globals, and makes no thread but the
 * service thread. Plain C99 and C++.
 */
#ifndef MIGD_GUEST_H
#define MIGD_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <migd/live.h>
#include <migd/vmstate.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The ABI described here. A library of the same major version serves every older minor version. */
#define MIGD_GUEST_API_MAJOR 1
#define MIGD_GUEST_API_MINOR 0

struct kvm_run;
struct migd_guest;		/* one VM */
struct migd_guest_vcpu;		/* one of its vCPUs */
struct migd_guest_cpr;		/* memory that another VMM hands over */

/* Longest names, terminating NUL included. */
#define MIGD_GUEST_NAME_MAX 128

enum migd_guest_role {
	MIGD_GUEST_RUNNING = 1,	/* has, or will have, a guest of its own */
	MIGD_GUEST_INCOMING = 2,	/* waits for a guest to arrive; vCPUs stay in the gate until then */
};

/* What a guest told the VMM, for migd_guest_notify(). */
enum migd_guest_event {
	MIGD_GUEST_EVENT_SHUTDOWN = 1,	/* powered itself off; may not run again */
	MIGD_GUEST_EVENT_RESET = 2,	/* about to start anew; the VMM resets its devices itself */
	MIGD_GUEST_EVENT_PANIC = 3,	/* crashed, or KVM cannot go on with it */
	MIGD_GUEST_EVENT_SUSPEND = 4,	/* went to sleep; migd_guest_vcpu_run() parks until WAKEUP */
	MIGD_GUEST_EVENT_WAKEUP = 5,
};

/* Whether the guest runs, and why not. migd_guest_run_state(). */
enum migd_guest_run_state {
	MIGD_GUEST_RS_RUNNING = 1,
	MIGD_GUEST_RS_PAUSED = 2,		/* by an operator */
	MIGD_GUEST_RS_INMIGRATE = 3,		/* incoming, not here yet */
	MIGD_GUEST_RS_FINISH_MIGRATE = 4,	/* stopped for switchover, or in doubt after RELEASE */
	MIGD_GUEST_RS_POSTMIGRATE = 5,		/* runs elsewhere now; never again here */
	MIGD_GUEST_RS_SHUTDOWN = 6,
	MIGD_GUEST_RS_PANICKED = 7,
	MIGD_GUEST_RS_SUSPENDED = 8,
	MIGD_GUEST_RS_DISCARDED = 9,		/* an incoming guest that will not arrive any more */
};

/*
 * What the VMM does at the turning points. Each may be NULL. Those that return int: 0, or a negative
 * errno that fails the step (the migration is then rolled back).
 *
 * Source:    quiesce, before_save, [unquiesce on rollback | release, retire]
 * Target:    after_load, activate, unquiesce     (or discard)
 * stop/cont: quiesce, then unquiesce
 */
struct migd_guest_hooks {
	size_t size;	/* sizeof(struct migd_guest_hooks) */
	/*
	 * vCPUs are parked: stop request sources and wait until in-flight disk requests are done, so that
	 * nothing writes guest memory or raises interrupts any more. Bounded by the pause deadline.
	 */
	int (*quiesce)(void *opaque);
	/* The guest is about to run (again): start what quiesce stopped. */
	void (*unquiesce)(void *opaque);
	/* Quiesced; device state is about to be saved. May still write guest memory. */
	int (*before_save)(void *opaque);
	/* Device state was loaded; check it as a whole. Nothing the guest can see yet. */
	int (*after_load)(void *opaque);
	/*
	 * Point of no return on the target: the guest runs here from now on. Take disk locks, re-assert
	 * interrupt levels, start backends. Cannot fail: what can be checked belongs into after_load.
	 */
	void (*activate)(void *opaque);
	/*
	 * The source gives the guest away: write out what is cached of its disks, drop disk locks. A
	 * failure stops the handover, the guest goes on.
	 */
	int (*release)(void *opaque);
	/* The source got a released guest back (the target proved not to run it): take disk locks again. */
	int (*reclaim)(void *opaque);
	/* The target runs; this VMM is done with its guest and may exit. */
	void (*retire)(void *opaque);
	/* The incoming guest will not arrive. */
	void (*discard)(void *opaque);
	/*
	 * Kick a vCPU thread out of KVM_RUN or a system call, instead of the library's signal. Any
	 * thread. TID is the one that called migd_guest_add_vcpu().
	 */
	void (*kick)(void *opaque, unsigned int index, int tid);
	/* LEVEL is a syslog level; TEXT one line. Any thread. */
	void (*log)(void *opaque, int level, const char *text);
	/* The operator asked for it: MIGD_GUEST_EVENT_RESET, _SHUTDOWN or, of one that sleeps, _WAKEUP. Any time. */
	void (*request)(void *opaque, enum migd_guest_event what);
	/*
	 * Tell the networks where the guest is now: send one self-announcement (a RARP or gratuitous ARP
	 * frame with the interface's own address) on each of the N interfaces of that name, or on all of them if N
	 * is 0. A name that the VMM does not have is ignored. migd calls it round by round: after a
	 * migration on the target, and for announce-self. The guest runs here. NULL: announce-self is refused.
	 */
	void (*announce)(void *opaque, const char *const *interfaces, size_t n);
	/*
	 * Target, before the guest runs: LEN bytes at GPA were damaged at the source (migd_guest_ram_poisoned()
	 * there). See to it that the guest cannot use them unnoticed: UFFDIO_POISON or MADV_HWPOISON on the mapping,
	 * or a machine check (KVM_X86_SET_MCE) once it runs. Negative, or no hook: the migration is refused.
	 */
	int (*poison)(void *opaque, uint64_t gpa, uint64_t len);
	/*
	 * Migration mode cpr-exec: the guest is saved and released; replace this process by the program
	 * argv[0] with these arguments and this environment, as execve() does. Returns only if that failed: a
	 * negative errno, and then the guest goes on here. The calling thread blocks all signals: set the mask
	 * that the program is to have. Descriptors that it is not to have must be close-on-exec.
	 */
	int (*exec)(void *opaque, char *const argv[], char *const envp[]);
	/*
	 * Source: WANTED: a migration has begun, and migd_guest_hint_free() saves it work from now on: a balloon
	 * driver may be asked for free pages. Not WANTED: it is over. Returns at once.
	 */
	void (*hints)(void *opaque, bool wanted);
};

struct migd_guest_options {
	size_t size;		/* sizeof(struct migd_guest_options) */
	const char *name;	/* 1..127 bytes, printable, unique on the host */
	uint8_t uuid[16];	/* all zero: none */
	enum migd_guest_role role;
	/*
	 * Exactly one of the two. attach_path: migd's attach socket, connected to again and again, with a
	 * back-off from 10 ms to 1 s, as long as the guest exists; no migd is no error. listen_path: a
	 * socket made here (mode 0600) for migd's guest-attach.
	 */
	const char *attach_path;
	const char *listen_path;
	/* The signal that kicks vCPUs; 0: SIGRTMIN+1. Its handler is installed here, without SA_RESTART. */
	int kick_signal;
	/*
	 * While the guest is paused for a migration and its worker stays silent for so long, the
	 * library takes it back and resumes it. 0: 10000 ms. Has no effect once released.
	 */
	unsigned int lease_ms;
	const struct migd_guest_hooks *hooks;	/* copied; NULL: none */
	void *opaque;				/* first argument of each hook */
	/*
	 * An incoming guest whose memory another VMM on this host hands over; NULL: none. Taken over by a
	 * migd_guest_new() that succeeds.
	 */
	struct migd_guest_cpr *cpr;
};

/* How the VMM made its VM; compared with the peer's before anything moves. */
struct migd_guest_kvm {
	size_t size;		/* sizeof(struct migd_guest_kvm) */
	int kvm_fd;		/* /dev/kvm; borrowed, must outlive the guest, as vm_fd */
	int vm_fd;
	bool irqchip;		/* KVM_CREATE_IRQCHIP */
	bool pit;		/* KVM_CREATE_PIT2 */
	bool split_irqchip;	/* KVM_CAP_SPLIT_IRQCHIP */
	uint32_t dirty_ring_entries;	/* KVM_CAP_DIRTY_LOG_RING was enabled with so many; 0: not */
};

enum migd_guest_ram_flags {
	MIGD_GUEST_RAM_READONLY = 1 << 0,	/* ROM: the guest cannot write it; sent once */
	/*
	 * A file with a name that the target's VMM maps, too: with the capability x-ignore-shared on both sides its
	 * contents are not sent. Without that capability it is memory like any other.
	 */
	MIGD_GUEST_RAM_SHARED = 1 << 1,
};

struct migd_guest_ram {
	size_t size;		/* sizeof(struct migd_guest_ram) */
	const char *name;	/* 1..127 bytes; the same on both sides */
	void *host;		/* where LEN bytes of FD from FD_OFFSET are mapped MAP_SHARED here */
	uint64_t len;		/* bytes, a multiple of the page size */
	int fd;			/* memfd, tmpfs or hugetlbfs file; borrowed, duplicated */
	uint64_t fd_offset;	/* bytes, a multiple of the page size */
	uint32_t flags;		/* enum migd_guest_ram_flags */
};

/*
 * Memory handed over on one host (migration mode cpr-transfer; docs/cpr.md): a new VMM takes over the RAM of the one
 * that runs the guest, instead of a copy. It needs that RAM before it makes its VM, so these come first:
 *
 *     migd_guest_cpr_listen(path, &cpr)       path: the address of migrate's `cpr` channel
 *     migd_guest_cpr_receive(cpr, -1)         waits for `migrate`
 *     migd_guest_cpr_ram(cpr, "ram", &ram)    for each block: map ram.fd, MAP_SHARED
 *     migd_guest_new()                        options.role INCOMING, options.cpr = cpr; then as always
 *
 * The old VMM runs its guest in that memory until the handover is committed (hook activate), and goes on with it if
 * that never happens (hook discard): the new VMM writes nothing to it before activate.
 *
 * A cpr belongs to one thread at a time, the caller's until migd_guest_new() takes it over.
 *
 * listen: make a socket at PATH, mode 0600. -EINVAL: the path is too long; -EADDRINUSE; others of bind().
 */
int migd_guest_cpr_listen(const char *path, struct migd_guest_cpr **ret_cpr);

/*
 * The memory that the program which this process was before left to it (mode cpr-exec), in place of listen and receive.
 * Before there are threads: it takes a variable out of the environment. -ENOENT: there is none, start as always.
 */
int migd_guest_cpr_inherit(struct migd_guest_cpr **ret_cpr);

/* Block for at most TIMEOUT_MS (-1: for ever) until the memory is here. -ETIMEDOUT; -EBADMSG: something else came. */
int migd_guest_cpr_receive(struct migd_guest_cpr *cpr, int timeout_ms);

/*
 * The block NAME as the old VMM registered it: *ret_ram as for migd_guest_add_ram(), but for `host`, which is where
 * the caller maps it. Its name and descriptor are the cpr's; the descriptor is valid until
 * migd_guest_start(). -ENOENT.
 */
int migd_guest_cpr_ram(struct migd_guest_cpr *cpr, const char *name, struct migd_guest_ram *ret_ram);

/* Give it up: whoever hands the memory over is told. NULL is fine. Not once a guest has taken it over. */
void migd_guest_cpr_free(struct migd_guest_cpr *cpr);

/*
 * Make a guest. *ret_guest is set on success only. -EINVAL: an option is wrong; -ENOMEM. Any thread.
 */
int migd_guest_new(const struct migd_guest_options *options, struct migd_guest **ret_guest);

/*
 * Stop the service thread, detach, free. All vCPU threads must have left migd_guest_vcpu_run(). If pages were still missing
 * they read as zeros from here on: no thread may touch guest memory any more. NULL is fine. Not from a callback.
 */
void migd_guest_free(struct migd_guest *guest);

/* The text of the calling thread's last failure; "" if none. Valid until its next call here. */
const char *migd_guest_error(void);

/*
 * Before any other table call. -EINVAL, -EBUSY (called twice or after start), -ENOTSUP (KVM lacks X; the VM is a
 * confidential one: SEV, SEV-SNP, TDX, software-protected).
 */
int migd_guest_set_kvm(struct migd_guest *guest, const struct migd_guest_kvm *kvm);

/*
 * Register a block of guest memory; its index (0, 1, ...) is returned. The library adds
 * F_SEAL_SHRINK | F_SEAL_GROW to a memfd without them. -EINVAL: alignment, overlap, name taken, mapping
 * not MAP_SHARED of FD, SHARED of a file without a name; -ENOTSUP: anonymous memory (fd -1), a guest_memfd, a
 * file system that is neither tmpfs nor hugetlbfs; -EBUSY: started; -E2BIG: more than 64 blocks.
 */
int migd_guest_add_ram(struct migd_guest *guest, const struct migd_guest_ram *ram);

/*
 * Say that the KVM memory slot SLOT maps LEN bytes of block BLOCK from OFFSET at guest-physical address
 * GPA. Every byte the guest can write must be covered. The VMM made the slot with flags 0 (or
 * KVM_MEM_READONLY); from migd_guest_start() on it must not change it: the library toggles
 * KVM_MEM_LOG_DIRTY_PAGES. -EINVAL, -EBUSY, -E2BIG (128 slots).
 */
int migd_guest_add_ram_slot(struct migd_guest *guest, unsigned int block, uint32_t slot, uint64_t gpa,
			    uint64_t offset, uint64_t len);

/*
 * Register a device's state. NAME (1..127 bytes) and INSTANCE identify it on the wire; it is loaded
 * into, and saved from, OPAQUE by the description DESC. Devices are saved by falling priority (enum
 * migd_vmstate_priority), in the order of registration within one. -EEXIST, -EINVAL (the description is inconsistent: the
 * text says where), -EBUSY.
 */
int migd_guest_add_device(struct migd_guest *guest, const char *name, uint32_t instance,
			  const struct migd_vmstate *desc, void *opaque, int priority);

/*
 * State that no table describes: a device that saves and loads itself. Both callbacks run as a description's hooks do and
 * return 0 or a negative errno; ERR takes their words. What is written is sent as one section.
 */
struct migd_guest_writer;
struct migd_guest_reader;

/* Append LEN bytes; or VALUE as a big-endian number of SIZE (1, 2, 4 or 8) bytes. Running out of memory fails the save. */
void migd_guest_write(struct migd_guest_writer *w, const void *data, size_t len);
void migd_guest_write_be(struct migd_guest_writer *w, uint64_t value, size_t size);
/*
 * Read what was written. 0, or a negative errno: return it from load at once, for the bytes may not be here yet.
 */
int migd_guest_read(struct migd_guest_reader *r, void *ret, size_t len);
int migd_guest_read_be(struct migd_guest_reader *r, uint64_t *ret, size_t size);

struct migd_guest_device_ops {
	size_t size;			/* sizeof(struct migd_guest_device_ops) */
	uint32_t version;		/* written; a greater one is refused on load */
	uint32_t minimum_version;	/* a smaller one is refused on load */
	bool (*needed)(void *opaque);	/* NULL: always. False: the section is not sent */
	int (*save)(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err);
	/*
	 * Bytes of a peer, so check them. A section does not say how long it is: LOAD may be called several times, each
	 * time from the first byte and with more of them, and must read the same way each time. So change the device only
	 * once the last read succeeded. From a stream that is not packaged (QEMU, a file) at most 4 MiB are loaded.
	 */
	int (*load)(void *opaque, struct migd_guest_reader *r, uint32_t version, struct migd_vmstate_error *err);
};

/* All there is to say about a device's state; see migd_guest_add_device(). */
struct migd_guest_device {
	size_t size;		/* sizeof(struct migd_guest_device) */
	const char *name;	/* 1..127 bytes; `PATH/NAME` for a device on a bus */
	uint32_t instance;
	int priority;		/* enum migd_vmstate_priority */
	/* Exactly one of the two; the description is borrowed, the ops are copied. */
	const struct migd_vmstate *desc;
	const struct migd_guest_device_ops *ops;
	void *opaque;
	/*
	 * What the device was called in streams of its versions up to alias_version, which is at least the
	 * minimum version: another instance, another name (NULL: the same), or both.
	 */
	bool has_alias;
	uint32_t alias_instance;
	const char *alias_name;
	uint32_t alias_version;
	/* Not NULL: this guest cannot be migrated, and this says why; copied. It holds for saving and for loading. */
	const char *unmigratable;
};

/* As migd_guest_add_device(), with all of it. -EEXIST also when an alias is taken. */
int migd_guest_register_device(struct migd_guest *guest, const struct migd_guest_device *device);

/*
 * A description without a guest, for the tests of a device's author: is it consistent; what would be sent of OPAQUE; what
 * does a target make of it. They run the hooks as a migration does. Any thread, no callback.
 *
 * Save: at most SIZE bytes go to BUF and *ret_len says how many there are; -ENOSPC: there are more, *ret_len in all.
 * Load: LEN bytes that were written with VERSION, all of which must be consumed. -EINVAL, -EPROTO or what a hook returned:
 * the text names offset and field.
 */
int migd_guest_vmstate_check(const struct migd_vmstate *desc);
int migd_guest_vmstate_save(const struct migd_vmstate *desc, void *opaque, void *buf, size_t size, size_t *ret_len);
int migd_guest_vmstate_load(const struct migd_vmstate *desc, void *opaque, uint32_t version, const void *data,
			    size_t len);

/*
 * Register a vCPU, from the thread that will run it, before its first KVM_RUN. FD and RUN are borrowed
 * until migd_guest_free(). The kick signal is unblocked in the calling thread. INDEX: 0..1023, unique.
 */
int migd_guest_add_vcpu(struct migd_guest *guest, unsigned int index, int fd, struct kvm_run *run,
			struct migd_guest_vcpu **ret_vcpu);

/*
 * Attach and serve: start the service thread. A guest whose role is INCOMING waits in
 * migd_guest_vcpu_run(). All vCPUs must have been added. A guest may have neither vCPU nor device: it is then RAM only,
 * and can be migrated from and to what knows nothing else (qemu -M none). -EINVAL: no KVM, no RAM, devices but no
 * vCPU, or a slot is missing.
 */
int migd_guest_start(struct migd_guest *guest);

/*
 * Run a vCPU until it has an exit for the VMM: in place of ioctl(fd, KVM_RUN). Parks here while the guest
 * may not run; before it parks it lets KVM finish the I/O instruction whose exit the VMM just handled.
 *
 * 0: run->exit_reason is to be handled, then call again. -EINTR: a signal other than the kick (or a
 * spurious one) arrived; call again. -ECANCELED: migd_guest_stop(): leave the thread. Other: what
 * KVM_RUN said; report MIGD_GUEST_EVENT_PANIC and call again to park. Only on the vCPU's own thread.
 */
int migd_guest_vcpu_run(struct migd_guest_vcpu *vcpu);

/*
 * Wake every vCPU out of migd_guest_vcpu_run() for good. Any thread, not a callback. A vCPU that waits for a missing page
 * leaves where KVM can be interrupted there, else when the page comes: a VMM that ends should not join such a thread for
 * ever; at exit() it goes with the process.
 */
void migd_guest_stop(struct migd_guest *guest);

/*
 * A device wrote [GPA, GPA + LEN) or the bytes at HOST: KVM does not see what a VMM writes. Call it *after*
 * the write. Wait-free, any thread, signal handlers too; a predictable branch while nobody migrates. A
 * range outside the registered memory is ignored.
 */
void migd_guest_mark_dirty(struct migd_guest *guest, uint64_t gpa, uint64_t len);
void migd_guest_mark_dirty_host(struct migd_guest *guest, const void *host, uint64_t len);

/*
 * The contents of [GPA, GPA + LEN) do not matter until they are written again: its whole pages are left out of what is sent
 * next. What the target has there is anything the guest once had there, or zeros. Neither the guest nor the VMM may
 * write these pages *during the call*: a balloon driver holds them until the VMM has answered it. A write after
 * the call is noticed as any other, and the page is sent. Lasts as long as the pages are not written, and no longer than
 * the migration.
 *
 * Why no write gets lost: the call makes KVM log the next write to each page before the hint can be seen, and a hint for
 * which a write was logged since is dropped. Any thread, callbacks but `hints` too; costs an ioctl for each 16 MiB.
 * -EBADFD: no migration wants hints (hook `hints`); -EINVAL.
 */
int migd_guest_hint_free(struct migd_guest *guest, uint64_t gpa, uint64_t len);

/*
 * Memory at [GPA, GPA + LEN) is damaged: the VMM got SIGBUS with BUS_MCEERR_AR or _AO for it, or its kernel log says so.
 * Counts in whole pages and for good. A migration neither reads nor sends these pages, but has them poisoned on the target
 * (hook `poison`); to a QEMU, which cannot be told, it is refused. Pages that the worker finds unreadable are
 * treated alike, so that a report that comes late does no harm. Any thread, after migd_guest_start(); no signal handler.
 * -EINVAL: no memory there; -ENOSPC: more than 1024 ranges.
 */
int migd_guest_ram_poisoned(struct migd_guest *guest, uint64_t gpa, uint64_t len);

/* Tell what happened to the guest. Any thread, callbacks too. -EINVAL: no such event. */
int migd_guest_notify(struct migd_guest *guest, enum migd_guest_event event);

/* Any thread. */
enum migd_guest_run_state migd_guest_run_state(struct migd_guest *guest);

/*
 * Block until the guest's run state is not INMIGRATE any more (role INCOMING), or TIMEOUT_MS passed (-1:
 * never). 0: it was activated; -ECANCELED: discarded or stopped; -ETIMEDOUT. Any thread, no callback.
 */
int migd_guest_wait_active(struct migd_guest *guest, int timeout_ms);

/*
 * Block until the guest may be given up: it was retired (0), discarded (-ECANCELED) or migd_guest_stop()
 * was called (-ESHUTDOWN). -ETIMEDOUT. Any thread, no callback.
 */
int migd_guest_wait_gone(struct migd_guest *guest, int timeout_ms);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
